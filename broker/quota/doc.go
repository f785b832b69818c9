// Package quota decides how long a client has to wait that takes more than its share:
// Kafka's client quotas (KIP-13, KIP-124, KIP-546, KIP-599, KIP-612), by its names,
// windows and precedence.
//
// A Table holds what is set for whom; it never changes. A Meter measures, and tells
// how long a client waits: what it took within the last windows, divided by what it
// may take in a second, less the time of these windows. The answer goes out at once
// and says so; then nothing more is read from the connection for that time (KIP-219).
//
// The package has no goroutine, no clock and no I/O: the time is an argument. What is
// measured is bounded: of clients that have been silent for all windows nothing is
// kept, and beyond MaxMeasured at once they are measured together.
package quota

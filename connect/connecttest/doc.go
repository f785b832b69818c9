// Package connecttest is what every connector has to pass: the contract of package
// connect, tried out. A source is restarted at every mark, refused, closed while it
// reads, not acknowledged, and acknowledged late; a sink is restarted without a
// flush, given records twice, left idle, and loses partitions.
//
// The suite passes on correct toys and fails on broken ones; its own tests show
// both.
package connecttest

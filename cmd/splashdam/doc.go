// Command splashdam is the whole platform in one binary: the node (serve), the
// tools that talk to one, and a tour of it all (demo).
//
// The tools speak the Kafka protocol and nothing else, so they work against any
// Kafka-compatible cluster. dump and verify read a data directory on disk.
//
// What a command prints on standard output is data; progress, warnings and
// errors go to standard error, and -q keeps all but errors back. An error says
// what failed, where, why, and what to do next.
//
// Exit codes:
//
//	0    it worked
//	1    it failed, or what was checked is not well (health, verify)
//	2    wrong usage: a flag, an argument, the configuration
//	130  interrupted before the work was done
//
// An interrupt is the ordinary end of serve, of a demo that stays up and of a
// consume without a bound: they then exit with 0. A second interrupt ends the process at once.
package main

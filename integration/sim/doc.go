// Package sim runs a whole Raft group of the real shard code in one goroutine: three
// or five replicas over files in memory, in virtual time, on a network that drops,
// doubles, delays, reorders and cuts, on disks that stop at any call, fail, fill up
// and are slow, with clocks that jump. Everything follows from one seed.
//
//	World     the clock, the queue of events, the nodes, who breaks what and when
//	node      a replica: broker.Machine and replica.Appender, driven as a Host does
//	network   what happens to a message on its way
//	client    produces, remembers what it was told
//	oracle    the named checkers: what must hold after every step
//
// What runs is the product: Shard, Replica, Appender and commitlog. What a Host and
// its goroutines do, in which order they may and no other, is done here by events.
//
// A violation says which rule was broken, prints the last events, and the command
// that repeats it. The checkers are shown to work by bugs that are planted through
// the seams that the simulation has anyway: a file system, a wrapper of the state
// machine.
package sim

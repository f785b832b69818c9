package broker

import "time"

// clock is the leader's time: what goes into entries, and what every rule about
// time decides by. It follows the monotonic clock from the moment it was set, so a
// step of the wall clock cannot make a message due, and it never falls.
type clock struct {
	read func() time.Time // the node's clock, with a monotonic reading where it has one
	base time.Time
	last int64
}

// set starts the clock at the wall clock's time, or where the log has got to.
func (c *clock) set(atLeast int64) {
	c.base = c.read()
	c.last = max(c.last, atLeast)
}

// now returns ms since the epoch.
func (c *clock) now() int64 {
	c.last = max(c.last, c.base.Add(c.read().Sub(c.base)).UnixMilli())
	return c.last
}

package mysql

import "errors"

// errShort is an event that ends in the middle of what it should hold.
var errShort = errors.New("it is cut short")

// cursor reads an event from front to back. A read past the end gives zeros and
// leaves err set, so that err need be looked at only where a number decides how
// to go on, and at the end.
type cursor struct {
	rest []byte
	err  error
}

// bytes takes the next n bytes, which stay the event's.
func (c *cursor) bytes(n int) []byte {
	if c.err == nil && (n < 0 || n > len(c.rest)) {
		c.err = errShort
	}
	if c.err != nil {
		return nil
	}
	taken := c.rest[:n:n]
	c.rest = c.rest[n:]
	return taken
}

// uint takes a number of n bytes, little endian.
func (c *cursor) uint(n int) uint64 {
	var v uint64
	for i, b := range c.bytes(n) {
		v |= uint64(b) << (8 * i)
	}
	return v
}

// packed takes a number of one byte, or of two, three or eight behind a byte that
// says so.
func (c *cursor) packed() uint64 {
	switch first := c.uint(1); first {
	case 0xfc:
		return c.uint(2)
	case 0xfd:
		return c.uint(3)
	case 0xfe:
		return c.uint(8)
	case 0xfb, 0xff:
		if c.err == nil {
			c.err = errors.New("a number begins with a byte that begins none")
		}
		return 0
	default:
		return first
	}
}

// count takes a packed number of things that follow, each at least a byte long.
func (c *cursor) count() int {
	n := c.packed()
	if c.err == nil && n > uint64(len(c.rest)) {
		c.err = errShort
	}
	if c.err != nil {
		return 0
	}
	return int(n)
}

// text takes bytes behind their packed number.
func (c *cursor) text() []byte { return c.bytes(c.count()) }

// word takes text with a length of one byte, as the names of tables and columns are.
func (c *cursor) word() []byte { return c.bytes(int(c.uint(1))) }

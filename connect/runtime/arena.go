package runtime

// arenaBlock is how much memory an arena takes at a time, in bytes.
const arenaBlock = 64 << 10

// arena holds the bytes of many records in few allocations. What it returns is
// never moved; the memory goes when the last record does.
type arena struct {
	block []byte
}

// bytes returns what write appends; nil if that is nothing.
func (a *arena) bytes(write func(to []byte) []byte) []byte {
	start := len(a.block)
	grown := write(a.block)
	if len(grown) == start {
		return nil
	}
	if cap(grown) != cap(a.block) {
		// It did not fit and was copied to a larger block, with everything before it
		// that others hold already. Only the end of that is of use, so the next block
		// is a new one.
		made := grown[start:len(grown):len(grown)]
		a.block = make([]byte, 0, max(arenaBlock, len(made)))
		return made
	}
	a.block = grown
	return grown[start:len(grown):len(grown)]
}

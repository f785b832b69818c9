package runtime

import "github.com/twmb/franz-go/pkg/kgo"

const (
	// arenaBlock is how much memory an arena takes at a time, in bytes.
	arenaBlock = 64 << 10
	// arenaRecords is how many records it takes at a time.
	arenaRecords = 64
)

// arena holds many records and their bytes in few allocations. What it returns is
// never moved; the memory goes when the last of what shares a block does.
type arena struct {
	block   []byte
	longest int // of what was written so far, as far as it leaves room for more in a block
	records []roomyRecord
}

// roomyRecord is a record with room for its headers.
type roomyRecord struct {
	kgo.Record
	headers [2]kgo.RecordHeader
}

// record returns an empty record with the two headers.
func (a *arena) record(first, second kgo.RecordHeader) *kgo.Record {
	if len(a.records) == 0 {
		a.records = make([]roomyRecord, arenaRecords)
	}
	r := &a.records[0]
	a.records = a.records[1:]
	r.headers = [...]kgo.RecordHeader{first, second}
	r.Headers = r.headers[:]
	return &r.Record
}

// bytes returns what write appends; nil if that is nothing.
func (a *arena) bytes(write func(to []byte) []byte) []byte {
	if cap(a.block)-len(a.block) < a.longest {
		a.block = make([]byte, 0, arenaBlock)
	}
	start := len(a.block)
	grown := write(a.block)
	made := grown[start:len(grown):len(grown)]
	if len(made) == 0 {
		return nil
	}
	a.longest = max(a.longest, min(len(made), arenaBlock/8))
	if cap(grown) == cap(a.block) {
		a.block = grown
		return made
	}
	// It did not fit and was copied to a larger block, with everything before it that
	// others hold already. Only the end of that is of use, so the next block is a new one.
	a.block = nil
	return made
}

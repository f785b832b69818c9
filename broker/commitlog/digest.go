package commitlog

import (
	"hash/crc64"

	"github.com/splashdam/splashdam/broker/record"
)

// Digest sums up the entries of a segment, whatever headers a node has put in front
// of them and at whatever addresses: segments with equal digests hold the same
// entries in the same order. It is in the head of a segment's index.
type Digest struct {
	// Entries is how many there are, Bytes their length together.
	Entries, Bytes uint64
	// Sum is the CRC-64 (ECMA-182) over the headers of the entries. Each has the
	// checksum of its whole entry in it, of another polynomial.
	Sum uint64
}

var ecma = crc64.MakeTable(crc64.ECMA)

func (d *Digest) add(e record.Entry) {
	d.Entries++
	d.Bytes += uint64(len(e))
	d.Sum = crc64.Update(d.Sum, ecma, e[:record.EntryHeaderSize])
}

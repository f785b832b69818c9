package arrow

import (
	"encoding/binary"

	"github.com/splashdam/splashdam/connect"
)

// encoder turns columns into the bytes of a file, which it writes to an outlet.
type encoder interface {
	chunk(columns []connect.Column) error
	finish() error // writes what ends the file
}

// newEncoder begins a file whose first chunk is given.
func (s *Sink) newEncoder(out *outlet, plan *filePlan, first []connect.Column) (encoder, error) {
	if s.format == formatArrow {
		return newIPCEncoder(out, plan.fields, plan.meta, s.compression)
	}
	return newParquetEncoder(out, plan.fields, first, plan.meta, s.compression, &s.values)
}

// appendFixed appends a value of one to eight bytes, little endian.
func appendFixed(to *connect.Column, value []byte) {
	switch len(value) {
	case 1:
		to.Append1(value[0])
	case 2:
		to.Append2(binary.LittleEndian.Uint16(value))
	case 4:
		to.Append4(binary.LittleEndian.Uint32(value))
	default:
		to.Append8(binary.LittleEndian.Uint64(value))
	}
}

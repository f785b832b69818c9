package commitlog

import (
	"encoding/binary"
)

// How far a scrub has come stands in a small file, so that one that takes days goes
// on after a start:
//
//	 0  u32  magic "SDSC"
//	 4  u16  version, 1
//	 6  u16  zero
//	 8  u64  address     all sealed segments that end at or before it are done
//	16  i64  begun       when the pass began, ms
//	24  u32  zero
//	28  u32  CRC-32C     over bytes 0 to 27
//
// It is written over without a sync: one that is torn, or of a future version, costs
// another pass.
const (
	scrubName    = "scrub"
	scrubMagic   = 0x43534453 // "SDSC"
	scrubVersion = 1
	scrubSize    = 32
)

// scrubPlace is what the file says.
type scrubPlace struct {
	at    Address
	begun int64 // ms
}

func (p scrubPlace) encode() []byte {
	b := make([]byte, scrubSize)
	binary.LittleEndian.PutUint32(b, scrubMagic)
	binary.LittleEndian.PutUint16(b[4:], scrubVersion)
	binary.LittleEndian.PutUint64(b[8:], uint64(p.at))
	binary.LittleEndian.PutUint64(b[16:], uint64(p.begun))
	binary.LittleEndian.PutUint32(b[28:], checksumAround(b, 28))
	return b
}

// decodeScrubPlace errors with ErrFutureVersion or errDamage.
func decodeScrubPlace(b []byte) (scrubPlace, error) {
	if len(b) != scrubSize || binary.LittleEndian.Uint32(b) != scrubMagic {
		return scrubPlace{}, damagef("no place of a scrub in %d bytes", len(b))
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > scrubVersion {
		return scrubPlace{}, futureVersion(scrubName, v, scrubVersion)
	}
	if want, got := binary.LittleEndian.Uint32(b[28:]), checksumAround(b, 28); want != got {
		return scrubPlace{}, damagef("place of a scrub: checksum %08x, computed %08x", want, got)
	}
	return scrubPlace{Address(binary.LittleEndian.Uint64(b[8:])), int64(binary.LittleEndian.Uint64(b[16:]))}, nil
}

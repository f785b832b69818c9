package compaction

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/splashdam/splashdam/broker/record"
)

// Keys holds the newest offset of each key of some partitions: of a key its hash, 16
// bytes of SHA-256, which nobody can make two keys share. It never grows.
type Keys struct {
	slots []keySlot
	used  int
	most  int // how many may be used, so that there are always free ones to end a search
}

type keySlot struct {
	high, low uint64 // of the hash
	next      int64  // offset + 1; 0 in a free slot
}

const (
	keySlotSize = 24 // bytes
	// minKeys is what a map holds however little memory it is given.
	minKeys = 64
)

// NewKeys makes a map for at least n keys, or as many as fit in limit bytes.
func NewKeys(n int64, limit int) *Keys {
	slots := max(minKeys, min(n+n/4+minKeys, int64(limit)/keySlotSize))
	return &Keys{slots: make([]keySlot, slots), most: int(slots - slots/10)}
}

func hashKey(p record.PartitionID, key []byte) (high, low uint64) {
	var room [256]byte
	b := append(binary.LittleEndian.AppendUint32(room[:0], uint32(p)), key...)
	sum := sha256.Sum256(b)
	return binary.LittleEndian.Uint64(sum[:]), binary.LittleEndian.Uint64(sum[8:])
}

// find returns the slot of a key, or the free one where it would be.
func (m *Keys) find(high, low uint64) *keySlot {
	for i := high % uint64(len(m.slots)); ; i = (i + 1) % uint64(len(m.slots)) {
		if s := &m.slots[i]; s.next == 0 || s.high == high && s.low == low {
			return s
		}
	}
}

// put notes an offset of a key. It reports false, and notes nothing, if there is no
// room for one more key.
func (m *Keys) put(p record.PartitionID, key []byte, offset int64) bool {
	high, low := hashKey(p, key)
	s := m.find(high, low)
	if s.next == 0 {
		if m.used == m.most {
			return false
		}
		m.used++
		s.high, s.low = high, low
	}
	s.next = max(s.next, offset+1)
	return true
}

// newest is the newest offset of a key, -1 if it is not in the map.
func (m *Keys) newest(p record.PartitionID, key []byte) int64 {
	return m.find(hashKey(p, key)).next - 1
}

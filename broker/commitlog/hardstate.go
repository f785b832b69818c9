package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"sync"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// HardState is what a Raft replica must not forget.
type HardState struct {
	Term   record.Term
	Vote   uint64
	Commit record.Index
}

// The hard state is a file of two slots of 512 bytes, the size that disks write
// in one piece:
//
//	 0  u32  magic "SDHS"
//	 4  u16  version, 1
//	 6  u16  zero
//	 8  u64  sequence    the higher one of two good slots is the newer
//	16  u64  term
//	24  u64  vote        replica id, 0 for none
//	32  u64  commit
//	40  u64  durable     the log was known to be durable up to this index
//	48  u32  generation  of the log to which durable refers
//	52       zeros
//	508 u32  CRC-32C     over bytes 0 to 507
//
// One slot, the anchor, is always durable and never written. A change goes to the
// other one; if term or vote changed it is synced, becomes the anchor, and the
// same is written to the slot that was the anchor before. So a torn write costs
// nothing, and in a file at rest both slots have the same term and vote: either
// may be damaged.
//
// Durable is why bit rot at the end of a log that was closed is noticed, where no
// later frame tells that the last ones had been synced.
const (
	hardStateName    = "hardstate"
	hardStateMagic   = 0x53484453 // "SDHS"
	hardStateVersion = 1
	hardStateSlot    = 512
)

type hardStateRecord struct {
	HardState
	sequence   uint64
	durable    record.Index
	generation uint32
}

func (r hardStateRecord) encode() []byte {
	b := make([]byte, hardStateSlot)
	binary.LittleEndian.PutUint32(b, hardStateMagic)
	binary.LittleEndian.PutUint16(b[4:], hardStateVersion)
	binary.LittleEndian.PutUint64(b[8:], r.sequence)
	binary.LittleEndian.PutUint64(b[16:], uint64(r.Term))
	binary.LittleEndian.PutUint64(b[24:], r.Vote)
	binary.LittleEndian.PutUint64(b[32:], uint64(r.Commit))
	binary.LittleEndian.PutUint64(b[40:], uint64(r.durable))
	binary.LittleEndian.PutUint32(b[48:], r.generation)
	binary.LittleEndian.PutUint32(b[508:], checksumAround(b, 508))
	return b
}

func decodeHardStateSlot(b []byte) (hardStateRecord, error) {
	if magic := binary.LittleEndian.Uint32(b); magic != hardStateMagic {
		return hardStateRecord{}, damagef("no hard state: it begins with %08x", magic)
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > hardStateVersion {
		return hardStateRecord{}, futureVersion(hardStateName, v, hardStateVersion)
	}
	if want, got := binary.LittleEndian.Uint32(b[508:]), checksumAround(b[:hardStateSlot], 508); want != got {
		return hardStateRecord{}, damagef("checksum %08x, computed %08x", want, got)
	}
	return hardStateRecord{
		HardState: HardState{
			Term:   record.Term(binary.LittleEndian.Uint64(b[16:])),
			Vote:   binary.LittleEndian.Uint64(b[24:]),
			Commit: record.Index(binary.LittleEndian.Uint64(b[32:])),
		},
		sequence:   binary.LittleEndian.Uint64(b[8:]),
		durable:    record.Index(binary.LittleEndian.Uint64(b[40:])),
		generation: binary.LittleEndian.Uint32(b[48:]),
	}, nil
}

// decodeHardState returns the newer good slot and its number; damaged says what is
// wrong with the other one, if anything. It errors with ErrFutureVersion or a
// *CorruptionError.
func decodeHardState(b []byte) (r hardStateRecord, slot int, damaged, err error) {
	if len(b) != 2*hardStateSlot {
		return r, 0, nil, &CorruptionError{hardStateName, 0, damagef("%d bytes, not %d", len(b), 2*hardStateSlot)}
	}
	var records [2]hardStateRecord
	var errs [2]error
	for i := range records {
		records[i], errs[i] = decodeHardStateSlot(b[i*hardStateSlot:][:hardStateSlot])
		if errs[i] != nil {
			damaged = fmt.Errorf("slot %d: %w", i, errs[i])
		}
		if errs[i] != nil && !isDamage(errs[i]) {
			return r, 0, nil, errs[i]
		}
	}
	switch {
	case errs[0] != nil && errs[1] != nil:
		return r, 0, nil, &CorruptionError{hardStateName, 0, fmt.Errorf("both slots: %w", errs[0])}
	case errs[0] != nil || errs[1] == nil && records[1].sequence > records[0].sequence:
		slot = 1
	}
	return records[slot], slot, damaged, nil
}

// hardState is the open file.
type hardState struct {
	mu     sync.Mutex
	file   vfs.File
	now    hardStateRecord
	anchor int // the slot that is not written
	// torn is that a write of the other slot has failed: nothing counts on it.
	torn bool
}

// createHardState makes the file of a log in which nothing happened yet.
func createHardState(fsys vfs.FS, dir string) error {
	return writeHardState(fsys, dir, hardStateRecord{sequence: 1, generation: 1})
}

// writeHardState makes the file, with the same in both slots.
func writeHardState(fsys vfs.FS, dir string, r hardStateRecord) error {
	return replaceFile(fsys, dir, hardStateName, func(f vfs.File) error {
		b := r.encode()
		_, err := f.WriteAt(append(b, b...), 0)
		return err
	})
}

// openHardState makes what it read durable. damaged says what was wrong with the
// slot that was not used; it has been repaired.
func openHardState(fsys vfs.FS, dir string) (h *hardState, damaged, err error) {
	f, err := fsys.OpenWrite(path.Join(dir, hardStateName))
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	b, err := readAll(f, 2*hardStateSlot)
	if err != nil && !isDamage(err) {
		return nil, nil, fmt.Errorf("%s: %w", hardStateName, err)
	}
	r, slot, damaged, err := decodeHardState(b)
	if err != nil {
		return nil, nil, err
	}
	h = &hardState{file: f, now: r, anchor: slot}
	if err := syncFile(f); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", hardStateName, err)
	}
	if err := h.mirror(); err != nil && !retryable(err) {
		return nil, nil, fmt.Errorf("%s: %w", hardStateName, err)
	}
	return h, damaged, nil
}

func (h *hardState) get() HardState {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now.HardState
}

// limitCommit takes back a commit index that the log does not reach.
func (h *hardState) limitCommit(last record.Index) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now.Commit = min(h.now.Commit, last)
}

// set writes the state; with sync it returns when that is durable, together with
// what is known of the log.
func (h *hardState) set(hs HardState, sync bool, durable record.Index, generation uint32) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := hardStateRecord{HardState: hs, sequence: h.now.sequence + 1, durable: durable, generation: generation}
	other := 1 - h.anchor
	if err := h.write(next); err != nil {
		return err
	}
	if !sync {
		h.now = next
		return nil
	}
	if err := syncFile(h.file); err != nil {
		return err
	}
	h.now, h.anchor = next, other
	if err := h.mirror(); err != nil && !retryable(err) {
		return err
	}
	return nil
}

// mirror writes the state to the slot that is not the anchor.
func (h *hardState) mirror() error { return h.write(h.now) }

func (h *hardState) write(r hardStateRecord) error {
	_, err := h.file.WriteAt(r.encode(), int64(1-h.anchor)*hardStateSlot)
	h.torn = err != nil
	return err
}

// check verifies both slots on the disk and returns how much was read.
func (h *hardState) check() (int64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	b, err := readAll(h.file, 2*hardStateSlot)
	if err != nil {
		return 0, err
	}
	_, _, damaged, err := decodeHardState(b)
	if h.torn {
		damaged = nil
	}
	return int64(len(b)), errors.Join(damaged, err)
}

package sim

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/broker/replica"
	"github.com/splashdam/splashdam/internal/vfs"
)

// found runs worlds with a planted bug until one of them breaks a rule, and returns
// that. Not coming to rest does not count: a bug that loses data must be seen as one.
func found(t *testing.T, plant Plant, atMost int) *Violation {
	t.Helper()
	for seed := range uint64(atMost) {
		_, err := Run(Config{Seed: seed, Duration: duration, Plant: plant})
		var v *Violation
		if errors.As(err, &v) && v.Checker != comesToRest {
			t.Logf("seed %d after %v: %s: %s", seed, v.At, v.Checker, strings.SplitN(v.What, "\n", 2)[0])
			return v
		}
	}
	t.Fatalf("%d worlds have not shown the bug", atMost)
	return nil
}

// doctored is a file system whose files are wrapped.
type doctored struct {
	vfs.FS
	wrap func(name string, f vfs.File) vfs.File
}

func (d doctored) Create(name string) (vfs.File, error) {
	f, err := d.FS.Create(name)
	if err == nil {
		f = d.wrap(name, f)
	}
	return f, err
}

func (d doctored) OpenWrite(name string) (vfs.File, error) {
	f, err := d.FS.OpenWrite(name)
	if err == nil {
		f = d.wrap(name, f)
	}
	return f, err
}

// hasty is a segment whose syncs return before they happen: with the next write.
type hasty struct {
	vfs.File
	begun bool // the header is durable
}

func (f *hasty) Sync() error {
	if f.begun {
		return nil
	}
	f.begun = true
	return f.File.Sync()
}

func (f *hasty) WriteAt(p []byte, at int64) (int, error) {
	if err := f.File.Sync(); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, at)
}

func (f *hasty) Size() (int64, error) { // asked when the segment is full
	if err := f.File.Sync(); err != nil {
		return 0, err
	}
	return f.File.Size()
}

// TestAnAckBeforeTheSyncIsFound has the newest write of a segment acknowledged and
// not synced.
func TestAnAckBeforeTheSyncIsFound(t *testing.T) {
	plant := func(blind ...string) Plant {
		return Plant{Blind: blind, FS: func(fs vfs.FS) vfs.FS {
			return doctored{fs, func(name string, f vfs.File) vfs.File {
				if strings.HasSuffix(name, ".log") {
					return &hasty{File: f}
				}
				return f
			}}
		}}
	}
	found(t, plant(), 20)
	// Also by those who see only what the group does.
	found(t, plant(durableSurvives, opensAgain, filesSound), 100)
}

// late is a hard state that reaches the disk only before the first frame behind it.
type late struct {
	vfs.File
	held []heldWrite
}

type heldWrite struct {
	data []byte
	at   int64
}

func (f *late) WriteAt(p []byte, at int64) (int, error) {
	f.held = append(f.held, heldWrite{append([]byte(nil), p...), at})
	return len(p), nil
}

// release writes what was held.
func (f *late) release() error {
	for _, w := range f.held {
		if _, err := f.File.WriteAt(w.data, w.at); err != nil {
			return err
		}
	}
	f.held = nil
	return f.Sync()
}

// behind is a segment that has a late hard state written first.
type behind struct {
	vfs.File
	hard **late
}

func (f behind) WriteAt(p []byte, at int64) (int, error) {
	if *f.hard != nil {
		if err := (*f.hard).release(); err != nil {
			return 0, err
		}
	}
	return f.File.WriteAt(p, at)
}

// lateVotes plants a vote before the sync.
func lateVotes(fs vfs.FS) vfs.FS {
	hard := new(*late)
	return doctored{fs, func(name string, f vfs.File) vfs.File {
		switch {
		case path.Base(name) == "hardstate":
			*hard = &late{File: f}
			return *hard
		case strings.HasSuffix(name, ".log"):
			return behind{f, hard}
		}
		return f
	}}
}

// TestAVoteBeforeTheSyncIsFound has terms and votes that are told before they are
// durable.
func TestAVoteBeforeTheSyncIsFound(t *testing.T) {
	v := found(t, Plant{FS: lateVotes}, 50)
	if v.Checker != votesSurvive {
		t.Errorf("found by %q", v.Checker)
	}
	// Also by what comes of it: node 3 votes for node 1, loses the power, and votes
	// for node 2 in the same term.
	v = plays(t, Config{Nodes: 3, Plant: Plant{FS: lateVotes, Blind: []string{votesSurvive}}}, func(s *script) {
		s.elect(2, 1, 3)
		s.elect(1, 3)
		s.crash(3)
		s.elect(2, 3)
	})
	if v.Checker != oneLeader {
		t.Errorf("found by %q: %s", v.Checker, v.What)
	}
}

// restamped is a segment whose cut frames stay, as if they had been written by the
// log's new generation: what a log without generations would have.
type restamped struct{ vfs.File }

func (f restamped) Truncate(size int64) error {
	end, err := f.Size()
	if err != nil || size >= end || size < 64 {
		return errors.Join(err, f.File.Truncate(size))
	}
	data := make([]byte, end)
	if _, err := f.ReadAt(data, 0); err != nil {
		return err
	}
	base := binary.LittleEndian.Uint64(data[16:])
	for pos := size; pos+32 <= end && binary.LittleEndian.Uint32(data[pos:]) == 0x52464453; {
		h := data[pos:]
		binary.LittleEndian.PutUint32(h[12:], binary.LittleEndian.Uint32(h[12:])+1)
		sum := crc32.MakeTable(crc32.Castagnoli)
		crc := crc32.Update(crc32.Checksum(binary.LittleEndian.AppendUint64(nil, base+uint64(pos)), sum), sum, h[:24])
		binary.LittleEndian.PutUint32(h[24:], crc)
		pos += (32 + int64(binary.LittleEndian.Uint32(h[8:])) + 7) / 8 * 8
	}
	_, err = f.WriteAt(data[size:], size)
	return err
}

// TestAStaleFrameBehindACutIsFound has frames come back that were cut: node 2 has
// two entries that a leader of a lower last term cuts, gets the first one in their
// place, and loses the power.
func TestAStaleFrameBehindACutIsFound(t *testing.T) {
	plant := Plant{FS: func(fs vfs.FS) vfs.FS {
		return doctored{fs, func(name string, f vfs.File) vfs.File {
			if strings.HasSuffix(name, ".log") {
				return restamped{f}
			}
			return f
		}}
	}}
	play := func(s *script) {
		s.elect(1, 2, 3)
		s.settle()
		at := s.w.node(1).m.Log.Last() + 1
		s.elect(1, 3) // its first entry stays its own: all lines are cut then
		s.elect(2, 3)
		s.elect(2, 3)
		s.elect(1, 3)
		s.connect(1, 2)
		s.until(func() bool {
			h, _ := s.w.node(2).m.Log.Handle(at)
			mine, _ := s.w.node(1).m.Log.Handle(at)
			return h == mine
		})
		s.crash(2)
		s.run(time.Second)
	}
	if v := plays(t, Config{Nodes: 3, Plant: plant}, play); v.Checker != logsMatch {
		t.Errorf("found by %q: %s", v.Checker, v.What)
	}
	if v := tell(t, Config{Nodes: 3}, play); v != nil {
		t.Errorf("without the bug: %v", v)
	}
}

// wallClock applies entries with the node's own time.
type wallClock struct {
	replica.StateMachine
	now func() time.Time
}

func (c wallClock) Apply(e record.Entry) error {
	e = append(record.Entry(nil), e...)
	binary.LittleEndian.PutUint64(e[16:], uint64(c.now().UnixMilli()))
	return c.StateMachine.Apply(e)
}

// TestAnApplyThatReadsTheClockIsFound has replicas whose state depends on when they
// apply an entry.
func TestAnApplyThatReadsTheClockIsFound(t *testing.T) {
	v := found(t, Plant{StateMachine: func(sm replica.StateMachine, now func() time.Time) replica.StateMachine {
		return wallClock{sm, now}
	}}, 5)
	if v.Checker != stateEqual {
		t.Errorf("found by %q", v.Checker)
	}
}

package commitlog

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

func TestAReplayGivesTheNewestGoodSnapshotAndWhatFollowsUpToDamage(t *testing.T) {
	mem, h, segments := aged(t, 15)
	flip := func(t *testing.T, fsys vfs.FS, i record.Index, s SegmentInfo) {
		from, to := h.frameOf(t, mem, s, i)
		edit(t, fsys, s.Name, func(b []byte) []byte { b[(from+to)/2] ^= 1; return b })
	}
	for name, c := range map[string]struct {
		spoil    func(*testing.T, vfs.FS)
		snapshot record.Index
		last     record.Index
		corrupt  bool
	}{
		"a sound log": {func(*testing.T, vfs.FS) {}, 15, 18, false},
		"a damaged newest snapshot": {func(t *testing.T, fsys vfs.FS) {
			edit(t, fsys, snapshotName(15), func(b []byte) []byte { b[60] ^= 1; return b })
		}, 6, 18, false},
		"no snapshot": {func(t *testing.T, fsys vfs.FS) {
			must(t, fsys.Remove(dir+"/"+snapshotName(15)))
			must(t, fsys.Remove(dir+"/"+snapshotName(6)))
		}, 0, 18, false},
		"damage behind the snapshot":  {func(t *testing.T, fsys vfs.FS) { flip(t, fsys, 18, segments[4]) }, 15, 17, true},
		"damage in front of it":       {func(t *testing.T, fsys vfs.FS) { flip(t, fsys, 6, segments[1]) }, 15, 18, false},
		"a missing segment behind it": {func(t *testing.T, fsys vfs.FS) { must(t, fsys.Remove(dir+"/"+segments[4].Name)) }, 15, 16, true},
		"no manifest":                 {func(t *testing.T, fsys vfs.FS) { must(t, fsys.Remove(dir+"/"+manifestName)) }, 0, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			bad := copyFS(t, mem)
			c.spoil(t, bad)
			before := copyFS(t, bad)
			var from, last record.Index
			err := Replay(bad, dir, func(s *Snapshot) error {
				from, last = s.Index, s.Index
				return nil
			}, func(e record.Entry) error {
				if last++; e.Index() != last || !bytes.Equal(e, h.entries[last-1]) {
					t.Errorf("entry %d comes as number %d, or is another", e.Index(), last)
				}
				return nil
			})
			if from != c.snapshot || last != c.last || (err != nil) != c.corrupt {
				t.Errorf("snapshot %d, last entry %d, %v", from, last, err)
			}
			names, lerr := bad.List(dir)
			must(t, lerr)
			if want, _ := before.List(dir); !slices.Equal(names, want) {
				t.Errorf("there are %v, there were %v", names, want)
			}
			for _, n := range names {
				if !bytes.Equal(content(t, bad, n), content(t, before, n)) {
					t.Errorf("%s was changed", n)
				}
			}
		})
	}
	t.Run("what is told ends it", func(t *testing.T) {
		enough := errors.New("enough")
		if err := Replay(mem, dir, func(*Snapshot) error { return enough }, nil); !errors.Is(err, enough) {
			t.Errorf("restore: %v", err)
		}
		if err := Replay(mem, dir, func(*Snapshot) error { return nil }, func(record.Entry) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("apply: %v", err)
		}
	})
}

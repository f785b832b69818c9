package commitlog

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// What Open refuses is repaired: the log is as it was up to the damage, what follows is
// kept aside and named, and life goes on.
func TestARepairKeepsAllUpToTheDamageAndNamesTheRest(t *testing.T) {
	repaired := 0
	for _, snapshot := range []record.Index{9, 12, 15, 17} {
		mem, h, segments := aged(t, snapshot)
		for i := snapshot - 1; i <= 18; i++ {
			s := segments[min((i-1)/4, 3)]
			if i > 16 {
				s = segments[4]
			}
			for what, spoil := range damages {
				name := fmt.Sprintf("snapshot %d, %s of entry %d", snapshot, what, i)
				bad := copyFS(t, mem)
				from, to := h.frameOf(t, mem, s, i)
				if what == "zeros" {
					to = int(s.Size) // all that follows in the segment
				}
				edit(t, bad, s.Name, func(b []byte) []byte { return spoil(b, from, to) })
				if _, err := Open(copyFS(t, bad), dir, Options{}); err == nil {
					if _, err := Repair(bad, dir, 1); !errors.Is(err, ErrNotRepairable) {
						t.Fatalf("%s: nothing is to be repaired: %v", name, err)
					}
					continue
				}
				repaired++
				keep := i - 1
				if what == "header" {
					keep = s.First - 1
				}
				before, err := Verify(bad, dir)
				must(t, err)
				if before.Cut == nil || before.Cut.Last != max(keep, snapshot) || before.Cut.End != 18 || before.Problems[0].Do != doRepair {
					t.Fatalf("%s: verify says %+v, %v", name, before.Cut, before.Problems)
				}
				was := content(t, bad, s.Name)
				did, err := Repair(bad, dir, 1771070400000)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				h.afterRepair(t, name, bad, did, before, keep, snapshot)
				if what != "cut" {
					tail := content(t, bad, did.Kept[0])
					if !bytes.HasSuffix(was, tail) || len(tail) < int(s.Size)-from {
						t.Fatalf("%s: %d bytes of the segment are kept", name, len(tail))
					}
				}
			}
		}
	}
	if repaired < 30 {
		t.Errorf("only %d were repaired", repaired)
	}
}

// afterRepair compares a repaired log with the history: entries up to keep are there,
// those from there up to the snapshot are lost, the rest is gone.
func (h *history) afterRepair(t *testing.T, name string, fsys vfs.FS, did Repaired, before Report, keep, snapshot record.Index) {
	t.Helper()
	got := h.clone()
	var err error
	if got.log, err = Open(fsys, dir, Options{}); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	last := max(keep, snapshot)
	if got.log.Last() != last || did.Last != last || did.End != 18 {
		t.Fatalf("%s: %d entries, and it says %+v", name, got.log.Last(), did)
	}
	// What goes is named: of each partition all from where it stood, as far as the
	// entries behind the damage tell.
	ends := h.standings(last)
	for _, o := range before.Cut.Offsets {
		if o.From > ends.next(o.Partition) || o.To != h.standings(18).next(o.Partition) {
			t.Fatalf("%s: lost is %v, the partition stood at %d", name, o, ends.next(o.Partition))
		}
	}
	line := content(t, fsys, quarantineName+"/"+auditName)
	var audit Repaired
	if err := json.Unmarshal(bytes.TrimSpace(line), &audit); err != nil || audit.Last != last || audit.Time != did.Time || len(audit.Kept) != len(did.Kept) {
		t.Fatalf("%s: the audit says %s, %v", name, line, err)
	}
	got.entries = got.entries[:last]
	got.hard = got.log.HardState()
	got.committed = last
	must(t, got.replay())
	lost := func(i record.Index, _ record.Batch) bool { return i > keep }
	if err := got.served(lost); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	must(t, got.append(true, false, false))
	must(t, got.sync())
	must(t, got.commit(last+3))
	must(t, got.seal())
	must(t, got.snap(last+2))
	lost = func(i record.Index, _ record.Batch) bool { return i > keep && i <= last }
	if err := got.served(lost); err != nil {
		t.Fatalf("%s, later: %v", name, err)
	}
	must(t, got.reopen(fsys))
	if err := got.served(lost); err != nil {
		t.Fatalf("%s, after a start: %v", name, err)
	}
	must(t, got.log.Close())
	r, err := Verify(fsys, dir)
	must(t, err)
	for _, p := range r.Problems {
		if p.Do == doRepair {
			t.Fatalf("%s: verify still says %v", name, p)
		}
	}
}

func TestACrashAtAnyCallOfARepairLeavesALogThatCanBeRepaired(t *testing.T) {
	mem, h, segments := aged(t, 9)
	from, to := h.frameOf(t, mem, segments[2], 11)
	spoilt := copyFS(t, mem)
	edit(t, spoilt, segments[2].Name, func(b []byte) []byte { return damages["flip"](b, from, to) })
	before, err := Verify(spoilt, dir)
	must(t, err)
	for n := 1; ; n++ {
		bad := copyFS(t, spoilt)
		f := vfs.NewFault(bad, vfs.CrashAt(n))
		_, err := Repair(f, dir, 1)
		if err == nil {
			break
		}
		if !errors.Is(err, vfs.ErrCrashed) {
			t.Fatalf("crash at call %d: %v", n, err)
		}
		left := bad.Crash(rand.New(rand.NewPCG(1, uint64(n))))
		did, err := Repair(left, dir, 2)
		if errors.Is(err, ErrNotRepairable) {
			did, err = Repaired{Last: 10, End: 18}, nil // it was repaired already
		}
		must(t, err)
		l, err := Open(left, dir, Options{})
		must(t, err)
		if l.Last() != 10 || did.Last != 10 {
			t.Fatalf("crash at call %d: %d entries, %+v", n, l.Last(), did)
		}
		must(t, l.Close())
	}
	if before.Cut.Readable != 7 {
		t.Errorf("%d entries behind the damage can be read", before.Cut.Readable)
	}
}

func TestAHardStateOfWhichNothingIsLeftIsMadeAnew(t *testing.T) {
	mem, h, _ := aged(t, 15)
	edit(t, mem, hardStateName, func(b []byte) []byte { b[20] ^= 1; b[hardStateSlot+20] ^= 1; return b })
	r, err := Verify(mem, dir)
	must(t, err)
	if r.Term != 1 || len(r.Problems) != 1 || r.Problems[0].Do != doRepair || r.Cut != nil {
		t.Fatalf("verify says %+v", r)
	}
	did, err := Repair(mem, dir, 1)
	must(t, err)
	if did.Term != 1 || !slices.Equal(did.Kept, []string{"quarantine/hardstate"}) {
		t.Errorf("it says %+v", did)
	}
	h.log, err = Open(mem, dir, Options{})
	must(t, err)
	h.hard = h.log.HardState()
	must(t, h.replay())
	must(t, h.check())
}

func TestVerifySaysWhatLiesInADamagedPlaceBelowTheSnapshot(t *testing.T) {
	mem, h, segments := aged(t, 15)
	from, to := h.frameOf(t, mem, segments[0], 3)
	edit(t, mem, segments[0].Name, func(b []byte) []byte { return damages["flip"](b, from, to) })
	must(t, mem.Remove(dir+"/"+segments[1].Name))
	r, err := Verify(mem, dir)
	must(t, err)
	if len(r.Problems) != 2 || r.Problems[0].Do != doLost || r.Problems[1].Do != doLost || r.Cut != nil || r.Last != 18 {
		t.Fatalf("verify says %+v", r)
	}
	want := map[record.PartitionID]OffsetRange{}
	a, b := h.standings(2), h.standings(3)
	for _, p := range partitions {
		if b.next(p) > a.next(p) {
			want[p] = OffsetRange{p, a.next(p), b.next(p)}
		}
	}
	got := map[record.PartitionID]OffsetRange{}
	for _, o := range r.Problems[0].Offsets {
		got[o.Partition] = o
	}
	if !maps.Equal(got, want) {
		t.Errorf("in the damaged entry there were %v, want %v", got, want)
	}
	if r.Problems[1].File != segments[1].Name {
		t.Errorf("%v", r.Problems[1])
	}
}

func TestVerifyNamesWhatBelongsToNothing(t *testing.T) {
	mem, _, _ := aged(t, 15)
	for _, name := range []string{"00000000000000000001-00000001-00000001.log", "x.tmp", "notes.txt"} {
		f, err := mem.Create(dir + "/" + name)
		must(t, err)
		must(t, f.Close())
	}
	r, err := Verify(mem, dir)
	must(t, err)
	if !slices.Equal(r.Leftovers, []string{"00000000000000000001-00000001-00000001.log", "x.tmp"}) ||
		len(r.Problems) != 1 || r.Problems[0].File != "notes.txt" || !strings.HasPrefix(r.Problems[0].Do, "Nobody reads it") {
		t.Errorf("%+v", r)
	}
}

// The damage is in the open segment, where cutting it off would leave nothing that says
// that there was more.
func TestARepairThatIsInterruptedBeforeTheManifestLeavesALogThatIsRefused(t *testing.T) {
	mem := vfs.NewMem()
	h := start(t, mem)
	for range 10 {
		must(t, h.append(false))
		must(t, h.sync())
	}
	s := lastSegment(h.log)
	from, to := h.frameOf(t, mem, s, 5)
	spoilt := copyFS(t, mem)
	edit(t, spoilt, s.Name, func(b []byte) []byte { return damages["flip"](b, from, to) })
	refused, opened := 0, 0
	for n := 1; ; n++ {
		bad := copyFS(t, spoilt)
		replaced := false
		f := vfs.NewFault(bad, func(op vfs.Op) error {
			if op.N >= n {
				return vfs.ErrCrashed
			}
			replaced = replaced || op.Kind == vfs.OpRename
			return nil
		})
		if _, err := Repair(f, dir, 1); err == nil {
			break
		}
		l, err := Open(bad, dir, Options{}) // the process has died: nothing is lost of what it did
		switch {
		case !replaced && err == nil:
			t.Fatalf("crash at call %d: it opens, and ends at entry %d", n, l.Last())
		case !replaced:
			refused++
		case err != nil || l.Last() != 4 || l.generation < 2:
			t.Fatalf("crash at call %d: %v", n, err)
		default:
			opened++
			must(t, l.Close())
		}
	}
	if refused == 0 || opened == 0 {
		t.Errorf("%d were refused, %d opened", refused, opened)
	}
}

package arrow

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
)

var orders = connect.Partition{Topic: "orders", TopicID: [16]byte{7}, Partition: 3}

func ownerOf(writer string) owner {
	return owner{connector: "lake", writer: writer, partition: orders, format: "parquet"}
}

func open(fsys vfs.FS, writer string) (*manifest, error) {
	return openManifest(fsys, "lake", ownerOf(writer), "now")
}

// commitFile writes a file of n offsets, whose content is the writer's name, and
// commits it.
func commitFile(m *manifest, n int64) error {
	base := max(m.last.Next, 0)
	pending := m.pendingName()
	if err := writeFile(m.fs, pending, []byte(m.owner.writer)); err != nil {
		return err
	}
	e := m.last
	e.Writer, e.Base, e.Next = m.owner.writer, base, base+n
	e.File = fileName{span{e.Base, e.Next}, 0, "parquet"}.String()
	e.Pending = path.Base(pending)
	return m.commit(e)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// visible returns the spans of the files that readers see, and fails if they are
// not neighbours from 0 on.
func visible(t *testing.T, fsys vfs.FS) []string {
	t.Helper()
	names, err := fsys.List("lake/orders/p=3")
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	must(t, err)
	var next int64
	for _, name := range names {
		n, ok := parseFileName(name)
		if !ok {
			t.Fatalf("readers see %s", name)
		}
		if n.base != next {
			t.Fatalf("a file begins at %d where %d is due: %q", n.base, next, names)
		}
		next = n.next
	}
	return names
}

func TestAManifestGoesOnWhereItEnded(t *testing.T) {
	mem := vfs.NewMem()
	m, err := open(mem, "a")
	must(t, err)
	if m.last.Next != nothingDurable {
		t.Fatalf("a new manifest ends at %d", m.last.Next)
	}
	must(t, commitFile(m, 10))
	must(t, commitFile(m, 5))
	m, err = open(mem, "b")
	must(t, err)
	if m.last.Next != 15 || len(visible(t, mem)) != 2 {
		t.Fatalf("it ends at %d, readers see %q", m.last.Next, visible(t, mem))
	}
	must(t, commitFile(m, 1))
	names, err := mem.List(m.dir)
	must(t, err)
	if len(names) != 1 || names[0] != entryName(m.number) {
		t.Errorf("left in the manifest: %q", names)
	}
}

// Whatever call a power loss comes before, what was committed is there, and what
// was not is there as a whole or not at all.
func TestCommitsSurviveACrashAtEveryCall(t *testing.T) {
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem, vfs.CrashAt(n))
		committed, err := commitThree(fault)
		for seed := range uint64(20) {
			left := mem.Crash(rand.New(rand.NewPCG(uint64(n), seed)))
			m, err := open(left, "later")
			if err != nil {
				t.Fatalf("crash at call %d: %v", n, err)
			}
			files := len(visible(t, left))
			if files != committed && files != committed+1 || m.last.Next != int64(10*files) && files > 0 {
				t.Fatalf("crash at call %d: %d committed, %d visible, next %d", n, committed, files, m.last.Next)
			}
			must(t, commitFile(m, 10))
			if now := len(visible(t, left)); now != files+1 {
				t.Fatalf("crash at call %d: %d files, and after another %d", n, files, now)
			}
			if after := len(visible(t, left.CrashClean())); after != files+1 {
				t.Fatalf("crash at call %d: of %d files %d are durable", n, files+1, after)
			}
		}
		if err == nil {
			return
		}
	}
}

// A process is killed before any call, the next one finds all that it did, synced
// or not, and then the power goes before any call of its own.
func TestWhatAKilledOwnerLeftIsMadeDurableBeforeItIsBuiltOn(t *testing.T) {
	for n := 1; ; n++ {
		var finished bool
		for k := 1; ; k++ {
			mem := vfs.NewMem()
			committed, err := commitThree(vfs.NewFault(mem, vfs.CrashAt(n)))
			finished = err == nil
			_, err = open(vfs.NewFault(mem, vfs.CrashAt(k)), "second")
			for seed := range uint64(4) {
				left := mem.Crash(rand.New(rand.NewPCG(uint64(n*1000+k), seed)))
				m, err := open(left, "later")
				if err != nil {
					t.Fatalf("killed at call %d, crash at call %d: %v", n, k, err)
				}
				files := len(visible(t, left))
				if files != committed && files != committed+1 || m.last.Next != int64(10*files) && files > 0 {
					t.Fatalf("killed at call %d, crash at call %d: %d committed, %d visible, next %d", n, k, committed, files, m.last.Next)
				}
			}
			if err == nil {
				break
			}
		}
		if finished {
			return
		}
	}
}

func commitThree(fsys vfs.FS) (committed int, err error) {
	m, err := open(fsys, "a")
	for err == nil && committed < 3 {
		if err = commitFile(m, 10); err == nil {
			committed++
		}
	}
	return committed, err
}

// Another owner comes, and goes on for a while, before each call of a commit in
// turn: the old one's file is there once, or its commit fails.
func TestAnOldOwnerCannotCommitBehindANewOne(t *testing.T) {
	for _, more := range []int{0, 1, 3} {
		fencings := 0
		for n := 1; ; n++ {
			mem := vfs.NewMem()
			a, err := open(mem, "a")
			must(t, err)
			must(t, commitFile(a, 10))
			var b *manifest
			fault := vfs.NewFault(mem, func(op vfs.Op) error {
				if op.N == n {
					b, err = open(mem, "b")
					must(t, err)
					for range more {
						must(t, commitFile(b, 7))
					}
				}
				return nil
			})
			a.fs = fault
			failed := commitFile(a, 10)
			if b == nil {
				break
			}
			names := visible(t, mem)
			ofA := len(names) - 1 - more
			switch {
			case failed == nil && ofA == 1, errors.Is(failed, errFenced) && ofA == 0, errors.Is(failed, errFenced) && ofA == 1:
			default:
				t.Fatalf("call %d: commit said %v, readers see %q", n, failed, names)
			}
			if failed != nil {
				fencings++
			}
			must(t, commitFile(b, 7))
			for seed := range uint64(5) {
				left := mem.Crash(rand.New(rand.NewPCG(uint64(n), seed)))
				if _, err := open(left, "c"); err != nil {
					t.Fatal(err)
				}
				if after := visible(t, left); !slices.Equal(after, visible(t, mem)) {
					t.Fatalf("call %d: %q became %q", n, names, after)
				}
			}
		}
		if fencings == 0 {
			t.Error("nobody was fenced")
		}
	}
}

func TestADirectoryOfAnotherKindIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(o *owner)
		say    string
	}{
		"another connector": {func(o *owner) { o.connector = "pond" }, "belongs to connector lake"},
		"a recreated topic": {func(o *owner) { o.partition.TopicID = [16]byte{8} }, "created again"},
		"another format":    {func(o *owner) { o.format = "arrow" }, "holds parquet files"},
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			m, err := open(mem, "a")
			must(t, err)
			must(t, commitFile(m, 10))
			o := ownerOf("b")
			test.change(&o)
			_, err = openManifest(mem, "lake", o, "now")
			if permanent, ok := errors.AsType[*connect.PermanentError](err); !ok || permanent.Next == "" || !strings.Contains(err.Error(), test.say) {
				t.Errorf("the error is %v", err)
			}
			must(t, commitFile(m, 10)) // and the owner has lost nothing
		})
	}
}

func TestFilesWithoutAManifestAreRefused(t *testing.T) {
	mem := vfs.NewMem()
	m, err := open(mem, "a")
	must(t, err)
	must(t, commitFile(m, 10))
	must(t, mem.Remove(path.Join(m.dir, entryName(m.number))))
	if _, err := open(mem, "b"); err == nil || !strings.Contains(err.Error(), "no manifest") {
		t.Errorf("the error is %v", err)
	}
}

func TestAManifestOlderThanItsFilesIsRefused(t *testing.T) {
	mem := vfs.NewMem()
	m, err := open(mem, "a")
	must(t, err)
	must(t, commitFile(m, 10))
	older, err := readFile(mem, path.Join(m.dir, entryName(m.number)), maxEntry)
	must(t, err)
	at := m.number
	must(t, commitFile(m, 10))
	must(t, mem.Remove(path.Join(m.dir, entryName(m.number))))
	must(t, writeFile(mem, path.Join(m.dir, entryName(at)), older))
	if _, err := open(mem, "b"); err == nil || !strings.Contains(err.Error(), "beyond offset 10") {
		t.Errorf("the error is %v", err)
	}
}

func TestADamagedOrFutureEntryIsRefused(t *testing.T) {
	e := entry{Connector: "lake", Topic: "orders", Next: 12, Places: []connect.Place{{Task: 1, File: 2, End: 3, Row: 4}}}
	good, err := e.encode()
	must(t, err)
	if back, err := decodeEntry(good); err != nil || back.Next != 12 || !slices.Equal(back.Places, e.Places) {
		t.Fatalf("read back: %+v, %v", back, err)
	}
	for text, say := range map[string]string{
		strings.Replace(string(good), `"next":12`, `"next":13`, 1):                    "checksum",
		strings.Replace(string(good), `"version":1`, `"version":2`, 1):                "format version 2",
		string(good[:len(good)-10]):                                                   "unexpected end",
		fmt.Sprintf(`{"version":1,"crc32c":%q,"entry":[]}`, checksumOf([]byte("[]"))): "cannot unmarshal",
	} {
		if _, err := decodeEntry([]byte(text)); err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v", text, err)
		}
	}
	mem := vfs.NewMem()
	m, err := open(mem, "a")
	must(t, err)
	f, err := mem.OpenWrite(path.Join(m.dir, entryName(m.number)))
	must(t, err)
	defer f.Close()
	must(t, f.Truncate(20))
	if _, err := open(mem, "b"); err == nil || !strings.Contains(err.Error(), entryName(m.number)) {
		t.Errorf("the error is %v", err)
	}
}

func TestANameIsReadOnlyAsItIsWritten(t *testing.T) {
	n := fileName{span{12, 40}, 0xbeef, "parquet"}
	if back, ok := parseFileName(n.String()); !ok || back != n {
		t.Errorf("%s was read as %v", n, back)
	}
	for _, name := range []string{
		"", "x", "12-40-0000beef.parquet", n.String() + ".tmp", "." + n.String(), strings.Replace(n.String(), "beef", "BEEF", 1),
		fileName{span{40, 12}, 1, "parquet"}.String(), fileName{span{-4, 12}, 1, "parquet"}.String(),
	} {
		if back, ok := parseFileName(name); ok {
			t.Errorf("%q was read as %v", name, back)
		}
	}
	for _, name := range []string{"p=", "p=01", "p=-1", "p=2147483648", "3"} {
		if n, ok := parsePartitionDir(name); ok {
			t.Errorf("%q was read as %d", name, n)
		}
	}
	for _, topic := range []string{"", ".", "..", ".splashdam", "a/b", "a\\b", "ä", strings.Repeat("x", 250)} {
		if checkTopic(topic) == nil {
			t.Errorf("%q was taken", topic)
		}
	}
	must(t, checkTopic("shop.orders_2-x"))
}

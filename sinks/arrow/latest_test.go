package arrow

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
)

// latestText returns what Latest says, a row a line, sorted.
func latestText(t *testing.T, fsys vfs.FS) []string {
	t.Helper()
	d, err := OpenDirectory(fsys, "lake/orders")
	must(t, err)
	var lines []string
	must(t, d.Latest(func(b *Block) error {
		lines = append(lines, strings.Fields(strings.ReplaceAll(blockText(b), " ", "·"))...)
		return nil
	}))
	slices.Sort(lines)
	return lines
}

func TestLatestIsTheNewestRowOfEachKey(t *testing.T) {
	w := topic{}
	w.add(0, 0, connect.Read, 1, 1, `,"state":"new"`)
	w.add(0, 0, connect.Create, 2, 2, `,"state":"new"`)
	w.add(0, 0, connect.Create, 3, 3, `,"state":"new"`)
	w.add(0, 0, connect.Update, 1, 4, `,"state":"paid"`)
	w.add(0, 0, connect.Delete, 2, 5, `,"state":"new"`)
	w.add(0, 1, connect.Update, 3, 6, `,"note":"x"`) // the state did not change
	w.add(1, 1, connect.Create, 4, 7, `,"state":null,"note":null`)
	w.add(1, 1, connect.Create, 5, 8, `,"state":"new","note":null`)
	w.add(1, 1, connect.Truncate, 0, 9, "")
	w.add(1, 1, connect.Create, 5, 10, `,"state":"paid","note":null`)
	w.add(1, 1, connect.Create, 6, 11, `,"note":null`) // created, and nobody said the state
	mem := vfs.NewMem()
	r := &runner{sink: newSink(t, mem, settingRows, "2"), topic: w}
	must(t, r.open(0, 1))
	must(t, r.drain(100))
	want := []string{
		`0:3·u·id=0000000000000001·state="paid"`,
		`0:6·u·id=0000000000000003·state="new"·note="x"`,
		`1:3·c·id=0000000000000005·state="paid"·note=null`,
		`1:4·c·id=0000000000000006·state=absent·note=null`,
	}
	if got := latestText(t, mem); !slices.Equal(got, want) {
		t.Errorf("the latest rows are\n%s\ninstead of\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Random changes of a few keys, in two partitions of many small files, against a
// map.
func TestLatestAgreesWithAMap(t *testing.T) {
	for seed := range uint64(8) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		w, model := topic{}, map[string]string{}
		for pos := range 500 {
			id := rnd.IntN(9)
			n := int32(id % 2)
			key := fmt.Sprintf("%d:%d", n, id)
			_, exists := model[key]
			op := connect.Create
			switch {
			case rnd.IntN(60) == 0:
				op = connect.Truncate
			case exists:
				op = [...]connect.Op{connect.Update, connect.Delete}[rnd.IntN(2)]
			}
			state := [...]string{"new", "paid"}[rnd.IntN(2)]
			offset := w.end(n)
			w.add(n, pos/400, op, id, pos, fmt.Sprintf(`,"state":%q`, state))
			switch op {
			case connect.Truncate:
				for k := range model {
					if strings.HasPrefix(k, fmt.Sprintf("%d:", n)) {
						delete(model, k)
					}
				}
			case connect.Delete:
				delete(model, key)
			default:
				model[key] = fmt.Sprintf("%d:%d·%c·id=%016x·state=%q", n, offset, op, id, state)
				if pos >= 400 {
					model[key] += "·note=absent"
				}
			}
		}
		mem := vfs.NewMem()
		r := &runner{sink: newSink(t, mem, settingRows, "90"), topic: w}
		must(t, r.open(0, 1))
		must(t, r.drain(1000))
		var want []string
		for _, line := range model {
			want = append(want, line)
		}
		slices.Sort(want)
		if got := latestText(t, mem); !slices.Equal(got, want) {
			t.Fatalf("seed %d: the latest rows are\n%s\ninstead of\n%s", seed, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestLatestForgetsWhatWasReplaced(t *testing.T) {
	s, b := state{}, newBlock(0, orderSchemas[0])
	for round := range 20 {
		b.Reset()
		for id := range 1000 {
			b.Columns[0].Append8(uint64(id))
			b.Columns[1].AppendText([]byte("new"))
			b.Op = append(b.Op, connect.Update)
			b.Offset = append(b.Offset, int64(round*1000+id))
			b.Timestamp, b.Place, b.Placed = append(b.Timestamp, 0), append(b.Place, connect.Place{}), append(b.Placed, false)
		}
		must(t, s.apply(b))
		if s.rows > latestRows+1000 {
			t.Fatalf("%d rows are kept of %d", s.rows, len(s.newest))
		}
	}
	n := 0
	must(t, s.visit(func(b *Block) error {
		for row := range b.Len() {
			if b.Offset[row] != int64(19_000+n) || b.Columns[0].Int(row) != int64(n) {
				t.Fatalf("row %d is of offset %d and key %d", n, b.Offset[row], b.Columns[0].Int(row))
			}
			n++
		}
		return nil
	}))
	if n != 1000 {
		t.Errorf("%d rows", n)
	}
}

func TestLatestNeedsAKeyThatStays(t *testing.T) {
	apply := func(schemas ...*connect.Schema) error {
		var s state
		for _, schema := range schemas {
			b := newBlock(0, schema)
			b.Columns[0].AppendAbsent()
			b.Columns[1].AppendNull()
			b.Op, b.Offset = append(b.Op, connect.Truncate), append(b.Offset, 0)
			if err := s.apply(b); err != nil {
				return err
			}
		}
		return nil
	}
	keyless, other := *orderSchemas[0], *orderSchemas[0]
	keyless.Key, other.Key = nil, []int{1}
	if err := apply(&keyless); !errors.Is(err, ErrNoKey) {
		t.Errorf("without a key: %v", err)
	}
	if err := apply(orderSchemas[0], &other); err == nil || !strings.Contains(err.Error(), "primary key") {
		t.Errorf("with another one: %v", err)
	}
	must(t, apply(orderSchemas[0], orderSchemas[0]))
	var s state
	b := newBlock(0, orderSchemas[0])
	b.Columns[0].AppendAbsent()
	b.Columns[1].AppendNull()
	b.Op, b.Offset = append(b.Op, connect.Update), append(b.Offset, 41)
	if err := s.apply(b); err == nil || !strings.Contains(err.Error(), "offset 41") {
		t.Errorf("with a row that does not say it: %v", err)
	}
}

func TestAKeyIsTheSameInAWiderColumn(t *testing.T) {
	narrow, wide := connect.NewColumn(connect.Type{Kind: connect.Int32}), connect.NewColumn(connect.Type{Kind: connect.Int64})
	for _, v := range []int64{0, 7, -7} {
		narrow.Append4(uint32(v))
		wide.Append8(uint64(v))
	}
	seen := map[string]bool{}
	for row := range 3 {
		a, b := appendKey(nil, &narrow, row), appendKey(nil, &wide, row)
		if string(a) != string(b) || seen[string(a)] {
			t.Errorf("row %d: %q and %q", row, a, b)
		}
		seen[string(a)] = true
	}
	// And two columns cannot be taken for two others.
	text := connect.NewColumn(connect.Type{Kind: connect.String})
	for _, v := range []string{"a", "1:a", "", "a1:", "1:a1:"} {
		text.AppendText([]byte(v))
	}
	if a, b := appendKey(appendKey(nil, &text, 0), &text, 1), appendKey(appendKey(nil, &text, 1), &text, 0); string(a) == string(b) {
		t.Errorf("%q is two keys", a)
	}
}

func TestWhatIsNoFileOfOursIsRefused(t *testing.T) {
	files := func() (*vfs.Mem, string) {
		mem, w := vfs.NewMem(), workload()
		r := &runner{sink: newSink(t, mem), topic: w}
		must(t, r.open(0))
		must(t, r.drain(100))
		d, err := OpenDirectory(mem, "lake/orders")
		must(t, err)
		return mem, d.Files[0].Path
	}
	read := func(fsys vfs.FS) error {
		d, err := OpenDirectory(fsys, "lake/orders")
		if err != nil {
			return err
		}
		return d.Rows(func(*Block) error { return nil })
	}
	content := func(fsys vfs.FS, name string) []byte {
		b, err := readFile(fsys, name, 1<<30)
		must(t, err)
		return b
	}
	for name, test := range map[string]struct {
		spoil func(mem *vfs.Mem, file string)
		say   string
	}{
		"a flipped bit": {func(mem *vfs.Mem, file string) {
			f, err := mem.OpenWrite(file)
			must(t, err)
			_, err = f.WriteAt([]byte{content(mem, file)[100] ^ 1}, 100)
			must(t, err)
			must(t, f.Close())
		}, "is damaged"},
		"a shorter file": {func(mem *vfs.Mem, file string) {
			f, err := mem.OpenWrite(file)
			must(t, err)
			must(t, f.Truncate(50))
			must(t, f.Close())
		}, "is damaged"},
		"a foreign file": {func(mem *vfs.Mem, file string) {
			must(t, writeFile(mem, "lake/orders/p=0/notes.txt", []byte("x")))
		}, "is no file of the sink's"},
		"a foreign directory": {func(mem *vfs.Mem, file string) {
			must(t, mem.MkdirAll("lake/orders/q"))
		}, "no directory of a topic's files"},
		"no Parquet": {func(mem *vfs.Mem, file string) {
			n := fileName{span{900, 901}, 0xc98ff501, formatParquet}
			must(t, writeFile(mem, "lake/orders/p=0/"+n.String(), []byte("hello, files")))
		}, "smaller than"},
		"two sinks' files": {func(mem *vfs.Mem, file string) {
			must(t, mem.Link(file, "lake/orders/p=0/"+fileName{span{1, 3}, 0, formatParquet}.String()))
		}, "files of two sinks"},
	} {
		t.Run(name, func(t *testing.T) {
			mem, file := files()
			must(t, read(mem))
			test.spoil(mem, file)
			if err := read(mem); err == nil || !strings.Contains(err.Error(), test.say) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}

package record

import (
	"bytes"
	"errors"
	"hash/crc32"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func sampleEntry() Entry {
	var b EntryBuilder
	b.Add(KindBatch, 7, []byte("batch"))
	b.Add(KindCommand, 0, nil)
	b.Add(KindConfChange, Halves, []byte{1, 2, 3})
	return b.Finish(10, 3, 1_700_000_000_000, true)
}

func TestAnEntryCarriesItsPartsVerbatim(t *testing.T) {
	type part struct {
		Kind      Kind
		Partition PartitionID
		Bytes     []byte
	}
	gen := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) part {
		return part{
			Kind(rapid.Byte().Draw(t, "kind")),
			PartitionID(rapid.Uint32().Draw(t, "partition")),
			rapid.SliceOfN(rapid.Byte(), 0, 50).Draw(t, "bytes"),
		}
	}), 0, 10)
	var b EntryBuilder // used again and again, as a leader does
	rapid.Check(t, func(t *rapid.T) {
		parts := gen.Draw(t, "parts")
		index, term := Index(rapid.Uint64().Draw(t, "index")), Term(rapid.Uint64().Draw(t, "term"))
		now, roll := rapid.Int64().Draw(t, "time"), rapid.Bool().Draw(t, "roll")
		b.Reset()
		for _, p := range parts {
			if got := b.Add(p.Kind, p.Partition, p.Bytes); !bytes.Equal(got, p.Bytes) {
				t.Fatalf("added %x, it became %x", p.Bytes, got)
			}
		}
		size := b.Size()
		e := b.Finish(index, term, now, roll)
		if err := e.Check(); err != nil {
			t.Fatal(err)
		}
		if len(e) != size {
			t.Fatalf("%d bytes, the builder said %d", len(e), size)
		}
		if e.Index() != index || e.Term() != term || e.Time() != now || e.Rolls() != roll || e.Parts() != len(parts) {
			t.Fatalf("the header says %d %d %d %v %d", e.Index(), e.Term(), e.Time(), e.Rolls(), e.Parts())
		}
		i := 0
		e.Each(func(at int, p Part) bool {
			want := parts[i]
			if p.Kind != want.Kind || p.Partition != want.Partition || !bytes.Equal(p.Bytes, want.Bytes) {
				t.Fatalf("part %d is %+v, want %+v", i, p, want)
			}
			if !bytes.Equal(e[at:at+len(p.Bytes)], want.Bytes) {
				t.Fatalf("part %d is not at %d", i, at)
			}
			i++
			return true
		})
		if i != len(parts) {
			t.Fatalf("%d parts, want %d", i, len(parts))
		}
	})
}

func TestEachStopsWhenToldTo(t *testing.T) {
	n := 0
	sampleEntry().Each(func(int, Part) bool { n++; return n < 2 })
	if n != 2 {
		t.Errorf("%d parts were shown", n)
	}
}

func TestAPartCanBePatchedUntilTheEntryIsFinished(t *testing.T) {
	var b EntryBuilder
	p := b.Add(KindBatch, 1, []byte("xxxx"))
	copy(p, "good")
	e := b.Finish(1, 1, 0, false)
	if err := e.Check(); err != nil {
		t.Fatal(err)
	}
	e.Each(func(_ int, p Part) bool {
		if string(p.Bytes) != "good" {
			t.Errorf("it says %q", p.Bytes)
		}
		return true
	})
}

func TestAnyFlippedBitIsNoticed(t *testing.T) {
	e := sampleEntry()
	for bit := range 8 * len(e) {
		damaged := slices.Clone(e)
		damaged[bit/8] ^= 1 << (bit % 8)
		if err := damaged.Check(); !errors.Is(err, ErrEntry) {
			t.Errorf("bit %d of byte %d: %v", bit%8, bit/8, err)
		}
	}
}

func TestAnyMissingByteIsNoticed(t *testing.T) {
	e := sampleEntry()
	for n := range e {
		if err := e[:n].Check(); !errors.Is(err, ErrEntry) {
			t.Errorf("cut to %d of %d bytes: %v", n, len(e), err)
		}
	}
	if err := append(slices.Clone(e), 0).Check(); !errors.Is(err, ErrEntry) {
		t.Errorf("one byte more: %v", err)
	}
}

// A wrong count or length under a right checksum is a bug of a peer or malice.
func TestCountsAreCheckedUnderARightChecksum(t *testing.T) {
	for name, spoil := range map[string]func(e Entry){
		"too many parts":      func(e Entry) { e[28]++ },
		"too few parts":       func(e Entry) { e[28]-- },
		"four billion parts":  func(e Entry) { copy(e[28:], []byte{255, 255, 255, 255}) },
		"a part too long":     func(e Entry) { e[48]++ },
		"a part of 4 GiB":     func(e Entry) { copy(e[48:], []byte{255, 255, 255, 255}) },
		"a part too short":    func(e Entry) { e[48]-- },
		"a length that lies":  func(e Entry) { e[24]++ },
		"a length of nothing": func(e Entry) { copy(e[24:], []byte{0, 0, 0, 0}) },
	} {
		e := slices.Clone(sampleEntry())
		spoil(e)
		sum := e.checksum()
		e[36], e[37], e[38], e[39] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		if err := e.Check(); !errors.Is(err, ErrEntry) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTruncateDropsTheLastPartsOfABuilder(t *testing.T) {
	var b, want EntryBuilder
	sizes := []int{b.Size()}
	for i := range 5 {
		b.Add(KindBatch, PartitionID(i), bytes.Repeat([]byte{byte(i)}, i))
		sizes = append(sizes, b.Size())
	}
	for n := 5; n >= 0; n-- {
		b.Truncate(n, sizes[n])
		want.Reset()
		for i := range n {
			want.Add(KindBatch, PartitionID(i), bytes.Repeat([]byte{byte(i)}, i))
		}
		if b.Parts() != n || b.Size() != want.Size() {
			t.Errorf("%d parts in %d bytes, want %d in %d", b.Parts(), b.Size(), n, want.Size())
		}
		got := slices.Clone(b.Finish(1, 1, 1, false))
		if e := want.Finish(1, 1, 1, false); !bytes.Equal(got, e) {
			t.Errorf("truncated to %d parts: %x, want %x", n, got, e)
		}
	}
	b.Add(KindCommand, 9, []byte("more"))
	if err := b.Finish(2, 1, 1, false).Check(); err != nil {
		t.Error(err)
	}
}

// The format is frozen: this entry is on disks.
func TestTheBytesOfAnEntry(t *testing.T) {
	want := []byte{
		10, 0, 0, 0, 0, 0, 0, 0, // index
		3, 0, 0, 0, 0, 0, 0, 0, // term
		0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0, 0, // time
		84, 0, 0, 0, // length
		3, 0, 0, 0, // parts
		1, 0, 0, 0, // flags: rolls
		0, 0, 0, 0, // checksum, below
		1, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0, 'b', 'a', 't', 'c', 'h',
		2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
		3, 0, 0, 0, 0, 0, 0, 0x80, 3, 0, 0, 0, 1, 2, 3,
	}
	sum := crc32.Checksum(want, castagnoli)
	want[36], want[37], want[38], want[39] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	if got := sampleEntry(); !bytes.Equal(got, want) {
		t.Errorf("got  %x\nwant %x", got, want)
	}
}

func TestACommandShorterThanItsHeaderIsRefused(t *testing.T) {
	for n := range CommandHeaderSize {
		if _, err := ParseCommand(make([]byte, n)); !errors.Is(err, ErrEntry) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	c, err := ParseCommand(append(NewCommand(OwnerGroup, 5, 2), "payload"...))
	if err != nil {
		t.Fatal(err)
	}
	if c.Owner() != OwnerGroup || c.Kind() != 5 || c.Version() != 2 || string(c.Payload()) != "payload" {
		t.Errorf("%d %d %d %q", c.Owner(), c.Kind(), c.Version(), c.Payload())
	}
}

func FuzzEntryCheck(f *testing.F) {
	f.Add([]byte(sampleEntry()))
	f.Add([]byte{})
	f.Add(make([]byte, EntryHeaderSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		e := Entry(slices.Clone(data))
		if len(e) >= EntryHeaderSize { // a random checksum is never right
			sum := e.checksum()
			e[36], e[37], e[38], e[39] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
		}
		if err := e.Check(); err != nil {
			if !errors.Is(err, ErrEntry) {
				t.Fatalf("%v is not ErrEntry", err)
			}
			return
		}
		n, end := 0, EntryHeaderSize
		e.Each(func(at int, p Part) bool {
			if at != end+PartHeaderSize {
				t.Fatalf("part %d is at %d, the one before ended at %d", n, at, end)
			}
			n++
			end = at + len(p.Bytes)
			return true
		})
		if n != e.Parts() || end != len(e) {
			t.Fatalf("%d of %d parts, %d of %d bytes", n, e.Parts(), end, len(e))
		}
	})
}

package commitlog

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// seed adds the files of a small log that end as told, and each with a flaw.
func seed(f *testing.F, suffix string) {
	mem, _ := lived(f)
	names, err := mem.List(dir)
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range names {
		if !strings.HasSuffix(name, suffix) {
			continue
		}
		b := content(f, mem, name)
		f.Add(b)
		f.Add(b[:len(b)/2])
		flipped := bytes.Clone(b)
		flipped[len(b)/3] ^= 0x10
		f.Add(flipped)
	}
}

func FuzzManifest(f *testing.F) {
	seed(f, manifestName)
	f.Fuzz(func(t *testing.T, b []byte) {
		l, n, err := decodeManifest(b)
		if err != nil {
			var corrupt *CorruptionError
			if !errors.As(err, &corrupt) && !errors.Is(err, ErrFutureVersion) {
				t.Fatal(err)
			}
			return
		}
		if int(n+1)*manifestRecord > len(b) {
			t.Fatalf("%d records out of %d bytes", n, len(b))
		}
		again, _, err := decodeManifest(l.encode())
		if err != nil || !reflect.DeepEqual(again.changes(), l.changes()) {
			t.Fatalf("written and read again it is %+v, not %+v: %v", again, l, err)
		}
	})
}

func FuzzHardState(f *testing.F) {
	seed(f, hardStateName)
	f.Fuzz(func(t *testing.T, b []byte) {
		r, slot, _, err := decodeHardState(b)
		if err == nil && !bytes.HasPrefix(b[slot*hardStateSlot:], r.encode()[:4]) {
			t.Fatal("a slot without magic was taken")
		}
	})
}

func FuzzSnapshot(f *testing.F) {
	seed(f, snapshotSuffix)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeSnapshot(b)
		if err != nil {
			if !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
				t.Fatal(err)
			}
			return
		}
		mem := vfs.NewMem()
		file, err := mem.Create("s")
		if err != nil {
			t.Fatal(err)
		}
		if err := s.write(file); err != nil {
			t.Fatal(err)
		}
		again, err := readAll(file, 1<<30)
		if err != nil || len(again) != len(b) {
			t.Fatalf("written again it has %d bytes, not %d: %v", len(again), len(b), err)
		}
	})
}

func FuzzIndex(f *testing.F) {
	seed(f, indexSuffix)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := decodeIndexHead(b, int64(len(b))); err != nil {
			return
		}
		mem := vfs.NewMem()
		file, err := mem.Create("x")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		h, _ := decodeIndexHead(b, int64(len(b)))
		x := &indexFile{indexHead: h, name: "x", file: file, cache: newBlockCache(4)}
		for _, p := range partitions {
			_, err1 := x.find(p, 3)
			_, err2 := x.standing(p)
			for _, err := range []error{err1, err2} {
				if err != nil && !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
					t.Fatal(err)
				}
			}
		}
	})
}

func FuzzFrames(f *testing.F) {
	seed(f, segmentSuffix)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < segmentHeaderSize {
			return
		}
		size := int64(len(b))
		scan := newScanner(bytes.NewReader(b), 0, segmentHeaderSize, size)
		for {
			pos := scan.pos
			fr, err := scan.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				if !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
					t.Fatal(err)
				}
				next, ok, err := findFrame(bytes.NewReader(b), 0, (pos+7)&^7, size)
				if err != nil || ok && next.pos < pos {
					t.Fatalf("found at %d behind %d: %v", next.pos, pos, err)
				}
				break
			}
			if scan.pos <= pos || scan.pos > size || fr.entry.Check() != nil {
				t.Fatalf("frame of %d bytes at %d", len(fr.entry), pos)
			}
			describe(fr, 0)
		}
	})
}

func FuzzCompacted(f *testing.F) {
	b := encodeCompacted(9, map[record.PartitionID]compactedTo{1: {end: 2, horizon: 3}, 4: {end: 5, horizon: 6}})
	f.Add(b)
	f.Add(b[:len(b)-compactedRow])
	f.Fuzz(func(t *testing.T, b []byte) {
		installed, m, err := decodeCompacted(b)
		if err != nil {
			if !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
				t.Fatal(err)
			}
			return
		}
		if in, again, err := decodeCompacted(encodeCompacted(installed, m)); err != nil || in != installed || !reflect.DeepEqual(again, m) {
			t.Fatalf("written and read again it is %v, not %v: %v", again, m, err)
		}
	})
}

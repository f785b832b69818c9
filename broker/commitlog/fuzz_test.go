package commitlog

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/heap"
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

// fixedCost is what a reader allocates whatever its input: buffers of a fixed size.
const fixedCost = 1 << 20

// bounded calls f, which reads b as it is and as mend has put its checksums right, so
// that the fuzzer gets past them; what it allocates is no more than twice the input.
func bounded(t *testing.T, b []byte, mend func([]byte), f func(b []byte)) {
	t.Helper()
	f(b)
	mended := bytes.Clone(b)
	mend(mended)
	if n := heap.Allocated(func() { f(mended) }); n > uint64(2*len(b)+fixedCost) {
		t.Fatalf("%d bytes are allocated for an input of %d", n, len(b))
	}
}

// putChecksum puts the checksum of b into its place in b.
func putChecksum(b []byte, at int) {
	if len(b) >= at+4 {
		binary.LittleEndian.PutUint32(b[at:], checksumAround(b, at))
	}
}

func FuzzManifest(f *testing.F) {
	seed(f, manifestName)
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, b, func(b []byte) {
			for pos := 0; pos+manifestRecord <= len(b); pos += manifestRecord {
				at := 0
				if pos == 0 {
					at = 60
				}
				putChecksum(b[pos:pos+manifestRecord], at)
			}
		}, func(b []byte) {
			_, n, err := decodeManifest(b)
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
		})
		l, _, err := decodeManifest(b)
		if err != nil {
			return
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
		bounded(t, b, func(b []byte) {
			for pos := 0; pos+hardStateSlot <= len(b); pos += hardStateSlot {
				putChecksum(b[pos:pos+hardStateSlot], 508)
			}
		}, func(b []byte) {
			r, slot, _, err := decodeHardState(b)
			if err == nil && !bytes.HasPrefix(b[slot*hardStateSlot:], r.encode()[:4]) {
				t.Fatal("a slot without magic was taken")
			}
		})
	})
}

func FuzzScrubPlace(f *testing.F) {
	f.Add(scrubPlace{1 << 40, 1771070400000}.encode())
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, b, func(b []byte) { putChecksum(b, 28) }, func(b []byte) {
			p, err := decodeScrubPlace(b)
			if err != nil && !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
				t.Fatal(err)
			}
			if again, err2 := decodeScrubPlace(p.encode()); err == nil && (err2 != nil || again != p) {
				t.Fatalf("written and read again it is %+v, not %+v: %v", again, p, err2)
			}
		})
	})
}

// mendSnapshot puts right the length in the header, and the checksums of the sections as
// far as their sizes lead.
func mendSnapshot(b []byte) {
	if len(b) < snapshotHeaderSize {
		return
	}
	binary.LittleEndian.PutUint64(b[40:], uint64(len(b)))
	putChecksum(b[:snapshotHeaderSize], 52)
	for rest := b[snapshotHeaderSize:]; len(rest) >= sectionHeaderSize; {
		name, data, err := sectionSizes(rest, int64(len(rest)-sectionHeaderSize), 0, 0)
		if err != nil {
			return
		}
		end := sectionHeaderSize + name + data
		putChecksum(rest[:end], 0)
		rest = rest[end:]
	}
}

func FuzzSnapshot(f *testing.F) {
	seed(f, snapshotSuffix)
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := vfs.NewMem()
		file, err := mem.Create("s")
		if err != nil {
			t.Fatal(err)
		}
		read := func(b []byte) (*Snapshot, error) {
			s, err := decodeSnapshot(b)
			if err != nil && !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
				t.Fatal(err)
			}
			return s, err
		}
		bounded(t, b, mendSnapshot, func(b []byte) { _, _ = read(b) })
		for _, mend := range []func([]byte){func([]byte) {}, mendSnapshot} {
			b := bytes.Clone(b)
			mend(b)
			s, err := read(b)
			// The reader that goes through it in pieces says the same.
			if err := file.Truncate(0); err != nil {
				t.Fatal(err)
			}
			if _, err := file.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
			var sizes []int64
			head, err2 := readSections(file, func(c SectionInfo) error { sizes = append(sizes, c.Size); return nil })
			if (err == nil) != (err2 == nil) {
				t.Fatalf("at once: %v, in pieces: %v", err, err2)
			}
			if err != nil {
				continue
			}
			if head.Index != s.Index || head.Term != s.Term || len(sizes) != 1+len(s.Sections) {
				t.Fatalf("at once: %+v, in pieces: %+v", s, head)
			}
			if err := file.Truncate(0); err != nil {
				t.Fatal(err)
			}
			if err := s.write(file); err != nil {
				t.Fatal(err)
			}
			again, err := readAll(file, 1<<30)
			if err != nil || len(again) != len(b) {
				t.Fatalf("written again it has %d bytes, not %d: %v", len(again), len(b), err)
			}
		}
	})
}

func FuzzIndex(f *testing.F) {
	seed(f, indexSuffix)
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := vfs.NewMem()
		bounded(t, b, func(b []byte) {
			for pos := 0; pos+blockSize <= len(b); pos += blockSize {
				putChecksum(b[pos:pos+blockSize], 12)
			}
		}, func(b []byte) {
			h, err := decodeIndexHead(b, int64(len(b)))
			if err != nil {
				if !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
					t.Fatal(err)
				}
				return
			}
			file, err := createOver(mem, "x")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := file.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
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
	})
}

func FuzzSegmentHeader(f *testing.F) {
	seed(f, segmentSuffix)
	f.Fuzz(func(t *testing.T, b []byte) {
		mem := vfs.NewMem()
		bounded(t, b, func(b []byte) {
			if len(b) >= segmentHeaderSize {
				putChecksum(b[:segmentHeaderSize], 28)
			}
		}, func(b []byte) {
			file, err := createOver(mem, "s")
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := file.WriteAt(b, 0); err != nil {
				t.Fatal(err)
			}
			m, size, err := readSegmentHeader(file, "s")
			if err != nil && !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
				t.Fatal(err)
			}
			if err == nil && (size != int64(len(b)) || !slices.Equal(m.header()[8:28], b[8:28])) {
				t.Fatalf("%+v out of %x", m, b[:segmentHeaderSize])
			}
		})
	})
}

// mendFrames puts right the checksums of frames and entries, as far as their lengths
// lead.
func mendFrames(b []byte) {
	for pos := segmentHeaderSize; pos+FrameHeaderSize <= len(b); {
		h := b[pos:]
		binary.LittleEndian.PutUint32(h, frameMagic)
		n := int64(binary.LittleEndian.Uint32(h[8:]))
		end := int64(pos) + frameSize(int(n))
		if n < record.EntryHeaderSize || end > int64(len(b)) {
			return
		}
		e := h[FrameHeaderSize:][:n]
		binary.LittleEndian.PutUint32(e[24:], uint32(n))
		clear(e[36:40])
		binary.LittleEndian.PutUint32(e[36:], crc32.Checksum(e, castagnoli))
		binary.LittleEndian.PutUint32(h[24:], frameChecksum(h, Address(pos)))
		pos = int(end)
	}
}

func FuzzFrames(f *testing.F) {
	seed(f, segmentSuffix)
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, b, mendFrames, func(b []byte) { scanFuzzed(t, b) })
	})
}

func scanFuzzed(t *testing.T, b []byte) {
	t.Helper()
	if len(b) < segmentHeaderSize {
		return
	}
	size := int64(len(b))
	scan := newScanner(bytes.NewReader(b), 0, segmentHeaderSize, size)
	for {
		pos := scan.pos
		fr, err := scan.next()
		if err == io.EOF {
			return
		}
		if err != nil {
			if !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
				t.Fatal(err)
			}
			next, ok, err := findFrame(bytes.NewReader(b), 0, (pos+7)&^7, size)
			if err != nil || ok && next.pos < pos {
				t.Fatalf("found at %d behind %d: %v", next.pos, pos, err)
			}
			return
		}
		if scan.pos <= pos || scan.pos > size || fr.entry.Check() != nil {
			t.Fatalf("frame of %d bytes at %d", len(fr.entry), pos)
		}
		if pos == segmentHeaderSize { // describing all of them would allocate for each
			describe(fr, 0)
		}
	}
}

func FuzzCompacted(f *testing.F) {
	b := encodeCompacted(9, map[record.PartitionID]compactedTo{1: {end: 2, horizon: 3}, 4: {end: 5, horizon: 6}})
	f.Add(b)
	f.Add(b[:len(b)-compactedRowSize])
	f.Fuzz(func(t *testing.T, b []byte) {
		bounded(t, b, func(b []byte) { putChecksum(b, 20) }, func(b []byte) {
			installed, rows, err := decodeCompacted(b)
			if err != nil {
				if !isDamage(err) && !errors.Is(err, ErrFutureVersion) {
					t.Fatal(err)
				}
				return
			}
			if len(rows) > 0 && (installed != record.Index(binary.LittleEndian.Uint64(b[8:])) || rows[len(rows)-1].horizon != int64(binary.LittleEndian.Uint64(b[len(b)-8:]))) {
				t.Fatalf("%d, %+v", installed, rows)
			}
		})
	})
}

package record

import (
	"bytes"
	"encoding/binary"
	"errors"
	"runtime"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

func TestTheLimitIsExact(t *testing.T) {
	for _, size := range []int{1, 100, 5000, 300_000} {
		src := bytes.Repeat([]byte("splashdam "), size/10+1)[:size]
		for _, c := range codecs {
			packed := Compression{Codec: c}.deflate(nil, src)
			got, err := c.inflate([]byte("before "), packed, size)
			if err != nil || !bytes.Equal(got, append([]byte("before "), src...)) {
				t.Errorf("%v, %d bytes: got %d, %v", c, size, len(got), err)
			}
			for _, limit := range []int{0, size / 2, size - 1} {
				_, err = c.inflate(nil, packed, limit)
				if !errors.Is(err, ErrTooLarge) || !errors.Is(err, ErrBatch) {
					t.Errorf("%v, %d bytes under a limit of %d: %v", c, size, limit, err)
				}
			}
		}
	}
}

// allocated is how many bytes f takes from the heap. No other test runs meanwhile.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

func TestABombTakesNoMemoryBeyondTheLimit(t *testing.T) {
	const limit = 1 << 20
	zeros := make([]byte, 48<<20)
	for _, c := range []Codec{Gzip, Snappy, LZ4, Zstd} {
		bomb := Compression{Codec: c}.deflate(nil, zeros)
		c.inflate(nil, Compression{Codec: c}.deflate(nil, zeros[:1000]), limit) // fills the pools
		used := allocated(func() {
			if _, err := c.inflate(nil, bomb, limit); !errors.Is(err, ErrTooLarge) {
				t.Errorf("%v: %v", c, err)
			}
		})
		// Growing by doubling takes twice the limit; the decoders have their windows.
		if used > 12*limit {
			t.Errorf("%v: a bomb of %d bytes made it take %d, the limit is %d", c, len(bomb), used, limit)
		}
	}
}

func TestAClaimedSizeTakesNoMemory(t *testing.T) {
	const limit = 1 << 30
	for name, test := range map[string]struct {
		codec Codec
		src   []byte
	}{
		"snappy":       {Snappy, append(binary.AppendUvarint(nil, limit-1), 0, 'x')},
		"xerial":       {Snappy, slices.Concat(xerialMagic, []byte{0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff}, []byte("x"))},
		"zstd content": {Zstd, append([]byte{0x28, 0xb5, 0x2f, 0xfd, 0xa0}, binary.LittleEndian.AppendUint32(nil, limit-1)...)},
		"zstd window":  {Zstd, []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x88, 0x01, 0x00, 0x00}},
	} {
		used := allocated(func() {
			if _, err := test.codec.inflate(nil, test.src, limit); !errors.Is(err, ErrBatch) && name != "zstd window" {
				t.Errorf("%s: %v", name, err)
			}
		})
		if used > 16<<20 {
			t.Errorf("%s: %d bytes made it take %d", name, len(test.src), used)
		}
	}
}

// Java's client does not say how much a frame holds, and names the window of its
// level.
func TestAStreamedZstdFrameUnderALargeWindowIsRead(t *testing.T) {
	for _, size := range []int{0, 1, 3000, 200_000, 3 << 20} {
		var packed bytes.Buffer
		w, err := zstd.NewWriter(&packed, zstd.WithWindowSize(8<<20), zstd.WithSingleSegment(false), zstd.WithZeroFrames(true))
		if err != nil {
			t.Fatal(err)
		}
		src := bytes.Repeat([]byte("a"), size)
		for i := range src {
			src[i] += byte(i * i >> 12 % 7)
		}
		for at := 0; at < size; at += 1 << 20 {
			w.Write(src[at:min(at+1<<20, size)])
			w.Flush()
		}
		w.Close()
		got, err := Zstd.inflate(nil, packed.Bytes(), size)
		if err != nil || !bytes.Equal(got, src) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		if size == 0 {
			continue
		}
		if _, err := Zstd.inflate(nil, packed.Bytes(), size-1); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d bytes under a limit of one less: %v", size, err)
		}
	}
}

func xerial(blocks ...string) []byte {
	b := slices.Concat(xerialMagic, []byte{0, 0, 0, 1, 0, 0, 0, 1})
	for _, s := range blocks {
		packed := s2.EncodeSnappy(nil, []byte(s))
		b = binary.BigEndian.AppendUint32(b, uint32(len(packed)))
		b = append(b, packed...)
	}
	return b
}

func TestTheFramesOfJavasSnappyAreRead(t *testing.T) {
	for _, test := range []struct {
		src  []byte
		want string
	}{
		{xerial(), ""},
		{xerial("one block"), "one block"},
		{xerial("two ", "blocks", ""), "two blocks"},
	} {
		got, err := Snappy.inflate(nil, test.src, 100)
		if err != nil || string(got) != test.want {
			t.Errorf("%q, %v, want %q", got, err, test.want)
		}
	}
	if _, err := Snappy.inflate(nil, xerial("12345", "67890"), 9); !errors.Is(err, ErrTooLarge) {
		t.Errorf("two blocks that are too large together: %v", err)
	}
	whole := xerial("first", "second")
	if _, err := Snappy.inflate(nil, whole[:12], 100); !errors.Is(err, ErrBatch) {
		t.Errorf("half a header: %v", err)
	}
	for n := xerialHeaderSize + 1; n < len(whole); n++ {
		got, err := Snappy.inflate(nil, whole[:n], 100)
		if errors.Is(err, ErrBatch) {
			continue
		}
		if n != len(xerial("first")) || string(got) != "first" {
			t.Errorf("cut to %d bytes: %q, %v", n, got, err)
		}
	}
}

func TestGarbageIsNoPanic(t *testing.T) {
	src := bytes.Repeat([]byte("some text that compresses a little "), 40)
	for _, c := range []Codec{Gzip, Snappy, LZ4, Zstd} {
		packed := Compression{Codec: c}.deflate(nil, src)
		for n := range packed {
			if _, err := c.inflate(nil, packed[:n], 1<<16); err == nil && n > 0 {
				t.Errorf("%v cut to %d of %d bytes: no error", c, n, len(packed))
			}
			damaged := slices.Clone(packed)
			damaged[n] ^= 0x55
			if _, err := c.inflate(nil, damaged, 1<<16); err != nil && !errors.Is(err, ErrBatch) {
				t.Errorf("%v with byte %d damaged: %v", c, n, err)
			}
		}
	}
	if _, err := Codec(5).inflate(nil, nil, 100); !errors.Is(err, ErrBatch) {
		t.Errorf("codec 5: %v", err)
	}
	if _, err := LZ4.inflate(nil, []byte{0x02, 0x21, 0x4c, 0x18, 0, 0, 0, 0}, 100); !errors.Is(err, ErrBatch) {
		t.Errorf("a legacy lz4 frame: %v", err)
	}
}

func TestADecoderIsGoodAgainAfterGarbage(t *testing.T) {
	src := []byte("good")
	for _, c := range codecs {
		packed := Compression{Codec: c}.deflate(nil, src)
		for range 3 {
			c.inflate(nil, []byte("garbage garbage garbage"), 100)
			c.inflate(nil, packed[:len(packed)-1], 100)
			c.inflate(nil, packed, 2)
			if got, err := c.inflate(nil, packed, 100); err != nil || !bytes.Equal(got, src) {
				t.Errorf("%v: %q, %v", c, got, err)
			}
		}
	}
}

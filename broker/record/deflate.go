package record

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// Compression is how records are compressed: by which codec, and how hard it tries.
type Compression struct {
	Codec Codec
	// Level is the codec's own, by the numbers of KIP-390: 1 to 9 of Gzip, 1 to 17 of LZ4,
	// -131072 to 22 of Zstd. Our encoders know fewer: levels of LZ4 above 9 are 9, those of
	// Zstd are the nearest of four. 0 is the encoder's default; None and Snappy have no levels.
	Level int
}

// Compressed makes a batch of the same records, compressed in another way; all else in
// its header stays. The records inflate to limit bytes at most; they are not parsed. It
// errors as Iterate.
func (b Batch) Compressed(with Compression, limit int) (Batch, error) {
	body, release, err := b.body(limit)
	if err != nil {
		return nil, err
	}
	defer release()
	out := append(make(Batch, 0, BatchHeaderSize+len(body)/2), b[:BatchHeaderSize]...)
	out = with.deflate(out, body)
	binary.BigEndian.PutUint32(out[8:], uint32(len(out)-batchPrefix))
	binary.BigEndian.PutUint16(out[21:], uint16(b.Attributes())&^attrCodec|uint16(with.Codec))
	binary.BigEndian.PutUint32(out[17:], out.computedCRC())
	return out, nil
}

const maxGzipLevel = 9

var (
	gzipWriters [maxGzipLevel + 1]sync.Pool // by level, 0 for the default
	lz4Writers  = sync.Pool{New: func() any { return lz4.NewWriter(nil) }}

	zstdEncoders = [...]func() *zstd.Encoder{ // by zstd.EncoderLevel
		zstd.SpeedFastest:           zstdEncoder(zstd.SpeedFastest),
		zstd.SpeedDefault:           zstdEncoder(zstd.SpeedDefault),
		zstd.SpeedBetterCompression: zstdEncoder(zstd.SpeedBetterCompression),
		zstd.SpeedBestCompression:   zstdEncoder(zstd.SpeedBestCompression),
	}
)

func zstdEncoder(level zstd.EncoderLevel) func() *zstd.Encoder {
	return sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithLowerEncoderMem(true))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
}

// deflate appends src, compressed, to dst. The codec must be one of those named.
func (c Compression) deflate(dst, src []byte) []byte {
	switch c.Codec {
	case None:
		return append(dst, src...)
	case Gzip:
		return deflateGzip(dst, src, min(c.Level, maxGzipLevel))
	case Snappy:
		return append(dst, s2.EncodeSnappy(nil, src)...)
	case LZ4:
		return deflateLZ4(dst, src, c.Level)
	case Zstd:
		level := zstd.SpeedDefault
		if c.Level != 0 {
			level = zstd.EncoderLevelFromZstd(c.Level)
		}
		return zstdEncoders[level]().EncodeAll(src, dst)
	default:
		panic(fmt.Sprintf("compressing with %v", c.Codec))
	}
}

func deflateGzip(dst, src []byte, level int) []byte {
	pool := &gzipWriters[level]
	out := bytes.NewBuffer(dst)
	w, ok := pool.Get().(*gzip.Writer)
	if !ok {
		var err error
		if level == 0 {
			level = gzip.DefaultCompression
		}
		if w, err = gzip.NewWriterLevel(nil, level); err != nil {
			panic(err) // the level is in range
		}
	}
	defer pool.Put(w)
	w.Reset(out)
	writeAll(w, src)
	return out.Bytes()
}

func deflateLZ4(dst, src []byte, level int) []byte {
	depth := lz4.Fast
	if level > 0 {
		depth = lz4.Level1 << (min(level, 9) - 1)
	}
	out := bytes.NewBuffer(dst)
	w := lz4Writers.Get().(*lz4.Writer)
	defer lz4Writers.Put(w)
	w.Reset(out)
	// 64 KiB blocks without a checksum are what Java's client sends and so what every
	// consumer reads.
	if err := w.Apply(lz4.BlockSizeOption(lz4.Block64Kb), lz4.ChecksumOption(false), lz4.ConcurrencyOption(1), lz4.CompressionLevelOption(depth)); err != nil {
		panic(err) // the options are in range
	}
	writeAll(w, src)
	return out.Bytes()
}

// writeAll cannot fail: the destination is memory.
func writeAll(w io.WriteCloser, src []byte) {
	_, err := w.Write(src)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		panic(fmt.Sprintf("compressing into memory: %v", err))
	}
}

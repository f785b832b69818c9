package commitlog

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Item is a record, a slot, a section, a row: what a file that is not a segment is
// made of. Where Err says that the bytes are none, there are no fields.
type Item struct {
	Kind   string
	At     int64 // position in the file
	Fields []Field
	Err    error
}

// Field is a named number or text of an item.
type Field struct {
	Name  string
	Value any
}

// String is the item on one line.
func (i Item) String() string {
	if i.Err != nil {
		return fmt.Sprintf("%d  %s  %v", i.At, i.Kind, i.Err)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d  %s", i.At, i.Kind)
	for _, f := range i.Fields {
		fmt.Fprintf(&b, "  %s %v", f.Name, f.Value)
	}
	return b.String()
}

// FileKind is what a file of a log is.
type FileKind int

// The kinds of files. Magic numbers tell them apart; names do where those are damaged.
const (
	UnknownFile FileKind = iota
	SegmentFile
	IndexFile
	ManifestFile
	SnapshotFile
	HardStateFile
	ScrubFile
	CompactedFile
)

// KindOf tells what a file is.
func KindOf(fsys vfs.FS, name string) (FileKind, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return UnknownFile, err
	}
	defer f.Close()
	var magic [4]byte
	if err := readFull(f, magic[:], 0); err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return UnknownFile, err
	}
	switch binary.LittleEndian.Uint32(magic[:]) {
	case segmentMagic:
		return SegmentFile, nil
	case indexMagic:
		return IndexFile, nil
	case manifestMagic:
		return ManifestFile, nil
	case snapshotMagic:
		return SnapshotFile, nil
	case hardStateMagic:
		return HardStateFile, nil
	case scrubMagic:
		return ScrubFile, nil
	case compactedMagic:
		return CompactedFile, nil
	}
	base := path.Base(name)
	switch {
	case strings.HasSuffix(base, segmentSuffix):
		return SegmentFile, nil
	case strings.HasSuffix(base, indexSuffix):
		return IndexFile, nil
	case strings.HasSuffix(base, snapshotSuffix):
		return SnapshotFile, nil
	case base == manifestName:
		return ManifestFile, nil
	case base == hardStateName:
		return HardStateFile, nil
	case base == scrubName:
		return ScrubFile, nil
	case base == compactedName:
		return CompactedFile, nil
	}
	return UnknownFile, nil
}

// DumpItems calls do for everything in a file that is not a segment, in order, and
// goes around what is damaged. It reads the file only, and needs no log to be open. It
// returns what do returns, ErrFutureVersion, or what the disk said.
func DumpItems(fsys vfs.FS, name string, kind FileKind, do func(Item) error) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	d := dumper{file: f, do: do}
	switch kind {
	case ManifestFile:
		return d.manifest()
	case HardStateFile:
		return d.hardState()
	case SnapshotFile:
		return d.snapshot()
	case IndexFile:
		return d.index()
	case ScrubFile:
		return d.scrub()
	case CompactedFile:
		return d.compacted()
	}
	return d.bad("file", 0, damagef("it is none of a log's files"))
}

type dumper struct {
	file vfs.File
	do   func(Item) error
}

func (d dumper) item(kind string, at int64, fields ...Field) error {
	return d.do(Item{Kind: kind, At: at, Fields: fields})
}

// bad is an item of bytes that are none; a future version and a disk that does not
// read end the dump.
func (d dumper) bad(kind string, at int64, err error) error {
	if !isDamage(err) {
		return err
	}
	return d.do(Item{Kind: kind, At: at, Err: err})
}

func (d dumper) manifest() error {
	b, err := readAll(d.file, maxManifestSize)
	if err != nil {
		return d.bad("manifest", 0, err)
	}
	if len(b) < manifestRecord {
		return d.bad("header", 0, damagef("%d bytes are fewer than a header", len(b)))
	}
	if err := checkManifestHeader(b); err != nil {
		if err := d.bad("header", 0, err); err != nil {
			return err
		}
	} else if err := d.item("header", 0, Field{"version", binary.LittleEndian.Uint16(b[4:])}); err != nil {
		return err
	}
	for pos := manifestRecord; pos < len(b); pos += manifestRecord {
		number := uint64(pos / manifestRecord)
		c, err := change{}, error(nil)
		if len(b)-pos < manifestRecord {
			err = damagef("%d bytes are fewer than a record", len(b)-pos)
		} else {
			c, err = decodeChange(b[pos:pos+manifestRecord], number)
		}
		if err != nil {
			err = d.bad("record", int64(pos), err)
		} else {
			err = d.item(c.kind.String(), int64(pos), Field{"number", number}, Field{"generation", c.generation}, Field{"edition", c.edition},
				Field{"first", uint64(c.first)}, Field{"last", uint64(c.last)}, Field{"base", uint64(c.base)}, Field{"size", c.size})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (k changeKind) String() string {
	names := map[changeKind]string{
		segmentAdded: "added", segmentSealed: "sealed", suffixCut: "cut", replaced: "replaced", removed: "removed",
		installed: "installed", receiptBegun: "receipt",
	}
	if n, ok := names[k]; ok {
		return n
	}
	return fmt.Sprintf("kind %d", uint16(k))
}

func (d dumper) hardState() error {
	b, err := readAll(d.file, 2*hardStateSlot)
	if err != nil {
		return d.bad("hard state", 0, err)
	}
	for pos := 0; pos < 2*hardStateSlot; pos += hardStateSlot {
		r, err := hardStateRecord{}, error(damagef("%d bytes, not %d", len(b), 2*hardStateSlot))
		if len(b) >= pos+hardStateSlot {
			r, err = decodeHardStateSlot(b[pos:][:hardStateSlot])
		}
		if err != nil {
			err = d.bad("slot", int64(pos), err)
		} else {
			err = d.item("slot", int64(pos), Field{"sequence", r.sequence}, Field{"term", uint64(r.Term)}, Field{"vote", r.Vote},
				Field{"commit", uint64(r.Commit)}, Field{"durable", uint64(r.durable)}, Field{"generation", r.generation})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (d dumper) scrub() error {
	b, err := readAll(d.file, scrubSize)
	var p scrubPlace
	if err == nil {
		p, err = decodeScrubPlace(b)
	}
	if err != nil {
		return d.bad("place", 0, err)
	}
	return d.item("place", 0, Field{"address", uint64(p.at)}, Field{"begun", p.begun})
}

// snapshot shows the header last: it is known to be one when its sections were read.
func (d dumper) snapshot() error {
	var told error
	s, err := readSections(d.file, func(c SectionInfo) error {
		if c.Err != nil {
			told = cmp.Or(told, c.Err)
			return d.bad("section", c.At, c.Err)
		}
		name := c.Name
		if name == "" {
			name = "members"
		}
		return d.item("section", c.At, Field{"name", name}, Field{"size", c.Size})
	})
	if s != nil {
		if err := d.item("snapshot", 0, Field{"index", uint64(s.Index)}, Field{"term", uint64(s.Term)}, Field{"time", s.Time}, Field{"level", s.Level}); err != nil {
			return err
		}
	}
	if err != nil && err != told {
		return d.bad("snapshot", 0, err)
	}
	return nil
}

func (d dumper) index() error {
	size, err := d.file.Size()
	if err != nil {
		return err
	}
	b := make([]byte, blockSize)
	var head indexHead
	known := false
	for pos := int64(0); pos < size; pos += blockSize {
		number := uint32(pos / blockSize)
		if size-pos < blockSize {
			return d.bad("block", pos, damagef("%d bytes are fewer than a block", size-pos))
		}
		if err := readFull(d.file, b, pos); err != nil {
			return err
		}
		kind := blockKind(binary.LittleEndian.Uint16(b[6:]))
		err := checkBlock(b, kind, number)
		if err == nil && number == 0 {
			head, err = decodeIndexHead(b, size)
			known = err == nil
		}
		if err != nil {
			if err := d.bad("block", pos, err); err != nil {
				return err
			}
			continue
		}
		if err := d.block(b, pos, number, kind, head, known); err != nil {
			return err
		}
	}
	return nil
}

// block shows a sound block. Where the head is not known nobody knows how many rows
// the last block of a kind has: rows of zeros are none then.
func (d dumper) block(b []byte, pos int64, number uint32, kind blockKind, head indexHead, known bool) error {
	switch kind {
	case headBlock:
		return d.item("index", pos, Field{"first", uint64(head.first)}, Field{"last", uint64(head.last)}, Field{"size", head.size},
			Field{"rows", head.rows}, Field{"directory", head.dirs}, Field{"generation", head.generation}, Field{"edition", head.edition},
			Field{"entries", head.digest.Entries}, Field{"bytes", head.digest.Bytes}, Field{"sum", fmt.Sprintf("%016x", head.digest.Sum)}, Field{"holes", head.holes})
	case rowBlock:
		for i := range rowsPerBlock {
			at := blockHeaderSize + i*rowSize
			p, r := getRow(b[at:])
			if known && (int64(number)-1)*rowsPerBlock+int64(i) >= head.rows || r.size == 0 {
				break
			}
			err := d.item("row", pos+int64(at), Field{"partition", p.String()}, Field{"base_offset", r.base}, Field{"offsets", r.count},
				Field{"size", r.size}, Field{"address", uint64(r.at)}, Field{"max_timestamp", r.maxTime}, Field{"epoch", r.epoch},
				Field{"crc", fmt.Sprintf("%08x", r.crc)}, Field{"attributes", r.attrs})
			if err != nil {
				return err
			}
		}
	case directoryBlock:
		for i := range dirRowsPerBlock {
			at := blockHeaderSize + i*directoryRowSize
			e := getDirectoryRow(b[at:])
			if known && (int64(number)-1-head.rowBlocks())*dirRowsPerBlock+int64(i) >= head.dirs || e == (directoryRow{}) {
				break
			}
			err := d.item("directory", pos+int64(at), Field{"partition", e.partition.String()}, Field{"next_offset", e.next}, Field{"max_timestamp", e.maxTime})
			if err != nil {
				return err
			}
		}
	default:
		return d.bad("block", pos, damagef("block of unknown kind %d", kind))
	}
	return nil
}

func (d dumper) compacted() error {
	b, err := readAll(d.file, maxCompacted)
	var installed record.Index
	var rows []compactedRow
	if err == nil {
		installed, rows, err = decodeCompacted(b)
	}
	if err != nil {
		return d.bad("partitions", 0, err)
	}
	if err := d.item("partitions", 0, Field{"installed", uint64(installed)}, Field{"partitions", len(rows)}); err != nil {
		return err
	}
	for i, r := range rows {
		if err := d.item("partition", compactedHeader+int64(i)*compactedRowSize,
			Field{"partition", r.partition.String()}, Field{"end", r.end}, Field{"horizon", r.horizon}); err != nil {
			return err
		}
	}
	return nil
}

package commitlog

import (
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// How far each partition is compacted stands in a file, replaced as a whole after each
// pass:
//
//	 0  u32  magic "SDCO"
//	 4  u16  version, 1
//	 6  u16  zero
//	 8  u64  installed   index of the snapshot that came with the last shipment: what is
//	                     said is of the segments since then
//	16  u32  partitions
//	20  u32  CRC-32C     over the file without this field
//	24       partitions x { u32 id, u32 zero, i64 end, i64 horizon }, by id
//
// Below end there is one record for each key; at horizon (ms) there are delete markers
// to be taken away. The file comes behind the segments of which it tells: one that is
// lost, old or damaged costs a pass over all that is compacted, in which nothing
// is found to be done.
const (
	compactedName    = "compacted"
	compactedMagic   = 0x4f434453 // "SDCO"
	compactedVersion = 1
	compactedHeader  = 24
	compactedRowSize = 24
	// maxCompacted bounds the file: more partitions than a shard can have.
	maxCompacted = compactedHeader + compactedRowSize<<22
)

// compactedTo is what the cleaner remembers of a compacted partition.
type compactedTo struct {
	end     int64
	horizon int64
	// partial is that something could not be compacted: delete markers stay. It is not
	// written: the next start tries again, from the partition's beginning.
	partial bool
}

func encodeCompacted(installed record.Index, m map[record.PartitionID]compactedTo) []byte {
	m = maps.Clone(m)
	maps.DeleteFunc(m, func(_ record.PartitionID, to compactedTo) bool { return to.partial })
	b := make([]byte, compactedHeader, compactedHeader+compactedRowSize*len(m))
	binary.LittleEndian.PutUint32(b, compactedMagic)
	binary.LittleEndian.PutUint16(b[4:], compactedVersion)
	binary.LittleEndian.PutUint64(b[8:], uint64(installed))
	binary.LittleEndian.PutUint32(b[16:], uint32(len(m)))
	for _, p := range slices.Sorted(maps.Keys(m)) {
		b = binary.LittleEndian.AppendUint64(b, uint64(p))
		b = binary.LittleEndian.AppendUint64(b, uint64(m[p].end))
		b = binary.LittleEndian.AppendUint64(b, uint64(m[p].horizon))
	}
	binary.LittleEndian.PutUint32(b[20:], checksumAround(b, 20))
	return b
}

// compactedRow is what the file says of one partition.
type compactedRow struct {
	partition record.PartitionID
	compactedTo
}

// decodeCompacted errors with ErrFutureVersion or errDamage.
func decodeCompacted(b []byte) (installed record.Index, rows []compactedRow, err error) {
	if len(b) < compactedHeader || binary.LittleEndian.Uint32(b) != compactedMagic {
		return 0, nil, damagef("not how far partitions are compacted, in %d bytes", len(b))
	}
	if v := binary.LittleEndian.Uint16(b[4:]); v > compactedVersion {
		return 0, nil, futureVersion(compactedName, v, compactedVersion)
	}
	if want, got := binary.LittleEndian.Uint32(b[20:]), checksumAround(b, 20); want != got {
		return 0, nil, damagef("how far partitions are compacted: checksum %08x, computed %08x", want, got)
	}
	n := int64(binary.LittleEndian.Uint32(b[16:]))
	if int64(len(b)) != compactedHeader+n*compactedRowSize {
		return 0, nil, damagef("%d compacted partitions in %d bytes", n, len(b))
	}
	rows = make([]compactedRow, n)
	for i := range rows {
		row := b[compactedHeader+i*compactedRowSize:]
		rows[i] = compactedRow{record.PartitionID(binary.LittleEndian.Uint32(row)), compactedTo{
			end: int64(binary.LittleEndian.Uint64(row[8:])), horizon: int64(binary.LittleEndian.Uint64(row[16:])),
		}}
		if i > 0 && rows[i].partition <= rows[i-1].partition {
			return 0, nil, damagef("compacted partition %v behind %v", rows[i].partition, rows[i-1].partition)
		}
	}
	return record.Index(binary.LittleEndian.Uint64(b[8:])), rows, nil
}

// recallCompacted makes c.compacted what is known of the segments as they are now.
func (c *cleaning) recallCompacted() error {
	if c.compacted != nil && c.compactedIn == c.installed {
		return nil
	}
	first := c.compacted == nil
	c.compacted, c.compactedIn = make(map[record.PartitionID]compactedTo), c.installed
	if !first {
		return nil // other segments came with a shipment: all begins anew
	}
	f, err := c.fs.Open(c.path(compactedName))
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	b, err := readAll(f, maxCompacted)
	if err == nil {
		var rows []compactedRow
		var in record.Index
		if in, rows, err = decodeCompacted(b); err == nil && in == c.installed {
			for _, r := range rows {
				c.compacted[r.partition] = r.compactedTo
			}
		}
	}
	if isDamage(err) {
		return nil
	}
	return err
}

// noteCompacted writes the file. Unless the directory cannot be synced nothing depends
// on it.
func (c *cleaning) noteCompacted() error {
	err := replaceFile(c.fs, c.dir, compactedName, func(f vfs.File) error {
		_, err := f.WriteAt(encodeCompacted(c.compactedIn, c.compacted), 0)
		return err
	})
	var syncing *syncError
	if errors.As(err, &syncing) {
		return c.fail("writing "+compactedName, err)
	}
	if err != nil {
		return fmt.Errorf("writing %s: %w", compactedName, err)
	}
	return nil
}

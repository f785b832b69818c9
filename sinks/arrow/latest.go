package arrow

import (
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/splashdam/splashdam/connect"
)

// ErrNoKey says that a table has no primary key, so that no row of it can be told
// from a later state of another.
var ErrNoKey = errors.New("the table has no primary key")

// latestRows is how many rows Latest gives at a time.
const latestRows = 8192

// Latest visits what the table is now: of each key the newest row of its partition,
// unless it was deleted or a Truncate came after it. What an update did not say of
// a row is as it was before, if that is known. Rows come partition by partition, by
// the schema they were written with and then by offset; those of one partition are
// in memory meanwhile.
//
// A key is in one partition only as long as the topic has as many partitions as
// when its first row came, as everywhere in Kafka.
func (d *Directory) Latest(visit func(*Block) error) error {
	for first, i := 0, 0; i < len(d.Files); first = i {
		var s state
		for ; i < len(d.Files) && d.Files[i].Partition == d.Files[first].Partition; i++ {
			f := d.Files[i]
			if err := d.read(f, s.apply); err != nil {
				return fmt.Errorf("the latest rows up to %s: %w", f.Path, err)
			}
		}
		if err := s.visit(visit); err != nil {
			return err
		}
	}
	return nil
}

// state is the rows of one partition, of each schema apart. What a later row has
// replaced stays until there is more of that than of the rest.
type state struct {
	key    []int // ids of the key's fields
	blocks []*Block
	newest map[string]rowAt // by key
	rows   int              // in blocks
}

type rowAt struct{ block, row int }

func (s *state) apply(b *Block) error {
	if err := s.use(b.Schema); err != nil {
		return err
	}
	var key []byte
	for row := range b.Len() {
		if b.Op[row] == connect.Truncate {
			s.clear()
			continue
		}
		key = key[:0]
		for _, i := range b.Schema.Key {
			if b.Columns[i].IsAbsent(row) {
				return fmt.Errorf("the row at offset %d does not say its key (%s)", b.Offset[row], b.Schema.Fields[i].Name)
			}
			key = appendKey(key, &b.Columns[i], row)
		}
		if b.Op[row] == connect.Delete {
			delete(s.newest, string(key))
			continue
		}
		s.put(key, b, row)
	}
	if s.rows > latestRows && s.rows > 2*len(s.newest) {
		s.pack()
	}
	return nil
}

// use makes the last block one of the schema.
func (s *state) use(schema *connect.Schema) error {
	if len(schema.Key) == 0 {
		return fmt.Errorf("table %s: %w", schema.Name, ErrNoKey)
	}
	var key []int
	for _, i := range schema.Key {
		key = append(key, schema.Fields[i].ID)
	}
	if s.newest == nil {
		s.key, s.newest = key, map[string]rowAt{}
	}
	if !slices.Equal(key, s.key) {
		return fmt.Errorf("table %s: its primary key is another one since: rows of before have no newer ones", schema.Name)
	}
	if n := len(s.blocks); n == 0 || s.blocks[n-1].Schema.ID != schema.ID {
		s.blocks = append(s.blocks, newBlock(0, schema))
	}
	return nil
}

func (s *state) clear() {
	clear(s.newest)
	for _, b := range s.blocks {
		b.Reset()
	}
	s.rows = 0
}

func (s *state) put(key []byte, b *Block, row int) {
	last := len(s.blocks) - 1
	into := s.blocks[last]
	into.Partition = b.Partition
	before, known := s.newest[string(key)]
	for i := range into.Columns {
		from, at := &b.Columns[i], row
		if from.IsAbsent(row) && known && b.Op[row] == connect.Update {
			if old := s.blocks[before.block].columnOf(b.Schema.Fields[i]); old != nil {
				from, at = old, before.row
			}
		}
		into.Columns[i].AppendFrom(from, at)
	}
	into.appendMeta(b, row)
	s.newest[string(key)] = rowAt{last, into.Len() - 1}
	s.rows++
}

// columnOf finds a field's column, if its values are written the same way.
func (b *Block) columnOf(f connect.Field) *connect.Column {
	for i := range b.Columns {
		if b.Schema.Fields[i].ID == f.ID && b.Columns[i].Layout() == f.Type.Layout() {
			return &b.Columns[i]
		}
	}
	return nil
}

// pack drops what was replaced.
func (s *state) pack() {
	packed := state{key: s.key, newest: make(map[string]rowAt, len(s.newest))}
	for _, b := range s.blocks {
		packed.blocks = append(packed.blocks, newBlock(b.Partition, b.Schema))
	}
	for key, at := range s.newest {
		into := packed.blocks[at.block]
		into.appendRow(s.blocks[at.block], at.row)
		packed.newest[key] = rowAt{at.block, into.Len() - 1}
		packed.rows++
	}
	*s = packed
}

func (s *state) visit(visit func(*Block) error) error {
	live := make([][]int, len(s.blocks))
	for _, at := range s.newest {
		live[at.block] = append(live[at.block], at.row)
	}
	for n, b := range s.blocks {
		slices.SortFunc(live[n], func(x, y int) int { return int(b.Offset[x] - b.Offset[y]) })
		for rows := range slices.Chunk(live[n], latestRows) {
			out := newBlock(b.Partition, b.Schema)
			for _, row := range rows {
				out.appendRow(b, row)
			}
			if err := visit(out); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendKey appends a value of a key, so that equal values are equal bytes also
// after the column was made wider.
func appendKey(to []byte, c *connect.Column, row int) []byte {
	if c.IsNull(row) {
		return append(to, 'n')
	}
	switch c.Layout() {
	case connect.BitLayout:
		return strconv.AppendBool(to, c.Bool(row))
	case connect.TextLayout:
		text := c.Text(row)
		to = append(strconv.AppendInt(to, int64(len(text)), 10), ':')
		return append(to, text...)
	case connect.Fix16Layout:
		low, high := c.Bits128(row)
		to = strconv.AppendUint(to, high, 10)
		to = strconv.AppendUint(append(to, '.'), low, 10)
		return append(to, ';')
	}
	switch c.Type.Kind {
	case connect.Uint8, connect.Uint16, connect.Uint32, connect.Uint64:
		to = strconv.AppendUint(to, c.Bits(row), 10)
	default:
		to = strconv.AppendInt(to, c.Int(row), 10)
	}
	return append(to, ';')
}

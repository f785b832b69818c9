package arrow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
)

// Block is some rows of one partition with one schema, in the order of their
// offsets: the row after each change or, of a Delete, before it.
type Block struct {
	Partition int32
	Schema    *connect.Schema
	*convert.Rows
}

// decoder reads an open data file.
type decoder interface {
	// metadata returns what the encoder was given beside the columns.
	metadata(key string) (string, bool)
	// matches is whether the file has columns of these fields.
	matches(fields []connect.Field) error
	chunks() int
	// column appends the values of a column in a chunk. Absent says which of the nulls
	// are values that nobody knows.
	column(chunk, i int, into *connect.Column, absent func(row int) bool) error
}

// Rows visits all rows: the files of a partition one after another, partition by
// partition. A block is the caller's until visit returns.
func (d *Directory) Rows(visit func(*Block) error) error {
	for _, f := range d.Files {
		if err := d.read(f, visit); err != nil {
			return err
		}
	}
	return nil
}

func (d *Directory) read(f File, visit func(*Block) error) (err error) {
	file, size, err := d.open(f)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	section := io.NewSectionReader(file, 0, size)
	var src decoder
	if f.name.format == formatArrow {
		src, err = openIPC(section)
	} else {
		src, err = openParquet(section)
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.Path, err)
	}
	schema, err := schemaOf(src)
	if err != nil {
		return fmt.Errorf("reading %s: %w", f.Path, err)
	}
	b := newBlock(f.Partition, schema)
	for n := range src.chunks() {
		b.Reset()
		if err := b.readChunk(src, n); err != nil {
			return fmt.Errorf("reading %s, part %d: %w", f.Path, n, err)
		}
		if err := visit(b); err != nil {
			return err
		}
	}
	return nil
}

func schemaOf(src decoder) (*connect.Schema, error) {
	id, ok := src.metadata(schemaIDMetadata)
	document, also := src.metadata(schemaMetadata)
	if !ok || !also {
		return nil, errors.New("it does not say which schema its rows have: the sink did not write it")
	}
	schema, err := convert.DecodeSchema(id, []byte(document))
	if err != nil {
		return nil, err
	}
	fields, err := fileFields(schema)
	if err != nil {
		return nil, err
	}
	return schema, src.matches(fields)
}

func newBlock(partition int32, s *connect.Schema) *Block {
	return &Block{partition, s, &convert.Rows{Columns: connect.NewColumns(s.Fields)}}
}

// readChunk is the inverse of filePlan.columnsOf.
func (b *Block) readChunk(src decoder, n int) error {
	meta := connect.NewColumns(metaFields)
	for i := range meta {
		if err := src.column(n, len(b.Columns)+i, &meta[i], notAbsent); err != nil {
			return err
		}
	}
	op, offset, timestamp, pos, absent := &meta[0], &meta[1], &meta[3], &meta[4], &meta[5]
	for row := range op.Rows() {
		b.Op = append(b.Op, connect.Op(op.Text(row)[0]))
		b.Offset = append(b.Offset, offset.Int(row))
		b.Timestamp = append(b.Timestamp, timestamp.Int(row)/1000)
		var place connect.Place
		if !pos.IsNull(row) {
			var err error
			if place, err = connect.ParsePlace(pos.Text(row)); err != nil {
				return err
			}
		}
		b.Place = append(b.Place, place)
		b.Placed = append(b.Placed, !pos.IsNull(row))
	}
	for i := range b.Columns {
		id := strconv.AppendInt(nil, int64(b.Schema.Fields[i].ID), 10)
		err := src.column(n, i, &b.Columns[i], func(row int) bool {
			return b.Op[row] == connect.Truncate || !absent.IsNull(row) && listed(absent.Text(row), id)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func notAbsent(int) bool { return false }

// listed is whether an id is one of those with commas between.
func listed(ids, id []byte) bool {
	for len(ids) > 0 {
		first, rest, _ := bytes.Cut(ids, []byte{','})
		if bytes.Equal(first, id) {
			return true
		}
		ids = rest
	}
	return false
}

// appendRow adds another block's row, whose schema has the same fields.
func (b *Block) appendRow(other *Block, row int) {
	for i := range b.Columns {
		b.Columns[i].AppendFrom(&other.Columns[i], row)
	}
	b.appendMeta(other, row)
}

func (b *Block) appendMeta(other *Block, row int) {
	b.Op = append(b.Op, other.Op[row])
	b.Offset = append(b.Offset, other.Offset[row])
	b.Timestamp = append(b.Timestamp, other.Timestamp[row])
	b.Place = append(b.Place, other.Place[row])
	b.Placed = append(b.Placed, other.Placed[row])
}

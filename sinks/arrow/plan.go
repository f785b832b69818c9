package arrow

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
)

// maxPlans bounds the plans that a sink remembers.
const maxPlans = 1024

// filePlan is how to make files of records with one schema.
type filePlan struct {
	*convert.Plan
	fields  []connect.Field // of a file
	meta    map[string]string
	columns []connect.Column
}

func newFilePlan(p *convert.Plan) (*filePlan, error) {
	fields, err := fileFields(p.Schema)
	if err != nil {
		return nil, err
	}
	f := &filePlan{
		Plan:    p,
		fields:  fields,
		meta:    map[string]string{schemaIDMetadata: p.Schema.ID, schemaMetadata: string(convert.EncodeSchema(p.Schema))},
		columns: make([]connect.Column, len(fields)),
	}
	for i := len(p.Schema.Fields); i < len(fields); i++ {
		f.columns[i] = connect.NewColumn(fields[i].Type)
	}
	return f, nil
}

// columnsOf returns a file's columns of rows: theirs and ours. They are good until
// the next call.
func (f *filePlan) columnsOf(r *convert.Rows, partition int32) []connect.Column {
	table := f.columns[:copy(f.columns, r.Columns)]
	meta := f.columns[len(table):]
	for i := range meta {
		meta[i].Reset()
	}
	op, offset, number, timestamp, pos, absent := &meta[0], &meta[1], &meta[2], &meta[3], &meta[4], &meta[5]
	var lacking []int // columns that are absent in some row
	for i := range table {
		if len(table[i].Absent) > 0 {
			lacking = append(lacking, i)
		}
	}
	for row := range r.Len() {
		op.Data = append(op.Data, byte(r.Op[row]))
		op.EndText()
		offset.Append8(uint64(r.Offset[row]))
		number.Append4(uint32(partition))
		timestamp.Append8(uint64(r.Timestamp[row] * 1000))
		if r.Placed[row] {
			pos.Data = r.Place[row].Append(pos.Data)
			pos.EndText()
		} else {
			pos.AppendNull()
		}
		f.appendAbsent(absent, table, lacking, r.Op[row], row)
	}
	return f.columns
}

// appendAbsent lists the columns of which the row does not say the value. A
// Truncate has none at all.
func (f *filePlan) appendAbsent(to *connect.Column, table []connect.Column, lacking []int, op connect.Op, row int) {
	start := len(to.Data)
	if op != connect.Truncate {
		for _, i := range lacking {
			if !table[i].IsAbsent(row) {
				continue
			}
			if len(to.Data) > start {
				to.Data = append(to.Data, ',')
			}
			to.Data = strconv.AppendInt(to.Data, int64(f.fields[i].ID), 10)
		}
	}
	if len(to.Data) == start {
		to.AppendNull()
	} else {
		to.EndText()
	}
}

// sizeOf is how much memory rows take.
func sizeOf(r *convert.Rows) int64 {
	const meta = 96 // a row, in the slices beside the columns and in our own columns
	size := int64(r.Len()) * meta
	for i := range r.Columns {
		size += int64(len(r.Columns[i].Data)) + 4*int64(len(r.Columns[i].Ends))
	}
	return size
}

// plans are those of the schemas that came, by topic and ID.
type plans map[schemaName]*filePlan

type schemaName struct{ topic, id string }

// errNoSchema blames a record.
var errNoSchema = errors.New("it has no header " + connect.SchemaHeader + ", so nobody knows its columns")

// namesNoSchema is whether a record lacks the header. A plan would read it all the
// same, by the schema of the record before it, which says nothing about this one.
func namesNoSchema(r connect.Record) bool {
	_, ok := headerOf(&r, connect.SchemaHeader)
	return !ok
}

// planFor finds the plan for a record, which names its schema.
func (s *Sink) planFor(ctx context.Context, topic string, r *connect.Record) (*filePlan, error) {
	id, _ := headerOf(r, connect.SchemaHeader)
	name := schemaName{topic, string(id)}
	if p := s.plans[name]; p != nil {
		return p, nil
	}
	schema, err := s.env.Schema(ctx, topic, name.id)
	if err != nil {
		return nil, fmt.Errorf("finding schema %s of topic %s: %w", name.id, topic, err)
	}
	p, err := newFilePlan(convert.NewPlan(schema))
	if err != nil {
		return nil, err
	}
	if s.plans == nil || len(s.plans) >= maxPlans {
		s.plans = plans{}
	}
	s.plans[name] = p
	return p, nil
}

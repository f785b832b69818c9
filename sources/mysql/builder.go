package mysql

import (
	"fmt"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// originFields are Debezium's source block. Sequence is of no database here, and
// the statements that changed rows are not asked for.
var originFields = []connect.Field{
	{Name: "version", Type: connect.Type{Kind: connect.String}},
	{Name: "connector", Type: connect.Type{Kind: connect.String}},
	{Name: "name", Type: connect.Type{Kind: connect.String}},
	{Name: "ts_ms", Type: connect.Type{Kind: connect.Int64}},
	{Name: "snapshot", Type: connect.Type{Kind: connect.String}},
	{Name: "db", Type: connect.Type{Kind: connect.String}},
	{Name: "sequence", Type: connect.Type{Kind: connect.String}, Nullable: true},
	{Name: "ts_us", Type: connect.Type{Kind: connect.Int64}},
	{Name: "ts_ns", Type: connect.Type{Kind: connect.Int64}},
	{Name: "table", Type: connect.Type{Kind: connect.String}, Nullable: true},
	{Name: "server_id", Type: connect.Type{Kind: connect.Int64}},
	{Name: "gtid", Type: connect.Type{Kind: connect.String}, Nullable: true},
	{Name: "file", Type: connect.Type{Kind: connect.String}},
	{Name: "pos", Type: connect.Type{Kind: connect.Int64}},
	{Name: "row", Type: connect.Type{Kind: connect.Int32}},
	{Name: "thread", Type: connect.Type{Kind: connect.Int64}, Nullable: true},
	{Name: "query", Type: connect.Type{Kind: connect.String}, Nullable: true},
}

const (
	originRow     = 14 // counts on inside a run
	originVersion = "1"
)

// builder makes a batch.
type builder struct {
	s       *source
	batch   *connect.Batch
	section map[*connect.Schema]int
	rows    int
	bytes   int
}

func newBuilder(s *source) *builder {
	return &builder{s: s, batch: &connect.Batch{}, section: map[*connect.Schema]int{}}
}

// of returns the section of the schema's rows, and its number.
func (b *builder) of(t tableName, schema *connect.Schema) (*connect.Section, uint16) {
	i, ok := b.section[schema]
	if !ok {
		i = len(b.batch.Sections)
		b.section[schema] = i
		b.batch.Sections = append(b.batch.Sections, &connect.Section{
			Topic: b.s.config.topic(t), Schema: schema,
			Origin: &connect.Origin{Fields: originFields, Columns: connect.NewColumns(originFields), Counter: originRow},
		})
	}
	return b.batch.Sections[i], uint16(i)
}

// addChunk adds rows that were selected. They are placed behind the last whole
// transaction.
func (b *builder) addChunk(c *chunk) {
	section, number := b.of(c.table, c.schema)
	n := c.columns[0].Rows()
	section.After = c.columns
	now := time.Now().UnixMilli()
	b.origin(section, c.table, now, "true", b.s.tail.at.Pos, 0)
	for i := range n {
		section.Op = append(section.Op, connect.Read)
		section.Time = append(section.Time, now)
		section.Place = append(section.Place, b.place(b.s.tail.at.Pos, c.place(i+1)))
		b.batch.Order = append(b.batch.Order, number)
	}
	b.rows += n
}

func (b *builder) addRows(t *table, rows *rowsEvent, e event) error {
	section, number := b.of(t.name, t.schema)
	b.bytes += len(rows.images)
	b.origin(section, t.name, int64(e.time)*1000, "false", e.end, e.serverID)
	first := section.Rows()
	for len(rows.images) > 0 {
		if err := t.decode(rows, section, batchRows); err != nil {
			return fmt.Errorf("the event of %s before %d: %w", b.s.tail.file, e.end, err)
		}
	}
	b.rows += section.Rows() - first
	end, base := b.s.tail.place(e)
	for i := first; i < section.Rows(); i++ {
		row := uint64(i - first)
		if section.Op[i] == connect.Update {
			row = 2*row + 1
		}
		section.Time = append(section.Time, int64(e.time)*1000)
		section.Place = append(section.Place, b.place(end, base+row))
		b.batch.Order = append(b.batch.Order, number)
	}
	return nil
}

// addTruncate says that a table's rows are gone.
func (b *builder) addTruncate(t tableName, schema *connect.Schema, e event, nth int) {
	b.empty(t, schema, int64(e.time)*1000, "false", e.serverID, e.end, uint64(nth))
}

// addEmpty says that rows that were copied before are gone.
func (b *builder) addEmpty(c *chunk) {
	b.empty(c.table, c.schema, time.Now().UnixMilli(), "true", 0, b.s.tail.at.Pos, c.place(0))
}

func (b *builder) empty(t tableName, schema *connect.Schema, ms int64, snapshot string, serverID uint32, end, row uint64) {
	section, number := b.of(t, schema)
	b.origin(section, t, ms, snapshot, end, serverID)
	for _, image := range [][]connect.Column{section.Before, section.After} {
		for i := range image {
			image[i].AppendNull()
		}
	}
	section.Op = append(section.Op, connect.Truncate)
	section.Time = append(section.Time, ms)
	section.Place = append(section.Place, b.place(end, row))
	b.batch.Order = append(b.batch.Order, number)
	b.rows++
}

func (b *builder) place(end, row uint64) connect.Place {
	number := b.s.tail.number
	if !b.s.tail.begun {
		number, _ = fileNumber(b.s.tail.at.File)
	}
	return connect.Place{Task: b.s.task, Epoch: b.s.tail.at.Epoch, File: number, End: end, Row: row}
}

// origin begins a run of rows.
func (b *builder) origin(s *connect.Section, t tableName, ms int64, snapshot string, pos uint64, serverID uint32) {
	o := s.Origin
	o.Starts = append(o.Starts, int32(s.Rows()))
	c := o.Columns
	c[0].AppendText([]byte(originVersion))
	kind := "mysql"
	if b.s.server.mariadb {
		kind = "mariadb"
	}
	c[1].AppendText([]byte(kind))
	c[2].AppendText([]byte(b.s.config.prefix))
	c[3].Append8(uint64(ms))
	c[4].AppendText([]byte(snapshot))
	c[5].AppendText([]byte(t.database))
	c[6].AppendNull()
	c[7].Append8(uint64(ms * 1000))
	c[8].Append8(uint64(ms * 1_000_000))
	c[9].AppendText([]byte(t.table))
	c[10].Append8(uint64(serverID))
	if b.s.tail.begun && b.s.tail.gtidText != "" {
		c[11].AppendText([]byte(b.s.tail.gtidText))
	} else {
		c[11].AppendNull()
	}
	c[12].AppendText([]byte(b.s.tail.file))
	c[13].Append8(pos)
	c[originRow].Append4(0)
	if b.s.tail.begun && b.s.tail.thread != 0 {
		c[15].Append8(uint64(b.s.tail.thread))
	} else {
		c[15].AppendNull()
	}
	c[16].AppendNull()
}

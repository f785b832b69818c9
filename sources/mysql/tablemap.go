package mysql

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/splashdam/splashdam/connect"
)

// server is what must be known of a server to read its events.
type server struct {
	mariadb bool
	// collations are the character sets of its collations by number, from
	// information_schema. Nil will do for the versions that collation.go knows.
	collations map[int]string
}

// table is a TABLE_MAP event, understood: what the rows mean that follow it. It
// is used by one goroutine at a time, as it has buffers.
type table struct {
	name    tableName
	schema  *connect.Schema
	columns []column // as they follow one another in row events
	event   []byte   // the event behind the table's number, to compare
	before  image    // of the last event's rows
	after   image
	rowEnd  int // the field that tells history from rows that are valid; -1 if all are
}

// column is where a column's values go.
type column struct {
	read   reader
	field  int             // of the schema; -1 if none
	unused *connect.Column // takes the values that no field is for
}

// tableHeader is the number and flags that every TABLE_MAP and row event begins with.
const tableHeader = 6 + 2

// Kinds of what follows in a TABLE_MAP event with full metadata.
const (
	metaSigns          = 1
	metaDefaultCharset = 2 // and exceptions from it
	metaCharsets       = 3 // one each
	metaNames          = 4
	metaSets           = 5
	metaEnums          = 6
	metaKey            = 8
	metaKeyPrefixes    = 9
	metaDefaultChoice  = 10 // as 2, but of enums and sets
	metaChoices        = 11
	metaKinds          = 12 // what is beyond is not needed
)

// errNoNames is cured on the server only.
var errNoNames = errors.New("the event does not name its columns, as binlog_row_metadata was not FULL when it was written")

// tableMapID is the number by which row events refer to the table.
func tableMapID(event []byte) uint64 {
	c := cursor{rest: event}
	return c.uint(6)
}

// tableMapName says which table an event is of without reading all of it.
func tableMapName(event []byte) (database, name string, err error) {
	c := cursor{rest: event}
	database, name = readTableName(&c)
	if c.err != nil {
		return "", "", fmt.Errorf("a TABLE_MAP event of %d bytes: %w", len(event), c.err)
	}
	return database, name, nil
}

func readTableName(c *cursor) (database, name string) {
	c.bytes(tableHeader)
	database = string(c.word())
	c.bytes(1) // each ends with a zero besides
	name = string(c.word())
	c.bytes(1)
	return database, name
}

// same is whether the event says what the table was made from, under whichever
// number. Servers send the event anew for every statement. It does not see that
// the declaration is another one by now: after DDL forget the table.
func (t *table) same(event []byte) bool {
	return len(event) >= tableHeader && bytes.Equal(t.event, event[tableHeader:])
}

// parseTableMap understands an event, without its header and checksum. The
// schema's name begins with the prefix. The declaration tells what the event does
// not: of MariaDB uuid, inet4, inet6 and vector from binary strings, the fractions
// of times that are stored as its version 5.3 did, and which rows of a table with
// system versioning are history. MySQL needs none.
// What does not fit the event, as after an ALTER TABLE, is not used.
func parseTableMap(event []byte, prefix string, s server, declared declaration) (*table, error) {
	c := cursor{rest: event}
	database, name := readTableName(&c)
	m := tableMap{server: s, declared: declared}
	err := m.read(&c)
	if err == nil {
		err = m.build(prefix + "." + database + "." + name)
	}
	switch {
	case errors.Is(err, errNoNames):
		return nil, connect.Permanent(fmt.Errorf("table %s.%s: %w", database, name, err),
			"run SET GLOBAL binlog_row_metadata=FULL, and set it in the server's configuration too; what is in the binlog already stays as it is, so "+copyAnew)
	case err != nil:
		return nil, fmt.Errorf("TABLE_MAP event of %s.%s: %w", database, name, err)
	}
	m.table.event = bytes.Clone(event[tableHeader:])
	return m.table, nil
}

// tableMap is an event on its way to a table.
type tableMap struct {
	server   server
	declared declaration

	columns []wire
	nulls   []byte
	meta    [metaKinds][]byte

	unsigned []bool
	charsets []string // "" where there is none
	members  [][][]byte
	names    []string

	table *table
}

// read splits the event.
func (m *tableMap) read(c *cursor) error {
	codes := c.bytes(c.count())
	meta := cursor{rest: c.text()}
	m.nulls = c.bytes((len(codes) + 7) / 8)
	for c.err == nil && len(c.rest) > 0 {
		kind := c.uint(1)
		text := c.text()
		if kind < metaKinds {
			m.meta[kind] = text
		}
	}
	if c.err != nil {
		return c.err
	}
	m.columns = make([]wire, len(codes))
	for i, b := range codes {
		var err error
		if m.columns[i], err = wireOf(code(b), &meta); err != nil {
			return fmt.Errorf("column %d: %w", i+1, err)
		}
	}
	return nil
}

// build makes the table.
func (m *tableMap) build(name string) error {
	if len(m.meta[metaNames]) == 0 {
		return errNoNames
	}
	if err := m.readMeta(); err != nil {
		return err
	}
	schema := &connect.Schema{Name: name}
	m.table = &table{schema: schema, columns: make([]column, len(m.columns)), rowEnd: -1}
	for i, w := range m.columns {
		if err := m.buildColumn(i, w); err != nil {
			return fmt.Errorf("column %s: %w", m.names[i], err)
		}
	}
	if i := schema.Index(m.declared.rowEnd); i >= 0 {
		switch schema.Fields[i].Type.Kind {
		case connect.Timestamp, connect.Uint64: // a time, or a transaction's number
			m.table.rowEnd = i
		}
	}
	key, err := m.key()
	for _, i := range key {
		// The end is in MariaDB's key, since history has the same otherwise.
		if field := m.table.columns[i].field; field >= 0 && field != m.table.rowEnd {
			schema.Key = append(schema.Key, field)
		}
	}
	return err
}

func (m *tableMap) buildColumn(i int, w wire) error {
	var cs charset
	var err error
	if name := m.charsets[i]; name != "" {
		if cs, err = findCharset(name); err != nil {
			return err
		}
	}
	members := make([]string, len(m.members[i]))
	for j, b := range m.members[i] {
		members[j] = string(cs.appendUTF8(nil, b))
	}
	t, err := w.sqlType(m.charsets[i], cs, m.unsigned[i], members, m.declared.column(m.names[i]))
	if err != nil {
		return err
	}
	f, err := t.field(m.names[i], m.nulls[i/8]&(1<<(i%8)) != 0)
	if err != nil {
		return err
	}
	to := &m.table.columns[i]
	*to = column{read: w.reader(t, f.Type, cs), field: -1}
	if m.declared.leavesOut(f.Name) {
		unused := connect.NewColumn(f.Type)
		to.unused = &unused
		return nil
	}
	to.field = len(m.table.schema.Fields)
	m.table.schema.Fields = append(m.table.schema.Fields, f)
	return nil
}

// readMeta says for each column what the event says for kinds of columns.
func (m *tableMap) readMeta() error {
	n := len(m.columns)
	m.unsigned, m.charsets, m.members, m.names = make([]bool, n), make([]string, n), make([][][]byte, n), make([]string, n)

	signs := m.meta[metaSigns]
	for place, i := range m.indexes(wire.isNumeric) {
		if place/8 >= len(signs) {
			return fmt.Errorf("the signs of the columns: %w", errShort)
		}
		m.unsigned[i] = signs[place/8]&(0x80>>(place%8)) != 0
	}
	isText := func(w wire) bool { return w.isText(m.server.mariadb) }
	if err := m.readCharsets(m.indexes(isText), metaDefaultCharset, metaCharsets); err != nil {
		return err
	}
	if err := m.readCharsets(m.indexes(wire.isChoice), metaDefaultChoice, metaChoices); err != nil {
		return err
	}
	for c, kind := range map[code]int{codeEnum: metaEnums, codeSet: metaSets} {
		if err := m.readMembers(m.indexes(func(w wire) bool { return w.code == c }), kind); err != nil {
			return err
		}
	}
	c := cursor{rest: m.meta[metaNames]}
	for i := range m.names {
		m.names[i] = string(c.text())
		if slices.Contains(m.names[:i], m.names[i]) && c.err == nil {
			return fmt.Errorf("two columns are called %s", m.names[i])
		}
	}
	if c.err != nil {
		return fmt.Errorf("the names of the columns: %w", c.err)
	}
	return nil
}

// indexes are of the columns of a kind.
func (m *tableMap) indexes(kind func(wire) bool) []int {
	var found []int
	for i, w := range m.columns {
		if kind(w) {
			found = append(found, i)
		}
	}
	return found
}

// readCharsets takes collations that are given as a default with exceptions by
// the place among the columns of the kind, or one for each of them.
func (m *tableMap) readCharsets(columns []int, byDefault, each int) error {
	if len(columns) == 0 {
		return nil
	}
	collations := make([]uint64, len(columns))
	c := cursor{rest: m.meta[each]}
	if m.meta[byDefault] != nil {
		c.rest = m.meta[byDefault]
		usual := c.packed()
		for i := range collations {
			collations[i] = usual
		}
		for c.err == nil && len(c.rest) > 0 {
			i, collation := c.packed(), c.packed()
			if c.err == nil && i >= uint64(len(collations)) {
				return fmt.Errorf("a collation is given for column %d of %d with text", i+1, len(collations))
			}
			if c.err == nil {
				collations[i] = collation
			}
		}
	} else {
		for i := range collations {
			collations[i] = c.packed()
		}
	}
	if c.err != nil {
		return fmt.Errorf("the collations: %w", c.err)
	}
	for i, column := range columns {
		name, err := charsetOf(int(min(collations[i], 1<<31-1)), m.server.collations)
		if err != nil {
			return err
		}
		m.charsets[column] = name
	}
	return nil
}

func (m *tableMap) readMembers(columns []int, kind int) error {
	c := cursor{rest: m.meta[kind]}
	for _, i := range columns {
		members := make([][]byte, c.count())
		for j := range members {
			members[j] = c.text()
		}
		m.members[i] = members
	}
	if c.err != nil {
		return fmt.Errorf("the members of enums and sets: %w", c.err)
	}
	return nil
}

// key is the primary key, by its columns only: how many characters of them it
// takes is of no account.
func (m *tableMap) key() ([]int, error) {
	c := cursor{rest: m.meta[metaKey]}
	prefixes := len(m.meta[metaKeyPrefixes]) > 0
	if prefixes {
		c.rest = m.meta[metaKeyPrefixes]
	}
	var key []int
	for c.err == nil && len(c.rest) > 0 {
		i := c.packed()
		if prefixes {
			c.packed()
		}
		if c.err == nil && (i >= uint64(len(m.columns)) || slices.Contains(key, int(i))) {
			return nil, fmt.Errorf("the primary key has column %d, of %d", i+1, len(m.columns))
		}
		if c.err == nil {
			key = append(key, int(i))
		}
	}
	if c.err != nil {
		return nil, fmt.Errorf("the primary key: %w", c.err)
	}
	return key, nil
}

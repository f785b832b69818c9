package tape

import (
	"bytes"
	"cmp"
	"compress/gzip"
	_ "embed" // the recording
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/replication"
)

// recording is what a server had, transaction by transaction.
type recording struct {
	Version string `json:"version"`
	File    string `json:"file"`  // the binlog's name
	Table   string `json:"table"` // database.table; its first column is its primary key
	// Server is what it says of itself, whatever happens to the table.
	Server  []relation `json:"server"`
	Moments []moment   `json:"moments"`
}

// moment is what a transaction has made of the moment before.
type moment struct {
	Events [][]byte `json:"events"` // as they were sent, with their headers and without checksums
	GTIDs  string   `json:"gtids"`  // BINLOG_GTID_POS where the events end
	// Definition is what the table is from here on, where that is another than before;
	// then Rows are all rows, and otherwise those that are not as they were.
	Definition *definition `json:"definition,omitempty"`
	Rows       [][]*string `json:"rows,omitempty"`
	Gone       []string    `json:"gone,omitempty"` // keys
}

// definition is a table's columns, and what the server says about it.
type definition struct {
	Columns []column   `json:"columns"`
	About   []relation `json:"about"`
}

// relation is what one SELECT or SHOW gave.
type relation struct {
	Name    string      `json:"name"` // where a SELECT finds it
	Columns []column    `json:"columns"`
	Rows    [][]*string `json:"rows"`
}

type column struct {
	Name string `json:"name"`
	Type string `json:"type"` // UNSIGNED INT, DATETIME(3): with the digits of a fraction
}

//go:embed orders.tape
var orders []byte

// ordersRecording is of Script.
func ordersRecording() (*recording, error) { return readRecording(orders) }

func readRecording(data []byte) (*recording, error) {
	var r recording
	zip, err := gzip.NewReader(bytes.NewReader(data))
	if err == nil {
		data, err = io.ReadAll(zip)
	}
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err == nil {
		err = r.check()
	}
	if err != nil {
		return nil, fmt.Errorf("reading the recording: %w", err)
	}
	return &r, nil
}

// check demands what a Server takes for granted.
func (r *recording) check() error {
	if len(r.Moments) == 0 || r.Moments[0].Definition == nil {
		return errors.New("it does not begin with a table")
	}
	if database, table, ok := strings.Cut(r.Table, "."); !ok || database == "" || table == "" {
		return fmt.Errorf("%q is no database.table", r.Table)
	}
	relations := r.Server
	end := uint32(binlogMagic)
	for i, m := range r.Moments {
		if len(m.Events) == 0 {
			return fmt.Errorf("transaction %d has no events", i)
		}
		for _, e := range m.Events {
			if len(e) < replication.EventHeaderSize || logPos(e) != end+uint32(len(e)) {
				return fmt.Errorf("transaction %d has an event that does not begin at %d, where the last one ends", i, end)
			}
			end = logPos(e)
		}
		if d := m.Definition; d != nil {
			relations = append(relations, d.About...)
			relations = append(relations, relation{r.Table, d.Columns, m.Rows})
		}
	}
	for _, rel := range relations {
		for _, c := range rel.Columns {
			if _, err := fieldOf(c.Type); err != nil {
				return fmt.Errorf("column %s of %s: %w", c.Name, rel.Name, err)
			}
		}
	}
	return nil
}

// binlogMagic is how long the bytes before the first event of a binlog are.
const binlogMagic = 4

// logPos is the place in the binlog where an event ends.
func logPos(event []byte) uint32 { return binary.LittleEndian.Uint32(event[13:]) }

// end is the place in the binlog where a moment ends.
func (m *moment) end() uint32 { return logPos(m.Events[len(m.Events)-1]) }

// ending is the moment that ends at a place in the binlog.
func (r *recording) ending(place uint32) (at int, ok bool) {
	return slices.BinarySearchFunc(r.Moments, place, func(m moment, place uint32) int { return cmp.Compare(m.end(), place) })
}

// relations is all that there is at a moment, the table among it.
func (r *recording) relations(at int) []relation {
	table := relation{Name: r.Table}
	var about []relation
	var keys []string // in the order in which they came
	rows := map[string][]*string{}
	for _, m := range r.Moments[:at+1] {
		if m.Definition != nil {
			table.Columns, about = m.Definition.Columns, m.Definition.About
			clear(rows)
		}
		for _, key := range m.Gone {
			delete(rows, key)
		}
		for _, row := range m.Rows {
			key := *row[0]
			keys = append(keys, key)
			rows[key] = row
		}
	}
	for _, key := range keys {
		if row, ok := rows[key]; ok {
			table.Rows = append(table.Rows, row)
			delete(rows, key)
		}
	}
	end := strconv.FormatUint(uint64(r.Moments[at].end()), 10)
	file, position := "Binlog_snapshot_file", "Binlog_snapshot_position"
	status := relation{statusName, []column{{"Variable_name", "VARCHAR"}, {"Value", "VARCHAR"}}, [][]*string{{&file, &r.File}, {&position, &end}}}
	return slices.Concat([]relation{table, status}, about, r.Server)
}

package mysql

import (
	"bytes"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/splashdam/splashdam/connect"
)

// decodeOne decodes a row event of a table and checks that what comes out is whole.
func decodeOne(t testing.TB, s server, declared declaration, tableMap []byte, kind byte, rows []byte) (int, error) {
	table, err := parseTableMap(tableMap, "test", s, declared)
	if err != nil {
		return 0, err
	}
	var f inflater
	event, err := parseRows(kind, rows, &f)
	if err != nil {
		return 0, err
	}
	section := connect.Section{Schema: table.schema}
	for len(event.images) > 0 {
		before := len(event.images)
		if err := table.decode(&event, &section, 10); err != nil {
			return section.Rows(), err
		}
		if len(event.images) >= before {
			t.Fatal("decode goes on for ever")
		}
	}
	for _, columns := range [][]connect.Column{section.Before, section.After} {
		for i := range columns {
			checkColumn(t, &columns[i], section.Rows())
		}
	}
	return section.Rows(), nil
}

func checkColumn(t testing.TB, c *connect.Column, rows int) {
	t.Helper()
	if c.Rows() != rows {
		t.Fatalf("a column of %v has %d rows of %d", c.Type.Kind, c.Rows(), rows)
	}
	switch c.Type.Kind {
	case connect.String, connect.JSON, connect.Enum, connect.Set:
		for row := range rows {
			if !utf8.Valid(c.Text(row)) {
				t.Fatalf("a %v is not UTF-8: %q", c.Type.Kind, c.Text(row))
			}
		}
	}
}

// eachPair gives the test every row event in testdata with its TABLE_MAP event.
func eachPair(t testing.TB, use func(name string, s server, declared declaration, tableMap []byte, e recordedEvent)) {
	files, err := filepath.Glob("testdata/*/*.events")
	if err != nil || len(files) == 0 {
		t.Fatal("testdata has no recordings", err)
	}
	for _, file := range files {
		r := readRecording(t, file)
		maps := map[uint64][]byte{}
		for _, e := range r.events {
			if e.kind == eventTableMap {
				maps[tableMapID(e.bytes)] = e.bytes
				continue
			}
			tableMap := maps[(&cursor{rest: e.bytes}).uint(6)]
			_, name, err := tableMapName(tableMap)
			if err != nil {
				t.Fatal(err)
			}
			use(file+" "+name, r.server, r.declarations[name], tableMap, e)
		}
	}
}

// places are the bytes of an event to damage: all of them, or some of a long one.
func places(b []byte) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		for i := 0; i < len(b); i += 1 + len(b)/200 {
			if !yield(i) {
				return
			}
		}
	}
}

func TestAnEventThatIsCutShortIsAnErrorOrHasFewerRows(t *testing.T) {
	eachPair(t, func(name string, s server, declared declaration, tableMap []byte, e recordedEvent) {
		whole, err := decodeOne(t, s, declared, tableMap, e.kind, e.bytes)
		if permanent := (*connect.PermanentError)(nil); errors.As(err, &permanent) {
			return
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for n := range places(e.bytes) {
			if rows, err := decodeOne(t, s, declared, tableMap, e.kind, e.bytes[:n]); err == nil && rows >= max(whole, 1) {
				t.Errorf("%s: %d of %d bytes have %d rows of %d", name, n, len(e.bytes), rows, whole)
			}
		}
		for n := range places(tableMap) {
			if table, err := parseTableMap(tableMap[:n], "test", s, declared); err == nil && len(table.schema.Key) > 0 && n < len(tableMap)-20 {
				t.Errorf("%s: %d of %d bytes are a table with a key", name, n, len(tableMap))
			}
		}
	})
}

func TestADamagedEventIsAnErrorOrWholeRows(t *testing.T) {
	failed := 0
	eachPair(t, func(_ string, s server, declared declaration, tableMap []byte, e recordedEvent) {
		for _, flip := range []byte{0x01, 0x80} {
			for i := range places(e.bytes) {
				damaged := bytes.Clone(e.bytes)
				damaged[i] ^= flip
				if _, err := decodeOne(t, s, declared, tableMap, e.kind, damaged); err != nil {
					failed++
				}
			}
			for i := range places(tableMap) {
				damaged := bytes.Clone(tableMap)
				damaged[i] ^= flip
				if _, err := decodeOne(t, s, declared, damaged, e.kind, e.bytes); err != nil {
					failed++
				}
			}
		}
	})
	if failed < 1000 {
		t.Errorf("only %d damaged events were found out", failed)
	}
}

// TestWhatIsClaimedGetsNoMemory has lengths and counts that nothing stands behind.
func TestWhatIsClaimedGetsNoMemory(t *testing.T) {
	var f inflater
	for name, read := range map[string]func() error{
		"rows":           func() error { _, err := f.rows([]byte{0x84, 0xff, 0xff, 0xff, 0xff, 0x78, 0x9c}); return err },
		"rows of none":   func() error { _, err := f.rows([]byte{0x80, 0x78, 0x9c}); return err },
		"a wide length":  func() error { _, err := f.rows(append([]byte{0x87}, make([]byte, 9)...)); return err },
		"another format": func() error { _, err := f.rows([]byte{0x91, 1, 2, 3}); return err },
		"a value":        func() error { _, err := f.value([]byte{0x8c, 0x7f, 0xff, 0xff, 0xff, 0x01}); return err },
		"a column count": func() error {
			_, err := parseRows(eventWriteRows1, append(make([]byte, 8), 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f), &f)
			return err
		},
		"a table's column count": func() error {
			_, err := parseTableMap(append(make([]byte, 8), 1, 'd', 0, 1, 't', 0, 0xfd, 0xff, 0xff, 0xff, 3), "test", server{}, declaration{})
			return err
		},
		"a document": func() error {
			_, err := appendJSON(nil, []byte{jsonLargeArray, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff, 0x7f})
			return err
		},
	} {
		var err error
		if n := testing.AllocsPerRun(1, func() { err = read() }); err == nil || n > 100 {
			t.Errorf("%s: %v allocations, error %v", name, n, err)
		}
	}
}

func TestADocumentThatRefersToAValueManyTimesIsAnError(t *testing.T) {
	// Arrays of two that both are the next array: 2 to the 90th nulls.
	var document []byte
	document = append(document, jsonSmallArray)
	for range 90 {
		document = append(document, 2, 0, 0xff, 0x7f, jsonSmallArray, 10, 0, jsonSmallArray, 10, 0)
	}
	document = append(document, 0, 0, 4, 0)
	for i := 1; i+4 <= len(document); i += 10 { // each ends with the last
		document[i+2], document[i+3] = byte(len(document)-i), byte((len(document)-i)>>8)
	}
	if text, err := appendJSON(nil, document); err == nil {
		t.Errorf("it is %d bytes long", len(text))
	}
}

func FuzzRowEvent(f *testing.F) {
	eachPair(f, func(_ string, s server, _ declaration, tableMap []byte, e recordedEvent) {
		if len(e.bytes) < 10_000 {
			f.Add(s.mariadb, tableMap, e.kind, e.bytes)
		}
	})
	declared := declaration{columns: []columnDeclaration{{name: "uu", dataType: "uuid"}, {name: "i4", dataType: "inet4"}, {name: "i6", dataType: "inet6"},
		{name: "t3", dataType: "time", fraction: 3}, {name: "d5", dataType: "datetime", fraction: 5}, {name: "s4", dataType: "timestamp", fraction: 4}}, rowEnd: "b"}
	f.Fuzz(func(t *testing.T, mariadb bool, tableMap []byte, kind byte, rows []byte) {
		decodeOne(t, server{mariadb: mariadb}, declared, tableMap, kind, rows) //nolint:errcheck // any error will do
	})
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte{jsonSmallObject, 1, 0, 12, 0, 11, 0, 1, 0, jsonInt16, 7, 0, 'a'})
	f.Add([]byte{jsonSmallArray, 2, 0, 12, 0, jsonLiteral, 1, 0, jsonString, 10, 0, 1, 'x'})
	f.Add([]byte{jsonOpaque, byte(codeDecimal), 4, 3, 2, 0x80, 0x01})
	f.Add([]byte{jsonOpaque, byte(codeTime), 8, 0, 0, 0, 0, 0, 0, 0, 0x80})
	f.Add([]byte{jsonDouble, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f})
	f.Fuzz(func(t *testing.T, document []byte) {
		text, err := appendJSON(nil, document)
		if err == nil && (!json.Valid(text) || !utf8.Valid(text)) {
			t.Errorf("%x is no JSON: %q", document, text)
		}
		if len(text) > 100+20*len(document) {
			t.Errorf("%d bytes became %d", len(document), len(text))
		}
	})
}

func FuzzCharset(f *testing.F) {
	names := slices.Concat(codePageNames, []string{"ascii", "utf8mb3", "utf8mb4", "ucs2", "utf16", "utf16le", "utf32"})
	for i := range names {
		f.Add(byte(i), []byte("a\x81\x30\x81\x30\x8f\xa1\xa1\xff\xfe"))
	}
	f.Fuzz(func(t *testing.T, i byte, text []byte) {
		c, err := findCharset(names[int(i)%len(names)])
		if err != nil {
			t.Fatal(err)
		}
		got := c.appendUTF8(nil, text)
		if !utf8.Valid(got) || len(got) > 3*len(text) {
			t.Errorf("%s %x is %q", names[int(i)%len(names)], text, got)
		}
	})
}

// FuzzSelected scans anything into a column of each type.
func FuzzSelected(f *testing.F) {
	types := []connect.Type{{Kind: connect.Uint64}, {Kind: connect.Decimal, Precision: 12, Scale: 2}, {Kind: connect.Decimal, Precision: 65, Scale: 30},
		{Kind: connect.String}, {Kind: connect.Date}, {Kind: connect.Time, Precision: 6}, {Kind: connect.DateTime}, {Kind: connect.Timestamp, Precision: 3},
		{Kind: connect.Bits, Length: 9}, {Kind: connect.Bool}}
	for i, text := range strings.Fields("18446744073709551615 -0.05 123.000000000000000000000000000001 x 2024-02-31 -838:59:59.000001 2024-02-03T04:05:06.7 0000-00-00 ab 1") {
		f.Add(byte(i), []byte(text))
	}
	f.Fuzz(func(t *testing.T, i byte, text []byte) {
		column := connect.NewColumn(types[int(i)%len(types)])
		cell := cell{&column}
		if err := cell.Scan(text); err == nil {
			checkColumn(t, &column, 1)
		}
	})
}

package mysql

import (
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
)

// makeNoNames has the server say no more of a table than replicas need.
func makeNoNames(t *testing.T, s *liveServer, conn *sql.Conn) {
	value := "MINIMAL"
	if s.mariadb {
		value = "NO_LOG"
	}
	setGlobal(t, conn, "binlog_row_metadata", value, "FULL")
	execute(t, conn, "CREATE TABLE nameless (id int unsigned primary key, a varchar(10))", "INSERT INTO nameless VALUES (1, 'x')")
}

func checkNoNames(t *testing.T, r recording) {
	_, err := parseTableMap(r.events[0].bytes, "test", r.server, r.declarations["nameless"])
	var permanent *connect.PermanentError
	if !errors.As(err, &permanent) || !strings.Contains(err.Error(), "table splashdam_test.nameless: ") ||
		!strings.Contains(permanent.Next, "SET GLOBAL binlog_row_metadata=FULL") {
		t.Errorf("error is %v", err)
	}
}

func TestAnEventWithoutNamesSaysWhatToSet(t *testing.T) { recorded(t, "no_names", checkNoNames) }
func TestAnEventWithoutNamesSaysWhatToSetLive(t *testing.T) {
	alone(t, "", "no_names", makeNoNames, checkNoNames)
}

func TestAnUnchangedTableIsKnownByItsEvent(t *testing.T) {
	r := readRecording(t, "testdata/mysql-9.7/images.events")
	event := slices.Clone(r.events[0].bytes)
	table, err := parseTableMap(event, "test", r.server, declaration{})
	if err != nil {
		t.Fatal(err)
	}
	event[0]++ // another number
	if !table.same(event) || tableMapID(event) != tableMapID(r.events[0].bytes)+1 {
		t.Error("under another number the table is another one")
	}
	if n := testing.AllocsPerRun(10, func() { table.same(event) }); n != 0 {
		t.Errorf("comparing allocates %v times", n)
	}
	for i := tableHeader; i < len(event); i++ {
		event[i]++
		if table.same(event) {
			t.Fatalf("byte %d does not matter", i)
		}
		event[i]--
	}
	if table.same(event[:len(event)-1]) || table.same(nil) {
		t.Error("less is the same")
	}
}

// tableMapOf writes an event of one text column.
func tableMapOf(meta ...byte) []byte {
	event := append(make([]byte, tableHeader), 1, 'd', 0, 1, 't', 0, 1, byte(codeVarchar), 2, 10, 0, 1)
	return append(event, meta...)
}

func TestTextNeedsACollationThatIsKnown(t *testing.T) {
	names := []byte{metaNames, 2, 1, 'a'}
	for _, test := range []struct {
		name   string
		event  []byte
		server server
		want   string // of the error
	}{
		{"by default", tableMapOf(append(names, metaDefaultCharset, 1, 8)...), server{}, ""},
		{"one each", tableMapOf(append(names, metaCharsets, 1, 45)...), server{}, ""},
		{"by exception", tableMapOf(append(names, metaDefaultCharset, 5, 0xfc, 0xbc, 0x02, 0, 45)...), server{}, ""},
		{"none", tableMapOf(names...), server{}, "the collations: it is cut short"},
		{"unknown", tableMapOf(append(names, metaCharsets, 3, 0xfc, 0xbc, 0x02)...), server{}, "the collation 700 is unknown"},
		{"listed", tableMapOf(append(names, metaCharsets, 3, 0xfc, 0xbc, 0x02)...), server{collations: map[int]string{700: "latin1"}}, ""},
		{"listed as nonsense", tableMapOf(append(names, metaCharsets, 1, 8)...), server{collations: map[int]string{8: "utf9"}}, `the character set "utf9" is none`},
		{"for a column that is not there", tableMapOf(append(names, metaDefaultCharset, 3, 8, 1, 8)...), server{}, "column 2 of 1"},
		{"names twice", append(append(make([]byte, tableHeader), 1, 'd', 0, 1, 't', 0, 2, 1, 1, 0, 0), metaNames, 4, 1, 'a', 1, 'a', metaSigns, 1, 0), server{}, "two columns are called a"},
		{"no signs", append(append(make([]byte, tableHeader), 1, 'd', 0, 1, 't', 0, 1, 1, 0, 0), metaNames, 2, 1, 'a'), server{}, "the signs of the columns: it is cut short"},
		{"a key beyond", tableMapOf(append(names, metaCharsets, 1, 8, metaKey, 1, 1)...), server{}, "column 2, of 1"},
		{"an unknown type", append(make([]byte, tableHeader), 1, 'd', 0, 1, 't', 0, 1, 99, 0, 0), server{}, "type 99 is unknown"},
		{"an odd string", append(make([]byte, tableHeader), 1, 'd', 0, 1, 't', 0, 1, byte(codeString), 2, 0xf7, 3, 0), server{}, "a string of type 247 and 3 bytes"},
	} {
		_, err := parseTableMap(test.event, "test", test.server, declaration{})
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: error is %v, want %q", test.name, err, test.want)
		}
	}
}

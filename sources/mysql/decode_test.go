package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
)

// rowsOf writes all rows of a section, a line each: operation, image before and
// image after.
func rowsOf(s *connect.Section) string {
	var text strings.Builder
	image := func(columns []connect.Column, row int) {
		for i, f := range s.Schema.Fields {
			fmt.Fprintf(&text, " %s=%s", f.Name, show(&columns[i], row))
		}
	}
	for row, op := range s.Op {
		text.WriteByte(byte(op))
		if op.HasBefore() {
			image(s.Before, row)
		}
		if op.HasAfter() {
			text.WriteString(" ->")
			image(s.After, row)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

func wantRows(t *testing.T, r recording, table, want string) {
	t.Helper()
	sections := decodeAll(t, r, table)
	if len(sections) != 1 {
		t.Fatalf("%d schemas of %s", len(sections), table)
	}
	want = strings.TrimPrefix(strings.ReplaceAll(want, "\t", ""), "\n")
	if got := rowsOf(sections[0]); got != want {
		t.Errorf("rows of %s are\n%swant\n%s", table, got, want)
	}
}

// setGlobal sets a server's variable for the time of the test.
func setGlobal(t *testing.T, conn *sql.Conn, name, value, after string) {
	t.Helper()
	execute(t, conn, "SET GLOBAL "+name+"="+value)
	t.Cleanup(func() {
		if _, err := conn.ExecContext(context.WithoutCancel(t.Context()), "SET GLOBAL "+name+"="+after); err != nil {
			t.Error(err)
		}
	})
}

// makeImages changes rows with each setting of binlog_row_image.
func makeImages(t *testing.T, _ *liveServer, conn *sql.Conn) {
	execute(t, conn, "CREATE TABLE images (id int primary key, a int, b varchar(10), c text, d int default 4)",
		"SET SESSION binlog_row_image=MINIMAL", "INSERT INTO images (id, a, b, c, d) VALUES (1, 2, NULL, NULL, 4)", "UPDATE images SET b='x', a=NULL",
		"SET SESSION binlog_row_image=NOBLOB", "UPDATE images SET a=3", "UPDATE images SET c='c'",
		"SET SESSION binlog_row_image=FULL", "UPDATE images SET d=5",
		"SET SESSION binlog_row_image=MINIMAL", "DELETE FROM images")
}

// checkImages finds what an image leaves out in the one before, if it is there.
func checkImages(t *testing.T, r recording) {
	wantRows(t, r, "images", `
		c -> id=1 a=2 b=null c=null d=4
		u id=1 a=absent b=absent c=absent d=absent -> id=1 a=null b=x c=absent d=absent
		u id=1 a=null b=x c=absent d=4 -> id=1 a=3 b=x c=absent d=4
		u id=1 a=3 b=x c=absent d=4 -> id=1 a=3 b=x c=c d=4
		u id=1 a=3 b=x c=c d=4 -> id=1 a=3 b=x c=c d=5
		d id=1 a=absent b=absent c=absent d=absent
	`)
}

func TestAnAbsentColumnIsNotNull(t *testing.T)     { recorded(t, "images", checkImages) }
func TestAnAbsentColumnIsNotNullLive(t *testing.T) { live(t, "", "images", makeImages, checkImages) }

// makeNotWhole inserts a row that leaves out columns, and so says nothing about their defaults.
func makeNotWhole(t *testing.T, _ *liveServer, conn *sql.Conn) {
	execute(t, conn, "CREATE TABLE not_whole (id int primary key, a int, d int default 4)",
		"SET SESSION binlog_row_image=MINIMAL", "INSERT INTO not_whole (id) VALUES (1)", "SET SESSION binlog_row_image=FULL")
}

func checkNotWhole(t *testing.T, r recording) {
	var described *table
	for _, e := range r.events {
		var err error
		if e.kind == eventTableMap {
			if described, err = parseTableMap(e.bytes, "test", r.server, r.declarations["not_whole"]); err != nil {
				t.Fatal(err)
			}
			continue
		}
		rows, err := parseRows(e.kind, e.bytes, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = described.decode(&rows, &connect.Section{Schema: described.schema}, math.MaxInt)
		if _, ok := errors.AsType[*connect.PermanentError](err); !ok || !strings.Contains(err.Error(), "a, d, as binlog_row_image was not FULL") {
			t.Errorf("error is %v", err)
		}
	}
}

func TestANewRowThatIsNotWholeIsRefused(t *testing.T) { recorded(t, "not_whole", checkNotWhole) }
func TestANewRowThatIsNotWholeIsRefusedLive(t *testing.T) {
	live(t, "", "not_whole", makeNotWhole, checkNotWhole)
}

// makeComputed changes a table whose columns the server computes.
func makeComputed(t *testing.T, _ *liveServer, conn *sql.Conn) {
	execute(t, conn, "CREATE TABLE computed (id int primary key, v int as (id+1) virtual, s varchar(9) as (concat('x', id+2)) stored, a int)",
		"INSERT INTO computed (id, a) VALUES (1, 0)", "UPDATE computed SET a=1", "DELETE FROM computed")
}

// checkComputed demands that MariaDB's are left out, since in its binlog they are
// there or not from one statement to the next.
func checkComputed(t *testing.T, r recording) {
	want := "c -> id=1 v=2 s=x3 a=0\nu id=1 v=2 s=x3 a=0 -> id=1 v=2 s=x3 a=1\nd id=1 v=2 s=x3 a=1\n"
	if r.server.mariadb {
		want = strings.ReplaceAll(want, " v=2 s=x3", "")
	}
	wantRows(t, r, "computed", want)
}

func TestComputedColumnsHaveTheirValuesOrAreLeftOut(t *testing.T) {
	recorded(t, "computed", checkComputed)
}

func TestComputedColumnsHaveTheirValuesOrAreLeftOutLive(t *testing.T) {
	live(t, "", "computed", makeComputed, checkComputed)
}

// makeOldTimes has MariaDB store times as its version 5.3 did.
func makeOldTimes(t *testing.T, _ *liveServer, conn *sql.Conn) {
	setGlobal(t, conn, "mysql56_temporal_format", "OFF", "ON")
	execute(t, conn, "SET time_zone='+00:00', sql_mode=''", "CREATE TABLE old_times (t time, t1 time(1), t3 time(3), t6 time(6), d datetime, d2 datetime(2), d5 datetime(5), d6 datetime(6), "+
		"s timestamp null, s1 timestamp(1) null, s4 timestamp(4) null, s6 timestamp(6) null, k date)",
		"INSERT INTO old_times VALUES ('-12:34:56','-12:34:56.7','838:59:58.999','-00:00:00.000001','2024-02-03 04:05:06','2024-02-03 04:05:06.78','9999-12-31 23:59:59.99999',"+
			"'0001-01-01 00:00:00.000001','2024-02-03 04:05:06','2024-02-03 04:05:06.7','2038-01-19 03:14:07.9999','2024-02-03 04:05:06.123456','2024-02-03')",
		"INSERT INTO old_times VALUES ('838:59:59','00:00:00.0','-838:59:58.999','00:00:00','0000-00-00','2024-00-01','0000-00-00','2024-02-31','0000-00-00','0000-00-00','0000-00-00','0000-00-00','0000-00-00')")
}

func checkOldTimes(t *testing.T, r recording) {
	wantRows(t, r, "old_times", `
		c -> t=-12:34:56 t1=-12:34:56.7 t3=838:59:58.999 t6=-0:00:00.000001 d=2024-02-03 04:05:06 d2=2024-02-03 04:05:06.78 d5=9999-12-31 23:59:59.99999`+
		` d6=0001-01-01 00:00:00.000001 s=2024-02-03 04:05:06 s1=2024-02-03 04:05:06.7 s4=2038-01-19 03:14:07.9999 s6=2024-02-03 04:05:06.123456 k=2024-02-03
		c -> t=838:59:59 t1=0:00:00.0 t3=-838:59:58.999 t6=0:00:00.000000 d=null d2=null d5=null d6=null s=null s1=null s4=null s6=null k=null
	`)
	r.declarations = nil
	for _, e := range r.events {
		if e.kind == eventTableMap {
			if _, err := parseTableMap(e.bytes, "test", r.server, declaration{}); err == nil || !strings.Contains(err.Error(), "MariaDB 5.3") {
				t.Errorf("without a declaration nobody knows the fractions, but: %v", err)
			}
		}
	}
}

func TestTimesOfOldTablesRead(t *testing.T) { recorded(t, "old_times", checkOldTimes) }
func TestTimesOfOldTablesReadLive(t *testing.T) {
	alone(t, "mariadb", "old_times", makeOldTimes, checkOldTimes)
}

// makeZip has MariaDB compress row events.
func makeZip(t *testing.T, _ *liveServer, conn *sql.Conn) {
	setGlobal(t, conn, "log_bin_compress", "ON", "OFF")
	execute(t, conn, "CREATE TABLE zip (id int primary key, a varchar(300), n int)",
		"INSERT INTO zip VALUES (1, repeat('a',300), 1), (2, repeat('b',300), 2)", "UPDATE zip SET n=n+10 WHERE id=1", "DELETE FROM zip WHERE id=2")
}

func checkZip(t *testing.T, r recording) {
	kinds := map[byte]bool{}
	for _, e := range r.events {
		kinds[e.kind] = true
	}
	if !kinds[eventWriteZip1] || !kinds[eventUpdateZip1] || !kinds[eventDeleteZip1] {
		t.Errorf("events are of types %v: not all are compressed", kinds)
	}
	a, b := strings.Repeat("a", 300), strings.Repeat("b", 300)
	wantRows(t, r, "zip", "c -> id=1 a="+a+" n=1\nc -> id=2 a="+b+" n=2\nu id=1 a="+a+" n=1 -> id=1 a="+a+" n=11\nd id=2 a="+b+" n=2\n")
}

func TestCompressedEventsRead(t *testing.T)     { recorded(t, "zip", checkZip) }
func TestCompressedEventsReadLive(t *testing.T) { alone(t, "mariadb", "zip", makeZip, checkZip) }

// makeVersioned changes tables that keep their history: with and without a
// declared period, and without a key.
func makeVersioned(t *testing.T, _ *liveServer, conn *sql.Conn) {
	const explicit = "a timestamp(6) generated always as row start invisible, b timestamp(6) generated always as row end invisible, period for system_time(a,b)"
	for _, columns := range []string{"implicit (id int primary key, v int)", "explicit (id int primary key, v int, " + explicit + ")", "keyless (id int, v int)"} {
		name, _, _ := strings.Cut(columns, " ")
		execute(t, conn, "CREATE TABLE "+name+"_history "+strings.TrimPrefix(columns, name)+" WITH SYSTEM VERSIONING",
			"INSERT INTO "+name+"_history (id, v) VALUES (1,1), (2,2)", "UPDATE "+name+"_history SET v=v+10", "DELETE FROM "+name+"_history WHERE id=1",
			"SET SESSION binlog_row_image=MINIMAL", "UPDATE "+name+"_history SET v=v+10", "DELETE FROM "+name+"_history", "SET SESSION binlog_row_image=FULL")
	}
}

func checkVersioned(t *testing.T, r recording) {
	for _, name := range []string{"implicit_history", "explicit_history", "keyless_history"} {
		sections := decodeAll(t, r, name)
		if len(sections) != 1 {
			t.Fatalf("%d schemas", len(sections))
		}
		s := sections[0]
		if wantKey := name != "keyless_history"; len(s.Schema.Key) != map[bool]int{true: 1}[wantKey] || len(s.Schema.Fields) != 4 {
			t.Errorf("%s has %d fields and the key %v", name, len(s.Schema.Fields), s.Schema.Key)
		}
		var got strings.Builder
		for row, op := range s.Op {
			fmt.Fprintf(&got, "%c", op)
			if op.HasBefore() {
				fmt.Fprintf(&got, " id=%s v=%s", show(&s.Before[0], row), show(&s.Before[1], row))
			}
			if op.HasAfter() {
				fmt.Fprintf(&got, " -> id=%s v=%s", show(&s.After[0], row), show(&s.After[1], row))
			}
			got.WriteString("\n")
		}
		want := "c -> id=1 v=1\nc -> id=2 v=2\nu id=1 v=1 -> id=1 v=11\nu id=2 v=2 -> id=2 v=12\nd id=1 v=11\n"
		if name == "keyless_history" { // of which even a minimal image before a change has all columns
			want += "u id=2 v=12 -> id=2 v=22\nd id=2 v=22\n"
		} else {
			want += "u id=2 v=absent -> id=2 v=22\nd id=2 v=absent\n"
		}
		if got.String() != want {
			t.Errorf("rows of %s are\n%swant\n%s", name, got.String(), want)
		}
	}
}

func TestHistoryOfVersionedTablesIsLeftOut(t *testing.T) { recorded(t, "versioned", checkVersioned) }
func TestHistoryOfVersionedTablesIsLeftOutLive(t *testing.T) {
	live(t, "mariadb", "versioned", makeVersioned, checkVersioned)
}

// makeHash changes a table with a unique index that MariaDB keeps by a hash, in a
// column that it shows to nobody.
func makeHash(t *testing.T, _ *liveServer, conn *sql.Conn) {
	execute(t, conn, "CREATE TABLE hash (a text unique, b int)",
		"INSERT INTO hash VALUES ('x', 1), (NULL, 2)", "UPDATE hash SET b=b+10", "DELETE FROM hash")
}

func checkHash(t *testing.T, r recording) {
	wantRows(t, r, "hash", `
		c -> a=x b=1
		c -> a=null b=2
		u a=x b=1 -> a=x b=11
		u a=null b=2 -> a=null b=12
		d a=x b=11
		d a=null b=12
	`)
}

func TestAHiddenColumnIsLeftOut(t *testing.T)     { recorded(t, "hash", checkHash) }
func TestAHiddenColumnIsLeftOutLive(t *testing.T) { live(t, "mariadb", "hash", makeHash, checkHash) }

// makePartial has MySQL log changes inside a document.
func makePartial(t *testing.T, _ *liveServer, conn *sql.Conn) {
	execute(t, conn, "CREATE TABLE partial_json (id int primary key, d json)", "INSERT INTO partial_json VALUES (1, JSON_OBJECT('a', REPEAT('x', 100), 'b', 1))",
		"SET SESSION binlog_row_value_options=PARTIAL_JSON, binlog_row_image=MINIMAL", "UPDATE partial_json SET d = JSON_SET(d, '$.b', 2)")
}

func checkPartial(t *testing.T, r recording) {
	var f inflater
	e := r.events[len(r.events)-1]
	_, err := parseRows(e.kind, e.bytes, &f)
	var permanent *connect.PermanentError
	if !errors.As(err, &permanent) || !strings.Contains(permanent.Next, "SET GLOBAL binlog_row_value_options=''") {
		t.Errorf("an event of type %d gave %v", e.kind, err)
	}
}

func TestChangesInsideADocumentAreRefused(t *testing.T) { recorded(t, "not_whole", checkNotWhole) }
func TestChangesInsideADocumentAreRefusedLive(t *testing.T) {
	live(t, "mysql", "partial", makeNotWhole, checkNotWhole)
}

func TestRowsComeInPortionsAndInsertsMeetUpdates(t *testing.T) {
	recorded(t, "types", func(t *testing.T, r recording) {
		whole := decodeAll(t, r, "types")[0]
		var portions connect.Section
		var f inflater
		var table *table
		for _, e := range r.events {
			if e.kind == eventTableMap {
				var err error
				if table, err = parseTableMap(e.bytes, "test", r.server, r.declarations["types"]); err != nil {
					t.Fatal(err)
				}
				continue
			}
			event, err := parseRows(e.kind, e.bytes, &f)
			if err != nil {
				t.Fatal(err)
			}
			for len(event.images) > 0 {
				rows := portions.Rows()
				if err := table.decode(&event, &portions, 2); err != nil {
					t.Fatal(err)
				}
				if n := portions.Rows() - rows; n < 1 || n > 2 {
					t.Fatalf("%d rows where at most 2 were wanted", n)
				}
			}
		}
		portions.Schema = whole.Schema
		if rowsOf(&portions) != rowsOf(whole) {
			t.Error("in portions the rows are others")
		}
	})
}

func TestRowsOfAnotherTableAreAnError(t *testing.T) {
	r := readRecording(t, "testdata/mysql-9.7/images.events")
	other := readRecording(t, "testdata/mysql-9.7/orders.events")
	var f inflater
	event, err := parseRows(other.events[1].kind, other.events[1].bytes, &f)
	if err != nil {
		t.Fatal(err)
	}
	table, err := parseTableMap(r.events[0].bytes, "test", r.server, declaration{})
	if err != nil {
		t.Fatal(err)
	}
	if err := table.decode(&event, &connect.Section{}, 1); err == nil || !strings.Contains(err.Error(), "10 columns") {
		t.Errorf("10 columns of a table of 5 gave %v", err)
	}
	if _, err := parseRows(eventTableMap, r.events[0].bytes, &f); err == nil {
		t.Error("a TABLE_MAP event has rows")
	}
}

func TestAnErrorNamesTheTableAndTheColumn(t *testing.T) {
	r := readRecording(t, "testdata/mysql-9.7/orders.events")
	table := ordersTable(t, r)
	var f inflater
	event, err := parseRows(r.events[1].kind, r.events[1].bytes, &f)
	if err != nil {
		t.Fatal(err)
	}
	event.images = event.images[:20]
	err = table.decode(&event, &connect.Section{}, 1)
	if err == nil || err.Error() != "row event of test.splashdam_test.orders, c, after 0 rows: column name: it is cut short" {
		t.Errorf("error is %v", err)
	}
}

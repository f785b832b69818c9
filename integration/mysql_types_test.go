package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/sinks/arrow"
)

// typedColumn is a column of a type, and values for it as SQL. It is null in the rows
// that are more than it has values, or has the first of them if it may not be null.
type typedColumn struct {
	name   string
	sql    string
	form   string // how the server is asked what a value is, and what a reader makes of it
	values []string
}

// asked is the expression with which the server says what a value of the form is.
// Text and bytes come in hexadecimal digits, so that nothing on the way changes them.
var asked = map[string]string{
	"int":       "CAST(%s AS CHAR)",
	"decimal":   "CAST(%s AS CHAR)",
	"float":     "%s * 1e0", // as it is, it would be rounded
	"bits":      "HEX(%s)",
	"bool":      "HEX(%s)",
	"date":      "CAST(%s AS CHAR)",
	"datetime":  "CAST(%s AS CHAR)",
	"timestamp": "CAST(%s AS CHAR)",
	"time":      "CAST(%s AS CHAR)",
	"text":      "HEX(CONVERT(%s USING utf8mb4))",
	"cast":      "HEX(CONVERT(CAST(%s AS CHAR) USING utf8mb4))", // what is text to SELECTs only
	"bytes":     "HEX(%s)",
}

var typedColumns = []typedColumn{
	{"ti", "tinyint", "int", []string{"-128", "127", "0", "-1"}},
	{"tu", "tinyint unsigned", "int", []string{"0", "255", "128"}},
	{"bo", "bool", "int", []string{"true", "false", "127"}},
	{"si", "smallint", "int", []string{"-32768", "32767"}},
	{"su", "smallint unsigned", "int", []string{"0", "65535"}},
	{"mi", "mediumint", "int", []string{"-8388608", "8388607", "-1"}},
	{"mu", "mediumint unsigned", "int", []string{"0", "16777215"}},
	{"i4", "int", "int", []string{"-2147483648", "2147483647"}},
	{"u4", "int unsigned", "int", []string{"0", "4294967295"}},
	{"uz", "int(10) zerofill", "int", []string{"42", "4294967295"}},
	{"i8", "bigint not null", "int", []string{"-9223372036854775808", "9223372036854775807"}},
	{"u8", "bigint unsigned", "int", []string{"0", "18446744073709551615", "9223372036854775808", "9007199254740993"}},
	{"d1", "decimal(1,0)", "decimal", []string{"-9", "9"}},
	{"d9", "decimal(9,9)", "decimal", []string{"-0.999999999", "0.000000001"}},
	{"d18", "decimal(18,2) unsigned", "decimal", []string{"9999999999999999.99", "0.01"}},
	{"d38", "decimal(38,10)", "decimal", []string{"-9999999999999999999999999999.9999999999", "0.0000000001", "-1"}},
	{"d39", "decimal(39,0)", "decimal", []string{"999999999999999999999999999999999999999", "-1", "0"}},
	{"d65", "decimal(65,30)", "decimal", []string{"-99999999999999999999999999999999999.999999999999999999999999999999", "0.000000000000000000000000000001", "0", "-0.5"}},
	{"dz", "decimal(45,3) zerofill", "decimal", []string{"12.5", "0"}},
	{"f4", "float", "float", []string{"3.4028234663852886e38", "-1.17549435e-38", "1e-45", "0.1", "16777217"}},
	{"f7", "float(7,3)", "float", []string{"1234.5678", "-0.001"}},
	{"f8", "double", "float", []string{"-1.7976931348623157e308", "2.2250738585072014e-308", "5e-324", "0.1", "123456789.12345679"}},
	{"fu", "double(20,3) unsigned", "float", []string{"12345678901234.5678", "0.00051"}},
	{"b1", "bit", "bool", []string{"b'1'", "b'0'"}},
	{"b2", "bit(2)", "bits", []string{"b'10'", "b'01'"}},
	{"b9", "bit(9)", "bits", []string{"b'100000010'", "0"}},
	{"b63", "bit(63)", "bits", []string{"0x7fffffffffffffff", "1"}},
	{"b64", "bit(64)", "bits", []string{"0xffffffffffffffff", "0x8000000000000001", "0"}},
	{"ye", "year", "int", []string{"1901", "2155", "0", "2024"}},

	{"da", "date", "date", []string{"'1970-01-01'", "'0001-01-01'", "'9999-12-31'", "'2024-02-29'", "'1582-10-10'", "'0000-00-00'", "'2024-00-00'", "'2024-02-31'"}},
	{"dn", "date not null", "date", []string{"'0000-00-00'", "'1969-12-31'"}},
	{"t0", "time", "time", []string{"'838:59:59'", "'-838:59:59'", "'00:00:00'", "'-00:00:01'"}},
	{"t1", "time(1)", "time", []string{"'-00:00:00.1'", "'12:34:56.9'"}},
	{"t2", "time(2)", "time", []string{"'-00:00:01.10'", "'838:59:58.99'"}},
	{"t3", "time(3)", "time", []string{"'-00:00:00.001'", "'12:34:56.789'"}},
	{"t4", "time(4)", "time", []string{"'-100:00:00.0001'", "'00:00:00.9999'"}},
	{"t5", "time(5)", "time", []string{"'-00:00:00.00001'", "'00:00:00.99999'"}},
	{"t6", "time(6)", "time", []string{"'-838:59:58.999999'", "'838:59:58.999999'", "'-00:00:00.000001'"}},
	{"dt0", "datetime", "datetime", []string{"'1000-01-01 00:00:00'", "'9999-12-31 23:59:59'", "'1969-12-31 23:59:59'", "'0000-00-00 00:00:00'", "'2024-00-00 01:02:03'", "'2024-02-31 01:02:03'"}},
	{"dt1", "datetime(1)", "datetime", []string{"'2024-02-03 04:05:06.7'"}},
	{"dt2", "datetime(2)", "datetime", []string{"'0001-01-01 00:00:00.01'"}},
	{"dt3", "datetime(3)", "datetime", []string{"'1969-12-31 23:59:59.999'", "'9999-12-31 23:59:59.999'"}},
	{"dt4", "datetime(4)", "datetime", []string{"'2024-02-03 04:05:06.7891'"}},
	{"dt5", "datetime(5)", "datetime", []string{"'2024-02-03 04:05:06.78912'"}},
	{"dt6", "datetime(6) not null", "datetime", []string{"'0000-00-00 00:00:00'", "'9999-12-31 23:59:59.999999'", "'1969-12-31 23:59:59.999999'"}},
	{"ts0", "timestamp not null default '2020-01-01'", "timestamp", []string{"'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'0000-00-00 00:00:00'"}},
	{"ts1", "timestamp(1) null", "timestamp", []string{"'2024-02-03 04:05:06.1'"}},
	{"ts2", "timestamp(2) null", "timestamp", []string{"'2024-02-03 04:05:06.12'"}},
	{"ts3", "timestamp(3) null", "timestamp", []string{"'2038-01-19 03:14:07.999'"}},
	{"ts4", "timestamp(4) null", "timestamp", []string{"'2024-02-03 04:05:06.1234'"}},
	{"ts5", "timestamp(5) null", "timestamp", []string{"'2024-02-03 04:05:06.12345'"}},
	{"ts6", "timestamp(6) null", "timestamp", []string{"'2024-02-03 04:05:06.123456'", "'1970-01-01 00:00:01.000001'"}},

	{"c0", "char(0)", "text", []string{"''"}},
	{"ch", "char(255)", "text", []string{"'a b  '", "''", "'äöü🐘'", "repeat('🐘', 255)"}},
	{"vc", "varchar(20)", "text", []string{"'a b  '", "'naïve 🐘'", "'a\\0b'", "'\"\\\\\\n\\t\\r\\b</script>\u2028'", "char(1, 31, 127 using utf8mb4)"}},
	{"vl", "varchar(300)", "text", []string{"repeat('ü', 300)", "''"}},
	{"tt", "tinytext", "text", []string{"repeat('x', 255)", "''"}},
	{"te", "text", "text", []string{"repeat('ü', 32767)", "'x'"}},
	{"tm", "mediumtext", "text", []string{"repeat('ab', 40000)", "''"}},
	{"tl", "longtext", "text", []string{"repeat('🐘', 20000)", "''"}},
	{"la", "varchar(20) character set latin1", "text", []string{"'é€ÿ'", "x'818d8f909d'"}},
	{"u3", "varchar(20) character set utf8mb3", "text", []string{"'aп漢'"}},
	{"gk", "varchar(20) character set gbk", "text", []string{"'你好'", "x'a2a1'"}},
	{"gkt", "text character set gbk", "text", []string{"repeat('你好', 200)"}},
	{"sj", "varchar(20) character set sjis", "text", []string{"'表テｱ'", "x'8160'"}},
	{"sjc", "char(20) character set sjis", "text", []string{"'表'"}},
	{"c9", "varchar(20) character set cp932", "text", []string{"'①表'", "x'8160'"}},
	{"uj", "varchar(20) character set ujis", "text", []string{"'あｱ丂'"}},
	{"eu", "varchar(20) character set euckr", "text", []string{"'한글'"}},
	{"b5", "varchar(20) character set big5", "text", []string{"'你好'"}},
	{"cy", "text character set cp1251", "text", []string{"'привет'"}},
	{"u2", "varchar(20) character set ucs2", "text", []string{"'aп'", "'x '"}},
	{"u2c", "char(100) character set ucs2", "text", []string{"repeat('п', 100)", "''"}},
	{"u16", "varchar(20) character set utf16", "text", []string{"'aп🐘 '"}},
	{"u16c", "char(10) character set utf16", "text", []string{"'aп🐘 '"}},
	{"u16l", "text character set utf16le", "text", []string{"'aп🐘'"}},
	{"u32", "varchar(20) character set utf32", "text", []string{"'aп🐘'"}},

	{"bi", "binary(5)", "bytes", []string{"'ab'", "x'0001000000'", "x'0000000000'", "x'ffffffffff'"}},
	{"bl", "binary(255)", "bytes", []string{"'z'", "repeat(x'00', 255)", "repeat(x'ff', 254)"}},
	{"vb", "varbinary(300)", "bytes", []string{"x'00ff00'", "''", "repeat(x'00', 300)"}},
	{"o1", "tinyblob", "bytes", []string{"x'0100'", "''"}},
	{"o2", "blob", "bytes", []string{"repeat(x'00', 65535)", "x'0200'"}},
	{"o3", "mediumblob", "bytes", []string{"repeat(x'00ff', 40000)", "''"}},
	{"o4", "longblob", "bytes", []string{"repeat(x'0300', 50000)", "''"}},

	{"en", "enum('x','y z','ü','a''b\\\\c')", "text", []string{"'x'", "4", "'ü'", "'none of them'"}},
	{"el", "enum('é','ö') character set latin2", "text", []string{"'é'"}},
	{"e300", "enum(" + strings.Join(numbered("'e%d'", 300), ",") + ")", "text", []string{"'e1'", "'e255'", "'e256'", "'e300'"}},
	{"se", "set('a','b','ü','d')", "text", []string{"'a,ü'", "''", "15"}},
	{"s64", "set(" + strings.Join(numbered("'m%d'", 64), ",") + ")", "text", []string{"'m1,m64'", "18446744073709551615", "''"}},
	{"ge", "geometry", "bytes", []string{"ST_GeomFromText('POINT(1 2)')", "ST_GeomFromText('LINESTRING(0 0,1 1)',4326)", "ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),POLYGON((0 0,1 0,1 1,0 0)))')"}},
	{"po", "point", "bytes", []string{"POINT(0,-1)", "ST_GeomFromText('POINT(10 20)', 4326)"}},
	{"ls", "linestring", "bytes", []string{"ST_GeomFromText('LINESTRING(0 0,1e300 1)')"}},
	{"pg", "polygon", "bytes", []string{"ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))')"}},
	{"mp", "multipoint", "bytes", []string{"ST_GeomFromText('MULTIPOINT(0 0,1 1)')"}},
	{"ml", "multilinestring", "bytes", []string{"ST_GeomFromText('MULTILINESTRING((0 0,1 1))')"}},
	{"mg", "multipolygon", "bytes", []string{"ST_GeomFromText('MULTIPOLYGON(((0 0,1 0,1 1,0 0)))')"}},
	{"gc", "geometrycollection", "bytes", []string{"ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1))')"}},

	{"in", "int invisible default 7", "int", []string{"8", "9"}},
}

var mysqlColumns = []typedColumn{
	{"gv", "int as (ti * 2) virtual", "int", nil}, // MariaDB's are left out
	{"gs", "varchar(30) as (concat('ü', si)) stored", "text", nil},
	{"js", "json", "cast", []string{
		`'{"b": 1,  "aa":[1.0, null], "a":"ü🐘\\\\u0001"}'`, `'null'`, `'"x"'`, `'[18446744073709551615, -9223372036854775808, 123456789012345678901234567890, 1e308, 1e-7, 0.1, -0.0, 100000000000000000000]'`,
		"concat(repeat('[', 100), repeat(']', 100))", "json_array(repeat('x', 70000), 1)",
		"json_object('d', date'2024-02-03', 't', cast('-12:34:56.789' as time(3)), 'dt', timestamp'2024-02-03 04:05:06.123456', 'n', cast(1.10 as decimal(65,30)), 'b', x'00ff', 'bit', b'101', 'year', cast(2024 as year))",
		"'{}'",
	}},
	{"gb", "varchar(20) character set gb18030", "text", []string{"'你🐘\u0080'"}},
	{"fm", "float", "float", []string{"-0e0"}}, // MariaDB stores no negative zero
	{"dm", "double", "float", []string{"-0e0"}},
	{"sr", "point srid 4326", "bytes", []string{"ST_GeomFromText('POINT(10 20)', 4326)"}},
	{"ve", "vector(3)", "bytes", []string{"string_to_vector('[1,-2.5,3e38]')"}},
	{"gj", "varchar(20) as (json_unquote(json_extract(js, '$.a'))) virtual", "text", nil},
	{"ss", "varchar(20) collate utf8mb4_0900_as_ci", "text", []string{"'ß'"}},
}

var mariadbColumns = []typedColumn{
	{"js", "json", "text", []string{`'{"b": 1,  "a":[1.0]}'`, `'null'`, "'[18446744073709551615, 1e400]'"}},
	{"zv", "varchar(200) compressed", "text", []string{"repeat('ä', 200)", "'short'", "''"}},
	{"zt", "text compressed character set cp1251", "text", []string{"repeat('привет', 50)"}},
	{"zb", "longblob compressed", "bytes", []string{"repeat(x'00ff', 500)", "x'00'", "''"}},
	{"zn", "varbinary(1000) compressed", "bytes", []string{"repeat(x'01', 1000)"}},
	{"uu", "uuid", "cast", []string{"'123e4567-e89b-12d3-a456-426655440000'", "'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-4fff-bfff-ffffffffff00'"}},
	{"i6", "inet6", "cast", []string{"'2001:db8::'", "'::1.2.3.4'", "'::ffff:1.2.3.0'", "'::'", "'1:2:3:4:5:6:7:8'"}},
	{"n4", "inet4", "cast", []string{"'10.0.0.0'", "'255.255.255.255'", "'0.0.0.0'"}},
	{"uc", "varchar(20) collate utf8mb4_uca1400_swedish_as_cs", "text", []string{"'ß'"}},
	{"np", "varchar(20) collate latin1_swedish_nopad_ci", "text", []string{"'é '"}},
}

var mariadb11Columns = []typedColumn{
	{"ve", "vector(3)", "bytes", []string{"vec_fromtext('[1,-2.5,3e38]')"}},
}

// columnsOf are the columns that a server has types for.
func columnsOf(version string) []typedColumn {
	switch {
	case !strings.Contains(version, "MariaDB"):
		return slices.Concat(typedColumns, mysqlColumns)
	case strings.HasPrefix(version, "10."):
		return slices.Concat(typedColumns, mariadbColumns)
	}
	return slices.Concat(typedColumns, mariadbColumns, mariadb11Columns)
}

func numbered(format string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(format, i+1))
	}
	return list
}

// typeRows is how many rows of values there are, one more than the longest list, so
// that every column is null in one at least.
const typeRows = 9

// Rows of the same values, under other ids: copied with the table, inserted behind
// it, and inserted, changed and deleted.
const copied, inserted, changed = 0, 100, 200

// A value of any type is the same in the copy of a table and in what follows, before
// a change and behind it, in records and in files of both formats, and it is what the
// server itself says.
func TestEveryTypeIsInTheFilesAsTheServerHasIt(t *testing.T) {
	const variable = "SPLASHDAM_TEST_PYTHON_ARROW"
	python := os.Getenv(variable)
	Need(t, "python-arrow", python != "", variable+" is not set: the path of a Python with pyarrow, duckdb and polars (.ci/run makes one)")
	eachMySQL(t, func(t *testing.T, c *mysql.Config, db *sql.DB) {
		ctx := testContext(t, 2*time.Minute)
		conn, err := db.Conn(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		var version string
		if err := conn.QueryRowContext(ctx, "SELECT version()").Scan(&version); err != nil {
			t.Fatal(err)
		}
		types := typesTable{t: t, conn: conn, columns: columnsOf(version)}
		types.create(ctx)
		values := types.values(ctx, copied)

		n := Start(t, "--set", "group.initial.rebalance.delay.ms=0")
		topic := "shop." + c.DBName + ".types"
		parquet := newPipeline(t, n.Addr, fmt.Sprintf(`
name: parquet
%ssink: {connector: arrow, topics: %s, dir: %%s, file.age.ms: 100}
`, mysqlSource(c, "shop", c.DBName+".types"), topic))
		ipc := newPipeline(t, n.Addr, fmt.Sprintf(`
name: ipc
sink: {connector: arrow, format: arrow, topics: %s, dir: %%s, file.age.ms: 100}
`, topic))
		parquet.start()
		waitForRows(t, filepath.Join(parquet.out, topic), typeRows)
		ipc.start() // once there is a topic
		types.insertAgain(ctx, inserted)
		types.insertAgain(ctx, changed)
		for name, first := range map[string]int{"inserted": inserted, "to be changed": changed} {
			if !slices.EqualFunc(types.values(ctx, first), values, maps.Equal) {
				t.Fatalf("the rows %s are others than the first to the server too", name)
			}
		}
		types.changeAll(ctx)
		if now := types.values(ctx, changed); !slices.EqualFunc(now, append(values[1:typeRows:typeRows], values[0]), maps.Equal) {
			t.Fatal("the rows that were changed are others than they should be to the server too")
		}
		types.exec(ctx, fmt.Sprintf("DELETE FROM types WHERE id > %d ORDER BY id", changed))
		records := types.checkRecords(ctx, n.Addr, topic)

		expected := filepath.Join(t.TempDir(), "expected.json")
		types.writeExpected(expected, values)
		for format, p := range map[string]*pipeline{"parquet": parquet, "arrow": ipc} {
			dir := filepath.Join(p.out, topic)
			waitForRows(t, dir, records)
			p.stop()
			out, err := exec.CommandContext(ctx, python, "testdata/mysqltypes.py", format, dir, expected).CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v\n%s", format, err, out)
			}
		}
	})
}

// waitForRows waits until a topic's files have so many rows, and demands that they
// have no more.
func waitForRows(t *testing.T, dir string, rows int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		got := 0
		if _, err := os.Stat(dir); err == nil {
			err = openFiles(t, dir).Rows(func(b *arrow.Block) error { got += b.Len(); return nil })
			if err != nil {
				t.Fatal(err)
			}
		}
		if got == rows {
			return
		}
		if got > rows || time.Now().After(deadline) {
			t.Fatalf("%d of %d rows are in %s", got, rows, dir)
		}
	}
}

type typesTable struct {
	t       *testing.T
	conn    *sql.Conn
	columns []typedColumn
}

func (y *typesTable) exec(ctx context.Context, statement string) {
	y.t.Helper()
	if _, err := y.conn.ExecContext(ctx, statement); err != nil {
		y.t.Fatalf("%.300s: %v", statement, err)
	}
}

// names are those of the columns that are written, not computed.
func (y *typesTable) names(of string) string {
	var names []string
	for _, c := range y.columns {
		if c.values != nil {
			names = append(names, strings.ReplaceAll(of, "NAME", "`"+c.name+"`"))
		}
	}
	return strings.Join(names, ", ")
}

// create makes the table with the first rows.
func (y *typesTable) create(ctx context.Context) {
	y.t.Helper()
	y.exec(ctx, "SET sql_mode = 'ALLOW_INVALID_DATES', time_zone = '+00:00', NAMES utf8mb4")
	create := "CREATE TABLE types (id int primary key"
	for _, c := range y.columns {
		create += ", `" + c.name + "` " + c.sql
	}
	y.exec(ctx, create+") CHARACTER SET utf8mb4")
	for row := range typeRows {
		insert := fmt.Sprintf("INSERT INTO types (id, %s) VALUES (%d", y.names("NAME"), copied+row+1)
		for _, c := range y.columns {
			switch {
			case c.values == nil:
			case row < len(c.values):
				insert += ", " + c.values[row]
			case strings.Contains(c.sql, "not null"):
				insert += ", " + c.values[0]
			default:
				insert += ", NULL"
			}
		}
		y.exec(ctx, insert+")")
	}
}

// insertAgain inserts the first rows under other ids.
func (y *typesTable) insertAgain(ctx context.Context, first int) {
	y.t.Helper()
	y.exec(ctx, fmt.Sprintf("INSERT INTO types (id, %s) SELECT id + %d, %[1]s FROM types WHERE id <= %[3]d ORDER BY id", y.names("NAME"), first, typeRows))
}

// changeAll gives each row that is to be changed the values of the next one.
func (y *typesTable) changeAll(ctx context.Context) {
	y.t.Helper()
	y.exec(ctx, fmt.Sprintf("UPDATE types a JOIN types b ON b.id = (a.id - %d) %% %d + 1 SET %s WHERE a.id > %[1]d", changed, typeRows, y.names("a.NAME = b.NAME")))
}

// values is what the server says of the rows behind an id; a null is not there.
func (y *typesTable) values(ctx context.Context, first int) []map[string]string {
	y.t.Helper()
	var list []string
	for _, c := range y.columns {
		list = append(list, strings.ReplaceAll(asked[c.form], "%s", "`"+c.name+"`"))
	}
	// Prepared, since servers round numbers that they send as text.
	statement, err := y.conn.PrepareContext(ctx, fmt.Sprintf("SELECT %s FROM types WHERE id > %d AND id <= %d ORDER BY id", strings.Join(list, ", "), first, first+typeRows))
	if err != nil {
		y.t.Fatal(err)
	}
	defer statement.Close()
	rows, err := statement.QueryContext(ctx)
	if err != nil {
		y.t.Fatal(err)
	}
	defer rows.Close()
	var all []map[string]string
	for rows.Next() {
		values, into := make([]sql.NullString, len(list)), make([]any, len(list))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			y.t.Fatal(err)
		}
		row := map[string]string{}
		for i, c := range y.columns {
			if values[i].Valid {
				row[c.name] = values[i].String
			}
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		y.t.Fatal(err)
	}
	return all
}

// checkRecords demands that the records of the topic have the same values, text for
// text, wherever the table has the same, and returns how many records there are.
func (y *typesTable) checkRecords(ctx context.Context, broker, topic string) int {
	y.t.Helper()
	const records = 5 * typeRows
	cl, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		y.t.Fatal(err)
	}
	defer cl.Close()
	type image map[string]json.RawMessage
	var first [typeRows]image
	for seen := 0; seen < records; {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			y.t.Fatalf("%d of %d records: %v", seen, records, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Value == nil { // behind a delete
				return
			}
			seen++
			var e struct {
				Op            string
				Before, After image
			}
			if err := json.Unmarshal(r.Value, &e); err != nil {
				y.t.Fatal(err)
			}
			id := 0
			whole := e.After
			if whole == nil {
				whole = e.Before
			}
			if err := json.Unmarshal(whole["id"], &id); err != nil {
				y.t.Fatal(err)
			}
			row := (id - 1) % 100
			if e.Op == "r" {
				first[row] = e.After
				return
			}
			next := (row + 1) % typeRows
			before, after := first[row], first[row]
			switch e.Op {
			case "u":
				after = first[next]
			case "d":
				before = first[next]
			}
			for _, c := range y.columns {
				if got, want := e.Before[c.name], before[c.name]; e.Before != nil && string(got) != string(want) {
					y.t.Errorf("%s %s: before, operation %s, row %d is %.200s, and in the copy %.200s", c.name, c.sql, e.Op, row, got, want)
				}
				if got, want := e.After[c.name], after[c.name]; e.After != nil && string(got) != string(want) {
					y.t.Errorf("%s %s: after, operation %s, row %d is %.200s, and in the copy %.200s", c.name, c.sql, e.Op, row, got, want)
				}
			}
		})
	}
	return records
}

// writeExpected writes which row has which values, and the form of each column's.
func (y *typesTable) writeExpected(name string, values []map[string]string) {
	y.t.Helper()
	forms := map[string]string{}
	for _, c := range y.columns {
		forms[c.name] = c.form
	}
	text, err := json.Marshal(map[string]any{"forms": forms, "values": values, "changed": changed})
	if err != nil {
		y.t.Fatal(err)
	}
	if err := os.WriteFile(name, text, 0o600); err != nil {
		y.t.Fatal(err)
	}
}

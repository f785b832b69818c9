package mysql

import (
	"database/sql"
	"encoding/hex"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// typeCase is a column, what its type becomes, and values: what is inserted, in
// SQL, and what comes out of the binlog and out of a SELECT, as show has it.
type typeCase struct {
	name string
	sql  string
	only string // "mysql" or "mariadb" where the other one does not have it
	want string // of showType
	rows []typeValue
}

type typeValue struct{ sql, want string }

// v is pairs of SQL and what is wanted.
func v(pairs ...string) []typeValue {
	var values []typeValue
	for pair := range slices.Chunk(pairs, 2) {
		values = append(values, typeValue{pair[0], pair[1]})
	}
	return values
}

var typeCases = []typeCase{
	{"ti", "tinyint", "", "int8", v("-128", "-128", "127", "127", "0", "0")},
	{"bo", "tinyint(1)", "", "int8", v("true", "1", "2", "2")},
	{"tu", "tinyint unsigned", "", "uint8", v("0", "0", "255", "255")},
	{"si", "smallint", "", "int16", v("-32768", "-32768", "32767", "32767")},
	{"su", "smallint unsigned", "", "uint16", v("0", "0", "65535", "65535")},
	{"mi", "mediumint", "", "int32", v("-8388608", "-8388608", "8388607", "8388607", "-1", "-1")},
	{"mu", "mediumint unsigned", "", "uint32", v("0", "0", "16777215", "16777215")},
	{"i", "int not null", "", "int32!", v("-2147483648", "-2147483648", "2147483647", "2147483647")},
	{"iu", "int unsigned", "", "uint32", v("0", "0", "4294967295", "4294967295")},
	{"iz", "int(8) zerofill", "", "uint32", v("42", "42")},
	{"bi", "bigint", "", "int64", v("-9223372036854775808", "-9223372036854775808", "9223372036854775807", "9223372036854775807")},
	{"bu", "bigint unsigned", "", "uint64", v("0", "0", "18446744073709551615", "18446744073709551615", "9223372036854775808", "9223372036854775808")},
	{"fl", "float", "", "float32", v("3.4028234663852886e38", "3.4028235e+38", "-1.17549435e-38", "-1.1754944e-38", "0.1", "0.1", "16777217", "1.6777216e+07")},
	{"fd", "float(7,3)", "", "float32", v("1234.5678", "1234.568", "-0.001", "-0.001")},
	{"do", "double", "", "float64", v("1.7976931348623157e308", "1.7976931348623157e+308", "2.2250738585072014e-308", "2.2250738585072014e-308", "5e-324", "5e-324", "0.1", "0.1", "123456789.12345679", "1.2345678912345679e+08")},
	{"fm", "float", "mysql", "float32", v("-0e0", "-0")}, // MariaDB stores no negative zero
	{"dm", "double", "mysql", "float64", v("-0e0", "-0")},
	{"dd", "double(20,3)", "", "float64", v("12345678901234.5678", "1.2345678901234568e+13", "0.00051", "0.001")},
	{"d12", "decimal(12,2)", "", "decimal(12,2)", v("1234567890.12", "1234567890.12", "-0.01", "-0.01", "0", "0.00", "-9999999999.99", "-9999999999.99")},
	{"d1", "decimal(1,0)", "", "decimal(1,0)", v("-9", "-9", "5", "5")},
	{"d10", "decimal(10,10)", "", "decimal(10,10)", v("0.0123456789", "0.0123456789", "-0.9999999999", "-0.9999999999")},
	{"d38", "decimal(38,9)", "", "decimal(38,9)", v("99999999999999999999999999999.999999999", "99999999999999999999999999999.999999999", "-99999999999999999999999999999.999999999", "-99999999999999999999999999999.999999999", "0.000000001", "0.000000001")},
	{"d65", "decimal(65,30)", "", "decimal(65,30)", v("99999999999999999999999999999999999.999999999999999999999999999999", "99999999999999999999999999999999999.999999999999999999999999999999", "-12345678901234567890.000000000000000000000000000001", "-12345678901234567890.000000000000000000000000000001", "0", "0.000000000000000000000000000000", "-0.5", "-0.500000000000000000000000000000")},
	{"d39", "decimal(39,0)", "", "decimal(39,0)", v("999999999999999999999999999999999999999", "999999999999999999999999999999999999999", "-1", "-1", "0", "0")},
	{"dz", "decimal(45,3) zerofill", "", "decimal(45,3)", v("12.5", "12.500", "0", "0.000")},
	{"b1", "bit(1)", "", "bool", v("b'1'", "true", "b'0'", "false")},
	{"b9", "bit(9)", "", "bits 9", v("b'100000010'", "0201")},
	{"b64", "bit(64)", "", "bits 64", v("0xffffffffffffffff", "ffffffffffffffff", "0x0102030405060708", "0807060504030201", "0", "0000000000000000")},
	{"ye", "year", "", "year", v("1901", "1901", "2155", "2155", "0", "0", "2024", "2024")},

	{"ve", "vector(2)", "vector", "bytes", v("x'0000803f00000040'", "0000803f00000040")}, // before columns with a character set
	{"c", "char(10)", "", "string 10", v("'a b  '", "a b", "''", "", "'äöü🐘'", "äöü🐘")},
	{"vc", "varchar(20)", "", "string 20", v("'a b  '", "a b  ", "'naïve 🐘'", "naïve 🐘", "'a\\0b'", "a\x00b")},
	{"vl", "varchar(300)", "", "string 300", v("repeat('x',300)", strings.Repeat("x", 300), "''", "")},
	{"t1", "tinytext", "", "string", v("'tiny'", "tiny")},
	{"t2", "text", "", "string", v("repeat('ü',200)", strings.Repeat("ü", 200))},
	{"t3", "mediumtext", "", "string", v("'medium'", "medium")},
	{"t4", "longtext", "", "string", v("'long'", "long")},
	{"la", "varchar(20) character set latin1", "", "string 20", v("'é€ÿ'", "é€ÿ", "x'81'", "\u0081")},
	{"cp", "text character set cp1251", "", "string", v("'привет'", "привет")},
	{"gk", "varchar(20) character set gbk", "", "string 20", v("'你好'", "你好", "x'a2a1'", "ⅰ")},
	{"g2", "char(200) character set gb2312", "", "string 200", v("'你好'", "你好")},
	{"gb", "varchar(20) character set gb18030", "mysql", "string 20", v("'你🐘\u0080'", "你🐘\u0080")},
	{"b5", "varchar(20) character set big5", "", "string 20", v("'你好'", "你好")},
	{"sj", "varchar(20) character set sjis", "", "string 20", v("'表テｱ'", "表テｱ", "x'8160'", "〜")},
	{"c9", "varchar(20) character set cp932", "", "string 20", v("'①表'", "①表", "x'8160'", "～")},
	{"uj", "varchar(20) character set ujis", "", "string 20", v("'あｱ丂'", "あｱ丂")},
	{"eu", "varchar(20) character set euckr", "", "string 20", v("'한글'", "한글")},
	{"u2", "varchar(20) character set ucs2", "", "string 20", v("'aп'", "aп", "x'd8000062'", "?b")},
	{"u16", "char(10) character set utf16", "", "string 10", v("'aп🐘 '", "aп🐘")},
	{"ul", "varchar(20) character set utf16le", "", "string 20", v("'aп🐘'", "aп🐘")},
	{"u32", "varchar(20) character set utf32", "", "string 20", v("'aп🐘'", "aп🐘")},
	{"u3", "varchar(20) character set utf8mb3", "", "string 20", v("'aп漢'", "aп漢")},
	{"as", "varchar(20) character set ascii", "", "string 20", v("'plain'", "plain")},
	{"ko", "varchar(20) character set koi8r collate koi8r_bin", "", "string 20", v("'привет'", "привет")},
	{"gr", "varchar(20) character set greek", "", "string 20", v("'αβγ'", "αβγ", "x'd2'", "?")},
	{"sw", "varchar(20) character set swe7", "", "string 20", v("'Åäö'", "Åäö")},
	{"bn", "varchar(20) collate utf8mb4_bin", "", "string 20", v("'ß'", "ß")},
	{"u9", "varchar(20) collate utf8mb4_0900_as_ci", "mysql", "string 20", v("'ß'", "ß")},
	{"uc", "varchar(20) collate utf8mb4_uca1400_swedish_as_cs", "mariadb", "string 20", v("'ß'", "ß")},
	{"um", "varchar(20) character set utf16 collate utf16_uca1400_nopad_ai_ci", "mariadb", "string 20", v("'ß🐘'", "ß🐘")},
	{"np", "varchar(20) collate latin1_swedish_nopad_ci", "mariadb", "string 20", v("'é '", "é ")},
	{"su8", "varchar(20) character set utf8mb4 collate utf8mb4_general_ci", "mariadb", "string 20", v("x'61eda08062'", "a?b")},

	{"bf", "binary(5)", "", "bytes 5", v("'ab'", "6162000000", "x'0001000000'", "0001000000", "x'0000000000'", "0000000000", "x'ffffffffff'", "ffffffffff")},
	{"b255", "binary(255)", "", "bytes 255", v("'z'", "7a"+strings.Repeat("00", 254))},
	{"vb", "varbinary(300)", "", "bytes 300", v("x'00ff00'", "00ff00", "''", "")},
	{"bl1", "tinyblob", "", "bytes", v("x'01'", "01")},
	{"bl2", "blob", "", "bytes", v("x'0200'", "0200")},
	{"bl3", "mediumblob", "", "bytes", v("''", "")},
	{"bl4", "longblob", "", "bytes", v("repeat(x'03',300)", strings.Repeat("03", 300))},

	{"en", "enum('x','y z','ü','a''b\\\\c')", "", "enum [x y z ü a'b\\c]", v("'x'", "x", "4", "a'b\\c", "'ü'", "ü", "'none of them'", "")},
	{"e2", "enum('é','ö') character set utf16", "", "enum [é ö]", v("'ö'", "ö")},
	{"el", "enum('é','ö') character set latin2", "", "enum [é ö]", v("'é'", "é")},
	{"se", "set('a','b','ü','d')", "", "set [a b ü d]", v("'a,ü'", "a,ü", "''", "", "15", "a,b,ü,d")},
	{"s64", "set(" + strings.Join(numbered("'m%d'", 64), ",") + ")", "", "set [" + strings.Join(numbered("m%d", 64), " ") + "]", v("'m1,m64'", "m1,m64")},
	{"sl", "set('é','ö') character set latin1", "", "set [é ö]", v("'é,ö'", "é,ö")},

	{"da", "date not null", "", "date", v("'1970-01-01'", "1970-01-01", "'0001-01-01'", "0001-01-01", "'9999-12-31'", "9999-12-31", "'2024-02-29'", "2024-02-29",
		"'0000-00-00'", "null", "'2024-00-00'", "null", "'2024-05-00'", "null", "'2023-02-29'", "null", "'0000-05-05'", "null")},
	{"tm", "time", "", "time(0)", v("'838:59:59'", "838:59:59", "'-838:59:59'", "-838:59:59", "'00:00:00'", "0:00:00", "'-00:00:01'", "-0:00:01", "'12:34:56'", "12:34:56")},
	{"tm1", "time(1)", "", "time(1)", v("'-00:00:00.1'", "-0:00:00.1", "'12:34:56.9'", "12:34:56.9")},
	{"tm2", "time(2)", "", "time(2)", v("'-00:00:01.10'", "-0:00:01.10", "'838:59:58.99'", "838:59:58.99")},
	{"tm3", "time(3)", "", "time(3)", v("'-00:00:00.001'", "-0:00:00.001", "'12:34:56.789'", "12:34:56.789")},
	{"tm4", "time(4)", "", "time(4)", v("'-100:00:00.0001'", "-100:00:00.0001", "'00:00:00.9999'", "0:00:00.9999")},
	{"tm5", "time(5)", "", "time(5)", v("'-00:00:00.00001'", "-0:00:00.00001", "'00:00:00.99999'", "0:00:00.99999")},
	{"tm6", "time(6)", "", "time(6)", v("'-838:59:58.999999'", "-838:59:58.999999", "'838:59:58.999999'", "838:59:58.999999", "'-00:00:00.000001'", "-0:00:00.000001", "0", "0:00:00.000000")},
	{"dt", "datetime not null", "", "datetime(0)", v("'1000-01-01 00:00:00'", "1000-01-01 00:00:00", "'9999-12-31 23:59:59'", "9999-12-31 23:59:59", "'1969-12-31 23:59:59'", "1969-12-31 23:59:59",
		"'0000-00-00 00:00:00'", "null", "'2024-00-00 01:02:03'", "null", "'2024-02-31 01:02:03'", "null", "'0000-01-01 00:00:00'", "null")},
	{"dt1", "datetime(1)", "", "datetime(1)", v("'2024-02-03 04:05:06.7'", "2024-02-03 04:05:06.7")},
	{"dt2", "datetime(2)", "", "datetime(2)", v("'0001-01-01 00:00:00.01'", "0001-01-01 00:00:00.01")},
	{"dt3", "datetime(3)", "", "datetime(3)", v("'2024-02-03 04:05:06.789'", "2024-02-03 04:05:06.789")},
	{"dt4", "datetime(4)", "", "datetime(4)", v("'2024-02-03 04:05:06.7891'", "2024-02-03 04:05:06.7891")},
	{"dt5", "datetime(5)", "", "datetime(5)", v("'2024-02-03 04:05:06.78912'", "2024-02-03 04:05:06.78912")},
	{"dt6", "datetime(6)", "", "datetime(6)", v("'9999-12-31 23:59:59.999999'", "9999-12-31 23:59:59.999999", "'0000-00-00 00:00:00'", "null")},
	{"ts", "timestamp not null default '2020-01-01'", "", "timestamp(0)", v("'1970-01-01 00:00:01'", "1970-01-01 00:00:01", "'2038-01-19 03:14:07'", "2038-01-19 03:14:07", "'0000-00-00 00:00:00'", "null")},
	{"ts1", "timestamp(1) null", "", "timestamp(1)", v("'2024-02-03 04:05:06.1'", "2024-02-03 04:05:06.1")},
	{"ts3", "timestamp(3) null", "", "timestamp(3)", v("'2024-02-03 04:05:06.123'", "2024-02-03 04:05:06.123")},
	{"ts6", "timestamp(6) null", "", "timestamp(6)", v("'2024-02-03 04:05:06.123456'", "2024-02-03 04:05:06.123456", "'1970-01-01 00:00:01.000001'", "1970-01-01 00:00:01.000001")},

	{"jm", "json", "mariadb", "string", v(`'{"b": 1,  "a":[1.0]}'`, `{"b": 1,  "a":[1.0]}`)},
	{"js", "json", "mysql", "json", v(`'{"b": 1,  "aa":[1.0, null], "a":"ü"}'`, `{"a": "ü", "b": 1, "aa": [1.0, null]}`, `'null'`, "null", `'"x"'`, `"x"`, "'12'", "12")},
	{"ge", "geometry", "", "geometry", v("ST_GeomFromText('POINT(1 2)')", "00000000"+"01"+"01000000"+"000000000000f03f"+"0000000000000040", "ST_GeomFromText('LINESTRING(0 0,1 1)',4326)",
		"e6100000"+"01"+"02000000"+"02000000"+"0000000000000000"+"0000000000000000"+"000000000000f03f"+"000000000000f03f")},
	{"po", "point", "", "geometry", v("POINT(0,-1)", "00000000"+"01"+"01000000"+"0000000000000000"+"000000000000f0bf")},

	{"zv", "varchar(200) compressed", "mariadb", "string 200", v("repeat('ä',200)", strings.Repeat("ä", 200), "'short'", "short", "''", "")},
	{"zt", "text compressed character set cp1251", "mariadb", "string", v("repeat('привет',50)", strings.Repeat("привет", 50))},
	{"zb", "longblob compressed", "mariadb", "bytes", v("repeat(x'00ff',500)", strings.Repeat("00ff", 500), "x'00'", "00")},
	{"zn", "varbinary(1000) compressed", "mariadb", "bytes 1000", v("repeat(x'01',1000)", strings.Repeat("01", 1000))},
	{"uu", "uuid", "mariadb", "string 36", v("'123e4567-e89b-12d3-a456-426655440000'", "123e4567-e89b-12d3-a456-426655440000", "'00000000-0000-0000-0000-000000000000'", "00000000-0000-0000-0000-000000000000",
		"'017f22e2-79b0-7cc3-98c4-dc0c0c07398f'", "017f22e2-79b0-7cc3-98c4-dc0c0c07398f", "'ffffffff-ffff-4fff-bfff-ffffffffff00'", "ffffffff-ffff-4fff-bfff-ffffffffff00")},
	{"i4", "inet4", "inet4", "string 15", v("'10.0.0.0'", "10.0.0.0", "'255.255.255.255'", "255.255.255.255")},
	{"i6", "inet6", "mariadb", "string 39", v("'2001:db8::'", "2001:db8::", "'::1.2.3.4'", "::1.2.3.4", "'::ffff:1.2.3.0'", "::ffff:1.2.3.0", "'1:2:3:4:5:6:7:8'", "1:2:3:4:5:6:7:8")},
	{"inv", "int invisible default 7", "", "int32", v("8", "8")},
}

func numbered(format string, n int) []string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprintf(format, i+1))
	}
	return list
}

// casesOf are those that a server has.
func casesOf(mariadb bool, version string) []typeCase {
	var cases []typeCase
	for _, c := range typeCases {
		recent := !strings.Contains(version, "10.11.")
		ok := map[string]bool{"": true, "mysql": !mariadb, "mariadb": mariadb, "vector": recent, "inet4": mariadb}[c.only]
		if ok {
			cases = append(cases, c)
		}
	}
	return cases
}

const typeRows = 9 // as many as the longest list of values

// makeTypes inserts a row for each value, null where a column has not so many,
// then changes every row and deletes it.
func makeTypes(t *testing.T, s *liveServer, conn *sql.Conn) { makeTypesAnd(t, s, conn, nil) }

func makeTypesAnd(t *testing.T, s *liveServer, conn *sql.Conn, inserted func(conn *sql.Conn)) {
	cases := casesOf(s.mariadb, s.version)
	create, insert := []string{"id int primary key"}, []string{}
	for _, c := range cases {
		create = append(create, quoteName(c.name)+" "+c.sql)
	}
	create = append(create, "n int default 0")
	for row := range typeRows {
		values := []string{strconv.Itoa(row)}
		for _, c := range cases {
			values = append(values, c.at(row).sql)
		}
		insert = append(insert, "("+strings.Join(values, ",")+")")
	}
	columns := []string{"id"}
	for _, c := range cases {
		columns = append(columns, quoteName(c.name))
	}
	execute(t, conn, "SET sql_mode='ALLOW_INVALID_DATES', time_zone='+00:00', NAMES utf8mb4",
		"CREATE TABLE types ("+strings.Join(create, ",")+") CHARACTER SET utf8mb4",
		"INSERT INTO types ("+strings.Join(columns, ",")+") VALUES "+strings.Join(insert, ","))
	if inserted != nil {
		inserted(conn)
	}
	execute(t, conn, "UPDATE types SET n = id+1 ORDER BY id", "DELETE FROM types ORDER BY id")
}

// at is the case's value in a row.
func (c typeCase) at(row int) typeValue {
	switch {
	case row < len(c.rows):
		return c.rows[row]
	case strings.Contains(c.sql, "not null"):
		return c.rows[0]
	}
	return typeValue{"NULL", "null"}
}

func checkTypes(t *testing.T, r recording) {
	cases := casesOf(r.server.mariadb, r.version)
	if !r.server.mariadb {
		r.declarations = nil // MySQL says all in its events
	}
	sections := decodeAll(t, r, "types")
	if len(sections) != 1 {
		t.Fatalf("%d schemas", len(sections))
	}
	s := sections[0]
	checkTypeSchema(t, s.Schema, cases)
	if want := strings.Repeat("c", typeRows) + strings.Repeat("u", typeRows) + strings.Repeat("d", typeRows); opsOf(s) != want {
		t.Fatalf("operations are %s, want %s", opsOf(s), want)
	}
	for row := range typeRows {
		checkTypeRow(t, cases, s.After, row, row, "0")
		checkTypeRow(t, cases, s.Before, typeRows+row, row, "0")
		checkTypeRow(t, cases, s.After, typeRows+row, row, strconv.Itoa(row+1))
		checkTypeRow(t, cases, s.Before, 2*typeRows+row, row, strconv.Itoa(row+1))
		for i := range s.Before {
			if !s.Before[i].IsNull(row) || s.Before[i].IsAbsent(row) || !s.After[i].IsNull(2*typeRows+row) {
				t.Errorf("column %d: an insert has something before it, or a delete behind it", i)
			}
		}
	}
}

func opsOf(s *connect.Section) string {
	var ops []byte
	for _, o := range s.Op {
		ops = append(ops, byte(o))
	}
	return string(ops)
}

func checkTypeSchema(t *testing.T, s *connect.Schema, cases []typeCase) {
	t.Helper()
	if s.Name != "test.splashdam_test.types" || len(s.Fields) != len(cases)+2 || !slices.Equal(s.Key, []int{0}) {
		t.Fatalf("schema %s has %d fields and the key %v", s.Name, len(s.Fields), s.Key)
	}
	for i, c := range cases {
		if f := s.Fields[i+1]; f.Name != c.name || showType(f) != c.want {
			t.Errorf("%s %s is %s %s, want %s", c.name, c.sql, f.Name, showType(f), c.want)
		}
	}
}

func checkTypeRow(t *testing.T, cases []typeCase, columns []connect.Column, row, id int, n string) {
	t.Helper()
	if got := show(&columns[0], row); got != strconv.Itoa(id) {
		t.Errorf("row %d has id %s, want %d", row, got, id)
	}
	if got := show(&columns[len(cases)+1], row); got != n {
		t.Errorf("row %d has n %s, want %s", row, got, n)
	}
	for i, c := range cases {
		if got, want := show(&columns[i+1], row), c.at(id).want; got != want {
			t.Errorf("row %d: %s %s of %s is %q, want %q", row, c.name, c.sql, c.at(id).sql, got, want)
		}
	}
}

// decodeAll decodes the events of a table, a section for each schema it had.
func decodeAll(t testing.TB, r recording, name string) []*connect.Section {
	t.Helper()
	tables := map[uint64]*table{}
	var f inflater
	var sections []*connect.Section
	for _, e := range r.events {
		if e.kind == eventTableMap {
			_, tableName, err := tableMapName(e.bytes)
			if err != nil {
				t.Fatal(err)
			}
			id := tableMapID(e.bytes)
			if old := tables[id]; tableName != name || old != nil && old.same(e.bytes) {
				continue
			}
			if tables[id], err = parseTableMap(e.bytes, "test", r.server, r.declarations[tableName]); err != nil {
				t.Fatal(err)
			}
			continue
		}
		rows, err := parseRows(e.kind, e.bytes, &f)
		if err != nil {
			t.Fatal(err)
		}
		table := tables[rows.tableID]
		if table == nil {
			continue
		}
		if len(sections) == 0 || !sections[len(sections)-1].Schema.SameRows(table.schema) {
			sections = append(sections, &connect.Section{Schema: table.schema})
		}
		if err := table.decode(&rows, sections[len(sections)-1], math.MaxInt); err != nil {
			t.Fatal(err)
		}
	}
	return sections
}

// show writes a value so that a person can compare it.
func show(c *connect.Column, row int) string {
	switch {
	case c.IsAbsent(row):
		return "absent"
	case c.IsNull(row):
		return "null"
	}
	micros := func(layout string) string {
		at := time.UnixMicro(c.Int(row)).UTC()
		if c.Type.Precision > 0 {
			layout += "." + strings.Repeat("0", c.Type.Precision)
		}
		return at.Format(layout)
	}
	switch c.Type.Kind {
	case connect.Bool:
		return strconv.FormatBool(c.Bool(row))
	case connect.Int8, connect.Int16, connect.Int32, connect.Int64:
		return strconv.FormatInt(c.Int(row), 10)
	case connect.Uint8, connect.Uint16, connect.Uint32, connect.Uint64, connect.Year:
		return strconv.FormatUint(c.Bits(row), 10)
	case connect.Float32:
		return strconv.FormatFloat(float64(math.Float32frombits(uint32(c.Bits(row)))), 'g', -1, 32)
	case connect.Float64:
		return strconv.FormatFloat(math.Float64frombits(c.Bits(row)), 'g', -1, 64)
	case connect.Decimal:
		if c.Type.Precision > connect.MaxDecimal128 {
			return string(c.Text(row))
		}
		low, high := c.Bits128(row)
		n := new(big.Int).Or(new(big.Int).Lsh(big.NewInt(int64(high)), 64), new(big.Int).SetUint64(low))
		text := fmt.Sprintf("%0*d", c.Type.Scale+1, new(big.Int).Abs(n))
		if point := len(text) - c.Type.Scale; point < len(text) {
			text = text[:point] + "." + text[point:]
		}
		if n.Sign() < 0 {
			text = "-" + text
		}
		return text
	case connect.Date:
		return time.Unix(c.Int(row)*24*60*60, 0).UTC().Format(time.DateOnly)
	case connect.DateTime, connect.Timestamp:
		return micros(time.DateTime)
	case connect.Time:
		n, sign := c.Int(row), ""
		if n < 0 {
			n, sign = -n, "-"
		}
		text := fmt.Sprintf("%s%d:%02d:%02d.%06d", sign, n/3600e6, n/60e6%60, n/1e6%60, n%1e6)
		return strings.TrimSuffix(text[:len(text)-6+c.Type.Precision], ".")
	case connect.Bytes, connect.Bits, connect.Geometry:
		return hex.EncodeToString(c.Text(row))
	}
	return string(c.Text(row))
}

// showType is a field's type in a word or two, with ! if it is never null.
func showType(f connect.Field) string {
	text := f.Type.Kind.String()
	switch f.Type.Kind {
	case connect.Decimal:
		text += fmt.Sprintf("(%d,%d)", f.Type.Precision, f.Type.Scale)
	case connect.Time, connect.DateTime, connect.Timestamp:
		text += fmt.Sprintf("(%d)", f.Type.Precision)
	case connect.Enum, connect.Set:
		text += fmt.Sprint(" ", f.Type.Values)
	}
	if f.Type.Length > 0 {
		text += fmt.Sprint(" ", f.Type.Length)
	}
	if !f.Nullable {
		text += "!"
	}
	return text
}

func TestEveryTypeReadsFromRecordedEvents(t *testing.T) {
	recorded(t, "types", checkTypes)
}

func TestEveryTypeReadsTheSameFromLiveEvents(t *testing.T) {
	live(t, "", "types", makeTypes, checkTypes)
}

// TestASelectGivesWhatTheBinlogGives reads the same rows, in both protocols, into
// the schema that information_schema gives.
func TestASelectGivesWhatTheBinlogGives(t *testing.T) {
	for _, s := range liveServers(t) {
		t.Run(s.folder(), func(t *testing.T) {
			var schema *connect.Schema
			selected := map[string][]connect.Column{}
			r := s.record(t, func(t *testing.T, s *liveServer, conn *sql.Conn) {
				makeTypesAnd(t, s, conn, func(conn *sql.Conn) {
					declared, err := (server{mariadb: s.mariadb}).readDeclaration(t.Context(), conn, "splashdam_test", "types")
					if err != nil {
						t.Fatal(err)
					}
					if schema, err = declared.schema("test.splashdam_test.types"); err != nil {
						t.Fatal(err)
					}
					// From the connection of an application, with its settings.
					execute(t, conn, "SET time_zone='+05:30', sql_mode='PAD_CHAR_TO_FULL_LENGTH'", sessionSettings)
					query := "SELECT " + selectList(schema) + " FROM types"
					selected["text"] = selectAll(t, conn, schema, query+" ORDER BY id")
					selected["binary"] = selectAll(t, conn, schema, query+" WHERE id > ? ORDER BY id", -1)
				})
			})
			cases := casesOf(s.mariadb, s.version)
			checkTypeSchema(t, schema, cases)
			events := decodeAll(t, r, "types")[0]
			if !schema.SameRows(events.Schema) {
				t.Errorf("information_schema gives\n%v, the events\n%v", schema, events.Schema)
			}
			for protocol, columns := range selected {
				t.Run(protocol, func(t *testing.T) {
					for row := range typeRows {
						checkTypeRow(t, cases, columns, row, row, "0")
					}
					for i, c := range columns {
						from := connect.NewColumn(c.Type)
						for row := range typeRows {
							from.AppendFrom(&events.After[i], row)
						}
						if !slices.Equal(from.Valid, c.Valid) || !slices.Equal(from.Data, c.Data) || !slices.Equal(from.Ends, c.Ends) {
							t.Errorf("column %s has not the bytes that the events give", schema.Fields[i].Name)
						}
					}
				})
			}
		})
	}
}

func selectAll(t *testing.T, conn *sql.Conn, s *connect.Schema, query string, args ...any) []connect.Column {
	t.Helper()
	columns := connect.NewColumns(s.Fields)
	to := destinations(columns)
	if err := eachRow(t.Context(), conn, func(rows *sql.Rows) error { return rows.Scan(to...) }, query, args...); err != nil {
		t.Fatal(err)
	}
	if columns[0].Rows() != typeRows {
		t.Fatalf("%d rows", columns[0].Rows())
	}
	return columns
}

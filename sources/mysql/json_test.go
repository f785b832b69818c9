package mysql

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// jsonCases are documents in SQL, and the text that MySQL 9.7 gave for each.
var jsonCases = []typeValue{
	{`'{}'`, `{}`},
	{`'[]'`, `[]`},
	{`'null'`, `null`},
	{`'true'`, `true`},
	{`'false'`, `false`},
	{`'"a \\"quoted\\" \\\\ \\/ word"'`, `"a \"quoted\" \\ / word"`},
	{`JSON_QUOTE(CONCAT('\b\t\n\r', CHAR(12 USING utf8mb4)))`, `"\b\t\n\r\f"`},
	{`JSON_OBJECT('a', CONVERT(x'0001021f7f' USING utf8mb4))`, `{"a": "\u0000\u0001\u0002\u001f` + "\x7f" + `"}`},
	{`'"ü漢🐘"'`, `"ü漢🐘"`},
	{`'{"bb":2,"a":1,"ccc":3,"B":0,"":4}'`, `{"": 4, "B": 0, "a": 1, "bb": 2, "ccc": 3}`},
	{`'[0,-1,32767,-32768,32768,65535,65536,2147483647,-2147483648,2147483648,4294967295,4294967296,9223372036854775807,-9223372036854775808,18446744073709551615]'`,
		`[0, -1, 32767, -32768, 32768, 65535, 65536, 2147483647, -2147483648, 2147483648, 4294967295, 4294967296, 9223372036854775807, -9223372036854775808, 18446744073709551615]`},
	{`'[1.0,-0.0,0.1,1e15,1e14,123456789012345.6,1234567890123456.7,1e-15,1e-14,1.5e-15,1e100,-1.7976931348623157e308,5e-324,12345678901234567890123]'`,
		`[1.0, -0.0, 0.1, 1e15, 100000000000000.0, 123456789012345.6, 1234567890123456.8, 0.000000000000001, 0.00000000000001, 0.0000000000000015, 1e100, -1.7976931348623157e308, 5e-324, 1.2345678901234568e22]`},
	{`JSON_ARRAY(CAST(1.50 AS DECIMAL(10,2)), CAST(-0.001 AS DECIMAL(65,30)), CAST(0 AS DECIMAL(5,0)), 12345678901234567890.5)`,
		`[1.50, -0.001000000000000000000000000000, 0, 12345678901234567890.5]`},
	{`JSON_ARRAY(CAST('2024-02-03' AS DATE), CAST('0001-01-01' AS DATE), CAST('2024-02-03 04:05:06' AS DATETIME), CAST('9999-12-31 23:59:59.999999' AS DATETIME(6)))`,
		`["2024-02-03", "0001-01-01", "2024-02-03 04:05:06.000000", "9999-12-31 23:59:59.999999"]`},
	{`JSON_ARRAY(TIMESTAMP('2024-02-03 04:05:06'), FROM_UNIXTIME(1700000000))`, `["2024-02-03 04:05:06.000000", "2023-11-14 22:13:20.000000"]`},
	{`JSON_ARRAY(CAST('12:34:56' AS TIME), CAST('-838:59:59' AS TIME), CAST('00:00:00' AS TIME), CAST('00:00:00.000001' AS TIME(6)))`,
		`["12:34:56.000000", "-838:59:59.000000", "00:00:00.000000", "00:00:00.000001"]`},
	{`JSON_ARRAY(x'00ff', b'101', CAST('x' AS BINARY(3)))`,
		`["base64:type15:AP8=", "base64:type15:BQ==", "base64:type15:eAAA"]`},
	{`JSON_ARRAY(REPEAT(x'ff', 100))`, `["base64:type15:` + strings.Repeat("/", 133) + `w=="]`},
	{`JSON_OBJECT('k', REPEAT('x', 200), 'l', REPEAT('y', 2000))`, `{"k": "` + strings.Repeat("x", 200) + `", "l": "` + strings.Repeat("y", 2000) + `"}`},
	// More than 64 KiB, so both containers have wide numbers.
	{`CONCAT('{"a":"` + strings.Repeat("q", 100) + `","b":[', REPEAT('"` + strings.Repeat("z", 99) + `",', 640), 'true,1,70000,-70000,null],"c":[1],"d":{"e":false}}')`,
		`{"a": "` + strings.Repeat("q", 100) + `", "b": [` + strings.Repeat(`"`+strings.Repeat("z", 99)+`", `, 640) + `true, 1, 70000, -70000, null], "c": [1], "d": {"e": false}}`},
	{`CONCAT(REPEAT('[', 100), REPEAT(']', 100))`, strings.Repeat("[", 100) + strings.Repeat("]", 100)},
	{`JSON_SET('{"a":[1,{"b":"long enough to leave a hole"}],"c":2}', '$.a[1].b', 'short')`, `{"a": [1, {"b": "short"}], "c": 2}`},
}

func makeJSON(t *testing.T, _ *liveServer, conn *sql.Conn) {
	execute(t, conn, "SET time_zone='+00:00', NAMES utf8mb4", "CREATE TABLE documents (id int primary key, d json)")
	for i, c := range jsonCases {
		execute(t, conn, fmt.Sprintf("INSERT INTO documents VALUES (%d, %s)", i, c.sql))
	}
}

func checkJSON(t *testing.T, r recording) {
	s := decodeAll(t, r, "documents")[0]
	if s.Rows() != len(jsonCases) {
		t.Fatalf("%d rows", s.Rows())
	}
	for i, c := range jsonCases {
		got := string(s.After[1].Text(i))
		if got != c.want {
			t.Errorf("%.200s is\n%.500s, want\n%.500s", c.sql, got, c.want)
		}
		if !json.Valid([]byte(got)) {
			t.Errorf("%.200s is no JSON: %.500s", c.sql, got)
		}
	}
}

func TestDocumentsReadAsASelectShowsThem(t *testing.T) { recorded(t, "json", checkJSON) }
func TestDocumentsReadAsASelectShowsThemLive(t *testing.T) {
	live(t, "mysql", "json", makeJSON, checkJSON)
}

// TestRandomDocumentsReadAsASelectShowsThem has MySQL write documents of every
// shape, and numbers of every size, and compares its text of them.
func TestRandomDocumentsReadAsASelectShowsThem(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	want := map[int]string{}
	live(t, "mysql", "", func(t *testing.T, _ *liveServer, conn *sql.Conn) {
		execute(t, conn, "SET NAMES utf8mb4", "CREATE TABLE documents (id int primary key, d json)")
		for id := range 300 {
			document := randomDocument(random, 3)
			if _, err := conn.ExecContext(t.Context(), "INSERT INTO documents VALUES (?, ?)", id, document); err != nil {
				t.Fatalf("%s: %v", document, err)
			}
		}
		// What is changed in its place leaves holes and other orders behind.
		execute(t, conn, "UPDATE documents SET d = JSON_SET(d, '$[0]', 1, '$[1]', JSON_ARRAY('new', 2), '$.a', 'y') WHERE id % 3 = 0",
			"UPDATE documents SET d = JSON_REMOVE(d, '$[2]', '$.b') WHERE id % 4 = 0")
		err := eachRow(t.Context(), conn, func(rows *sql.Rows) error {
			var id int
			var text string
			err := rows.Scan(&id, &text)
			want[id] = text
			return err
		}, "SELECT id, d FROM documents")
		if err != nil {
			t.Fatal(err)
		}
	}, func(t *testing.T, r recording) {
		got := map[int]string{}
		s := decodeAll(t, r, "documents")[0]
		for row := range s.Rows() {
			got[int(s.After[0].Int(row))] = string(s.After[1].Text(row))
		}
		for id, text := range want {
			if got[id] != text {
				t.Errorf("document %d is\n%.2000s, want\n%.2000s", id, got[id], text)
			}
		}
	})
}

func randomDocument(random *rand.Rand, depth int) string {
	switch random.IntN(10) {
	case 0, 1, 2:
		if depth == 0 {
			return "null"
		}
		elements := make([]string, random.IntN(15))
		for i := range elements {
			elements[i] = randomDocument(random, depth-1)
		}
		return "[" + strings.Join(elements, ",") + "]"
	case 3, 4:
		if depth == 0 {
			return "true"
		}
		members := make([]string, random.IntN(10))
		for i := range members {
			members[i] = fmt.Sprintf("%q:%s", string("abcdefÄ漢🐘_"[:random.IntN(5)])+strconv.Itoa(random.IntN(30)), randomDocument(random, depth-1))
		}
		return "{" + strings.Join(members, ",") + "}"
	case 5:
		return fmt.Sprintf("%q", strings.Repeat("ab漢\n", random.IntN(60)*random.IntN(60)))
	case 6:
		return strconv.FormatInt(int64(random.Uint64())>>random.IntN(64), 10)
	case 7:
		return strconv.FormatUint(random.Uint64()>>random.IntN(64), 10)
	case 8:
		return strconv.FormatFloat(float64(random.IntN(1e9))/math.Pow10(random.IntN(30)-8), 'g', -1, 64)
	}
	for {
		if v := math.Float64frombits(random.Uint64()); !math.IsNaN(v) && !math.IsInf(v, 0) {
			return strconv.FormatFloat(v, 'g', -1, 64)
		}
	}
}

package mysql

import (
	"encoding/hex"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
)

// declared reads a declaration as docs/mysql-types.md has it.
func declared(t *testing.T, text string) sqlType {
	t.Helper()
	lower := strings.ToLower(text)
	parts := regexp.MustCompile(`^(\w+)(?:\((.*)\))?( unsigned)?$`).FindStringSubmatch(lower)
	if parts == nil {
		t.Fatalf("%q is no declaration", text)
	}
	d := columnDeclaration{dataType: parts[1], columnType: lower}
	for i, arg := range strings.Split(parts[2], ",") {
		n, _ := strconv.Atoi(arg)
		switch {
		case i == 0:
			d.length, d.precision, d.fraction = n, n, n
		default:
			d.scale = n
		}
	}
	typ, err := d.sqlType()
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return typ
}

// selected is a value as a SELECT gives it to the source.
func selected(t *testing.T, typ connect.Type, text string) any {
	t.Helper()
	if bytes, ok := strings.CutPrefix(text, "x'"); ok {
		b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSuffix(bytes, "'"), " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	switch typ.Kind {
	case connect.Int8, connect.Int16, connect.Int32, connect.Int64, connect.Uint8, connect.Uint16, connect.Uint32, connect.Year:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	case connect.Float32, connect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return []byte(text)
}

// docs/mysql-types.md says what becomes of each type, with a value of it: this is
// what the source, the records and the files make of them.
func TestTheDocumentOfTypesIsTrue(t *testing.T) {
	text, err := os.ReadFile("../../docs/mysql-types.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 || !strings.HasPrefix(strings.TrimSpace(cells[0]), "`") {
			continue
		}
		code := func(i int) string { return strings.Trim(strings.TrimSpace(cells[i]), "`") }
		for declaration := range strings.SplitSeq(code(0), "`, `") {
			st := declared(t, declaration)
			field, err := st.field("c", true)
			if err != nil {
				t.Fatalf("%s: %v", declaration, err)
			}
			column := connect.NewColumn(field.Type)
			if err := (&cell{&column}).Scan(selected(t, field.Type, code(1))); err != nil {
				t.Fatalf("%s: %s: %v", declaration, code(1), err)
			}
			schema := &connect.Schema{Name: "types", Fields: []connect.Field{field}}
			var j convert.JSON
			j.Begin(&connect.Batch{Sections: []*connect.Section{{Schema: schema, After: []connect.Column{column}, Op: []connect.Op{connect.Read}}}}, time.UnixMilli(0))
			record := string(j.Value(nil, 0, 0, connect.Read))
			record = strings.TrimSuffix(strings.TrimPrefix(record, `{"c":`), "}")
			if file := convert.ArrowType(field.Type).String(); record != code(2) || file != code(3) {
				t.Errorf("%s %s is `%s` in a record, and `%s` in files", declaration, code(1), record, file)
			}
			seen[st.name] = true
		}
	}
	for _, c := range typeCases {
		name := regexp.MustCompile(`^\w+`).FindString(c.sql)
		if !seen[name] {
			t.Errorf("the document does not have %s", name)
		}
	}
}

package arrow

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
	"github.com/splashdam/splashdam/internal/vfs"
)

// kindsSection has rows of every kind, and an update that leaves some out.
func kindsSection(rows int) *connect.Section {
	rnd := rand.New(rand.NewPCG(3, 4))
	s := &connect.Section{Topic: "kinds", Origin: &connect.Origin{Starts: []int32{0}, Counter: -1}}
	never := connect.Field{Name: "never", Type: connect.Type{Kind: connect.String}, Nullable: true}
	s.Schema = &connect.Schema{Name: "shop.app.kinds", Fields: append(everyKind(), never), Key: []int{4}}
	for i := range s.Schema.Fields {
		s.Schema.Fields[i].ID = 0
	}
	s.Schema = convert.Identify(s, nil)
	s.After, s.Before = connect.NewColumns(s.Schema.Fields), connect.NewColumns(s.Schema.Fields)
	for row := range rows {
		s.Op = append(s.Op, [...]connect.Op{connect.Create, connect.Update, connect.Delete, connect.Read}[row%4])
		s.Time = append(s.Time, 1_700_000_000_000+int64(row))
		s.Place = append(s.Place, connect.Place{Task: 1, File: 9, End: uint64(row + 1)})
		for i := range s.Schema.Fields {
			before, after := &s.Before[i], &s.After[i]
			if s.Op[row].HasBefore() && s.Schema.Fields[i].Name != never.Name {
				fill(rnd, s.Before[i:i+1], 1)
			} else {
				before.AppendNull()
			}
			switch {
			case s.Schema.Fields[i].Name == never.Name:
				after.AppendNull()
			case !s.Op[row].HasAfter():
				after.AppendNull()
			case s.Op[row] == connect.Update && i > 4 && rnd.IntN(3) == 0:
				after.AppendAbsent()
			default:
				fill(rnd, s.After[i:i+1], 1)
			}
		}
	}
	return s
}

// recordsOf is the section as a topic has it.
func recordsOf(s *connect.Section) []connect.Record {
	var j convert.JSON
	j.Begin(&connect.Batch{Sections: []*connect.Section{s}}, time.UnixMilli(1))
	var all []connect.Record
	for row := range s.Rows() {
		all = append(all, connect.Record{
			Offset: int64(row), Timestamp: s.Time[row],
			Key: j.Key(nil, 0, row, s.Op[row]), Value: j.Value(nil, 0, row, s.Op[row]),
			Headers: []connect.Header{
				{Key: connect.PlaceHeader, Value: s.Place[row].Append(nil)}, {Key: connect.SchemaHeader, Value: []byte(s.Schema.ID)},
			},
		})
	}
	return all
}

// writeSection lets a sink write a section in several files.
func writeSection(t testing.TB, fsys vfs.FS, dir string, s *connect.Section, format, compression string) {
	t.Helper()
	connector := Connector(fsys)
	c, wrong := connect.ParseConfig(connector.Settings, map[string]string{
		settingDir: dir, settingFormat: format, settingCompression: compression, settingRows: "400",
	})
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	env := connect.Environment{Connector: "lake", Schema: func(context.Context, string, string) (*connect.Schema, error) { return s.Schema, nil }}
	sink, err := connector.New(c, env)
	if err != nil {
		t.Fatal(err)
	}
	ctx, partition := context.Background(), connect.Partition{Topic: s.Topic, Partition: 2}
	if _, err := sink.Open(ctx, []connect.Partition{partition}); err != nil {
		t.Fatal(err)
	}
	if err := sink.Write(ctx, connect.Records{Partition: partition, Records: recordsOf(s), Next: int64(s.Rows())}); err != nil {
		t.Fatal(err)
	}
	if _, err := sink.Flush(ctx, true); err != nil {
		t.Fatal(err)
	}
	if err := sink.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

// Columns become a topic's records, then columns again, then files, then columns:
// nothing is another value, null or absence than it was.
func TestEveryKindComesBackFromTheFiles(t *testing.T) {
	section := kindsSection(1000)
	for format, possible := range compressions {
		for _, compression := range possible {
			t.Run(format+" "+compression, func(t *testing.T) {
				mem := vfs.NewMem()
				writeSection(t, mem, "lake", section, format, compression)
				d, err := OpenDirectory(mem, "lake/kinds")
				must(t, err)
				n := 0
				err = d.Rows(func(b *Block) error {
					if b.Partition != 2 || b.Schema.ID != section.Schema.ID || b.Schema.Fields[3].ID != section.Schema.Fields[3].ID {
						t.Fatalf("partition %d, schema %+v", b.Partition, b.Schema)
					}
					for row := range b.Len() {
						checkRow(t, section, n, b, row)
						n++
					}
					return nil
				})
				must(t, err)
				if n != section.Rows() || len(d.Files) != 3 {
					t.Errorf("%d rows in %d files", n, len(d.Files))
				}
			})
		}
	}
}

func checkRow(t *testing.T, s *connect.Section, n int, b *Block, row int) {
	t.Helper()
	if b.Op[row] != s.Op[n] || b.Offset[row] != int64(n) || b.Timestamp[row] != s.Time[n] || !b.Placed[row] || b.Place[row] != s.Place[n] {
		t.Fatalf("row %d is %c at %d, %d, %v", n, b.Op[row], b.Offset[row], b.Timestamp[row], b.Place[row])
	}
	for i, f := range s.Schema.Fields {
		c := imageOf(s, i, n)
		want, got := columnText(c, n), columnText(&b.Columns[i], row)
		if want != got || c.IsAbsent(n) != b.Columns[i].IsAbsent(row) {
			t.Fatalf("row %d: %s is %s (absent %v) instead of %s (%v)", n, f.Name, got, b.Columns[i].IsAbsent(row), want, c.IsAbsent(n))
		}
	}
}

// imageOf is the column of a row that the files have.
func imageOf(s *connect.Section, i, row int) *connect.Column {
	if s.Op[row] == connect.Delete {
		return &s.Before[i]
	}
	return &s.After[i]
}

// pyarrow, DuckDB and Polars, given a topic's directory, read what is in it, and
// Parquet's statistics are true.
func TestPythonReadsTheFiles(t *testing.T) {
	const variable = "SPLASHDAM_TEST_PYTHON_ARROW"
	python := os.Getenv(variable)
	if python == "" {
		if required := strings.Split(os.Getenv("SPLASHDAM_TEST_REQUIRE"), ","); slices.Contains(required, "all") || slices.Contains(required, "python-arrow") {
			t.Fatal("SPLASHDAM_TEST_REQUIRE asks for Python's readers, and " + variable + " names no interpreter")
		}
		t.Skip("no Python: " + variable + " names an interpreter that has pyarrow, duckdb and polars")
	}
	section := kindsSection(1000)
	for format, possible := range compressions {
		for _, compression := range possible {
			dir := filepath.Join(t.TempDir(), format+"-"+compression)
			must(t, os.Mkdir(dir, 0o700))
			writeSection(t, vfs.OS(), dir, section, format, compression)
			writeExpected(t, filepath.Join(dir, "expected.json"), section)
			command := exec.CommandContext(t.Context(), python, "testdata/readers.py", format, filepath.Join(dir, "kinds"), filepath.Join(dir, "expected.json"))
			if output, err := command.CombinedOutput(); err != nil {
				t.Errorf("%s, %s: %v\n%s", format, compression, err, output)
			}
		}
	}
}

// writeExpected writes the rows that the files should have: integers for numbers,
// times and the digits of decimals, the bits of floats, hexadecimal bytes.
func writeExpected(t *testing.T, name string, s *connect.Section) {
	t.Helper()
	f, err := os.Create(name)
	must(t, err)
	out := bufio.NewWriter(f)
	for row := range s.Rows() {
		values := map[string]any{
			"__op": string(rune(s.Op[row])), "__offset": row, "__partition": 2, "__timestamp": s.Time[row] * 1000, "__pos": s.Place[row].String(),
		}
		for i, field := range s.Schema.Fields {
			values[field.Name] = expected(imageOf(s, i, row), row)
		}
		must(t, json.NewEncoder(out).Encode(values))
	}
	must(t, out.Flush())
	must(t, f.Close())
}

func expected(c *connect.Column, row int) any {
	if c.IsNull(row) {
		return nil
	}
	switch c.Type.Kind {
	case connect.Bool:
		return c.Bool(row)
	case connect.Uint8, connect.Uint16, connect.Uint32, connect.Uint64, connect.Float32, connect.Float64:
		return c.Bits(row)
	case connect.Bytes, connect.Bits, connect.Geometry:
		return fmt.Sprintf("%x", c.Text(row))
	}
	switch c.Layout() {
	case connect.TextLayout:
		return string(c.Text(row))
	case connect.Fix16Layout:
		low, high := c.Bits128(row)
		n := new(big.Int).Lsh(big.NewInt(int64(high)), 64)
		return json.Number(n.Add(n, new(big.Int).SetUint64(low)).String())
	}
	return c.Int(row)
}

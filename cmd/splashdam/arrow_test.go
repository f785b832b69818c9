package main

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
)

// lake makes a sink's directory with the files of one topic: the orders 1 and 2,
// of which 2 was deleted again.
func lake(t *testing.T, key []int) string {
	t.Helper()
	schema := &connect.Schema{Name: "shop.app.orders", Key: key, Fields: []connect.Field{
		{Name: "id", Type: connect.Type{Kind: connect.Int64}},
		{Name: "price", Type: connect.Type{Kind: connect.Decimal, Precision: 10, Scale: 2}, Nullable: true},
		{Name: "note", Type: connect.Type{Kind: connect.String}, Nullable: true},
	}}
	schema = convert.Identify(&connect.Section{Schema: schema, Origin: &connect.Origin{}}, nil)
	dir := t.TempDir()
	connector := arrow.Connector(vfs.OS())
	c, wrong := connect.ParseConfig(connector.Settings, map[string]string{"dir": dir})
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	sink, err := connector.New(c, connect.Environment{
		Connector: "lake",
		Schema:    func(context.Context, string, string) (*connect.Schema, error) { return schema, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	records := connect.Records{Partition: connect.Partition{Topic: "orders"}, Next: 4}
	for i, value := range []string{
		`{"before":null,"after":{"id":1,"price":"MDk=","note":null},"op":"c"}`,
		`{"before":null,"after":{"id":2,"price":null,"note":"a\nb"},"op":"c"}`,
		`{"before":{"id":2,"price":null,"note":"a\nb"},"after":null,"op":"d"}`,
		`{"before":null,"after":{"id":1,"price":"AQ=="},"op":"u"}`,
	} {
		records.Records = append(records.Records, connect.Record{
			Offset: int64(i), Timestamp: 1771070400000, Value: []byte(value),
			Headers: []connect.Header{
				{Key: connect.SchemaHeader, Value: []byte(schema.ID)},
				{Key: connect.PlaceHeader, Value: fmt.Appendf(nil, "0.0.1.%d.0", i+1)},
			},
		})
	}
	ctx := t.Context()
	if _, err = sink.Open(ctx, []connect.Partition{records.Partition}); err == nil {
		err = sink.Write(ctx, records)
	}
	if err == nil {
		_, err = sink.Flush(ctx, true)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func arrowCat(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), append([]string{"arrow", "cat"}, args...), strings.NewReader(""), &out, &errs, nil)
	return out.String(), errs.String(), code
}

func TestArrowCatPrintsEveryChangeOrTheLatestRows(t *testing.T) {
	dir := filepath.Join(lake(t, []int{0}), "orders")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "json"}, `{"op":"c","partition":0,"offset":0,"timestamp":1771070400000,"pos":"0.0.1.1.0","row":{"id":1,"price":"123.45","note":null}}
{"op":"c","partition":0,"offset":1,"timestamp":1771070400000,"pos":"0.0.1.2.0","row":{"id":2,"price":null,"note":"a\nb"}}
{"op":"d","partition":0,"offset":2,"timestamp":1771070400000,"pos":"0.0.1.3.0","row":{"id":2,"price":null,"note":"a\nb"}}
{"op":"u","partition":0,"offset":3,"timestamp":1771070400000,"pos":"0.0.1.4.0","row":{"id":1,"price":"0.01"}}
`},
		{[]string{"--latest", "--json"}, `{"op":"u","partition":0,"offset":3,"timestamp":1771070400000,"pos":"0.0.1.4.0","row":{"id":1,"price":"0.01","note":null}}
`},
		{nil, `OP  PARTITION  OFFSET  id  price   note
c   0          0       1   123.45  null
c   0          1       2   null    "a\nb"
d   0          2       2   null    "a\nb"
u   0          3       1   0.01    
`},
	} {
		stdout, stderr, code := arrowCat(t, append(test.args, dir)...)
		if stdout != test.want || stderr != "" || code != exitOK {
			t.Errorf("%q: exit code %d, %s\n%s\ninstead of\n%s", test.args, code, stderr, stdout, test.want)
		}
	}
}

func TestArrowCatSaysWhereTheFilesAre(t *testing.T) {
	dir := lake(t, nil)
	for _, test := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{dir}, "perhaps:  splashdam arrow cat " + dir + "/orders", exitFailed},
		{[]string{dir + "/none"}, "does not exist", exitFailed},
		{[]string{dir + "/orders", "--latest"}, "no primary key", exitFailed},
		{[]string{dir + "/orders", "-o", "xml"}, "-o xml", exitUsage},
	} {
		stdout, stderr, code := arrowCat(t, test.args...)
		if code != test.code || !strings.Contains(stderr, test.want) || stdout != "" {
			t.Errorf("%q: exit code %d, %s%s", test.args, code, stdout, stderr)
		}
	}
}

package arrow

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v15/arrow/ipc"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
)

// Arrow's own reader finds every value where it was put.
func TestIPCFilesHoldEveryKind(t *testing.T) {
	fields := everyKind()
	for _, compression := range compressions[formatArrow] {
		rnd := rand.New(rand.NewPCG(1, 2))
		out := &outlet{buffer: new(bytes.Buffer)}
		e, err := newIPCEncoder(out, fields, map[string]string{"a": "b"}, compression)
		must(t, err)
		var chunks [][]connect.Column
		for _, rows := range []int{3000, 1, 700} {
			columns := connect.NewColumns(fields)
			fill(rnd, columns, rows)
			must(t, e.chunk(columns))
			chunks = append(chunks, columns)
		}
		must(t, e.finish())
		r, err := ipc.NewFileReader(bytes.NewReader(out.buffer.Bytes()))
		must(t, err)
		if n := r.NumRecords(); n != len(chunks) {
			t.Fatalf("%d batches", n)
		}
		for n, columns := range chunks {
			batch, err := r.Record(n)
			must(t, err)
			for i, f := range fields {
				if id, ok := batch.Schema().Field(i).Metadata.GetValue(convert.ArrowID); !ok || id != fmt.Sprint(f.ID) {
					t.Errorf("column %s has field id %q", f.Name, id)
				}
				for row := range columns[i].Rows() {
					if want, got := columnText(&columns[i], row), arrayText(batch.Column(i), row); want != got {
						t.Fatalf("%s: %s, row %d: %s instead of %s", compression, f.Name, row, got, want)
					}
				}
			}
		}
	}
}

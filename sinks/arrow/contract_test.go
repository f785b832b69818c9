package arrow

import (
	"fmt"
	"testing"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/connecttest"
	"github.com/splashdam/splashdam/internal/vfs"
)

func TestArrowKeepsTheContractOfSinks(t *testing.T) {
	for _, format := range []string{formatParquet, formatArrow} {
		t.Run(format, func(t *testing.T) {
			var disk vfs.FS
			connecttest.TestSink(t, connecttest.SinkCase{
				Reset: func(testing.TB) { disk = vfs.NewMem() },
				New: func(t testing.TB) connect.Sink {
					return newSink(t, disk, settingFormat, format, settingRows, "64", settingAge, "100")
				},
				Record: func(_ connect.Partition, offset int64) connect.Record {
					return connect.Record{
						Offset: offset, Timestamp: 1,
						Key:   fmt.Appendf(nil, `{"id":%d}`, offset),
						Value: fmt.Appendf(nil, `{"before":null,"after":{"id":%d,"state":"new"},"source":{},"op":"c","ts_ms":1}`, offset),
						Headers: []connect.Header{
							header(connect.PlaceHeader, connect.Place{End: uint64(offset) + 1}.String()),
							header(connect.SchemaHeader, orderSchemas[0].ID),
						},
					}
				},
				Written: func(t testing.TB, p connect.Partition) (offsets []int64) {
					d, err := OpenDirectory(disk, "lake/"+p.Topic)
					must(t, err)
					must(t, d.Rows(func(b *Block) error {
						if b.Partition == p.Partition {
							offsets = append(offsets, b.Offset...)
						}
						return nil
					}))
					return offsets
				},
			})
		})
	}
}

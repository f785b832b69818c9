package arrow

import (
	"fmt"
	"io"

	apache "github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
)

// ipcEncoder writes a record batch for each chunk. The batches' buffers are the
// columns' own.
type ipcEncoder struct {
	writer *ipc.FileWriter
	schema *apache.Schema
}

func newIPCEncoder(out *outlet, fields []connect.Field, meta map[string]string, compression string) (*ipcEncoder, error) {
	metadata := apache.MetadataFrom(meta)
	s := apache.NewSchema(convert.ArrowFields(fields), &metadata)
	options := []ipc.Option{ipc.WithSchema(s)}
	switch compression {
	case compressionLZ4:
		options = append(options, ipc.WithLZ4())
	case compressionZstd:
		options = append(options, ipc.WithZstd())
	}
	w, err := ipc.NewFileWriter(out, options...)
	return &ipcEncoder{w, s}, err
}

func (e *ipcEncoder) chunk(columns []connect.Column) error {
	batch, err := convert.ArrowRecord(e.schema, columns)
	if err != nil {
		return err
	}
	return e.writer.Write(batch)
}

func (e *ipcEncoder) finish() error { return e.writer.Close() }

// ipcDecoder reads what ipcEncoder wrote.
type ipcDecoder struct {
	reader *ipc.FileReader
	number int // of batch
	batch  apache.Record
}

func openIPC(content *io.SectionReader) (decoder, error) {
	r, err := ipc.NewFileReader(content)
	return &ipcDecoder{reader: r, number: -1}, err
}

func (s *ipcDecoder) metadata(key string) (string, bool) {
	return s.reader.Schema().Metadata().GetValue(key)
}

func (s *ipcDecoder) matches(fields []connect.Field) error {
	metadata := s.reader.Schema().Metadata()
	if want := apache.NewSchema(convert.ArrowFields(fields), &metadata); !want.Equal(s.reader.Schema()) {
		return fmt.Errorf("its columns are not those of its schema: %v", s.reader.Schema().Fields())
	}
	return nil
}

func (s *ipcDecoder) chunks() int { return s.reader.NumRecords() }

func (s *ipcDecoder) column(chunk, i int, into *connect.Column, absent func(row int) bool) error {
	if s.number != chunk {
		batch, err := s.reader.RecordAt(chunk)
		if err != nil {
			return err
		}
		s.batch, s.number = batch, chunk
	}
	a := s.batch.Column(i)
	buffers := a.Data().Buffers()
	for row := range a.Len() {
		switch {
		case a.IsNull(row) && absent(row):
			into.AppendAbsent()
		case a.IsNull(row):
			into.AppendNull()
		default:
			switch a := a.(type) {
			case *array.Boolean:
				into.AppendBool(a.Value(row))
			case *array.String:
				into.AppendText([]byte(a.Value(row)))
			case *array.Binary:
				into.AppendText(a.Value(row))
			case *array.Decimal128:
				into.Append16(a.Value(row).LowBits(), uint64(a.Value(row).HighBits()))
			default:
				width := into.Layout().Width()
				appendFixed(into, buffers[1].Bytes()[(a.Data().Offset()+row)*width:][:width])
			}
		}
	}
	return nil
}

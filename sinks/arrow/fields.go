package arrow

import (
	"fmt"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

// Keys under which a file has its rows' schema, as the topic of schemas has it.
const (
	schemaMetadata   = "splashdam.schema"
	schemaIDMetadata = "splashdam.schema.id"
)

// The columns that follow those of the table. Their IDs are above all that a
// schema ever gives.
var (
	opField        = metaField(1, "__op", connect.Type{Kind: connect.Enum, Values: []string{"r", "c", "u", "d", "t"}}, false)
	offsetField    = metaField(2, "__offset", connect.Type{Kind: connect.Int64}, false)
	partitionField = metaField(3, "__partition", connect.Type{Kind: connect.Int32}, false)
	timestampField = metaField(4, "__timestamp", connect.Type{Kind: connect.Timestamp, Precision: 3}, false)
	// posField is the row's Place, as the record's header has it; null where it has none.
	posField = metaField(5, "__pos", connect.Type{Kind: connect.String}, true)
	// absentField names the columns of which the row does not say the value, with
	// commas between their IDs: they are null, and that means nothing.
	absentField = metaField(6, "__absent", connect.Type{Kind: connect.String}, true)
)

const firstMetaID = 2_000_000_000

func metaField(n int, name string, t connect.Type, nullable bool) connect.Field {
	return connect.Field{Name: name, ID: firstMetaID + n, Type: t, Nullable: nullable}
}

var metaFields = []connect.Field{opField, offsetField, partitionField, timestampField, posField, absentField}

// fileFields are the columns of a file: the table's, all of which may be null,
// since a truncate has none of them, and ours.
func fileFields(s *connect.Schema) ([]connect.Field, error) {
	fields := make([]connect.Field, 0, len(s.Fields)+len(metaFields))
	for _, f := range s.Fields {
		for _, m := range metaFields {
			if strings.EqualFold(f.Name, m.Name) {
				return nil, connect.Permanent(errorOfColumn(s, f, "the files have a column of that name already"), "keep the column out of the topic")
			}
		}
		f.Nullable = true
		fields = append(fields, f)
	}
	return append(fields, metaFields...), nil
}

func errorOfColumn(s *connect.Schema, f connect.Field, what string) error {
	return fmt.Errorf("table %s, column %s: %s", s.Name, f.Name, what)
}

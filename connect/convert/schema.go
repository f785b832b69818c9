package convert

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/invariant"
)

// schemaVersion is the version of the documents that are written. A reader of
// another version does not guess.
const schemaVersion = 1

// Limits of what a document may say.
const (
	maxFields    = 10_000
	maxPrecision = 1_000
	maxBits      = 1 << 16
)

// document is the value of a record in the topic of schemas, for example
//
//	{"version":1,"name":"shop.app.orders","fields":[
//	 {"id":1,"name":"id","type":"int64"},
//	 {"id":3,"name":"price","type":"decimal","precision":10,"scale":2,"nullable":true}],
//	"key":[1],"lastId":3}
//
// without the spaces. A schema has only one document, so its hash names it.
type document struct {
	Version  int             `json:"version"`
	Name     string          `json:"name"`
	Fields   []documentField `json:"fields"`
	Key      []int           `json:"key,omitempty"` // ids
	Decimals string          `json:"decimals,omitempty"`
	Bare     bool            `json:"bare,omitempty"`
	LastID   int             `json:"lastId"`
}

type documentField struct {
	ID        int      `json:"id"`
	Name      string   `json:"name"`
	Type      string   `json:"type"`
	Precision int      `json:"precision,omitempty"`
	Scale     int      `json:"scale,omitempty"`
	Length    int      `json:"length,omitempty"`
	Values    []string `json:"values,omitempty"`
	Nullable  bool     `json:"nullable,omitempty"`
}

// EncodeSchema returns the document of a schema that Identify has made.
func EncodeSchema(s *connect.Schema) []byte {
	d := document{Version: schemaVersion, Name: s.Name, Bare: s.Bare, LastID: s.LastID}
	if s.Decimals != connect.DecimalsPrecise {
		d.Decimals = s.Decimals.String()
	}
	for _, f := range s.Fields {
		t := f.Type
		d.Fields = append(d.Fields, documentField{f.ID, f.Name, t.Kind.String(), t.Precision, t.Scale, t.Length, t.Values, f.Nullable})
	}
	for _, i := range s.Key {
		d.Key = append(d.Key, s.Fields[i].ID)
	}
	text, err := json.Marshal(d)
	invariant.That(err == nil, "a schema has no JSON: %v", err)
	return text
}

// DecodeSchema is the inverse of EncodeSchema. It refuses a document of a later
// version, and one that is not the schema with the ID.
func DecodeSchema(id string, text []byte) (*connect.Schema, error) {
	s, err := decodeSchema(text)
	if err != nil {
		return nil, fmt.Errorf("schema %s: %w", id, err)
	}
	if s.ID = schemaID(s); s.ID != id {
		return nil, fmt.Errorf("schema %s: the document is schema %s: the record was damaged, or something else wrote it", id, s.ID)
	}
	return s, nil
}

func decodeSchema(text []byte) (*connect.Schema, error) {
	var version struct{ Version int }
	if err := json.Unmarshal(text, &version); err != nil {
		return nil, fmt.Errorf("not a document: %w", err)
	}
	if version.Version != schemaVersion {
		return nil, fmt.Errorf("its document has version %d, this program knows %d: use a newer program", version.Version, schemaVersion)
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	var d document
	if err := decoder.Decode(&d); err != nil {
		return nil, fmt.Errorf("not a document: %w", err)
	}
	if len(d.Fields) > maxFields {
		return nil, fmt.Errorf("%d fields are more than allowed (%d)", len(d.Fields), maxFields)
	}
	s := &connect.Schema{Name: d.Name, Bare: d.Bare, LastID: d.LastID}
	if d.Decimals != "" {
		known := false
		if s.Decimals, known = connect.ParseDecimals(d.Decimals); !known {
			return nil, fmt.Errorf("nobody here knows decimals that are written as %q: use a newer program", d.Decimals)
		}
	}
	names, ids := map[string]bool{}, map[int]int{}
	for i, f := range d.Fields {
		if _, twice := ids[f.ID]; twice || names[f.Name] || f.ID < 1 || f.ID > d.LastID {
			return nil, fmt.Errorf("field %q: its name or its id %d is there twice, or the id is not between 1 and lastId", f.Name, f.ID)
		}
		names[f.Name], ids[f.ID] = true, i
		kind, known := connect.ParseKind(f.Type)
		if !known {
			return nil, fmt.Errorf("field %q: nobody here knows the type %q: use a newer program", f.Name, f.Type)
		}
		t := connect.Type{Kind: kind, Precision: f.Precision, Scale: f.Scale, Length: f.Length, Values: f.Values}
		if err := checkType(t); err != nil {
			return nil, fmt.Errorf("field %q: %w", f.Name, err)
		}
		s.Fields = append(s.Fields, connect.Field{Name: f.Name, ID: f.ID, Type: t, Nullable: f.Nullable})
	}
	for _, id := range d.Key {
		i, known := ids[id]
		if !known || slices.Contains(s.Key, i) {
			return nil, fmt.Errorf("the key has field %d, which is not there or is in it twice", id)
		}
		s.Key = append(s.Key, i)
	}
	return s, nil
}

// checkType is for types that come from outside.
func checkType(t connect.Type) error {
	switch t.Kind {
	case connect.Decimal:
		if t.Precision < 1 || t.Precision > maxPrecision || t.Scale < 0 || t.Scale > t.Precision {
			return fmt.Errorf("a decimal of %d digits, %d of them behind the point, is out of bounds", t.Precision, t.Scale)
		}
	case connect.Time, connect.DateTime, connect.Timestamp:
		if t.Precision < 0 || t.Precision > 6 {
			return fmt.Errorf("a second's fraction of %d digits is out of bounds (0 to 6)", t.Precision)
		}
	case connect.Bits:
		if t.Length < 1 || t.Length > maxBits {
			return fmt.Errorf("%d bits are out of bounds (1 to %d)", t.Length, maxBits)
		}
	}
	if t.Length < 0 {
		return errors.New("its length is negative")
	}
	return nil
}

// schemaID names a schema by its document.
func schemaID(s *connect.Schema) string {
	sum := sha256.Sum256(EncodeSchema(s))
	return hex.EncodeToString(sum[:8])
}

// Identify returns the schema of a section as it is registered for its topic: with
// an ID, and with ids for its fields. History is every schema that the topic had,
// oldest first.
//
// A schema that the topic had before is that one again, also if others came after
// it: a source that reads something twice changes nothing. Else a field has the id
// of the one by its name in the newest schema, and a new name gets an id that no
// field of the topic ever had.
func Identify(s *connect.Section, history []*connect.Schema) *connect.Schema {
	named := *s.Schema
	named.Bare, named.Fields, named.LastID = s.Origin == nil, slices.Clone(named.Fields), 0
	for _, known := range history {
		if known.SameRows(&named) {
			return known
		}
		named.LastID = max(named.LastID, known.LastID)
	}
	for i := range named.Fields {
		f := &named.Fields[i]
		f.ID = 0
		if len(history) > 0 {
			newest := history[len(history)-1]
			if at := newest.Index(f.Name); at >= 0 {
				f.ID = newest.Fields[at].ID
			}
		}
		if f.ID == 0 {
			named.LastID++
			f.ID = named.LastID
		}
	}
	named.ID = schemaID(&named)
	return &named
}

// SchemaKey is the key of a schema's record in the topic of schemas: the topic that
// has rows of it, and its ID.
type SchemaKey struct {
	Topic string `json:"topic"`
	ID    string `json:"id"`
}

// Encode returns the key's bytes, always the same ones.
func (k SchemaKey) Encode() []byte {
	text, err := json.Marshal(k)
	invariant.That(err == nil, "a key has no JSON: %v", err)
	return text
}

// DecodeSchemaKey is the inverse of Encode.
func DecodeSchemaKey(text []byte) (SchemaKey, error) {
	var k SchemaKey
	if err := json.Unmarshal(text, &k); err != nil {
		return k, fmt.Errorf("the key of a schema, %.80q: %w", text, err)
	}
	if k.Topic == "" || k.ID == "" {
		return k, fmt.Errorf("the key of a schema, %.80q, lacks the topic or the id", text)
	}
	return k, nil
}

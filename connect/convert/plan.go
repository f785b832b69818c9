package convert

import (
	"bytes"
	"fmt"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Plan is how to read the records with rows of one schema, made once for all of
// them. It is not changed and may be shared.
//
// It takes JSON by the letter: what encoding/json would mend (text that is not
// UTF-8, half a surrogate pair) is a fault, and so are nesting deeper than 64
// values, members of a row or of the envelope that come twice, fields that the
// schema does not have and values that do not fit a field. What it does not need
// of the envelope is skipped, but must be JSON.
type Plan struct {
	Schema *connect.Schema

	members []member
	byName  map[string]int
	prefix  []byte // that values begin with, up to the payload, if they have a schema block
	padding int    // by how much the columns' text may be longer than a record
}

// member is a field of the row.
type member struct {
	field  *connect.Field
	quoted string // its name and the colon, as they are written as a rule
	form   form
	limit  uint64 // of integers: the highest magnitude, one more for negative ones
}

// NewPlan makes the plan for records that JSON has written of sections with the
// schema, or whoever writes the same.
func NewPlan(s *connect.Schema) *Plan {
	forms := make([]form, len(s.Fields))
	for i, f := range s.Fields {
		forms[i] = formOf(f.Type, s.Decimals)
	}
	return newPlan(s, forms, nil)
}

func newPlan(s *connect.Schema, forms []form, prefix []byte) *Plan {
	p := &Plan{Schema: s, members: make([]member, len(s.Fields)), byName: make(map[string]int, len(s.Fields)), prefix: prefix}
	for i := range s.Fields {
		f := &s.Fields[i]
		p.members[i] = member{
			field: f, quoted: string(appendString(nil, []byte(f.Name))) + ":", form: forms[i], limit: limitOf(f.Type),
		}
		p.byName[f.Name] = i
		switch t := f.Type; {
		case t.Kind == connect.Decimal && t.Layout() == connect.TextLayout:
			p.padding += t.Precision + len("-0.")
		case t.Kind == connect.Bits:
			p.padding += (t.Length + 7) / 8
		}
	}
	invariant.That(len(p.byName) == len(s.Fields), "schema %s has two fields with one name", s.Name)
	return p
}

// Reads is whether a record is of the plan's schema: its header does not name
// another one, or its schema block is the one that the plan was made from, byte by
// byte. Who finds that it is not makes the plan for that record, and goes on.
func (p *Plan) Reads(r *connect.Record) bool {
	if r.Value != nil && !bytes.HasPrefix(r.Value, p.prefix) {
		return false
	}
	for i := range r.Headers {
		if h := &r.Headers[i]; h.Key == connect.SchemaHeader {
			return string(h.Value) == p.Schema.ID
		}
	}
	return true
}

// Parse appends the rows of records, and says how many records it has read: all,
// unless there is an error in the next one, the next one has another schema
// (Reads), or there is no more room. Rows of a record with an error are not there;
// Parse may be called again with those behind it.
//
// Records without a value say nothing after a Delete that came with the envelope,
// and are the Delete itself where values are the row alone.
func (p *Plan) Parse(records []connect.Record, into *Rows) (int, error) {
	into.use(p)
	for n := range records {
		r := &records[n]
		if !p.Reads(r) {
			return n, nil
		}
		length := len(r.Key) + len(r.Value) + p.padding
		if into.text+length > maxText && len(into.Op) > 0 {
			return n, nil
		}
		into.text += length
		if err := p.parseRecord(r, into); err != nil {
			into.undo()
			return n, err
		}
		into.pass(r)
	}
	return len(records), nil
}

func (p *Plan) parseRecord(r *connect.Record, into *Rows) error {
	if r.Value == nil && (!p.Schema.Bare || r.Key == nil) {
		return nil
	}
	var place connect.Place
	placed := false
	for i := range r.Headers {
		if h := &r.Headers[i]; h.Key == connect.PlaceHeader {
			var err error
			if place, err = connect.ParsePlace(h.Value); err != nil {
				return &ValueError{Offset: r.Offset, Schema: p.Schema, Part: "header", Excerpt: excerpt(h.Value), Err: err}
			}
			placed = true
		}
	}
	into.field, into.said = -1, 0
	op, part, at, f := p.parseValue(r, into)
	if f != 0 {
		return p.blame(r, into, part, at, f)
	}
	into.end(r, op, place, placed)
	return nil
}

// Parts of a record that may be to blame.
const (
	inKey   = "key"
	inValue = "value"
)

// parseValue reads a record's row into the columns. With a fault it says where.
func (p *Plan) parseValue(r *connect.Record, into *Rows) (op connect.Op, part string, at int, f fault) {
	b := r.Value
	if b == nil { // a Delete of a bare row
		at, f := p.parseKey(r.Key, into)
		return connect.Delete, inKey, at, f
	}
	var before int
	i := skipSpace(b, len(p.prefix))
	if p.Schema.Bare {
		op = connect.Create
		i, f = p.parseRow(b, i, into)
	} else {
		op, before, i, f = p.parseEnvelope(b, i, into)
	}
	if f == 0 {
		i, f = p.end(b, i)
	}
	if f != 0 {
		return op, inValue, i, f
	}
	if op == connect.Delete {
		if before < 0 {
			at, f := p.parseKey(r.Key, into)
			return op, inKey, at, f
		}
		i, f = p.parseRow(b, before, into)
	}
	return op, inValue, i, f
}

// parseEnvelope reads the row after the change into the columns, and returns where
// the one before it is, -1 without one.
func (p *Plan) parseEnvelope(b []byte, i int, into *Rows) (op connect.Op, before, next int, f fault) {
	const sawBefore, sawAfter, sawOp = 1, 2, 4
	seen, after := 0, false
	before = -1
	into.repeats.next = 0
	i, more, f := openObject(b, i)
	for more && f == 0 {
		start, twice := i, 0
		var again bool
		if i, more, again = into.repeats.skipAgain(b, i); again {
			continue
		}
		var name []byte
		if name, i, f = scanKey(b, i, into); f != 0 {
			break
		}
		switch string(name) {
		case "source":
			i, f = into.repeats.skipObject(b, i)
		case "before":
			twice = seen & sawBefore
			seen |= sawBefore
			if i < len(b) && b[i] != 'n' {
				before = i
			}
			i, f = skipValue(b, i)
		case "after":
			twice = seen & sawAfter
			seen |= sawAfter
			if i < len(b) && b[i] == 'n' {
				i, f = scanWord(b, i, "null")
			} else if twice == 0 {
				after = true
				i, f = p.parseRow(b, i, into)
			}
		case "op":
			twice = seen & sawOp
			seen |= sawOp
			if i+3 > len(b) || b[i] != '"' || b[i+2] != '"' {
				return 0, 0, i, badOp
			}
			op = connect.Op(b[i+1])
			if !op.HasBefore() && !op.HasAfter() && op != connect.Truncate {
				return 0, 0, i, badOp
			}
			i += 3
		default:
			i, more, f = into.repeats.skipMember(b, start)
			continue
		}
		switch {
		case f != 0:
		case twice != 0:
			i, f = start, memberTwice
		default:
			i, more, f = skipComma(b, i)
		}
	}
	switch {
	case f != 0:
	case seen&sawOp == 0:
		f = badOp
	case after != op.HasAfter():
		f = badImage
	}
	return op, before, i, f
}

// parseKey reads a key into the columns.
func (p *Plan) parseKey(b []byte, into *Rows) (int, fault) {
	if b == nil {
		return 0, noKey
	}
	i := skipSpace(b, 0)
	var f fault
	if p.prefix != nil {
		if _, _, i, f = scanBlock(b, i); f != 0 {
			return i, f
		}
	}
	if i, f = p.parseRow(b, i, into); f != 0 {
		return i, f
	}
	return p.end(b, i)
}

// end makes sure that nothing follows the row or the envelope but the end of what
// is around it.
func (p *Plan) end(b []byte, i int) (int, fault) {
	i = skipSpace(b, i)
	if p.prefix != nil {
		if i == len(b) {
			return i, truncated
		}
		if b[i] != '}' {
			return i, badSyntax
		}
		i = skipSpace(b, i+1)
	}
	if i < len(b) {
		return i, trailing
	}
	return i, 0
}

// parseRow reads an object with the row's fields into the columns.
func (p *Plan) parseRow(b []byte, i int, into *Rows) (int, fault) {
	row := len(into.Op)
	next := 0 // the field that is expected: the one behind the last
	i, more, f := openObject(b, i)
	for more && f == 0 {
		at, start := next, i
		if at < len(p.members) && hasPrefix(b[i:], p.members[at].quoted) {
			i = skipSpace(b, i+len(p.members[at].quoted))
		} else {
			var name []byte
			if name, i, f = scanKey(b, i, into); f != 0 {
				break
			}
			var known bool
			if at, known = p.byName[string(name)]; !known {
				return start, unknownField
			}
		}
		m, c := &p.members[at], &into.Columns[at]
		if c.Rows() > row {
			return start, memberTwice
		}
		if i, f = m.parse(b, i, c, into); f != 0 {
			into.field = at
			break
		}
		next = at + 1
		into.said++
		i, more, f = skipComma(b, i)
	}
	return i, f
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

// openObject goes to the name of the first member, or behind an empty object.
func openObject(b []byte, i int) (next int, more bool, f fault) {
	if i == len(b) {
		return i, false, truncated
	}
	if b[i] != '{' {
		return i, false, noObject
	}
	if i = skipSpace(b, i+1); i < len(b) && b[i] == '}' {
		return i + 1, false, 0
	}
	return i, true, 0
}

// scanKey reads a member's name, which is good until the next one, and goes to its
// value.
func scanKey(b []byte, i int, into *Rows) (name []byte, next int, f fault) {
	if i == len(b) {
		return nil, i, truncated
	}
	if b[i] != '"' {
		return nil, i, badSyntax
	}
	end, escaped, f := scanString(b, i+1)
	if f != 0 {
		return nil, end, f
	}
	if name = b[i+1 : end]; escaped {
		into.key = unescape(into.key[:0], name)
		name = into.key
	}
	i, f = skipColon(b, end+1)
	return name, skipSpace(b, i), f
}

// ValueError is a record that is not what its schema says.
type ValueError struct {
	Offset  int64 // the record's
	Schema  *connect.Schema
	Part    string // of the record: key, value or header
	Field   string // empty if it is not in one
	Excerpt string // the text, from the fault on
	Err     error
}

func (e *ValueError) Error() string {
	where := e.Part
	if e.Field != "" {
		where = fmt.Sprintf("%s, field %q", where, e.Field)
	}
	return fmt.Sprintf("record at offset %d with schema %s (%s): %s: %v: %q", e.Offset, e.Schema.ID, e.Schema.Name, where, e.Err, e.Excerpt)
}
func (e *ValueError) Unwrap() error { return e.Err }

// maxExcerpt bounds what an error shows of a value, in bytes.
const maxExcerpt = 60

func (p *Plan) blame(r *connect.Record, into *Rows, part string, at int, f fault) error {
	e := &ValueError{Offset: r.Offset, Schema: p.Schema, Part: part, Err: f}
	text := r.Value
	if part == inKey {
		text = r.Key
	}
	if into.field >= 0 {
		e.Field = p.members[into.field].field.Name
	}
	e.Excerpt = excerpt(text[min(at, len(text)):])
	return e
}

func excerpt(text []byte) string { return string(text[:min(len(text), maxExcerpt)]) }

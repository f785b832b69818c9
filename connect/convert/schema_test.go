package convert

import (
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
	"pgregory.net/rapid"
)

func envelopeOf(s *connect.Schema) *connect.Section {
	return &connect.Section{Schema: s, Origin: &connect.Origin{Counter: -1}}
}

func TestASchemaIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		section := envelopeOf(drawSchema(t))
		if rapid.Bool().Draw(t, "bare") {
			section.Origin = nil
		}
		s := Identify(section, nil)
		back, err := DecodeSchema(s.ID, EncodeSchema(s))
		if err != nil {
			t.Fatal(err)
		}
		if !back.SameRows(s) || back.LastID != s.LastID {
			t.Fatalf("%s was read as %s", describe(s), describe(back))
		}
		for i, f := range s.Fields {
			if back.Fields[i].ID != f.ID {
				t.Fatalf("field %q has id %d instead of %d", f.Name, back.Fields[i].ID, f.ID)
			}
		}
	})
}

const ordersDocument = `{"version":1,"name":"shop.app.orders","fields":[` +
	`{"id":1,"name":"id","type":"int64"},` +
	`{"id":2,"name":"state","type":"enum","values":["new","paid"],"nullable":true},` +
	`{"id":3,"name":"price","type":"decimal","precision":10,"scale":2}],` +
	`"key":[1],"decimals":"string","bare":true,"lastId":3}`

func ordersSchema() *connect.Schema {
	return &connect.Schema{
		Name: "shop.app.orders", Key: []int{0}, Decimals: connect.DecimalsString,
		Fields: []connect.Field{
			{Name: "id", Type: connect.Type{Kind: connect.Int64}},
			{Name: "state", Type: connect.Type{Kind: connect.Enum, Values: []string{"new", "paid"}}, Nullable: true},
			{Name: "price", Type: connect.Type{Kind: connect.Decimal, Precision: 10, Scale: 2}},
		},
	}
}

// The text is in topics, and the ID is its hash: neither may ever change.
func TestTheDocumentOfASchemaStaysTheSame(t *testing.T) {
	s := Identify(&connect.Section{Schema: ordersSchema()}, nil)
	if got := string(EncodeSchema(s)); got != ordersDocument {
		t.Errorf("wrote\n%s instead of\n%s", got, ordersDocument)
	}
	if want := "18c5afde068a254f"; s.ID != want {
		t.Errorf("the ID is %s instead of %s", s.ID, want)
	}
	if got := string(SchemaKey{"shop.app.orders", s.ID}.Encode()); got != `{"topic":"shop.app.orders","id":"`+s.ID+`"}` {
		t.Errorf("the key is %s", got)
	}
}

func TestDocumentsThatNobodyUnderstandsAreRefusedByName(t *testing.T) {
	for _, test := range []struct{ old, new, says string }{
		{`"version":1`, `"version":2`, "version 2"},
		{`"version":1,`, ``, "version 0"},
		{`"int64"`, `"int128"`, `"int128"`},
		{`"decimals":"string"`, `"decimals":"roman"`, `"roman"`},
		{`"bare":true`, `"naked":true`, `"naked"`},
		{`"id":2`, `"id":1`, "twice"},
		{`"name":"price"`, `"name":"id"`, "twice"},
		{`"lastId":3`, `"lastId":2`, "lastId"},
		{`"id":1`, `"id":0`, "between 1"},
		{`"key":[1]`, `"key":[4]`, "field 4"},
		{`"key":[1]`, `"key":[1,1]`, "field 1"},
		{`"precision":10`, `"precision":0`, "0 digits"},
		{`"precision":10`, `"precision":1001`, "1001 digits"},
		{`"scale":2`, `"scale":11`, "11 of them"},
		{`"scale":2`, `"scale":-1`, "-1 of them"},
		{`"decimal","precision":10,"scale":2`, `"bits"`, "0 bits"},
		{`"decimal","precision":10,"scale":2`, `"time","precision":7`, "7 digits"},
		{`"decimal","precision":10,"scale":2`, `"string","length":-1`, "negative"},
		{`"price"`, `"cost"`, "damaged"}, // good, but another schema
		{`}`, ``, "not a document"},
		{`"lastId":3}`, `"lastId":3}{}`, "not a document"},
	} {
		text := strings.Replace(ordersDocument, test.old, test.new, 1)
		if text == ordersDocument {
			t.Fatalf("%s is not in the document", test.old)
		}
		id := Identify(&connect.Section{Schema: ordersSchema()}, nil).ID
		_, err := DecodeSchema(id, []byte(text))
		if err == nil || !strings.Contains(err.Error(), test.says) || !strings.Contains(err.Error(), id) {
			t.Errorf("%s instead of %s: %v", test.new, test.old, err)
		}
	}
}

// A topic lives through many schemas: ids stay with names, and never come back.
func TestFieldsKeepTheirIDsAndNoOtherFieldEverGetsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var history []*connect.Schema
		used := map[int]bool{}
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			drawn := drawSchema(t)
			s := Identify(envelopeOf(drawn), history)
			if !s.SameRows(drawn) {
				t.Fatalf("%s became %s", describe(drawn), describe(s))
			}
			known := false
			for _, h := range history {
				if h.SameRows(drawn) && h != s || h == s && h.ID != s.ID {
					t.Fatalf("%s was registered twice", describe(drawn))
				}
				if h != s && h.ID == s.ID {
					t.Fatalf("%s and %s have one ID", describe(h), describe(s))
				}
				known = known || h == s
			}
			if known {
				continue
			}
			for _, f := range s.Fields {
				inherited := false
				if len(history) > 0 {
					newest := history[len(history)-1]
					if i := newest.Index(f.Name); i >= 0 {
						inherited = true
						if newest.Fields[i].ID != f.ID {
							t.Fatalf("field %q had id %d and has %d", f.Name, newest.Fields[i].ID, f.ID)
						}
					}
				}
				if used[f.ID] != inherited {
					t.Fatalf("field %q has id %d, inherited: %v, used before: %v", f.Name, f.ID, inherited, used[f.ID])
				}
				used[f.ID] = true
				if f.ID > s.LastID {
					t.Fatalf("id %d is above the last one, %d", f.ID, s.LastID)
				}
			}
			history = append(history, s)
		}
	})
}

func TestASourceThatReadsAnOldSchemaAgainChangesNothing(t *testing.T) {
	first := Identify(envelopeOf(ordersSchema()), nil)
	dropped := ordersSchema()
	dropped.Fields = dropped.Fields[:2]
	second := Identify(envelopeOf(dropped), []*connect.Schema{first})
	history := []*connect.Schema{first, second}
	if again := Identify(envelopeOf(ordersSchema()), history); again != first {
		t.Errorf("%s came back as %s", describe(first), describe(again))
	}
	added := ordersSchema()
	added.Fields[2].Name = "cost"
	if third := Identify(envelopeOf(added), history); third.Fields[2].ID != 4 || third.Fields[1].ID != 2 {
		t.Errorf("after the id 3 was dropped, a new field got %s", describe(third))
	}
}

func TestTheEnvelopeBelongsToTheSchema(t *testing.T) {
	with, without := Identify(envelopeOf(ordersSchema()), nil), Identify(&connect.Section{Schema: ordersSchema()}, nil)
	if with.Bare || !without.Bare || with.ID == without.ID {
		t.Errorf("with an envelope %s, without %s", describe(with), describe(without))
	}
}

func TestKeysOfSchemasAreReadAsTheyWereWritten(t *testing.T) {
	k := SchemaKey{"shop.app.\"orders\"", "d4c0"}
	if back, err := DecodeSchemaKey(k.Encode()); err != nil || back != k {
		t.Errorf("%v was read as %v, %v", k, back, err)
	}
	for _, text := range []string{"", "null", "{}", `{"topic":"x"}`, `{"id":"x"}`, `{"topic":1,"id":"x"}`} {
		if back, err := DecodeSchemaKey([]byte(text)); err == nil {
			t.Errorf("%s was read as %v", text, back)
		}
	}
}

func FuzzDecodeSchema(f *testing.F) {
	f.Add([]byte(ordersDocument))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := decodeSchema(text)
		if err != nil {
			return
		}
		s.ID = schemaID(s)
		back, err := DecodeSchema(s.ID, EncodeSchema(s))
		if err != nil || describe(back) != describe(s) {
			t.Errorf("%s was written, and read as %v, %v", describe(s), back, err)
		}
	})
}

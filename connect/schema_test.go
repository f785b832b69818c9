package connect

import "testing"

func TestSchemasHaveTheSameRowsOnlyIfEverythingReadsTheSame(t *testing.T) {
	orders := func(change func(s *Schema)) *Schema {
		s := &Schema{Name: "shop.orders", Key: []int{0}, Fields: []Field{
			{Name: "id", Type: Type{Kind: Int64}},
			{Name: "state", Type: Type{Kind: Enum, Values: []string{"new", "paid"}}, Nullable: true},
			{Name: "price", Type: Type{Kind: Decimal, Precision: 10, Scale: 2}},
		}}
		change(s)
		return s
	}
	same := orders(func(s *Schema) { s.ID, s.Fields[1].ID, s.LastID = "registered", 7, 9 })
	if !same.SameRows(orders(func(*Schema) {})) {
		t.Error("a registered schema differs from itself before")
	}
	for name, change := range map[string]func(s *Schema){
		"table":    func(s *Schema) { s.Name = "shop.carts" },
		"key":      func(s *Schema) { s.Key = nil },
		"decimals": func(s *Schema) { s.Decimals = DecimalsString },
		"form":     func(s *Schema) { s.Bare = true },
		"name":     func(s *Schema) { s.Fields[0].Name = "no" },
		"nullable": func(s *Schema) { s.Fields[0].Nullable = true },
		"kind":     func(s *Schema) { s.Fields[0].Type.Kind = Uint64 },
		"members":  func(s *Schema) { s.Fields[1].Type.Values = []string{"new", "paid", "sent"} },
		"scale":    func(s *Schema) { s.Fields[2].Type.Scale = 3 },
		"order":    func(s *Schema) { s.Fields[0], s.Fields[1] = s.Fields[1], s.Fields[0] },
		"fewer":    func(s *Schema) { s.Fields = s.Fields[:2] },
	} {
		if same.SameRows(orders(change)) {
			t.Errorf("another %s makes no difference", name)
		}
	}
}

func TestEveryWayToWriteDecimalsHasAName(t *testing.T) {
	for d := DecimalsPrecise; d <= DecimalsDouble; d++ {
		if back, ok := ParseDecimals(d.String()); !ok || back != d {
			t.Errorf("%d is called %q, which is read as %v", d, d.String(), back)
		}
	}
	if _, ok := ParseDecimals("exact"); ok {
		t.Error("exact is one")
	}
}

func TestPositionsFromOutsideAreTwoObjects(t *testing.T) {
	for _, p := range []Position{
		{[]byte(`{"server":"shop"}`), []byte(`{"file":"a","pos":4}`)},
		{[]byte(`{}`), nil},
	} {
		if err := p.Validate(); err != nil {
			t.Errorf("%s: %v", p.Partition, err)
		}
	}
	for _, p := range []Position{
		{nil, nil}, {[]byte(`{`), nil}, {[]byte(`[]`), nil}, {[]byte(`null`), nil},
		{[]byte(`{}`), []byte(`7`)}, {[]byte(`{}`), []byte(`{} {}`)}, {[]byte(`{"a":"` + string(make([]byte, maxPosition)) + `"}`), nil},
	} {
		if p.Validate() == nil {
			t.Errorf("%.40s with %.40s was taken", p.Partition, p.Offset)
		}
	}
}

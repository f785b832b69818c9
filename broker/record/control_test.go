package record

import "testing"

func TestAMarkerSaysHowATransactionEnds(t *testing.T) {
	key := func(kind byte) []byte { return []byte{0, 0, 0, kind} }
	for name, test := range map[string]struct {
		control    bool
		producer   int64
		key        []byte
		commit, ok bool
	}{
		"a commit":                 {true, 7, key(1), true, true},
		"an abort":                 {true, 7, key(0), false, true},
		"of a newer version":       {true, 7, append([]byte{0, 5}, key(1)[2:]...), true, true},
		"another kind":             {true, 7, key(2), false, false},
		"of nobody":                {true, -1, key(1), false, false},
		"no control batch":         {false, 7, key(1), false, false},
		"a key that is cut off":    {true, 7, key(1)[:3], false, false},
		"a record without its key": {true, 7, nil, false, false},
	} {
		b := Build(BuildOptions{ProducerID: test.producer, BaseSequence: -1, Transactional: true, Control: test.control}, []Record{{Key: test.key}})
		if m, ok := b.Marker(); m.Commit != test.commit || ok != test.ok {
			t.Errorf("%s: commit %v, %v", name, m.Commit, ok)
		}
	}
}

func TestAMarkerThatIsBuiltReadsAsItWasMeant(t *testing.T) {
	for _, want := range []Marker{{Commit: true, Coordinator: 7}, {Commit: false, Coordinator: 1<<31 - 1}} {
		b := BuildMarker(5, 3, want, 1000)
		if err := b.Validate(); err != nil {
			t.Fatal(err)
		}
		if got, ok := b.Marker(); got != want || !ok || b.ProducerID() != 5 || b.ProducerEpoch() != 3 || !b.IsTransactional() {
			t.Errorf("%+v reads as %+v, %v", want, got, ok)
		}
	}
}

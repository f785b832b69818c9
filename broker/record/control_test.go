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
		if commit, ok := b.Marker(); commit != test.commit || ok != test.ok {
			t.Errorf("%s: commit %v, %v", name, commit, ok)
		}
	}
}

package replica

import (
	"testing"

	"github.com/splashdam/splashdam/broker/record"
)

func TestCursorsOutOfOrderAreABug(t *testing.T) {
	staged := func(low record.Index, indexes ...record.Index) staging {
		s := newStaging()
		for _, i := range indexes {
			var b record.EntryBuilder
			s.put(append(record.Entry(nil), b.Finish(i, 1, 0, false)...))
		}
		s.low = low
		return s
	}
	for _, test := range []struct {
		name  string
		c     cursors
		s     staging
		sound bool
	}{
		{"all is applied", cursors{applied: 7, written: 7, last: 7}, staged(8), true},
		{"some is on its way", cursors{applied: 3, written: 5, last: 7}, staged(4, 4, 5, 6, 7), true},
		{"what the log has was forgotten", cursors{applied: 3, written: 5, last: 7}, staged(6, 6, 7), true},
		{"an installation is decided", cursors{applied: 3, written: 9, last: 9}, staged(10), true},
		{"stored beyond the log's end", cursors{applied: 3, written: 8, last: 7}, staged(4), false},
		{"applied before it was stored", cursors{applied: 6, written: 5, last: 7}, staged(7, 6, 7), false},
		{"an applied entry in memory", cursors{applied: 3, written: 5, last: 5}, staged(3, 3, 4, 5), false},
		{"forgotten before it was stored", cursors{applied: 3, written: 5, last: 7}, staged(7, 7), false},
		{"the last entry is nowhere", cursors{applied: 3, written: 5, last: 7}, staged(4, 4, 5, 6), false},
		{"the first that is not stored is nowhere", cursors{applied: 3, written: 5, last: 7}, staged(4, 4, 5, 7), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			defer func() {
				if panicked := recover(); (panicked == nil) != test.sound {
					t.Errorf("sound should be %v, and it panicked with %v", test.sound, panicked)
				}
			}()
			test.c.check(&test.s)
		})
	}
}

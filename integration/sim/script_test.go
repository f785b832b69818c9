package sim

import (
	"errors"
	"testing"
	"time"
)

// script plays one story in a world without other trouble.
type script struct{ w *World }

// missed ends a story that chance has spoiled.
type missed struct{}

// plays tells a story and returns the rule that it breaks.
func plays(t *testing.T, cfg Config, story func(*script)) *Violation {
	t.Helper()
	v := tell(t, cfg, story)
	if v == nil {
		t.Fatal("no rule was broken")
	}
	return v
}

// tell tells a story in worlds of many seeds until it goes as told. It returns the
// rule that was broken, if one was.
func tell(t *testing.T, cfg Config, story func(*script)) *Violation {
	t.Helper()
	for cfg.Seed = range uint64(100) {
		spoiled := false
		_, err := play(cfg, func(w *World) {
			defer func() {
				switch p := recover().(type) {
				case nil:
				case missed:
					spoiled = true
				default:
					panic(p)
				}
			}()
			w.net.heal()
			w.net.streams = true
			story(&script{w})
		})
		var v *Violation
		if errors.As(err, &v) {
			return v
		}
		if !spoiled {
			return nil
		}
	}
	t.Fatal("no seed tells this story")
	return nil
}

func (s *script) run(d time.Duration) { s.w.runUntil(s.w.now + d) }

// until lets things happen until something is so.
func (s *script) until(so func() bool) {
	for end := s.w.now + 20*time.Second; !so(); s.w.step() {
		if s.w.now > end {
			panic(missed{})
		}
	}
}

// connect mends the lines between these nodes and cuts all others.
func (s *script) connect(ids ...uint64) {
	in := make(map[uint64]bool)
	for _, id := range ids {
		in[id] = true
	}
	for _, a := range s.w.nodes {
		for _, b := range s.w.nodes {
			if l := (line2{a.id, b.id}); in[a.id] && in[b.id] {
				delete(s.w.net.cut, l)
			} else {
				s.w.net.cut[l] = true
			}
		}
	}
}

// elect lets a node become the leader by the votes of others, none of whom hears of
// anybody else meanwhile. Then all lines are cut, before anybody hears of it.
func (s *script) elect(id uint64, others ...uint64) {
	s.connect()
	s.run(1100 * time.Millisecond) // who followed a leader does so no more
	n := s.w.node(id)
	s.until(func() bool { return !n.m.Replica.Status().Leader })
	s.connect(append(others, id)...)
	before := n.m.Replica.Status().Term
	if err := n.m.Replica.Campaign(); err != nil {
		panic(err)
	}
	n.turn()
	s.until(func() bool {
		for _, o := range others {
			if s.w.node(o).m.Replica.Status().Leader {
				panic(missed{})
			}
		}
		st := n.m.Replica.Status()
		return st.Leader && st.Term > before
	})
	if len(others) < len(s.w.nodes)-1 {
		s.connect()
		s.run(50 * time.Millisecond) // what it has is stored
	}
}

// settle waits until all replicas have everything.
func (s *script) settle() {
	s.until(func() bool {
		for _, n := range s.w.nodes {
			if st := n.m.Replica.Status(); st.Applied == 0 || n.m.Log.Last() != s.w.nodes[0].m.Log.Last() || st.Applied != uint64(n.m.Log.Last()) {
				return false
			}
		}
		return true
	})
}

// crash takes a node's power away and gives it back.
func (s *script) crash(id uint64) {
	n := s.w.node(id)
	n.crash(false)
	s.until(func() bool { return n.m != nil })
}

package sim

import (
	"fmt"
	"time"
)

// traced is how many events a violation shows.
const traced = 400

// trace is the last events of a world, written out only when somebody asks.
type trace struct {
	ring [traced]line
	n    int
}

type line struct {
	at     time.Duration
	node   uint64
	format string
	args   []any
}

func (t *trace) add(at time.Duration, node uint64, format string, args []any) {
	t.ring[t.n%traced] = line{at, node, format, args}
	t.n++
}

func (t *trace) lines() []string {
	var out []string
	for i := max(0, t.n-traced); i < t.n; i++ {
		l := t.ring[i%traced]
		who := "world "
		if l.node > 0 {
			who = fmt.Sprintf("node %d", l.node)
		}
		out = append(out, fmt.Sprintf("%11.3fms %s  %s", float64(l.at)/float64(time.Millisecond), who, fmt.Sprintf(l.format, l.args...)))
	}
	return out
}

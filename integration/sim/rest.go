package sim

import (
	"fmt"

	"github.com/splashdam/splashdam/broker/record"
)

// state is where everybody is, for a group that does not come to rest.
func (o *oracle) state() string {
	s := fmt.Sprintf("%d committed", len(o.committed))
	for _, n := range o.w.nodes {
		if n.m == nil {
			s += fmt.Sprintf("; node %d is down", n.id)
			continue
		}
		st := n.m.Replica.Status()
		s += fmt.Sprintf("; node %d: log %d to %d, term %d, commit %d, applied %d, leader %v, leading %v, fenced %v, seal pending %v", n.id, n.m.Log.First(), n.m.Log.Last(), st.Term, st.Commit, st.Applied, st.Leader, st.Leading, n.fenced, n.m.Log.SealPending())
	}
	for _, c := range o.w.clients() {
		if !c.idle() {
			s += fmt.Sprintf("; client %d waits for %v, try %d", c.id, c.request.p, c.request.tries)
		}
	}
	return s
}

// atRest says whether all replicas have applied all that there is.
func (o *oracle) atRest() bool {
	leaders := 0
	for _, n := range o.w.nodes {
		if n.gone || n.leaving || !n.member {
			continue
		}
		if n.m == nil || n.fenced {
			return false
		}
		s := n.m.Replica.Status()
		if s.Leading {
			leaders++
		}
		if int(s.Applied) != len(o.committed) || int(n.m.Log.Last()) != len(o.committed) {
			return false
		}
	}
	for _, c := range o.w.clients() {
		if !c.idle() {
			return false
		}
	}
	return leaders == 1
}

// final looks at everything once more.
func (o *oracle) final() {
	for _, n := range o.w.nodes {
		if n.gone || n.leaving || !n.member {
			continue
		}
		o.checkSum(n, record.Index(len(o.committed)))
		o.checkFiles(n)
		o.checkAllReads(n)
	}
	o.checkOnce()
}

package group

import "container/heap"

// schedule orders groups by when they want to be looked at. A group's wake is a
// lower bound: a heartbeat moves a deadline away and leaves wake alone, and
// looking too early costs one pass over the members.
type schedule []*group

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].wake < s[j].wake }
func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place, s[j].place = i, j
}
func (s *schedule) Push(x any) {
	g := x.(*group)
	g.place = len(*s)
	*s = append(*s, g)
}
func (s *schedule) Pop() any {
	old := *s
	g := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	g.place = -1
	return g
}

// by makes sure that the group is looked at when at has come.
func (s *schedule) by(g *group, at int64) {
	if at >= g.wake {
		return
	}
	g.wake = at
	if g.place < 0 {
		heap.Push(s, g)
	} else {
		heap.Fix(s, g.place)
	}
}

// drop takes a group out.
func (s *schedule) drop(g *group) {
	if g.place >= 0 {
		heap.Remove(s, g.place)
	}
	g.wake = never
}

// due takes out a group whose time has come, or returns nil.
func (s *schedule) due(now int64) *group {
	if len(*s) == 0 || (*s)[0].wake > now {
		return nil
	}
	g := (*s)[0]
	s.drop(g)
	return g
}

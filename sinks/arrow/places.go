package arrow

import (
	"cmp"
	"slices"

	"github.com/splashdam/splashdam/connect"
)

// places are the highest Place of each task, ascending by task.
type places []connect.Place

func (p places) find(task uint32) (int, bool) {
	return slices.BinarySearchFunc(p, task, func(at connect.Place, task uint32) int { return cmp.Compare(at.Task, task) })
}

// above is whether a row from there has not come before.
func (p places) above(place connect.Place) bool {
	i, known := p.find(place.Task)
	return !known || place.Compare(p[i]) > 0
}

func (p *places) raise(place connect.Place) {
	i, known := p.find(place.Task)
	if !known {
		*p = slices.Insert(*p, i, connect.Place{Task: place.Task})
	}
	(*p)[i] = place
}

func (p places) knows(task uint32) bool {
	_, known := p.find(task)
	return known
}

package broker

import (
	"sync"

	"github.com/splashdam/splashdam/broker/record"
)

// watchers are the long polls of a shard: who wants to know when a partition has
// more to read. A partition that nobody waits for costs nothing.
type watchers struct {
	mu          sync.Mutex
	byPartition map[record.PartitionID]map[chan<- struct{}]struct{}
}

// add registers wake for the partitions until the returned function is called.
func (w *watchers) add(ps []record.PartitionID, wake chan<- struct{}) (remove func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.byPartition == nil {
		w.byPartition = make(map[record.PartitionID]map[chan<- struct{}]struct{})
	}
	for _, p := range ps {
		set := w.byPartition[p]
		if set == nil {
			set = make(map[chan<- struct{}]struct{}, 1)
			w.byPartition[p] = set
		}
		set[wake] = struct{}{}
	}
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, p := range ps {
			delete(w.byPartition[p], wake)
			if len(w.byPartition[p]) == 0 {
				delete(w.byPartition, p)
			}
		}
	}
}

// wake tells those who wait for a partition. Their channels have room for one, and
// one is enough.
func (w *watchers) wake(ps []record.PartitionID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.byPartition) == 0 {
		return
	}
	for _, p := range ps {
		for c := range w.byPartition[p] {
			signal(c)
		}
	}
}

// wakeAll tells everybody: the lead has changed.
func (w *watchers) wakeAll() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, set := range w.byPartition {
		for c := range set {
			signal(c)
		}
	}
}

func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

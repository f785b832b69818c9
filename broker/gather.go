package broker

import (
	"sync"

	"github.com/splashdam/splashdam/broker/record"
)

const (
	// entryTarget is the size at which an entry is full, in bytes. An item larger
	// than that makes an entry of its own.
	entryTarget = 1 << 20
	// maxQueuedBytes bounds what waits for one shard. Who brings more waits, and
	// with it the connection that brought it.
	maxQueuedBytes = 64 << 20
	// itemOverhead is counted for every item, so that small ones are bounded too.
	itemOverhead = 512
)

// An item is one thing that wants to become part of the shard's log: a batch, a
// command, the decision of a half message.
type item interface {
	// size is how many bytes it will add, about.
	size() int
	// decide runs in the shard's loop, while leading. It checks the item against
	// the applied state and what is in flight, reserves what it decides as part of
	// entry e, and adds its parts.
	decide(l *leading, e *pending) (verdict, error)
	// early reports that the answer is due when the leader has written the entry
	// (acks=1), not when it is committed.
	early() bool
	// refusable reports that this is a client's batch, which is refused while the
	// disk is full, where a command waits for room.
	refusable() bool
	// end is called exactly once, in the loop: with nil when the item is done as
	// decided, else with why not.
	end(err error)
}

// verdict is what became of an item that was decided without an error.
type verdict struct {
	// added says that the item is part of the entry and ends with it. If not, it
	// was answered by what is already there: it ends now, or with the entry inFlight.
	added    bool
	inFlight record.Index
	// aside says that the item waits elsewhere, and will come again or be ended there.
	aside bool
}

// pending is the entry that is being gathered.
type pending struct {
	*record.EntryBuilder
	at     record.Index
	now    int64
	before record.Index // the newest entry in flight, 0 if there is none
}

// newest is the entry with which all is applied that has been decided so far, 0 if
// it is already.
func (e *pending) newest() record.Index {
	if e.Parts() > 0 {
		return e.at
	}
	return e.before
}

func (e *pending) addCommand(p record.PartitionID, c record.Command) {
	e.Add(record.KindCommand, p, c)
}

// queue holds the items that wait for the loop.
type queue struct {
	mu     sync.Mutex
	room   sync.Cond
	items  []item
	bytes  int
	refuse error // why nothing is taken now; nil while the shard leads
}

// newQueue returns a queue that refuses everything until it is opened.
func newQueue(why error) *queue {
	q := &queue{refuse: why}
	q.room.L = &q.mu
	return q
}

// open takes items from now on.
func (q *queue) open() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refuse = nil
}

// push queues an item, waiting while the queue is full. It fails while the queue is
// closed; the item is then not ended.
func (q *queue) push(it item) error {
	n := it.size() + itemOverhead
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.refuse == nil && q.bytes > 0 && q.bytes+n > maxQueuedBytes {
		q.room.Wait()
	}
	if q.refuse != nil {
		return q.refuse
	}
	q.items = append(q.items, it)
	q.bytes += n
	return nil
}

// pushNow is push for the loop itself, which must not wait for what it alone can
// take: it goes beyond the limit by what a coordinator decides at once.
func (q *queue) pushNow(it item) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuse != nil {
		return q.refuse
	}
	q.items = append(q.items, it)
	q.bytes += it.size() + itemOverhead
	return nil
}

// pushFront puts items that were taken before all that waits, which came later. It is for
// the loop, and goes beyond the limit by what it gives back. It fails while the queue is
// closed; the items are then not ended.
func (q *queue) pushFront(items []item) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuse != nil {
		return q.refuse
	}
	q.items = append(items, q.items...)
	for _, it := range items {
		q.bytes += it.size() + itemOverhead
	}
	return nil
}

// small is how many bytes the items that wait will add to an entry, about, if they are
// small: 0 if there are large ones, which fill an entry as they are. Memory that is
// reserved is cleared, which costs as much as moving a large one.
func (q *queue) small() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for i, it := range q.items {
		if it.size() > entryTarget/4 {
			return 0
		}
		if i > 0 && n+it.size() > entryTarget {
			break
		}
		n += it.size()
	}
	return n
}

// take removes the first item, if fits says that it may be taken now.
func (q *queue) take(fits func(size int) bool) (item, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.items) == 0 {
		return nil, false
	}
	it := q.items[0]
	if !fits(it.size()) {
		return nil, false
	}
	q.items[0] = nil
	q.items = q.items[1:]
	q.bytes -= it.size() + itemOverhead
	q.room.Broadcast()
	return it, true
}

// flush removes all items. Together with close before it, nothing is left behind.
func (q *queue) flush() []item {
	q.mu.Lock()
	defer q.mu.Unlock()
	items := q.items
	q.items, q.bytes = nil, 0
	q.room.Broadcast()
	return items
}

// close refuses everything until the queue is opened again.
func (q *queue) close(why error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.refuse = why
	q.room.Broadcast()
}

// proposal is an entry in flight and whom it will answer.
type proposal struct {
	at    record.Index
	items []item
}

// Next gathers everything that waits into one entry of up to about entryTarget.
func (s *Shard) Next(b *record.EntryBuilder, at record.Index) (int64, bool) {
	e := &pending{EntryBuilder: b, at: at, now: s.clock.now()}
	if n := len(s.inFlight); n > 0 {
		e.before = s.inFlight[n-1].at
	}
	if s.unseen >= unseenLimit {
		s.checkSpace()
	}
	low := s.status.Load().low
	b.Reserve(s.queue.small())
	var items []item
	for {
		it, ok := s.queue.take(func(size int) bool {
			return b.Parts() == 0 || b.Size()+size <= entryTarget
		})
		if !ok {
			break
		}
		if low && it.refusable() {
			it.end(errNoSpace)
			continue
		}
		parts, size := b.Parts(), b.Size()
		v, err := it.decide(s.leading, e)
		switch {
		case err != nil:
			b.Truncate(parts, size)
			it.end(err)
		case v.aside:
		case v.added:
			items = append(items, it)
		case v.inFlight == 0:
			it.end(nil)
		case v.inFlight == at:
			items = append(items, it)
		default:
			s.attach(v.inFlight, it)
		}
	}
	if b.Parts() == 0 && !s.rollDue && !s.entryDue {
		return 0, false
	}
	if s.rollDue {
		b.Roll()
	}
	s.rollDue, s.entryDue = false, false
	s.unseen += b.Size()
	s.gathered = items
	return e.now, true
}

// Proposed notes the entry that Next gathered as in flight, or undoes it.
func (s *Shard) Proposed(at record.Index, dropped bool) {
	items := s.gathered
	s.gathered = nil
	if dropped {
		s.leading.dropped(at)
		for _, it := range items {
			it.end(s.notLeader())
		}
		return
	}
	s.inFlight = append(s.inFlight, proposal{at, items})
}

// attach lets an item end with an entry that is already in flight: it is a retry
// of something in there.
func (s *Shard) attach(at record.Index, it item) {
	for i := range s.inFlight {
		if s.inFlight[i].at == at {
			s.inFlight[i].items = append(s.inFlight[i].items, it)
			return
		}
	}
	it.end(nil) // applied meanwhile
}

// Written answers those who wait for the leader's own write.
func (s *Shard) Written(i record.Index) {
	for k := range s.inFlight {
		p := &s.inFlight[k]
		if p.at > i {
			return
		}
		kept := p.items[:0]
		for _, it := range p.items {
			if it.early() {
				it.end(nil)
			} else {
				kept = append(kept, it)
			}
		}
		p.items = kept
	}
}

// answer ends the items of the entry that was just applied.
func (s *Shard) answer(i record.Index) {
	for len(s.inFlight) > 0 && s.inFlight[0].at <= i {
		for _, it := range s.inFlight[0].items {
			it.end(nil)
		}
		s.inFlight[0] = proposal{}
		s.inFlight = s.inFlight[1:]
	}
}

// abandon ends what waits and is chosen, with an error that leaves open whether it
// happened: what is in flight may still be applied, and nobody will be told.
func (s *Shard) abandon(err error, chosen func(item) bool) {
	for i := range s.inFlight {
		s.inFlight[i].items = endChosen(s.inFlight[i].items, err, chosen)
	}
	s.verifying.abandon(err, chosen)
	for _, it := range endChosen(s.queue.flush(), err, chosen) {
		if err := s.queue.pushNow(it); err != nil {
			it.end(err)
		}
	}
}

func everything(item) bool { return true }

// endChosen ends the chosen items and returns the others.
func endChosen(items []item, err error, chosen func(item) bool) []item {
	kept := items[:0]
	for _, it := range items {
		if chosen(it) {
			it.end(err)
		} else {
			kept = append(kept, it)
		}
	}
	return kept
}

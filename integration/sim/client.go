package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/splashdam/splashdam/broker/record"
)

// client produces batches, one at a time, and remembers what it was told.
type client struct {
	w          *World
	id         int
	acks       int16
	producer   int64 // -1 where it is not idempotent
	sequence   map[record.PartitionID]int32
	sent       int
	at         int // whom it asks, a place in World.nodes
	request    *request
	stop       bool
	partitions *partitions
}

// request is what a client waits for.
type request struct {
	p     record.PartitionID
	batch record.Batch
	tries int
	// ask asks a node; done is called at most once by it. Of an admin.
	ask     func(n *node, done func(error)) error
	done    func()
	repeats bool // it may be asked again without harm
}

// partitions are those of the group, as its clients know them.
type partitions struct {
	open []record.PartitionID
	next record.PartitionID
}

const requestTimeout = 2 * time.Second

func (w *World) startClients() {
	all := &partitions{next: 1}
	w.admin = &client{w: w, producer: -1, partitions: all}
	for i := range 4 {
		c := &client{w: w, id: i + 1, producer: int64(1000 + i), acks: -1, sequence: make(map[record.PartitionID]int32), partitions: all}
		switch i {
		case 2:
			c.producer = -1
		case 3:
			c.producer, c.acks = -1, 1
		}
		w.people = append(w.people, c)
		w.after(w.between(0, 100*time.Millisecond), c.produce)
	}
	w.after(time.Millisecond, w.admin.administer)
}

func (c *client) idle() bool { return c.request == nil }

// produce sends the next batch.
func (c *client) produce() {
	w := c.w
	if c.stop {
		return
	}
	if c.request != nil || len(c.partitions.open) == 0 {
		w.after(20*time.Millisecond, c.produce)
		return
	}
	p := c.partitions.open[w.rnd.IntN(len(c.partitions.open))]
	o := record.BuildOptions{ProducerID: c.producer, ProducerEpoch: -1, BaseSequence: -1, BaseTimestamp: epoch.Add(w.now).UnixMilli()}
	if c.producer >= 0 {
		o.ProducerEpoch, o.BaseSequence = 0, c.sequence[p]
	}
	n := 1 + w.rnd.IntN(3)
	records := make([]record.Record, n)
	size := 20 << w.rnd.IntN(5)
	for i := range records {
		c.sent++
		records[i].Value = fmt.Appendf(make([]byte, 0, size), "client %d record %d ", c.id, c.sent)[:size]
	}
	batch := record.Build(o, records)
	r := &request{p: p, batch: batch, repeats: c.producer >= 0}
	if c.producer >= 0 {
		r.done = func() { c.sequence[p] += int32(n) }
	}
	c.request = r
	c.ask(r)
	w.after(w.between(5*time.Millisecond, 60*time.Millisecond), c.produce)
}

// ask sends the request to a node, and again after a while.
func (c *client) ask(r *request) {
	w := c.w
	r.tries++
	try := r.tries
	n := w.nodes[c.at%len(w.nodes)]
	w.after(w.between(100*time.Microsecond, 2*time.Millisecond), func() {
		if n.m == nil || c.request != r {
			c.again(r, try, 50*time.Millisecond)
			return
		}
		var err error
		if r.ask != nil {
			err = r.ask(n, func(err error) { c.answered(r, try, -1, err) })
		} else {
			batch := slices.Clone(r.batch) // the broker writes into it
			err = n.m.Produce(r.p, batch, c.acks, func(offset int64, err error) { c.answered(r, try, offset, err) })
		}
		if err != nil {
			c.again(r, try, 20*time.Millisecond)
			return
		}
		n.turn()
	})
	w.after(requestTimeout, func() {
		if c.request == r && r.tries == try {
			c.unknown(r, try)
		}
	})
}

// again asks the next node in a while. The try before did not reach the log.
func (c *client) again(r *request, try int, d time.Duration) {
	if c.request != r || r.tries != try {
		return
	}
	if r.ask == nil && !slices.Contains(c.partitions.open, r.p) {
		c.request = nil // the partition was closed
		return
	}
	c.at++
	r.tries++ // the timeout of this one is void
	c.w.after(d, func() {
		if c.request == r {
			c.ask(r)
		}
	})
}

// unknown is a request of which nobody knows what became: it is repeated where that
// does no harm.
func (c *client) unknown(r *request, try int) {
	if r.repeats {
		c.again(r, try, 20*time.Millisecond)
		return
	}
	if c.request == r {
		c.request = nil
	}
}

func (c *client) answered(r *request, try int, offset int64, err error) {
	if err == nil && r.ask == nil && c.acks == -1 {
		c.w.oracle.acked(r.p, offset, r.batch.CRC())
	}
	if c.request != r {
		return
	}
	if err != nil {
		if r.tries == try {
			c.unknown(r, try)
		}
		return
	}
	c.request = nil
	if r.done != nil {
		r.done()
	}
}

// maxPartitions is how many are open at a time.
const maxPartitions = 6

// administer opens and closes partitions and moves log starts.
func (c *client) administer() {
	w, all := c.w, c.partitions
	if c.stop {
		return
	}
	if c.request != nil {
		w.after(20*time.Millisecond, c.administer)
		return
	}
	pause := w.between(500*time.Millisecond, 4*time.Second)
	switch {
	case len(all.open) < 3:
		c.open()
		pause = 10 * time.Millisecond
	case w.chance(3) && len(all.open) < maxPartitions:
		c.open()
	case w.chance(3):
		c.close()
	default:
		c.moveLogStart()
	}
	w.after(pause, c.administer)
}

func (c *client) send(r *request) {
	r.repeats = true
	c.request = r
	c.ask(r)
}

func (c *client) open() {
	p := c.partitions.next
	c.partitions.next++
	c.send(&request{
		ask:  func(n *node, done func(error)) error { return n.m.OpenPartition(p, done) },
		done: func() { c.partitions.open = append(c.partitions.open, p) },
	})
}

func (c *client) close() {
	i := c.w.rnd.IntN(len(c.partitions.open))
	p := c.partitions.open[i]
	c.partitions.open = slices.Delete(c.partitions.open, i, i+1)
	c.w.oracle.closed[p] = true
	c.send(&request{ask: func(n *node, done func(error)) error { return n.m.ClosePartition(p, done) }})
}

func (c *client) moveLogStart() {
	p := c.partitions.open[c.w.rnd.IntN(len(c.partitions.open))]
	high := c.w.oracle.high[p]
	to := c.w.rnd.Int64N(high + 1)
	c.send(&request{ask: func(n *node, done func(error)) error { return n.m.MoveLogStart(p, to, done) }})
}

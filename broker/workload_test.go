package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/txn"
)

// fate is what a client knows of something that it asked for.
type fate int

const (
	unasked fate = iota
	unknown      // there was no answer, or an error: it may have happened
	done
)

// sentBatch is a batch that was sent, or a half message whose commit was.
type sentBatch struct {
	values   []string
	sequence int32
	fate     fate
	offset   int64 // once done
}

type topicPartition struct {
	topic     string
	partition int32
}

// committedOffset is an offset that was committed.
type committedOffset struct {
	offset int64
	fate   fate
}

// ledger is all that a client asked for, and what it was told.
type ledger struct {
	created, deleted map[string]fate
	batches          map[topicPartition][]sentBatch
	commits          map[topicPartition][]committedOffset
	// Of half messages by id: whether they were prepared, and how they ended.
	prepared, committed, rolledBack map[string]fate
}

func newLedger() *ledger {
	return &ledger{
		created: make(map[string]fate), deleted: make(map[string]fate),
		batches: make(map[topicPartition][]sentBatch), commits: make(map[topicPartition][]committedOffset),
		prepared: make(map[string]fate), committed: make(map[string]fate), rolledBack: make(map[string]fate),
	}
}

// The topics of the workload, and its group.
const (
	orders  = "orders" // two partitions
	halves  = "halves" // one, of half messages
	doomed  = "doomed" // one, deleted in the end
	readers = "readers"
)

// workload is a client that does a bit of everything, and keeps the ledger.
type workload struct {
	*ledger
	n        *node
	ask      asker
	producer int64
	// failed is what went wrong, and the reason for what is unknown.
	failed []error
}

// tries is how often a client tries what fails.
const tries = 3

// try asks until it is done, and notes what is known of it then.
func (w *workload) try(what string, ask func(ctx context.Context) error) fate {
	for i := range tries {
		err := ask(context.Background())
		if err == nil {
			return done
		}
		w.failed = append(w.failed, fmt.Errorf("%s: %w", what, err))
		if i < tries-1 {
			time.Sleep(time.Second)
		}
	}
	return unknown
}

func (w *workload) create(topic string, partitions int32, configs ...string) {
	w.created[topic] = w.try("creating "+topic, func(ctx context.Context) error {
		err := w.ask.createTopic(ctx, topic, partitions, configs...)
		if errors.Is(err, kerr.TopicAlreadyExists) {
			return nil // by the request before, to which there was no answer
		}
		return err
	})
}

func (w *workload) delete(topic string) {
	w.deleted[topic] = w.try("deleting "+topic, func(ctx context.Context) error {
		err := w.ask.deleteTopic(ctx, topic)
		if errors.Is(err, kerr.UnknownTopicOrPartition) && w.created[topic] == done {
			return nil
		}
		return err
	})
}

func (w *workload) takeProducerID() {
	w.try("taking a producer id", func(ctx context.Context) (err error) {
		w.producer, err = w.ask.producerID(ctx)
		return err
	})
}

// produce sends the next batch to a partition, unless it is not known what became
// of the last one: so do idempotent producers.
func (w *workload) produce(topic string, partition int32) {
	if w.producer < 0 {
		return
	}
	at := topicPartition{topic, partition}
	sent := w.batches[at]
	var sequence int32
	for _, b := range sent {
		if b.fate != done {
			return
		}
		sequence += int32(len(b.values))
	}
	b := sentBatch{sequence: sequence}
	for i := range int32(2) {
		b.values = append(b.values, fmt.Sprintf("%s:%d record %d", topic, partition, sequence+i))
	}
	w.batches[at] = append(sent, w.send(at, b))
}

func (w *workload) send(at topicPartition, b sentBatch) sentBatch {
	b.fate = w.try(fmt.Sprintf("producing %q", b.values[0]), func(ctx context.Context) (err error) {
		b.offset, err = w.ask.produce(ctx, at.topic, at.partition, batch(w.producer, b.sequence, b.values...))
		return err
	})
	return b
}

func (w *workload) commit(topic string, partition int32, offset int64) {
	at := topicPartition{topic, partition}
	f := w.try(fmt.Sprintf("committing %s:%d as %d", topic, partition, offset), func(ctx context.Context) error {
		return w.ask.commit(ctx, readers, topic, partition, offset)
	})
	w.commits[at] = append(w.commits[at], committedOffset{offset, f})
}

func (w *workload) prepare(id string) {
	w.prepared[id] = w.try("preparing "+id, func(ctx context.Context) error {
		_, err := w.ask.produce(ctx, halves, 0, half(id, "prepare", "service", "half "+id))
		return err
	})
}

// commitHalf and rollBack decide what is known to be held, once or again.
func (w *workload) commitHalf(id string) {
	if w.prepared[id] != done {
		return
	}
	at := topicPartition{halves, 0}
	i := slices.IndexFunc(w.batches[at], func(b sentBatch) bool { return b.values[0] == "half "+id })
	if i < 0 {
		i = len(w.batches[at])
		w.batches[at] = append(w.batches[at], sentBatch{values: []string{"half " + id}})
	}
	b := &w.batches[at][i]
	b.fate = w.try("committing "+id, func(ctx context.Context) (err error) {
		b.offset, err = w.ask.produce(ctx, halves, 0, half(id, "commit", "", ""))
		return err
	})
	w.committed[id] = b.fate
	// One that was not committed the first time comes behind what was since.
	for _, later := range w.batches[at][i+1:] {
		if b.fate == done && later.fate == done && later.offset < b.offset {
			w.batches[at] = append(slices.Delete(slices.Clone(w.batches[at]), i, i+1), *b)
			return
		}
	}
}

func (w *workload) rollBack(id string) {
	if w.prepared[id] != done {
		return
	}
	w.rolledBack[id] = w.try("rolling back "+id, func(ctx context.Context) error {
		_, err := w.ask.produce(ctx, halves, 0, half(id, "rollback", "", ""))
		return err
	})
}

// do is the workload. It goes on whatever fails.
func (w *workload) do() {
	w.create(orders, 2)
	w.create(doomed, 1)
	w.create(halves, 1, "message.type", "transaction")
	w.takeProducerID()
	w.produce(orders, 0)
	w.produce(orders, 1)
	w.produce(doomed, 0)
	w.try("finding the coordinator", func(ctx context.Context) error { return w.ask.awaitCoordinator(ctx, readers) })
	w.commit(orders, 0, 1)
	w.commit(doomed, 0, 1)
	w.prepare("bought")
	w.produce(orders, 0)
	w.commitHalf("bought")
	w.n.snapshot()
	w.prepare("regretted")
	w.rollBack("regretted")
	w.prepare("forgotten")
	w.produce(orders, 1)
	w.commit(orders, 0, 3)
	w.n.snapshot()
	w.delete(doomed)
	w.produce(orders, 0)
	w.prepare("late")
	w.commitHalf("late")
	synctest.Wait() // for what is done in the background: seals, snapshots
}

// unknowns is an error if anything of the workload is not known to be done.
func (l *ledger) unknowns() error {
	var errs []error
	note := func(what string, f fate) {
		if f == unknown {
			errs = append(errs, fmt.Errorf("%s is not done", what))
		}
	}
	for _, all := range []map[string]fate{l.created, l.deleted, l.prepared, l.committed, l.rolledBack} {
		for what, f := range all {
			note(what, f)
		}
	}
	for at, sent := range l.batches {
		for _, b := range sent {
			note(fmt.Sprintf("%v %q", at, b.values), b.fate)
		}
	}
	for at, commits := range l.commits {
		for _, c := range commits {
			note(fmt.Sprintf("offset %d of %v", c.offset, at), c.fate)
		}
	}
	return errors.Join(errs...)
}

// snapshot makes the next entry of each shard the one at which a snapshot is due.
func (n *node) snapshot() {
	for _, s := range n.allShards() {
		// A loop that has ended takes no snapshots.
		_ = s.host.Do(context.Background(), func() { s.since.bytes = snapshotMinimum })
	}
}

func (n *node) allShards() []*Shard {
	all := []*Shard{n.meta}
	for _, s := range n.shards {
		all = append(all, s)
	}
	return all
}

// check compares what a node holds with the ledger.
func (l *ledger) check(ask asker) error {
	ctx := context.Background()
	topics, err := ask.topics(ctx)
	if err != nil {
		return fmt.Errorf("listing topics: %w", err)
	}
	for topic, f := range l.created {
		if _, there := topics[topic]; !there && f == done && l.deleted[topic] == unasked {
			return fmt.Errorf("topic %s was created and is not there", topic)
		}
	}
	for topic, partitions := range topics {
		switch {
		case topic == txn.CheckTopic("service"):
			continue
		case l.created[topic] == unasked:
			return fmt.Errorf("topic %s is there and was never created", topic)
		case l.deleted[topic] == done:
			return fmt.Errorf("topic %s was deleted and is there", topic)
		}
		for p := range int32(partitions) {
			if err := l.checkBatches(ask, topicPartition{topic, p}); err != nil {
				return err
			}
		}
	}
	return l.checkCommits(ask, topics)
}

// checkRead demands that what was acknowledged can be read, whatever happened to the
// node since.
func (l *ledger) checkRead(ask asker) error {
	for at, sent := range l.batches {
		acknowledged := slices.ContainsFunc(sent, func(b sentBatch) bool { return b.fate == done })
		if !acknowledged || l.deleted[at.topic] != unasked {
			continue
		}
		if err := l.checkBatches(ask, at); err != nil {
			return err
		}
	}
	return nil
}

// checkBatches demands that a partition has what was acknowledged, in order, once
// and where it was said to be, and perhaps what is unknown, whole, in its place.
func (l *ledger) checkBatches(ask asker, at topicPartition) error {
	got, err := ask.read(context.Background(), at.topic, at.partition)
	if err != nil {
		return fmt.Errorf("reading %s:%d: %w", at.topic, at.partition, err)
	}
	next := 0
	for _, b := range l.batches[at] {
		there := len(got) >= next+len(b.values) && slices.Equal(got[next:next+len(b.values)], b.values)
		if b.fate == done && (!there || b.offset != int64(next)) {
			return fmt.Errorf("%s:%d: %q was acknowledged at offset %d; the partition has %q", at.topic, at.partition, b.values, b.offset, got)
		}
		if there {
			next += len(b.values)
		}
	}
	if next != len(got) {
		return fmt.Errorf("%s:%d: %q at offset %d was never sent, or is in the wrong place; the partition has %q", at.topic, at.partition, got[next], next, got)
	}
	return nil
}

// checkCommits demands the last offset that was acknowledged, or one behind it whose
// fate is unknown.
func (l *ledger) checkCommits(ask asker, topics map[string]int) error {
	for at, commits := range l.commits {
		if len(commits) == 0 {
			continue
		}
		allowed := []int64{-1}
		for _, c := range commits {
			if c.fate == done {
				allowed = allowed[:0]
			}
			allowed = append(allowed, c.offset)
		}
		if _, there := topics[at.topic]; !there {
			allowed = []int64{-1}
		}
		if err := ask.awaitCoordinator(context.Background(), readers); err != nil {
			return err
		}
		got, err := ask.committed(context.Background(), readers, at.topic, at.partition)
		if err != nil {
			return fmt.Errorf("fetching the offset of %s:%d: %w", at.topic, at.partition, err)
		}
		if !slices.Contains(allowed, got) {
			return fmt.Errorf("%s:%d: offset %d is committed, of %v any would be right", at.topic, at.partition, got, allowed)
		}
	}
	return nil
}

// goOn goes on with the workload on a node that was started again: what is unknown
// is asked for again, as a client does that had no answer, and must now be done.
func (w *workload) goOn() error {
	w.failed = nil
	if w.producer < 0 {
		w.takeProducerID()
	}
	if w.created[orders] != done {
		w.create(orders, 2)
	}
	if w.created[halves] != done {
		w.create(halves, 1, "message.type", "transaction")
	}
	if w.created[doomed] != done {
		w.create(doomed, 1)
	}
	if w.deleted[doomed] != done {
		w.delete(doomed)
	}
	for p := range int32(2) {
		if err := w.repeat(topicPartition{orders, p}); err != nil {
			return err
		}
		w.produce(orders, p)
	}
	for id, f := range w.prepared {
		if f == unknown {
			w.prepare(id)
		}
		if w.rolledBack[id] == unasked && w.committed[id] != done {
			w.commitHalf(id)
		}
	}
	for id, f := range w.rolledBack {
		if f == unknown {
			w.rollBack(id)
		}
		_, err := w.ask.produce(context.Background(), halves, 0, half(id, "commit", "", ""))
		if w.rolledBack[id] == done && err == nil {
			return fmt.Errorf("half message %s was rolled back and is committed", id)
		}
	}
	w.try("finding the coordinator", func(ctx context.Context) error { return w.ask.awaitCoordinator(ctx, readers) })
	if w.created[orders] == done {
		w.commit(orders, 0, 2)
	}
	id := fmt.Sprintf("number %d", len(w.prepared))
	w.prepare(id)
	w.commitHalf(id)
	return errors.Join(w.failed...)
}

// repeat sends the last batch to a partition again. If it was acknowledged, this is a
// retry that came too late: the same offset, and no double.
func (w *workload) repeat(at topicPartition) error {
	sent := w.batches[at]
	if len(sent) == 0 {
		return nil
	}
	last := &sent[len(sent)-1]
	again := w.send(at, *last)
	if last.fate != done {
		*last = again
	}
	if again.fate == done && again.offset != last.offset {
		return fmt.Errorf("%s:%d: %q was acknowledged at offset %d, and again at %d", at.topic, at.partition, last.values, last.offset, again.offset)
	}
	return nil
}

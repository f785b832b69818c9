package arrow

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
)

// fullDiskWait is how long a sink that found the disk full waits for room.
const fullDiskWait = 10 * time.Second

// Sink is a connect.Sink that writes files.
type Sink struct {
	fs          vfs.FS
	env         connect.Environment
	writer      string // differs from run to run
	dir         string
	format      string
	compression string
	limits      limits

	partitions map[partitionName]*partition
	plans      plans
	buffer     bytes.Buffer // what encoders write, on its way to a file
	values     parquetValues
	// failed is what left the sink in doubt of what is on the disk. All later calls
	// return it; the next sink finds out.
	failed error
}

// partitionName is a partition without its id.
type partitionName struct {
	topic  string
	number int32
}

func nameOf(p connect.Partition) partitionName { return partitionName{p.Topic, p.Partition} }

// Open is connect.Sink.Open.
func (s *Sink) Open(ctx context.Context, assigned []connect.Partition) ([]int64, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	starts := make([]int64, len(assigned))
	for i, id := range assigned {
		invariant.That(s.partitions[nameOf(id)] == nil, "partition %d of topic %s is opened twice", id.Partition, id.Topic)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := checkTopic(id.Topic); err != nil {
			return nil, connect.Permanent(err, "take it out of the sink's topics")
		}
		o := owner{connector: s.env.Connector, writer: s.writer, partition: id, format: s.format}
		m, err := openManifest(s.fs, s.dir, o, timeText(time.Now()))
		if err != nil {
			return nil, s.fail(err)
		}
		s.partitions[nameOf(id)] = newPartition(id, m)
		starts[i] = m.last.Next
		if m.last.Next == nothingDurable {
			// Not where the group is: an empty directory gets all that there is.
			starts[i] = connect.FirstOffset
		}
	}
	return starts, nil
}

// Write is connect.Sink.Write.
func (s *Sink) Write(ctx context.Context, r connect.Records) error {
	if s.failed != nil {
		return s.failed
	}
	p := s.partitions[nameOf(r.Partition)]
	invariant.That(p != nil, "records of partition %d of topic %s, which is not open", r.Partition.Partition, r.Partition.Topic)
	first := r.Next
	if len(r.Records) > 0 {
		first = r.Records[0].Offset
	}
	now := time.Now()
	if err := p.arrive(first, now); err != nil {
		return err
	}
	for rest := r.Records; len(rest) > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := s.take(ctx, p, rest, now)
		if n > 0 {
			p.next = rest[n-1].Offset + 1
			rest = rest[n:]
		}
		if err == nil {
			err = s.store(p, now)
		}
		if err != nil {
			return err
		}
	}
	p.next = r.Next
	return nil
}

// take reads some of the records, from the first on, into the partition's rows, and
// says how many.
func (s *Sink) take(ctx context.Context, p *partition, records []connect.Record, now time.Time) (int, error) {
	n, known, err := p.split(records)
	if err != nil || known {
		return n, err
	}
	switch i := slices.IndexFunc(records[:n], namesNoSchema); {
	case i == 0:
		return 0, p.blame(&records[0], errNoSchema)
	case i > 0:
		n = i
	}
	if p.plan == nil || !p.plan.Reads(&records[0]) {
		plan, err := s.planFor(ctx, p.id.Topic, &records[0])
		if err != nil {
			return 0, err
		}
		if p.fileRows() > 0 {
			if err := p.roll(s, now); err != nil {
				return 0, s.fail(err)
			}
		}
		p.plan = plan
	}
	room := min(s.limits.rows-p.fileRows(), maxChunkRows-int64(p.rows.Len()), maxParsed)
	n, err = p.plan.Parse(records[:min(int64(n), room)], &p.rows)
	p.raise()
	if err != nil {
		return n, p.blame(&records[n], err)
	}
	if n == 0 { // rows have a limit of their own
		if err := p.writeChunk(s); err != nil {
			return 0, s.fail(err)
		}
	}
	return n, nil
}

// store writes the partition's rows if they are enough for that.
func (s *Sink) store(p *partition, now time.Time) error {
	rows, size := int64(p.rows.Len()), sizeOf(&p.rows)
	if rows >= maxChunkRows || size >= s.limits.chunkBytes(len(s.partitions)) {
		if err := p.writeChunk(s); err != nil {
			return s.fail(err)
		}
	}
	var written int64
	if p.file != nil {
		written = p.file.bytes()
	}
	if s.limits.full(p.fileRows(), written) {
		if err := p.roll(s, now); err != nil {
			return s.fail(err)
		}
	}
	return nil
}

// Flush is connect.Sink.Flush.
func (s *Sink) Flush(ctx context.Context, all bool) ([]connect.Offset, error) {
	if s.failed != nil {
		return nil, s.failed
	}
	now := time.Now()
	var durable []connect.Offset
	for _, p := range s.inOrder() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if p.next > p.base && (all || s.limits.due(p.since, now)) {
			if err := p.roll(s, now); err != nil {
				return nil, s.fail(err)
			}
		}
		if p.base > p.told {
			durable = append(durable, connect.Offset{Partition: p.id, Next: p.base})
		}
	}
	for _, o := range durable {
		s.partitions[nameOf(o.Partition)].told = o.Next
	}
	return durable, nil
}

// Revoke is connect.Sink.Revoke.
func (s *Sink) Revoke(_ context.Context, lost []connect.Partition) error {
	var failed error
	for _, id := range lost {
		if p := s.partitions[nameOf(id)]; p != nil {
			failed = errors.Join(failed, p.discard())
			delete(s.partitions, nameOf(id))
		}
	}
	return failed
}

// Close is connect.Sink.Close.
func (s *Sink) Close(ctx context.Context) error {
	var all []connect.Partition
	for _, p := range s.inOrder() {
		all = append(all, p.id)
	}
	return s.Revoke(ctx, all)
}

func (s *Sink) inOrder() []*partition {
	return slices.SortedFunc(maps.Values(s.partitions), func(a, b *partition) int {
		return cmp.Or(cmp.Compare(a.id.Topic, b.id.Topic), cmp.Compare(a.id.Partition, b.id.Partition))
	})
}

// fail keeps the error for all later calls.
func (s *Sink) fail(err error) error {
	if errors.Is(err, vfs.ErrNoSpace) {
		err = &connect.RetryAfterError{
			Err:  fmt.Errorf("%w; make room on the disk of %s, and the sink goes on where it is durable", err, s.dir),
			Wait: fullDiskWait,
		}
	}
	s.failed = err
	return err
}

package arrow

import (
	"fmt"
	"path"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
)

// partition is one that the sink owns: what came of it and is not durable yet.
//
//	durable         written, pending       as columns          taken
//	──────────────┬──────────────────────┬───────────────────┬─────▶
//	manifest.last │ file                 │ rows              │ next
type partition struct {
	id       connect.Partition
	manifest *manifest
	next     int64     // offset behind the last record taken; nothingDurable before there was one
	base     int64     // up to where all is durable
	since    time.Time // when the first record came that is not durable
	told     int64     // what Flush said last
	highest  places    // of the rows taken
	raised   int       // how many of rows are in it
	scratch  places

	plan *filePlan // of the file
	rows convert.Rows
	file *dataFile // nil before its first chunk
}

func newPartition(id connect.Partition, m *manifest) *partition {
	return &partition{
		id: id, manifest: m,
		next: m.last.Next, base: m.last.Next, told: m.last.Next,
		highest: append(places{}, m.last.Places...),
	}
}

// fileRows counts those of the file, written or not.
func (p *partition) fileRows() int64 {
	n := int64(p.rows.Len())
	if p.file != nil {
		n += p.file.rows
	}
	return n
}

// arrive notes that records come, the first one at an offset.
func (p *partition) arrive(offset int64, now time.Time) error {
	if p.next == nothingDurable {
		p.next, p.base, p.told = offset, offset, offset
	}
	if offset < p.next {
		return connect.Permanent(
			fmt.Errorf("partition %d of topic %s begins again at offset %d, and what is before %d is in the files already",
				p.id.Partition, p.id.Topic, offset, p.next),
			"if the topic was emptied or made anew, move its files away or give the sink another dir")
	}
	if p.next == p.base {
		p.since = now
	}
	return nil
}

// split returns how many of the records, from the first on, are alike in that they
// came before, or did not, and which of both. An error is the first one's.
func (p *partition) split(records []connect.Record) (n int, known bool, err error) {
	p.scratch = append(p.scratch[:0], p.highest...)
	for n = range records {
		r := &records[n]
		came := false
		if header, ok := headerOf(r, connect.PlaceHeader); ok {
			place, err := connect.ParsePlace(header)
			if err == nil && len(p.scratch) == maxTasks && !p.scratch.knows(place.Task) {
				err = fmt.Errorf("header %s names task %d besides %d others: that is more than a source has", connect.PlaceHeader, place.Task, maxTasks)
			}
			if err != nil && n > 0 {
				return n, known, nil
			}
			if err != nil {
				return 0, false, p.blame(r, err)
			}
			came = !p.scratch.above(place)
			if !came {
				p.scratch.raise(place)
			}
		}
		if n > 0 && came != known {
			return n, known, nil
		}
		known = came
	}
	return len(records), known, nil
}

// raise notes the places of the rows that were read.
func (p *partition) raise() {
	for ; p.raised < p.rows.Len(); p.raised++ {
		if p.rows.Placed[p.raised] {
			p.highest.raise(p.rows.Place[p.raised])
		}
	}
}

func (p *partition) blame(r *connect.Record, err error) error {
	return &connect.RecordError{Topic: p.id.Topic, Partition: p.id.Partition, Offset: r.Offset, Err: err}
}

func headerOf(r *connect.Record, key string) ([]byte, bool) {
	for i := range r.Headers {
		if r.Headers[i].Key == key {
			return r.Headers[i].Value, true
		}
	}
	return nil, false
}

// writeChunk moves the rows that wait into the file.
func (p *partition) writeChunk(s *Sink) error {
	columns := p.plan.columnsOf(&p.rows, p.id.Partition)
	if p.file == nil {
		f, err := createDataFile(s.fs, p.manifest.pendingName(), &s.buffer)
		if err != nil {
			return err
		}
		p.file = f
		if f.encoder, err = s.newEncoder(&f.out, p.plan, columns); err != nil {
			return fmt.Errorf("encoding %s: %w", f.name, err)
		}
	}
	if err := p.file.chunk(columns); err != nil {
		return err
	}
	p.rows.Reset()
	p.raised = 0
	return nil
}

// roll makes everything that was taken durable.
func (p *partition) roll(s *Sink, now time.Time) error {
	if p.rows.Len() > 0 {
		if err := p.writeChunk(s); err != nil {
			return err
		}
	}
	e := p.manifest.last
	e.Writer, e.Time = s.writer, timeText(now)
	e.Base, e.Next, e.Places = p.base, p.next, append(places{}, p.highest...)
	e.Schema, e.File, e.Pending, e.Rows, e.Bytes = "", "", "", 0, 0
	if f := p.file; f != nil {
		if err := f.finish(); err != nil {
			return err
		}
		p.file = nil // the manifest's from here on, whatever happens
		name := fileName{span{p.base, p.next}, f.checksum, s.format}
		e.Schema, e.File, e.Pending, e.Rows, e.Bytes = p.plan.Schema.ID, name.String(), path.Base(f.name), f.rows, f.bytes()
	}
	if err := p.manifest.commit(e); err != nil {
		return err
	}
	p.base, p.since = p.next, now
	return nil
}

// discard drops what is not durable.
func (p *partition) discard() error {
	f := p.file
	p.file = nil
	if f == nil {
		return nil
	}
	return f.discard()
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

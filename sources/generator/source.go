package generator

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"golang.org/x/time/rate"

	"github.com/splashdam/splashdam/connect"
)

// Connector is the generator as pipelines name it.
var Connector = connect.SourceConnector{
	Name: "generator",
	Settings: []connect.Setting{
		{Name: "topic.prefix", Required: true, Doc: "what topics' names begin with: rows go to prefix.dataset"},
		{Name: "dataset", Default: "orders", OneOf: []string{"orders", "vehicles"}, Doc: "which rows to make"},
		{Name: "rows", Form: connect.Number, Default: "0", Max: 1 << 50, Doc: "how many rows there are; 0 never ends"},
		{Name: "rows.per.second", Form: connect.Number, Default: "0", Max: 100_000_000, Doc: "how fast; 0 is as fast as they are taken"},
		{Name: "seed", Form: connect.Number, Default: "1", Max: 1 << 62, Doc: "another seed makes other rows"},
	},
	New: func(c connect.Config, env connect.Environment) (connect.Source, error) {
		prefix := c.Text("topic.prefix")
		data, err := datasetNamed(c.Text("dataset"), prefix)
		if err != nil {
			return nil, err
		}
		s := &source{
			data: data, task: uint32(env.Task), seed: uint64(c.Number("seed")), rows: uint64(c.Number("rows")),
			partition: partition{Generator: data.schema.Name}, free: make(chan *connect.Batch, batches),
		}
		for range batches {
			s.free <- newBatch(data.schema)
		}
		if perSecond := c.Number("rows.per.second"); perSecond > 0 {
			s.pace = rate.NewLimiter(rate.Limit(perSecond), batchRows)
		}
		return s, nil
	},
}

const (
	batchRows = 1000
	// batches bounds what is made ahead of its acknowledgement.
	batches = 32
)

type source struct {
	data      dataset
	task      uint32
	seed      uint64
	rows      uint64 // 0: without end
	partition partition
	pace      *rate.Limiter // nil: none

	next uint64              // row
	free chan *connect.Batch // acknowledged, to be filled again
}

type partition struct {
	Generator string `json:"generator"`
}

type offset struct {
	Row  uint64 `json:"row"` // the first that is not stored
	Seed uint64 `json:"seed"`
}

func newBatch(schema *connect.Schema) *connect.Batch {
	return &connect.Batch{Sections: []*connect.Section{{
		Topic: schema.Name, Schema: schema, After: connect.NewColumns(schema.Fields),
	}}}
}

func (s *source) Connect(_ context.Context, positions []connect.Position) error {
	s.next = 0
	for _, p := range positions {
		var from partition
		if err := json.Unmarshal(p.Partition, &from); err != nil || from != s.partition {
			continue // of another dataset, under the same connector's name
		}
		var at offset
		if err := json.Unmarshal(p.Offset, &at); err != nil {
			return fmt.Errorf("reading the position %s: %w", p.Offset, err)
		}
		if at.Seed != s.seed {
			return connect.Permanent(
				fmt.Errorf("row %d of seed %d was the last one stored, and the seed is %d now", at.Row, at.Seed, s.seed),
				"set seed back, or give the pipeline another name")
		}
		s.next = at.Row
	}
	return nil
}

func (s *source) Read(ctx context.Context) (*connect.Batch, func(error), error) {
	n := uint64(batchRows)
	if s.rows > 0 {
		n = min(n, s.rows-min(s.rows, s.next))
	}
	if n == 0 {
		return s.waitForTheLast(ctx)
	}
	if s.pace != nil {
		// A tenth of a second at a time, so that a slow pace is an even one.
		n = min(n, max(1, uint64(s.pace.Limit())/10))
		if err := s.pace.WaitN(ctx, int(n)); err != nil {
			return nil, nil, err
		}
	}
	var b *connect.Batch
	select {
	case b = <-s.free:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	s.fill(b, n)
	position, err := connect.NewPosition(s.partition, offset{s.next, s.seed})
	if err != nil {
		return nil, nil, err
	}
	b.Marks = append(b.Marks[:0], connect.Mark{Row: int(n), Positions: []connect.Position{position}})
	return b, func(error) { s.free <- b }, nil
}

// waitForTheLast makes sure that an end is not told before everything is stored:
// a task that has ended is not begun again.
func (s *source) waitForTheLast(ctx context.Context) (*connect.Batch, func(error), error) {
	for range batches {
		select {
		case <-s.free:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
	return nil, nil, connect.ErrEndOfInput
}

func (s *source) fill(b *connect.Batch, n uint64) {
	section := b.Sections[0]
	for i := range section.After {
		section.After[i].Reset()
	}
	section.Op, section.Time, section.Place = section.Op[:0], section.Time[:0], section.Place[:0]
	var random rand.PCG
	r := rand.New(&random)
	for range n {
		random.Seed(s.seed, s.next)
		s.data.append(section.After, s.next, r)
		section.Op = append(section.Op, connect.Create)
		section.Time = append(section.Time, time.Now().UnixMilli())
		section.Place = append(section.Place, connect.Place{Task: s.task, End: s.next + 1})
		s.next++
	}
}

func (s *source) Close(context.Context) error { return nil }

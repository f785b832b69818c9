package connecttest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// brokenVariable tells a test process what the toys do wrong.
const brokenVariable = "CONNECTTEST_BROKEN"

func broken(how string) bool { return os.Getenv(brokenVariable) == how }

func init() {
	if os.Getenv(brokenVariable) != "" {
		patience = 2 * time.Second
	}
}

func TestTheSuitePassesOnCorrectToys(t *testing.T) {
	t.Run("Source", suiteOnToySource)
	t.Run("Sink", suiteOnToySink)
}

// Each broken toy fails, in a process of its own, in the test that is there for it.
func TestTheSuiteFailsOnBrokenToys(t *testing.T) {
	if os.Getenv(brokenVariable) != "" {
		t.Skip("this is the process with the broken toy")
	}
	for _, c := range []struct{ how, failing string }{
		{"skips a row", "EveryRowComesOnceAndInOrder"},
		{"doubles a row", "EveryRowComesOnceAndInOrder"},
		{"goes on too late", "ARestartAtAnyMarkLosesNothing"},
		{"forgets what was refused", "WhatWasRefusedComesAgain"},
		{"uses memory again at once", "ABatchIsLeftAloneUntilItsAck"},
		{"never waits for acks", "WithoutAcksItStopsReading"},
		{"ends without acks", "WithoutAcksItStopsReading"},
		{"does not start over", "AClosedSourceConnectsAgain"},
		{"loses a record", "EveryRecordTakesEffectOnceAndInOrder"},
		{"says durable too early", "ADurableOffsetIsDurable"},
		{"starts too late", "ARestartWithoutAFlushLosesNothing"},
		{"writes what came before", "RecordsThatComeAgainTakeEffectOnce"},
		{"never flushes when idle", "AnIdleSinkFlushes"},
		{"keeps what was revoked", "ARevokedPartitionGoesOnElsewhere"},
	} {
		t.Run(c.how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run", "^TestTheSuitePassesOnCorrectToys$/^(Source|Sink)$/^"+c.failing+"$", "-test.v")
			cmd.Env = append(os.Environ(), brokenVariable+"="+c.how)
			var out bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &out
			err := cmd.Run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || !strings.Contains(out.String(), "/"+c.failing) || !strings.Contains(out.String(), "--- FAIL") {
				t.Errorf("the suite found nothing wrong: %v\n%s", err, out.String())
			}
		})
	}
}

// ---- a source of numbers ----

const (
	toyRows  = 60
	toyBatch = 5
	toyAhead = 4
)

var toySchema = &connect.Schema{Name: "toy.numbers", Key: []int{0}, Fields: []connect.Field{{Name: "n", Type: connect.Type{Kind: connect.Int64}}}}

type toySource struct {
	next    uint64
	refused bool
	free    chan *connect.Batch
}

func suiteOnToySource(t *testing.T) {
	TestSource(t, SourceCase{Rows: toyRows, New: func(testing.TB) connect.Source {
		s := &toySource{free: make(chan *connect.Batch, 2*toyAhead)}
		for range toyAhead {
			s.free <- newToyBatch()
		}
		return s
	}})
}

func newToyBatch() *connect.Batch {
	return &connect.Batch{Sections: []*connect.Section{{
		Topic: "toy.numbers", Schema: toySchema, After: connect.NewColumns(toySchema.Fields),
	}}}
}

type toyOffset struct {
	Next uint64 `json:"next"`
}

func (s *toySource) Connect(_ context.Context, positions []connect.Position) error {
	if broken("does not start over") && s.next > 0 {
		s.next = toyRows
		return nil
	}
	if !broken("forgets what was refused") || !s.refused {
		s.next = 0
	}
	for _, p := range positions {
		n := slices.Index([]byte(p.Offset), ':')
		var at uint64
		for _, c := range p.Offset[n+1 : len(p.Offset)-1] {
			at = at*10 + uint64(c-'0')
		}
		s.next = at
	}
	if broken("goes on too late") && s.next > 0 {
		s.next++
	}
	return nil
}

func (s *toySource) Read(ctx context.Context) (*connect.Batch, func(error), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if s.next >= toyRows && !broken("never waits for acks") {
		if !broken("ends without acks") {
			for range toyAhead {
				select {
				case <-s.free:
				case <-ctx.Done():
					return nil, nil, ctx.Err()
				}
			}
		}
		return nil, nil, connect.ErrEndOfInput
	}
	if broken("never waits for acks") || broken("ends without acks") {
		s.free <- newToyBatch()
	}
	var b *connect.Batch
	select {
	case b = <-s.free:
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
	section := b.Sections[0]
	section.After[0].Reset()
	section.Op, section.Time, section.Place = section.Op[:0], section.Time[:0], section.Place[:0]
	for range toyBatch {
		n := s.next
		s.next++
		if broken("skips a row") && n == 17 {
			continue
		}
		if broken("doubles a row") && n == 17 {
			n = 16
		}
		section.After[0].Append8(n)
		section.Op = append(section.Op, connect.Create)
		section.Time = append(section.Time, 0)
		section.Place = append(section.Place, connect.Place{End: n + 1})
	}
	p, err := connect.NewPosition(struct{}{}, toyOffset{s.next})
	if err != nil {
		return nil, nil, err
	}
	b.Marks = []connect.Mark{{Row: section.Rows(), Positions: []connect.Position{p}}}
	if broken("uses memory again at once") {
		s.free <- b
		return b, func(error) {}, nil
	}
	if broken("never waits for acks") || broken("ends without acks") {
		return b, func(error) {}, nil
	}
	return b, func(err error) { s.refused = err != nil; s.free <- b }, nil
}

func (s *toySource) Close(context.Context) error { return nil }

// ---- a sink that keeps offsets in a slice ----

type toySystem struct{ written map[connect.Partition][]int64 }

type toySink struct {
	system *toySystem
	open   map[connect.Partition][]int64 // what is not flushed
	flush  int
}

func suiteOnToySink(t *testing.T) {
	system := &toySystem{}
	TestSink(t, SinkCase{
		Reset:  func(testing.TB) { system.written = map[connect.Partition][]int64{} },
		New:    func(testing.TB) connect.Sink { return &toySink{system: system, open: map[connect.Partition][]int64{}} },
		Record: func(_ connect.Partition, offset int64) connect.Record { return connect.Record{Offset: offset} },
		Written: func(_ testing.TB, p connect.Partition) []int64 {
			return system.written[p]
		},
	})
}

func (s *toySink) Open(_ context.Context, assigned []connect.Partition) ([]int64, error) {
	starts := make([]int64, len(assigned))
	for i, p := range assigned {
		s.open[p] = nil
		starts[i] = int64(len(s.system.written[p]))
		if broken("starts too late") && starts[i] > 0 {
			starts[i]++
		}
	}
	return starts, nil
}

func (s *toySink) Write(_ context.Context, r connect.Records) error {
	for _, record := range r.Records {
		next := int64(len(s.system.written[r.Partition]) + len(s.open[r.Partition]))
		if record.Offset < next && !broken("writes what came before") {
			continue
		}
		if broken("loses a record") && record.Offset == 17 {
			record.Offset++
		}
		s.open[r.Partition] = append(s.open[r.Partition], record.Offset)
	}
	return nil
}

func (s *toySink) Flush(_ context.Context, all bool) ([]connect.Offset, error) {
	s.flush++
	if !all && (s.flush%3 != 0 || broken("never flushes when idle")) {
		return nil, nil
	}
	var durable []connect.Offset
	for p, offsets := range s.open {
		if len(offsets) == 0 {
			continue
		}
		next := offsets[len(offsets)-1] + 1
		durable = append(durable, connect.Offset{Partition: p, Next: next})
		if !broken("says durable too early") {
			s.system.written[p] = append(s.system.written[p], offsets...)
			s.open[p] = nil
		}
	}
	return durable, nil
}

func (s *toySink) Revoke(_ context.Context, lost []connect.Partition) error {
	for _, p := range lost {
		if broken("keeps what was revoked") {
			s.system.written[p] = append(s.system.written[p], s.open[p]...)
			s.system.written[p] = append(s.system.written[p], -1)
		}
		delete(s.open, p)
	}
	return nil
}

func (s *toySink) Close(context.Context) error { return nil }

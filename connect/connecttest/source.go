package connecttest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// patience bounds every wait of the suite. Only its own tests have less.
var patience = 20 * time.Second

// maxUnacknowledged is more batches than a source may hand out without an ack.
const maxUnacknowledged = 10_000

// SourceCase is a source that comes to an end, with at least a few marks before.
type SourceCase struct {
	// New makes the source, as a new process would.
	New func(t testing.TB) connect.Source
	// Idle is whether the source goes on waiting behind its last row, as one that
	// follows a log does, instead of returning ErrEndOfInput.
	Idle bool
	// Rows is how many rows there are, by Place; an idle source is read so far.
	Rows int
}

// TestSource runs the suite.
func TestSource(t *testing.T, c SourceCase) {
	t.Run("EveryRowComesOnceAndInOrder", c.straight)
	t.Run("ARestartAtAnyMarkLosesNothing", c.restart)
	t.Run("WhatWasRefusedComesAgain", c.refuse)
	t.Run("ABatchIsLeftAloneUntilItsAck", c.keep)
	t.Run("WithoutAcksItStopsReading", c.pressure)
	t.Run("ReadReturnsWhenItsContextEnds", c.interrupt)
	t.Run("AClosedSourceConnectsAgain", c.reconnect)
}

// reader reads a source and remembers what a runtime would store.
type reader struct {
	t         testing.TB
	source    connect.Source
	positions map[string]connect.Position
	rows      map[connect.Place]string
	order     []connect.Place
	marks     int
}

func (c SourceCase) open(t testing.TB, positions map[string]connect.Position) *reader {
	t.Helper()
	r := &reader{t: t, source: c.New(t), positions: positions, rows: map[connect.Place]string{}}
	if r.positions == nil {
		r.positions = map[string]connect.Position{}
	}
	r.connect()
	t.Cleanup(r.close)
	return r
}

func (r *reader) connect() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var stored []connect.Position
	for _, p := range r.positions {
		stored = append(stored, p)
	}
	if err := r.source.Connect(ctx, stored); err != nil {
		r.t.Fatalf("connecting: %v", err)
	}
}

func (r *reader) close() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := r.source.Close(ctx); err != nil {
		r.t.Errorf("closing: %v", err)
	}
}

// read returns the next batch, or false at the end.
func (r *reader) read() (*connect.Batch, func(error), bool) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	b, ack, err := r.source.Read(ctx)
	if errors.Is(err, connect.ErrEndOfInput) {
		return nil, nil, false
	}
	if err != nil {
		r.t.Fatalf("reading: %v", err)
	}
	if err := wellFormed(b); err != nil {
		r.t.Fatalf("a batch is not well formed: %v", err)
	}
	return b, ack, true
}

// take reads until the source ends, has given all rows, or stop says so after a
// mark, and stores and acknowledges as a runtime does.
func (r *reader) take(c SourceCase, stop func(marks int) bool) {
	r.t.Helper()
	for len(r.rows) < c.Rows || !c.Idle {
		b, ack, more := r.read()
		if !more {
			return
		}
		row, marks := 0, b.Marks
		stopped := false
		eachRow(b, func(s *connect.Section, i int) {
			for len(marks) > 0 && marks[0].Row == row && !stopped {
				stopped = r.mark(marks[0], stop)
				marks = marks[1:]
			}
			row++
			if !stopped {
				r.add(s, i)
			}
		})
		for _, m := range marks {
			stopped = stopped || r.mark(m, stop)
		}
		if stopped {
			ack(errors.New("the suite stops here"))
			return
		}
		ack(nil)
	}
}

func (r *reader) mark(m connect.Mark, stop func(marks int) bool) bool {
	for _, p := range m.Positions {
		if err := p.Validate(); err != nil {
			r.t.Fatalf("a mark's position: %v", err)
		}
		if p.Offset == nil {
			delete(r.positions, string(p.Partition))
		} else {
			r.positions[string(p.Partition)] = p
		}
	}
	r.marks++
	return stop != nil && stop(r.marks)
}

func (r *reader) add(s *connect.Section, i int) {
	at := s.Place[i]
	text := describeRow(s, i)
	if before, ok := r.rows[at]; ok {
		r.t.Errorf("place %v came twice in one session: %s and %s", at, before, text)
	}
	r.rows[at] = text
	r.order = append(r.order, at)
}

func (c SourceCase) straight(t *testing.T) {
	r := c.open(t, nil)
	r.take(c, nil)
	if len(r.rows) != c.Rows {
		t.Errorf("%d rows came, and there are %d", len(r.rows), c.Rows)
	}
	if r.marks < 2 {
		t.Errorf("the case has %d marks, too few to restart at", r.marks)
	}
	if !slices.IsSortedFunc(r.order, connect.Place.Compare) {
		t.Error("places did not come in ascending order")
	}
}

// restart stops at a mark, as a crash after storing it would, and goes on in a new
// source: what came before the mark and what comes after are everything.
func (c SourceCase) restart(t *testing.T) {
	whole := c.open(t, nil)
	whole.take(c, nil)
	step := max(1, whole.marks/20)
	for n := 1; n < whole.marks; n += step {
		first := c.open(t, nil)
		first.take(c, func(marks int) bool { return marks == n })
		left := c
		second := c.open(t, first.positions)
		left.Rows = c.Rows - len(first.rows)
		second.take(left, nil)
		compare(t, fmt.Sprintf("restarted at mark %d", n), whole.rows, first.rows, second.rows)
	}
}

// refuse has a batch fail in the middle: the next session brings it again.
func (c SourceCase) refuse(t *testing.T) {
	whole := c.open(t, nil)
	whole.take(c, nil)
	r := c.open(t, nil)
	_, ack, more := r.read()
	if !more {
		t.Fatal("there is no batch")
	}
	ack(errors.New("the topic does not want it"))
	r.close()
	r.connect()
	r.take(c, nil)
	compare(t, "refused once", whole.rows, r.rows, nil)
}

// keep reads on without acknowledging, and finds the first batch unchanged.
func (c SourceCase) keep(t *testing.T) {
	r := c.open(t, nil)
	first, firstAck, more := r.read()
	if !more {
		t.Fatal("there is no batch")
	}
	before := describeBatch(first)
	acks := []func(error){firstAck}
	for range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		_, ack, err := r.source.Read(ctx)
		cancel()
		if err != nil {
			break
		}
		acks = append(acks, ack)
	}
	if after := describeBatch(first); after != before {
		t.Errorf("a batch changed before its ack:\n%s\nbecame\n%s", before, after)
	}
	for _, ack := range acks {
		ack(nil)
	}
}

// pressure never acknowledges: a source bounds what it hands out.
func (c SourceCase) pressure(t *testing.T) {
	r := c.open(t, nil)
	for n := range maxUnacknowledged {
		ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
		_, _, err := r.source.Read(ctx)
		ended := ctx.Err() != nil
		cancel()
		switch {
		case errors.Is(err, connect.ErrEndOfInput):
			t.Fatalf("the end was told with %d batches not acknowledged", n)
		case err != nil && ended:
			return // it waits
		case err != nil:
			t.Fatalf("reading: %v", err)
		}
	}
	t.Errorf("%d batches came without an ack", maxUnacknowledged)
}

func (c SourceCase) interrupt(t *testing.T) {
	r := c.open(t, nil)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	begun := time.Now()
	for range maxUnacknowledged {
		_, ack, err := r.source.Read(ctx)
		if time.Since(begun) > patience {
			t.Fatalf("Read went on for %v after its context had ended", time.Since(begun))
		}
		if err != nil {
			return
		}
		ack(nil) // a batch that was there already may still be handed out
	}
	t.Error("Read never noticed that its context had ended")
}

func (c SourceCase) reconnect(t *testing.T) {
	whole := c.open(t, nil)
	whole.take(c, nil)
	r := c.open(t, nil)
	r.take(c, func(marks int) bool { return marks == 1 })
	r.close()
	r.connect()
	r.take(c, nil)
	compare(t, "connected again", whole.rows, r.rows, nil)
}

// compare demands that two parts together are the whole, each row with its place
// and text.
func compare(t *testing.T, when string, whole, first, second map[connect.Place]string) {
	t.Helper()
	var wrong []string
	for at, want := range whole {
		a, inFirst := first[at]
		b, inSecond := second[at]
		switch {
		case !inFirst && !inSecond:
			wrong = append(wrong, fmt.Sprintf("row %v is lost: %s", at, want))
		case inFirst && a != want, inSecond && b != want:
			wrong = append(wrong, fmt.Sprintf("row %v was %s and is %s%s", at, want, a, b))
		}
	}
	for _, part := range []map[connect.Place]string{first, second} {
		for at, text := range part {
			if _, ok := whole[at]; !ok {
				wrong = append(wrong, fmt.Sprintf("row %v is new: %s", at, text))
			}
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		t.Errorf("%s: %d differences, such as\n%s", when, len(wrong), strings.Join(wrong[:min(5, len(wrong))], "\n"))
	}
}

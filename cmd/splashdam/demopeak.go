package main

import (
	"context"
	"fmt"
	"regexp"
	"sort"
	"sync"
	"time"

	"github.com/guptarohit/asciigraph"

	"github.com/splashdam/splashdam/sdk"
)

const (
	peakTopic      = "demo.peak"
	peakGroup      = "demo-logistics"
	peakPartitions = 6
	peakMessages   = 20_000
	peakPerSecond  = 5_000
	peakHandlers   = 8
	// peakAtOnce is how far consumption may be above its limit: what the SDK lets
	// through at once, and what may be on its way from there to a handler.
	peakAtOnce = peakPerSecond/100 + peakHandlers + 1

	peakSample = 100 * time.Millisecond
)

type peakFigures struct {
	Messages    int          `json:"messages"`
	SendSeconds float64      `json:"send_seconds"`
	Limit       int          `json:"limit_per_second"`
	PerSecond   int          `json:"per_second"`  // taken, on average
	AtOnce      int          `json:"above_limit"` // most messages above the limit in any stretch of time
	Backlog     int          `json:"backlog"`     // at its highest
	Drained     float64      `json:"drained_seconds"`
	Samples     []peakMoment `json:"samples"`
}

// peakMoment is what has happened so far.
type peakMoment struct {
	Seconds float64 `json:"seconds"`
	In      int     `json:"in"`
	Backlog int     `json:"backlog"`
	Done    int     `json:"done"`
}

func (f peakFigures) String() string {
	return fmt.Sprintf("%s in within %.1f s, none lost; taken at %s a second, limit %s; a backlog of %s drained in %.1f s",
		thousands(f.Messages), f.SendSeconds, thousands(f.PerSecond), thousands(f.Limit), thousands(f.Backlog), f.Drained)
}

// The lines of the plot can be told apart without colours, too.
var (
	strokes      = regexp.MustCompile(`\*+|\++`)
	seriesColors = map[byte]color{'*': red, '+': green}
)

func (f peakFigures) plot(paint func(c color, text string) string) string {
	var in, backlog, done []float64
	for _, m := range f.Samples {
		in, backlog, done = append(in, float64(m.In)), append(backlog, float64(m.Backlog)), append(done, float64(m.Done))
	}
	graph := asciigraph.PlotMany([][]float64{in, backlog, done},
		asciigraph.Height(8), asciigraph.Width(60), asciigraph.Precision(0), asciigraph.Offset(3), asciigraph.LowerBound(0),
		asciigraph.XAxisRange(0, f.Samples[len(f.Samples)-1].Seconds), asciigraph.XAxisTickCount(5),
		asciigraph.XAxisValueFormatter(func(s float64) string { return fmt.Sprintf("%.1f s", s) }),
		asciigraph.SeriesChars(asciigraph.CreateCharSet("·"), asciigraph.CreateCharSet("*"), asciigraph.CreateCharSet("+")),
	)
	graph += "\n\n          · in   * backlog   + done"
	return strokes.ReplaceAllStringFunc(graph, func(run string) string { return paint(seriesColors[run[0]], run) })
}

// peak is what happened, and when: times are from the first send on.
type peak struct {
	mu      sync.Mutex
	began   time.Time
	refused []string // ids of sends that failed
	cause   error    // of the first of them
	in      map[string]bool
	inAt    []time.Duration
	done    map[string]int // how often
	doneAt  []time.Duration
}

func (k *peak) sent(id string, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		if k.cause == nil {
			k.cause = err
		}
		k.refused = append(k.refused, id)
		return
	}
	k.in[id] = true
	k.inAt = append(k.inAt, time.Since(k.began))
}

func (k *peak) handle(_ context.Context, m *sdk.Message) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done[m.ID]++
	k.doneAt = append(k.doneAt, time.Since(k.began))
	return nil
}

func (k *peak) counts() (in, done int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.inAt), len(k.doneAt)
}

// showPeak sends far faster than a consumer takes: no send fails, nothing is lost,
// and the consumer is never driven above its limit.
func showPeak(ctx context.Context, s *stage) (figures, error) {
	if err := s.topic(ctx, peakTopic, peakPartitions, nil); err != nil {
		return nil, err
	}
	k := &peak{in: map[string]bool{}, done: map[string]int{}}
	consumer, err := sdk.NewConsumer(s.brokers, peakGroup, []string{peakTopic}, k.handle,
		sdk.WithRateLimit(peakPerSecond), sdk.WithConcurrency(peakHandlers), s.events())
	if err != nil {
		return nil, err
	}
	s.say("peak: sending %s at once to who takes %s a second", thousands(peakMessages), thousands(peakPerSecond))
	k.began = time.Now()
	running, stop := context.WithCancel(ctx)
	defer stop()
	err = together(running, consumer.Run, func(ctx context.Context) error {
		defer stop()
		if err := k.burst(ctx, s); err != nil {
			return err
		}
		wait(ctx, func() bool {
			in, done := k.counts()
			s.tick("peak: %s in, %s done, a backlog of %s", thousands(in), thousands(done), thousands(in-done))
			return done >= in
		})
		return nil
	})
	if err == nil {
		err = k.check()
	}
	if err == nil {
		err = s.drained(ctx, peakGroup)
	}
	if err != nil {
		return nil, err
	}
	return k.figures(), nil
}

// burst sends all messages as fast as possible.
func (k *peak) burst(ctx context.Context, s *stage) error {
	p, err := sdk.NewProducer(s.brokers, s.events())
	if err != nil {
		return err
	}
	for i := range peakMessages {
		m := &sdk.Message{Topic: peakTopic, ID: fmt.Sprintf("parcel-%05d", i), Value: fmt.Appendf(nil, "parcel %d, with a label of some length that says where it has to go", i)}
		p.SendAsync(ctx, m, func(_ sdk.Result, err error) { k.sent(m.ID, err) })
	}
	return p.Close(ctx)
}

// check says what is wrong with what happened.
func (k *peak) check() error {
	var lost, twice, foreign []string
	for id := range k.in {
		if k.done[id] == 0 {
			lost = append(lost, id)
		}
	}
	for id, n := range k.done {
		switch {
		case !k.in[id]:
			foreign = append(foreign, id)
		case n > 1:
			twice = append(twice, id)
		}
	}
	if len(k.refused) > 0 {
		return fmt.Errorf("sends that failed: %s: %w", named(k.refused), k.cause)
	}
	if err := anyOf(
		offence{"sent and never taken", lost},
		offence{"taken and never sent", foreign},
		offence{"taken twice", twice},
	); err != nil {
		return err
	}
	if n := aboveLimit(k.doneAt, peakPerSecond); n > peakAtOnce {
		return fmt.Errorf("the consumer was driven %d messages above its limit of %d a second; %d may come at once", n, peakPerSecond, peakAtOnce)
	}
	return nil
}

// drained demands that the cluster, too, knows of no backlog of the group.
func (s *stage) drained(ctx context.Context, group string) error {
	lags, err := s.admin.Lag(ctx, group)
	if err != nil {
		return err
	}
	lag := lags[group]
	if err := lag.Error(); err != nil {
		return err
	}
	if n := lag.Lag.Total(); n != 0 {
		return fmt.Errorf("all is done, and the lag of group %s is %d", group, n)
	}
	return nil
}

// aboveLimit is by how many the events, at rising times, exceed a rate in the
// stretch of time in which they exceed it most.
func aboveLimit(at []time.Duration, perSecond float64) int {
	// Of x(k) = k - rate*t(k), a stretch from i to j has x(j) - x(i) + 1 too many.
	most, least := 0.0, 0.0
	for k, t := range at {
		x := float64(k) - perSecond*t.Seconds()
		if k == 0 {
			least = x
		}
		least = min(least, x)
		most = max(most, x-least+1)
	}
	return int(most)
}

func (k *peak) figures() peakFigures {
	last := k.doneAt[len(k.doneAt)-1]
	f := peakFigures{
		Messages: len(k.inAt), SendSeconds: inSeconds(k.inAt[len(k.inAt)-1]), Limit: peakPerSecond,
		PerSecond: int(float64(len(k.doneAt)) / last.Seconds()),
		AtOnce:    aboveLimit(k.doneAt, peakPerSecond), Drained: inSeconds(last),
	}
	upTo := func(all []time.Duration, t time.Duration) int {
		return sort.Search(len(all), func(i int) bool { return all[i] > t })
	}
	// A message may be taken before its acknowledgement is read: then the backlog
	// is not negative.
	backlog := func(in, done int) int { return max(0, in-done) }
	for i, t := range k.inAt {
		f.Backlog = max(f.Backlog, backlog(i+1, upTo(k.doneAt, t)))
	}
	for t := time.Duration(0); t < last+peakSample; t += peakSample {
		m := peakMoment{Seconds: t.Seconds(), In: upTo(k.inAt, t), Done: upTo(k.doneAt, t)}
		m.Backlog = backlog(m.In, m.Done)
		f.Samples = append(f.Samples, m)
	}
	return f
}

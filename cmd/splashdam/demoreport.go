package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// figures is what a step measured: a line for people, and JSON by its fields.
type figures interface {
	String() string
}

// plotted is figures that are a picture, too.
type plotted interface {
	// plot draws it, with colours if paint makes any.
	plot(paint func(c color, text string) string) string
}

// tickInterval is how often what goes on is written over.
const tickInterval = 100 * time.Millisecond

// report shows the demo while it runs. What has happened goes to standard output;
// what is happening goes to standard error: on a terminal as one line that is
// written over, elsewhere as a line each. Its methods may be called concurrently.
type report struct {
	p       *program
	json    bool
	started time.Time

	mu     sync.Mutex
	live   bool // the last line on the terminal is one to be written over
	ticked time.Time
}

// say says what goes on from now on.
func (r *report) say(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.p.isScreen(r.p.stderr) {
		r.overwriteLocked(fmt.Sprintf(format, args...))
	} else {
		r.p.talk(format+"\n", args...)
	}
}

// tick says how far it is, from time to time, where that can be written over.
func (r *report) tick(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.ticked) >= tickInterval && r.p.isScreen(r.p.stderr) {
		r.ticked = now
		r.overwriteLocked(fmt.Sprintf(format, args...))
	}
}

func (r *report) overwriteLocked(text string) {
	r.clearLocked()
	r.p.talk("%s", text)
	r.live = true
}

func (r *report) warn(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked()
	r.p.warn(format, args...)
}

// clear takes away what only goes on, so that something can be written that stays.
func (r *report) clear() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.clearLocked()
}

func (r *report) clearLocked() {
	if r.live {
		r.p.talk("\r\x1b[K")
		r.live = false
	}
}

// stepResult is a step as JSON.
type stepResult struct {
	Step    string   `json:"step"`
	OK      bool     `json:"ok"`
	Seconds float64  `json:"seconds"`
	Figures figures  `json:"figures,omitempty"`
	Error   string   `json:"error,omitempty"`
	Next    []string `json:"next,omitempty"`
}

// summaryResult is the whole as JSON.
type summaryResult struct {
	OK      bool     `json:"ok"`
	Steps   int      `json:"steps"`
	Failed  []string `json:"failed"`
	Seconds float64  `json:"seconds"`
	Brokers string   `json:"brokers"`
	Version string   `json:"version"`
}

// step shows how a step ended. The error it returns is one of writing.
func (r *report) step(name string, took time.Duration, f figures, failure error) error {
	r.clear()
	res := stepResult{Step: name, OK: failure == nil, Seconds: inSeconds(took), Figures: f}
	if failure != nil {
		res.Error = describe(failure)
		if e, ok := errors.AsType[*problem](failure); ok {
			res.Next = e.next
		}
		if len(res.Next) == 0 {
			res.Next = []string{"without --exit the platform stays up after the last step, to be looked at"}
		}
	}
	if r.json {
		return r.print(res)
	}
	var b strings.Builder
	if failure != nil {
		fmt.Fprintf(&b, "%s %-9s %s\n", r.paint(red, "✗"), name, res.Error)
		for _, line := range res.Next {
			fmt.Fprintf(&b, "  %-9s %s\n", "", line)
		}
	} else {
		fmt.Fprintf(&b, "%s %-9s %s  (%.1f s)\n", r.paint(green, "✓"), name, f, res.Seconds)
	}
	if pic, ok := f.(plotted); ok {
		fmt.Fprintf(&b, "\n%s\n\n", pic.plot(r.paint))
	}
	_, err := fmt.Fprint(r.p.stdout, b.String())
	return err
}

// summary shows how the whole ended.
func (r *report) summary(steps int, failed []string, at string) error {
	s := summaryResult{
		OK: len(failed) == 0, Steps: steps, Failed: append([]string{}, failed...),
		Seconds: inSeconds(time.Since(r.started)), Brokers: at, Version: version,
	}
	if r.json {
		return r.print(struct {
			Summary summaryResult `json:"summary"`
		}{s})
	}
	line := fmt.Sprintf("%s %d of %d steps passed in %.1f s", r.paint(green, "✓"), steps-len(failed), steps, s.Seconds)
	if !s.OK {
		line = fmt.Sprintf("%s %d of %d steps failed in %.1f s: %s", r.paint(red, "✗"), len(failed), steps, s.Seconds, strings.Join(failed, ", "))
	}
	_, err := fmt.Fprintln(r.p.stdout, line)
	return err
}

// print writes one object on one line.
func (r *report) print(v any) error {
	line, err := appendJSON(nil, v)
	if err == nil {
		_, err = r.p.stdout.Write(line)
	}
	return err
}

func (r *report) paint(c color, text string) string { return r.p.paintFor(r.p.stdout, c, text) }

// nextLooks says what can be done while the platform is up.
func (r *report) nextLooks(at, files string) {
	self := calledAs(os.Args[0])
	cat := ""
	if files != "" {
		cat = "\n  " + self + " arrow cat " + files + " --latest"
	}
	r.p.talk(`
the platform stays up on %[1]s until Ctrl-C; in another terminal:
  %[2]s topic ls -b %[1]s
  %[2]s consume demo.orders -n 3 -b %[1]s
  %[2]s group describe demo-cart-service -b %[1]s%[3]s
or with any client of Kafka:
  kcat -C -b %[1]s -t demo.messages -c 3
`, at, self, cat)
}

// nextRuns says what can be done when it has gone.
func (r *report) nextRuns() {
	self := calledAs(os.Args[0])
	r.p.talk(`
next:
  %[1]s demo                  the same, and the platform stays up to be looked at
  %[1]s serve --data ./data   a platform that keeps its data
`, self)
}

// inSeconds rounds to what is worth reading.
func inSeconds(d time.Duration) float64 { return math.Round(d.Seconds()*1000) / 1000 }

// thousands writes a number with commas.
func thousands(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// offence is a rule that some did not keep.
type offence struct {
	what string
	who  []string
}

// anyOf is the first offence with somebody in it, as an error.
func anyOf(all ...offence) error {
	for _, o := range all {
		if len(o.who) > 0 {
			return fmt.Errorf("%s: %s", o.what, named(o.who))
		}
	}
	return nil
}

// mostNamed bounds the names in one message.
const mostNamed = 5

// named lists names, the first few of them where there are many.
func named(names []string) string {
	slices.Sort(names)
	if more := len(names) - mostNamed; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNamed], ", "), more)
	}
	return strings.Join(names, ", ")
}

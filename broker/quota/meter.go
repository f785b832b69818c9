package quota

import (
	"math"
	"time"
)

const (
	// MaxMeasured is how many shares of quotas a Meter measures apart; beyond that, those
	// that are new are measured together.
	MaxMeasured = 50_000
	// MaxWait bounds every wait: a client that asked for much more than its share at once
	// does not hold its connection for ever.
	MaxWait = 10 * time.Minute
)

// Windows are the windows over which is measured: Kafka's quota.window.num and
// quota.window.size.seconds.
type Windows struct {
	Number int
	Size   time.Duration
}

// span is the time that all windows but the last one cover.
func (w Windows) span() time.Duration { return time.Duration(w.Number-1) * w.Size }

func (w Windows) all() time.Duration { return time.Duration(w.Number) * w.Size }

// Meter measures what clients take. It belongs to one goroutine, or to who holds a
// lock. The times of its calls must not fall by more than clocks do.
type Meter struct {
	windows   Windows
	mutations Windows // of ControllerMutationRate
	taken     map[measured]*taken
	sweepAt   int // when so many are measured, those that are silent are forgotten
	swept     time.Time
}

// measured is what is measured apart. All that come too many are measured under the
// zero Entity.
type measured struct {
	key Key
	of  Entity
}

// taken is what was taken of one share.
type taken struct {
	// sums are those of the last windows, by number of the window modulo their number.
	sums   []float64
	newest int64 // number of the newest window
	// tokens is how much of a share that works by tokens is left.
	tokens float64
	filled time.Time
	limit  float64
	last   time.Time
}

// NewMeter makes a meter. Changes of the cluster have windows of their own: Kafka's
// controller.quota.window.num and .size.seconds.
func NewMeter(w, mutations Windows) *Meter {
	return &Meter{windows: w, mutations: mutations, taken: make(map[measured]*taken), sweepAt: 1024}
}

// Record notes that a client took something and tells how long it has to wait: 0 while
// it is within its quota, or has none.
func (m *Meter) Record(t Table, k Key, user, client string, amount float64, now time.Time) time.Duration {
	s, ok := t.share(k, user, client)
	if !ok {
		return 0
	}
	wait := m.record(m.of(k, s, now), s.limit, amount, now)
	if k == RequestPercentage {
		wait = min(wait, m.windows.Size) // as Kafka bounds it
	}
	return wait
}

// RecordUnlessOver is Record, but takes nothing where the client has to wait, unless it
// has taken nothing else within the windows: so that what is too large for them gets
// through too, one at a time.
func (m *Meter) RecordUnlessOver(t Table, k Key, user, client string, amount float64, now time.Time) (wait time.Duration, taken bool) {
	s, ok := t.share(k, user, client)
	if !ok {
		return 0, true
	}
	x := m.of(k, s, now)
	m.roll(x, now)
	before := x.sum()
	if wait = m.record(x, s.limit, amount, now); wait > 0 && before > 0 {
		x.add(-amount)
		return wait, false
	}
	return wait, true
}

// Most is how much a client may take at once without having to wait, if it has taken
// nothing else; ok is false if there is no bound.
func (m *Meter) Most(t Table, k Key, user, client string) (most float64, ok bool) {
	s, ok := t.share(k, user, client)
	return s.limit * m.windows.span().Seconds(), ok
}

// Mutate notes changes of the cluster by a client. A strict one is refused, and
// nothing noted, while the client has to wait; else it has to wait behind it. The quota
// works by tokens (KIP-599): as many as the windows allow may be taken at once.
func (m *Meter) Mutate(t Table, user, client string, amount float64, strict bool, now time.Time) (wait time.Duration, refused bool) {
	s, ok := t.share(ControllerMutationRate, user, client)
	if !ok {
		return 0, false
	}
	x := m.of(ControllerMutationRate, s, now)
	burst := s.limit * m.mutations.all().Seconds()
	if x.filled.IsZero() {
		x.tokens = burst
	} else if d := now.Sub(x.filled); d > 0 {
		x.tokens += s.limit * d.Seconds()
	}
	x.tokens, x.filled = min(x.tokens, burst), now
	if strict && x.tokens < 0 {
		return x.debt(), true
	}
	x.tokens -= amount
	if strict {
		return 0, false
	}
	return x.debt(), false
}

// debt is how long it takes until there are tokens again.
func (x *taken) debt() time.Duration { return bounded(-x.tokens / x.limit) }

// Connect notes a connection from an address, in the form of netip, and tells how long
// it is held before it is closed; one that is over its quota does not count.
func (m *Meter) Connect(t Table, ip string, now time.Time) time.Duration {
	s, ok := t.shareOf(ip)
	if !ok {
		return 0
	}
	x := m.of(ConnectionCreationRate, s, now)
	wait := m.record(x, s.limit, 1, now)
	if wait > 0 {
		x.add(-1)
	}
	return min(wait, m.windows.Size)
}

// of finds or makes what is measured of a share.
func (m *Meter) of(k Key, s share, now time.Time) *taken {
	at := measured{k, s.of}
	x, ok := m.taken[at]
	if !ok {
		if len(m.taken) >= m.sweepAt && now.Sub(m.swept) >= m.windows.Size {
			m.sweep(now)
		}
		if len(m.taken) >= MaxMeasured {
			at.of = Entity{}
			x, ok = m.taken[at]
		}
		if !ok {
			x = &taken{sums: make([]float64, m.windows.Number)}
			m.taken[at] = x
		}
	}
	x.limit, x.last = s.limit, now
	return x
}

// sweep forgets whoever would be measured the same if it were new.
func (m *Meter) sweep(now time.Time) {
	m.swept = now
	for at, x := range m.taken {
		after := m.windows.all()
		if at.key == ControllerMutationRate {
			after = m.mutations.all() + x.debt()
		}
		if now.Sub(x.last) > after {
			delete(m.taken, at)
		}
	}
	m.sweepAt = min(max(1024, 2*len(m.taken)), MaxMeasured)
}

// record adds to the window of now and tells how long what the windows hold is more
// than their time allows.
func (m *Meter) record(x *taken, limit, amount float64, now time.Time) time.Duration {
	began := m.roll(x, now)
	x.add(amount)
	// The windows before this one count whole, also those in which nothing was measured:
	// so who begins is not taken for somebody who always takes that much.
	elapsed := m.windows.span() + now.Sub(began)
	return bounded(x.sum()/limit - max(elapsed, time.Millisecond).Seconds())
}

// roll makes the window of now the newest one, and says when it began.
func (m *Meter) roll(x *taken, now time.Time) (began time.Time) {
	n := int64(m.windows.Number)
	number := now.UnixNano() / int64(m.windows.Size)
	if gap := number - x.newest; gap > 0 {
		for i := range min(gap, n) {
			x.sums[(number-i)%n] = 0
		}
		x.newest = number
	}
	return time.Unix(0, number*int64(m.windows.Size))
}

func (x *taken) add(amount float64) {
	i := int(x.newest % int64(len(x.sums)))
	x.sums[i] = max(0, x.sums[i]+amount)
}

func (x *taken) sum() float64 {
	all := 0.0
	for _, s := range x.sums {
		all += s
	}
	return all
}

// bounded is a number of seconds as a wait of whole milliseconds, as it is told.
func bounded(seconds float64) time.Duration {
	if !(seconds > 0) {
		return 0
	}
	ms := math.Round(min(seconds, MaxWait.Seconds()) * 1000)
	return time.Duration(ms) * time.Millisecond
}

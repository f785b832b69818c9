package quota

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var windows = Windows{Number: 11, Size: time.Second}

// noon is the beginning of a window.
var noon = time.Unix(1_700_000_000, 0)

func bytesIn(rate float64) Values { return Values{ProducerByteRate: rate} }

func TestTheMostSpecialQuotaHolds(t *testing.T) {
	u, c := Of("u"), Of("c")
	inOrder := []Entity{
		{User: u, Client: c}, {User: u, Client: Everybody()}, {User: u},
		{User: Everybody(), Client: c}, {User: Everybody(), Client: Everybody()}, {User: Everybody()},
		{Client: c}, {Client: Everybody()},
	}
	var all Table
	for i, e := range inOrder {
		all = all.With(e, bytesIn(float64(i+1)))
	}
	all = all.With(Entity{User: Of("other")}, bytesIn(100))
	for i, e := range inOrder {
		s, ok := all.share(ProducerByteRate, "u", "c")
		if !ok || s.limit != float64(i+1) {
			t.Fatalf("%v holds and not %v", s, e)
		}
		if byUser, byClient := e.User.Kind != None, e.Client.Kind != None; (s.of.User == u) != byUser || (s.of.Client == c) != byClient {
			t.Errorf("%v is measured as %v", e, s.of)
		}
		// What has the quota of another key stands in nobody's way.
		all = all.With(e, Values{ConsumerByteRate: 1})
	}
	if s, ok := all.share(ProducerByteRate, "u", "c"); ok {
		t.Errorf("%v is left", s)
	}
}

func TestATableIsSortedAndShared(t *testing.T) {
	names := rapid.SampledFrom([]Part{{}, Everybody(), Of("a"), Of("b")})
	rapid.Check(t, func(t *rapid.T) {
		var table Table
		model := map[Entity]Values{}
		for range rapid.IntRange(0, 20).Draw(t, "changes") {
			e := Entity{User: names.Draw(t, "user"), Client: names.Draw(t, "client")}
			v := bytesIn(float64(rapid.IntRange(0, 2).Draw(t, "value")))
			before, kept := table, slices.Clone(table)
			table = table.With(e, v)
			if !slices.Equal(before, kept) {
				t.Fatal("a table has changed")
			}
			if model[e] = v; v == (Values{}) {
				delete(model, e)
			}
		}
		if len(table) != len(model) || !slices.IsSortedFunc(table, func(a, b Quota) int { return a.Compare(b.Entity) }) {
			t.Fatalf("%v, want %v", table, model)
		}
		for e, v := range model {
			if got, ok := table.Find(e); !ok || got != v {
				t.Fatalf("%v has %v", e, got)
			}
		}
	})
}

// TestAClientThatIsThrottledKeepsToItsQuota sends as fast as it is let.
func TestAClientThatIsThrottledKeepsToItsQuota(t *testing.T) {
	const limit = 1000.0
	table := Table{}.With(Entity{User: Of("u")}, bytesIn(limit))
	// Each batch has the time of the windows before it: so a large one waits too short, in
	// Kafka as well.
	for size, most := range map[float64]float64{10: 1.02, 999: 1.1, 5000: 1.5} {
		m := NewMeter(windows, windows)
		now, sent := noon.Add(300*time.Millisecond), 0.0
		start := now
		waited := false
		for now.Sub(start) < 5*time.Minute {
			wait := m.Record(table, ProducerByteRate, "u", "c", size, now)
			sent += size
			waited = waited || wait > 0
			now = now.Add(wait + time.Millisecond)
		}
		// What may be taken at the beginning is what the windows hold.
		rate := (sent - limit*windows.all().Seconds()) / now.Sub(start).Seconds()
		if !waited || rate > most*limit || rate < 0.85*limit {
			t.Errorf("batches of %v: %.0f a second", size, rate)
		}
	}
}

func TestWithinItsQuotaNobodyWaits(t *testing.T) {
	table := Table{}.With(Entity{User: Everybody()}, bytesIn(1000))
	m := NewMeter(windows, windows)
	for i := range 1000 {
		if wait := m.Record(table, ProducerByteRate, "u", "c", 99, noon.Add(time.Duration(i)*100*time.Millisecond)); wait != 0 {
			t.Fatalf("request %d waits %v", i, wait)
		}
	}
	if wait := m.Record(table, ConsumerByteRate, "u", "c", 1e9, noon); wait != 0 {
		t.Errorf("without a quota: %v", wait)
	}
}

func TestTheWaitIsKafkas(t *testing.T) {
	// QuotaUtils.throttleTime: (rate - limit) / limit * window, where the windows before
	// this one count whole: 10 s and a half here.
	m := NewMeter(windows, windows)
	table := Table{}.With(Entity{Client: Of("c")}, bytesIn(100))
	now := noon.Add(500 * time.Millisecond)
	rate := 2100 / 10.5
	want := time.Duration(math.Round((rate-100)/100*10.5*1000)) * time.Millisecond
	if got := m.Record(table, ProducerByteRate, "u", "c", 2100, now); got != want {
		t.Errorf("%v, want %v", got, want)
	}
	if got := m.Record(table, ProducerByteRate, "u", "c", 1e12, now); got != MaxWait {
		t.Errorf("%v", got)
	}
	table = Table{}.With(Entity{User: Of("u")}, Values{RequestPercentage: 1})
	if got := m.Record(table, RequestPercentage, "u", "c", 1e6, now); got != windows.Size {
		t.Errorf("a request waits %v", got)
	}
}

func TestSharesAreMeasuredApart(t *testing.T) {
	m := NewMeter(windows, windows)
	table := Table{}.With(Entity{User: Everybody()}, bytesIn(100)).With(Entity{User: Of("vip"), Client: Everybody()}, bytesIn(100))
	for _, c := range []struct {
		user, client string
		waits        bool
	}{
		{"a", "1", false}, {"a", "2", true}, // one share for the user
		{"b", "1", false},
		{"vip", "1", false}, {"vip", "2", false}, {"vip", "1", true},
	} {
		if wait := m.Record(table, ProducerByteRate, c.user, c.client, 900, noon); (wait > 0) != c.waits {
			t.Errorf("%s %s waits %v", c.user, c.client, wait)
		}
	}
}

func TestWhatIsLargerThanAllWindowsGetsThroughAlone(t *testing.T) {
	m := NewMeter(windows, windows)
	table := Table{}.With(Entity{User: Of("u")}, Values{ConsumerByteRate: 10})
	if most, ok := m.Most(table, ConsumerByteRate, "u", ""); !ok || most != 100 {
		t.Errorf("at most %v", most)
	}
	wait, taken := m.RecordUnlessOver(table, ConsumerByteRate, "u", "", 1000, noon)
	if !taken || wait < 80*time.Second {
		t.Fatalf("the first: %v, waits %v", taken, wait)
	}
	if wait, taken := m.RecordUnlessOver(table, ConsumerByteRate, "u", "", 1000, noon.Add(time.Second)); taken || wait == 0 {
		t.Errorf("the second: %v, waits %v", taken, wait)
	}
	if wait, taken := m.RecordUnlessOver(table, ConsumerByteRate, "u", "", 1, noon.Add(wait)); !taken || wait != 0 {
		t.Errorf("after the wait: %v, waits %v", taken, wait)
	}
}

func TestChangesOfTheClusterGoByTokens(t *testing.T) {
	m := NewMeter(windows, windows)
	table := Table{}.With(Entity{User: Of("u")}, Values{ControllerMutationRate: 2})
	strict := func(n float64, now time.Time) (time.Duration, bool) { return m.Mutate(table, "u", "c", n, true, now) }
	if wait, refused := strict(23, noon); refused || wait != 0 { // 22 tokens; it may go below once
		t.Errorf("refused is %v, waits %v", refused, wait)
	}
	if wait, refused := strict(1, noon); !refused || wait != 500*time.Millisecond {
		t.Errorf("refused is %v, waits %v", refused, wait)
	}
	if _, refused := strict(1, noon.Add(500*time.Millisecond)); refused {
		t.Error("refused after the wait")
	}
	if wait, refused := m.Mutate(table, "u", "c", 3, false, noon.Add(500*time.Millisecond)); refused || wait != 2*time.Second {
		t.Errorf("an old client: refused is %v, waits %v", refused, wait)
	}
}

func TestConnectionsOverTheQuotaDoNotCount(t *testing.T) {
	m := NewMeter(windows, windows)
	table := Table{}.With(Entity{IP: Everybody()}, Values{ConnectionCreationRate: 1}).With(Entity{IP: Of("10.0.0.9")}, Values{ConnectionCreationRate: 1000})
	accepted := 0
	for i := range 1000 {
		if m.Connect(table, "10.0.0.1", noon.Add(time.Duration(i)*10*time.Millisecond)) == 0 {
			accepted++
		}
		if m.Connect(table, "10.0.0.9", noon.Add(time.Duration(i)*10*time.Millisecond)) > 0 {
			t.Fatal("an address with its own quota waits")
		}
	}
	if accepted != 10 { // at once, and then none until the first window is over
		t.Errorf("%d are accepted", accepted)
	}
	if wait := m.Connect(table, "10.0.0.1", noon.Add(10*time.Second)); wait > windows.Size {
		t.Errorf("it is held for %v", wait)
	}
}

func TestClientsBeyondTheLimitAreMeasuredTogether(t *testing.T) {
	m := NewMeter(windows, windows)
	table := Table{}.With(Entity{Client: Everybody()}, bytesIn(10))
	for i := range MaxMeasured {
		m.Record(table, ProducerByteRate, "u", fmt.Sprint(i), 1, noon)
	}
	var wait time.Duration
	for i := range 200 {
		wait = m.Record(table, ProducerByteRate, "u", fmt.Sprint("more", i), 1, noon)
	}
	if len(m.taken) != MaxMeasured+1 || wait == 0 {
		t.Errorf("%d are measured, the last waits %v", len(m.taken), wait)
	}
	// Who is silent for all windows is forgotten.
	later := noon.Add(windows.all() + time.Second)
	if m.Record(table, ProducerByteRate, "u", "new", 1, later); len(m.taken) != 1 {
		t.Errorf("%d are measured", len(m.taken))
	}
}

func TestQuotasThatMeanNothingAreRefused(t *testing.T) {
	user := Entity{User: Of("u")}
	for name, err := range map[string]error{
		"nobody":            Entity{}.Check(),
		"an empty name":     Entity{User: Part{"", Named}}.Check(),
		"a user at an ip":   Entity{User: Of("u"), IP: Of("1.1.1.1")}.Check(),
		"no ip":             Entity{IP: Of("localhost")}.Check(),
		"another form":      Entity{IP: Of("::ffff:1.1.1.1")}.Check(),
		"a negative rate":   CheckValue(user, ProducerByteRate, -1),
		"NaN":               CheckValue(user, ProducerByteRate, math.NaN()),
		"infinity":          CheckValue(user, RequestPercentage, math.Inf(1)),
		"half a byte":       CheckValue(user, ConsumerByteRate, 0.5),
		"too many":          CheckValue(Entity{IP: Everybody()}, ConnectionCreationRate, 1<<31),
		"a user's sockets":  CheckValue(user, ConnectionCreationRate, 1),
		"an address' bytes": CheckValue(Entity{IP: Everybody()}, ProducerByteRate, 1),
	} {
		if err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	for _, e := range []Entity{user, {IP: Of("::1")}, {User: Everybody(), Client: Of("c")}} {
		if err := e.Check(); err != nil {
			t.Error(err)
		}
	}
	if err := (Values{RequestPercentage: 0.5, ControllerMutationRate: 1.5}).Check(user); err != nil {
		t.Error(err)
	}
}

// BenchmarkRecord is what a quota costs a request, beside one without any.
func BenchmarkRecord(b *testing.B) {
	table := Table{}.With(Entity{User: Everybody(), Client: Everybody()}, bytesIn(1e15))
	for i := range 1000 {
		table = table.With(Entity{User: Of(fmt.Sprint("user", i))}, bytesIn(1e15))
	}
	m := NewMeter(windows, windows)
	now := noon
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Microsecond)
		m.Record(table, ProducerByteRate, "user700", "client", 100, now)
	}
	with := float64(b.Elapsed()) / float64(b.N)
	start := time.Now()
	for range 1000 {
		m.Record(nil, ProducerByteRate, "user700", "client", 100, now)
	}
	b.ReportMetric(with/(float64(time.Since(start))/1000), "times-no-quota/op")
}

package sim

import (
	"os"
	"strconv"
	"testing"
	"time"
)

// seeds is how many worlds the default test runs.
func seeds(t *testing.T) int {
	if s := os.Getenv("SPLASHDAM_TEST_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatalf("SPLASHDAM_TEST_SEEDS=%q is not a number", s)
		}
		return n
	}
	if os.Getenv("SPLASHDAM_TEST_LONG") != "" {
		return 100
	}
	return 10
}

// duration is how long things break in a world.
const duration = 60 * time.Second

func TestNoSeedBreaksARule(t *testing.T) {
	var total Result
	began := time.Now()
	for seed := range uint64(seeds(t)) {
		result, err := Run(Config{Seed: seed, Duration: duration})
		if err != nil {
			t.Error(err)
		}
		total.add(result)
	}
	t.Logf("%+v, %.0f virtual seconds in a real one", total, total.Virtual.Seconds()/time.Since(began).Seconds())
}

// TestTheSeedThatIsNamedBreaksNoRule repeats one seed.
func TestTheSeedThatIsNamedBreaksNoRule(t *testing.T) {
	s := os.Getenv("SPLASHDAM_TEST_SEED")
	if s == "" {
		t.Skip("SPLASHDAM_TEST_SEED names no seed")
	}
	seed, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	result, err := Run(Config{Seed: seed, Duration: duration})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", result)
}

func (r *Result) add(o Result) {
	r.Virtual += o.Virtual
	r.Events += o.Events
	r.Entries += o.Entries
	r.Acked += o.Acked
	r.Crashes += o.Crashes
	r.Terms += o.Terms
	r.Messages += o.Messages
	r.Cuts += o.Cuts
	r.Installs += o.Installs
	r.Cleaned += o.Cleaned
	r.Removed += o.Removed
}

// BenchmarkWorld runs a world of 60 virtual seconds for each operation and says how
// much faster than the real time that is.
func BenchmarkWorld(b *testing.B) {
	var total Result
	for i := range b.N {
		result, err := Run(Config{Seed: uint64(i), Duration: duration})
		if err != nil {
			b.Fatal(err)
		}
		total.add(result)
	}
	b.ReportMetric(total.Virtual.Seconds()/b.Elapsed().Seconds(), "virtual-s/s")
	b.ReportMetric(float64(total.Events)/float64(b.N), "events/op")
}

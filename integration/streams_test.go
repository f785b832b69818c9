package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// TestAStreamsApplicationCountsOnceWhateverIsKilled runs testdata/java's StreamsCount:
// Kafka Streams with exactly_once_v2, a state store, a repartition topic, windows and a
// join. Application and node are killed in turns while records come; afterwards every
// result is there once for who reads what is committed.
func TestAStreamsApplicationCountsOnceWhateverIsKilled(t *testing.T) {
	j := needJava(t)
	rounds := Rounds(t, 2, 4)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	const rate, roundSeconds = 200, 6
	records := rate * roundSeconds * rounds
	ctx := testContext(t, 3*time.Minute+time.Duration(rounds)*30*time.Second)

	n := Start(t, "--shards", "3", "--set", "group.initial.rebalance.delay.ms=0", "--set", "group.min.session.timeout.ms=1000")
	j.run(ctx, t, "StreamsCount", "create", n.Addr)
	dir := t.TempDir()
	start := func() *javaProcess {
		return j.start(t, "StreamsCount", "run", n.Addr, filepath.Join(dir, "state"))
	}
	app := start()
	feed := j.start(t, "StreamsCount", "feed", n.Addr, strconv.Itoa(records), strconv.Itoa(rate))
	for round := range rounds {
		app.waitFor(ctx, t, "state RUNNING")
		time.Sleep(time.Duration(500+rnd.IntN(1000)) * time.Millisecond) // transactions are open for 500 ms
		if round%2 == 0 {
			app.kill()
			if rnd.IntN(4) == 0 { // a new machine: the stores come back from their changelogs
				if err := os.RemoveAll(filepath.Join(dir, "state")); err != nil {
					t.Fatal(err)
				}
			}
			app = start()
		} else {
			n.Kill()
			n.Restart()
		}
	}
	if err := feed.wait(ctx); err != nil {
		t.Fatalf("what feeds the application: %v", err)
	}
	out := j.run(ctx, t, "StreamsCount", "check", n.Addr, strconv.Itoa(records), "60")
	if want := fmt.Sprintf("ok %d\n", records); out != want {
		t.Fatalf("got %q, want %q", out, want)
	}
	app.kill()
}

package integration

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// TestTheBrokerAsksWhenTheSettingsSay leaves a half message undecided: its group is
// asked as often as the settings say, neither too early nor seconds late, and not
// once more. After that it can still be decided.
func TestTheBrokerAsksWhenTheSettingsSay(t *testing.T) {
	const (
		immunity, interval = 300 * time.Millisecond, 100 * time.Millisecond
		questions          = 12
		late               = 8 * time.Second // all of them together
	)
	n := Start(t, "--set", "half.message.immunity.ms=300", "--set", "half.message.check.interval.ms=100", "--set", "half.message.check.max=12")
	ctx := testContext(t, time.Minute)
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.DisableIdempotentWrite(),
		kgo.ConsumeTopics("orders.check"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	kind := "transaction"
	admin := kadm.NewClient(cl)
	if _, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"message.type": &kind}, "half"); err != nil {
		t.Fatal(err)
	}
	send := func(state string) error {
		header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
		return cl.ProduceSync(ctx, &kgo.Record{Topic: "half", Headers: []kgo.RecordHeader{
			header("sd-txn-id", "1"), header("sd-txn-state", state), header("sd-txn-group", "orders"),
		}}).FirstErr()
	}
	before := time.Now()
	if err := send("prepare"); err != nil {
		t.Fatal(err)
	}
	prepared := time.Now()

	seen := make(map[int]bool)
	for len(seen) < questions {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			t.Fatalf("%d of %d questions came", len(seen), questions)
		}
		fs.EachRecord(func(r *kgo.Record) {
			number := 0
			for _, h := range r.Headers {
				if h.Key == "sd-check-number" {
					number, _ = strconv.Atoi(string(h.Value))
				}
			}
			if number < 1 || number > questions || seen[number] {
				t.Fatalf("question %d, after %v", number, seen)
			}
			seen[number] = true
			// The broker's clock counts whole ms.
			if early := immunity + time.Duration(number-1)*interval - time.Millisecond; time.Since(before) < early {
				t.Errorf("question %d came %v after the prepare, before %v", number, time.Since(before), early)
			}
		})
	}
	if took := time.Since(prepared) - immunity - (questions-1)*interval; took > late {
		t.Errorf("the questions came %v too late", took)
	}
	if fs := pollFor(ctx, cl, 5*interval); fs.NumRecords() > 0 {
		t.Errorf("one question more than %d", questions)
	}
	if err := send("commit"); err != nil {
		t.Errorf("a decision after the last question: %v", err)
	}
}

// pollFor polls until something comes, or for so long.
func pollFor(ctx context.Context, cl *kgo.Client, d time.Duration) kgo.Fetches {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return cl.PollFetches(ctx)
}

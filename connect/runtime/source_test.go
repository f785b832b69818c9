package runtime

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
)

// upTo has rows with one text, up to an id.
func upTo(last int, text string) func(int) (string, bool) {
	return func(id int) (string, bool) { return text, id <= last }
}

func idKeys(from, to int) (keys []string) {
	for id := from; id <= to; id++ {
		keys = append(keys, fmt.Sprintf(`{"id":%d}`, id))
	}
	return keys
}

func TestEveryRowIsInTheTopicAndItsPositionStored(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.run(textSource{texts: upTo(2500, "x"), batch: 100}.pipeline("text")).finish()
		// Another process goes on behind them.
		n.run(textSource{texts: upTo(2600, "x"), batch: 100}.pipeline("text")).finish()
		if got := n.keys("text.rows"); !slices.Equal(got, idKeys(1, 2600)) {
			t.Errorf("%d rows, and not each once and in order", len(got))
		}
	})
}

func TestRecordsAreCompressedAsTheSettingSays(t *testing.T) {
	// Not zstd: its decoder has a channel that a finalizer closes, outside of the test's bubble.
	for name, number := range map[string]uint8{"": 2, "none": 0, "gzip": 1, "snappy": 2, "lz4": 3} { // KIP-110
		t.Run(name, func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				settings := map[string]string{}
				if name != "" {
					settings["producer.override.compression.type"] = name
				}
				n.run(textSource{texts: upTo(100, strings.Repeat("x", 100)), batch: 100}.pipelineWith("text", settings)).finish()
				cl, err := kgo.NewClient(append(n.cluster(), kgo.ConsumeTopics("text.rows"))...)
				must(t, err)
				defer cl.Close()
				fetches := cl.PollFetches(t.Context())
				must(t, fetches.Err())
				if r := fetches.Records()[0]; r.Attrs.CompressionType() != number {
					t.Errorf("a record is compressed as %d says, not %d", r.Attrs.CompressionType(), number)
				}
			})
		})
	}
}

func TestWhatASourceHasReadIsStoredWhenItIsInterrupted(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		var u *run
		interrupt := func() { u.stop() } // before anything can be acknowledged
		ready := make(chan struct{})
		texts := func(id int) (string, bool) { <-ready; return "x", id <= 3000 }
		u = n.run(textSource{texts: texts, batch: 3000, idle: true, atEnd: interrupt}.pipeline("text"))
		close(ready)
		<-u.ended
		must(t, u.err)
		texts = func(id int) (string, bool) {
			if id <= 3000 {
				t.Errorf("row %d is read again", id)
			}
			return "x", id <= 3001
		}
		n.run(textSource{texts: texts, batch: 1000}.pipeline("text")).finish()
		if got := n.keys("text.rows"); !slices.Equal(got, idKeys(1, 3001)) {
			t.Errorf("%d rows, and not each once and in order", len(got))
		}
	})
}

func TestARowThatIsTooLargeStopsItsSourceAndNothingOvertakesIt(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.topic("text.rows", "max.message.bytes", "10000")
		texts := func(id int) (string, bool) {
			if id == 2 {
				return strings.Repeat("x", 12_000), true
			}
			return "x", id <= 3
		}
		source := textSource{texts: texts, batch: 3}.pipeline("text")
		n.run(source).fail("row 0.0.0.2.0", `{"id":2}`, "12", "topic text.rows takes 9744", "raise max.message.bytes of the topic")
		if got := n.keys("text.rows"); !slices.Equal(got, idKeys(1, 1)[:len(got)]) {
			t.Fatalf("the topic has %v, before the row that comes first", got)
		}
		n.configure("text.rows", "max.message.bytes", "2000000")
		n.run(source).finish()
		if got := n.keys("text.rows"); !slices.Equal(slices.Compact(got), idKeys(1, 3)) {
			t.Errorf("the topic has %v", got)
		}
	})
}

func TestARowThatIsTooLargeForUsIsNoReasonToChangeTheTopic(t *testing.T) {
	refused := (&topic{name: "text.rows", limit: 1 << 30}).refuse(errors.New("row 1")).Error()
	if want := "row 1, and no record may have more than 33554176; leave the large column out"; refused != want {
		t.Errorf("%s, want %s", refused, want)
	}
}

// A record of just the size that is allowed must be small enough for the topic.
func TestTheLargestRowThatIsSentIsTaken(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.topic("text.rows", "max.message.bytes", "10000")
		const frame = len(`{"id":1}`) + len(`{"id":1,"text":""}`)
		fits := 10_000 - recordOverhead - frame
		texts := func(id int) (string, bool) { return strings.Repeat("x", fits), id == 1 }
		n.run(textSource{texts: texts}.pipeline("fits")).finish()
		texts = func(id int) (string, bool) { return strings.Repeat("x", fits+1), id == 1 }
		n.run(textSource{texts: texts}.pipeline("not")).fail("9745 bytes as a record")
	})
}

func TestABatchIsNoLargerThanItsTopicTakes(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.topic("text.rows", "max.message.bytes", "4000")
		n.run(textSource{texts: upTo(3000, strings.Repeat("x", 500)), batch: 1000}.pipeline("text")).finish()
		if got := n.keys("text.rows"); !slices.Equal(got, idKeys(1, 3000)) {
			t.Errorf("%d rows, and not each once and in order", len(got))
		}
	})
}

// The limit that a source knows is that of its start. What the broker refuses because
// it is another one now comes again, before what comes behind it.
func TestALimitThatIsLoweredIsKeptToFromThenOn(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.topic("text.rows", "max.message.bytes", "1000000")
		var lowered sync.Once
		texts := func(id int) (string, bool) {
			if id == 10_000 { // while those before it are on their way
				lowered.Do(func() { n.configure("text.rows", "max.message.bytes", "4000") })
			}
			return strings.Repeat("x", 500), id <= 20_000
		}
		u := n.run(textSource{texts: texts, batch: 100}.pipeline("text"))
		u.finish()
		if len(u.log.find("MESSAGE_TOO_LARGE")) == 0 {
			t.Error("nothing was refused")
		}
		if len(u.log.find("MESSAGE_TOO_LARGE")) > 1 {
			t.Errorf("it was refused %d times", len(u.log.find("MESSAGE_TOO_LARGE")))
		}
		// A refused row that comes behind a later one would be taken for a repetition.
		highest := 0
		for _, key := range n.keys("text.rows") {
			var id int
			if _, err := fmt.Sscanf(key, `{"id":%d}`, &id); err != nil {
				t.Fatal(err)
			}
			if id > highest+1 {
				t.Fatalf("row %d comes behind row %d", id, highest)
			}
			highest = max(highest, id)
		}
		if highest != 20_000 {
			t.Errorf("the last row is %d", highest)
		}
	})
}

func TestTopicsThatForgetAreNotUsedForPositionsAndSchemas(t *testing.T) {
	for _, c := range []struct{ topic, policy, what string }{
		{"connect-offsets", "delete", "the positions of sources"},
		{"connect-offsets", "compact,delete", "the positions of sources"},
		{"text.schemas", "delete", "the schemas of rows"},
	} {
		t.Run(c.topic+" "+c.policy, func(t *testing.T) {
			onNode(t, func(t *testing.T, n *node) {
				n.topic(c.topic, "cleanup.policy", c.policy)
				source := textSource{texts: upTo(5, "x")}.pipeline("text")
				n.run(source).fail("topic "+c.topic+" is for "+c.what+" and has cleanup.policy="+c.policy, "set cleanup.policy=compact")
				n.configure(c.topic, "cleanup.policy", "compact")
				n.run(source).finish()
				if got := n.keys("text.rows"); !slices.Equal(got, idKeys(1, 5)) {
					t.Errorf("the topic has %v", got)
				}
			})
		})
	}
}

func TestATopicThatCannotBeMadeIsNamed(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		u := &run{t: t, log: &journal{}, ended: make(chan struct{})}
		r, err := New(Config{
			Cluster: n.cluster(), Pipelines: []Pipeline{textSource{texts: upTo(5, "x")}.pipeline("text")},
			OffsetTopic: "no topic", Log: newLog(u.log),
		})
		must(t, err)
		u.err = r.Run(t.Context())
		close(u.ended)
		u.fail("creating topic no topic: INVALID_TOPIC_EXCEPTION", "it is for the positions of sources")
	})
}

func TestASourceGoesOnWhenTheBrokerIsBack(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		u := n.run(textSource{texts: upTo(3000, "x"), batch: 10, pause: 100 * time.Millisecond}.pipeline("text"))
		u.until("the first rows", func() bool { return len(n.keys("text.rows")) > 100 })
		n.stop()
		time.Sleep(time.Minute)
		n.start()
		u.finish()
		if got := slices.Compact(n.keys("text.rows")); !slices.Equal(got, idKeys(1, 3000)) {
			t.Errorf("%d rows, and not each once and in order", len(got))
		}
		if said := u.log.find("ERROR"); len(said) > 0 {
			t.Errorf("it said %v", said)
		}
	})
}

// An interrupt while the broker is away ends the source soon, though nothing of what it
// has read can be stored.
func TestASourceEndsWithoutTheBroker(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		texts := upTo(1<<30, strings.Repeat("x", 1000))
		u := n.run(textSource{texts: texts, batch: 1000, pause: 10 * time.Millisecond}.pipeline("text"))
		u.until("the first rows", func() bool { return len(n.keys("text.rows")) > 100 })
		n.stop()
		time.Sleep(time.Minute) // so that it waits for room in its buffer
		begun := time.Now()
		u.interrupt()
		if took := time.Since(begun); took > lastWords {
			t.Errorf("it took %v", took)
		}
		n.start()
		last := len(n.keys("text.rows"))
		n.run(textSource{texts: upTo(last+1, strings.Repeat("x", 1000)), batch: 1000}.pipeline("text")).finish()
		if got := n.keys("text.rows"); got[len(got)-1] != fmt.Sprintf(`{"id":%d}`, last+1) {
			t.Errorf("the last row is %s, of %d", got[len(got)-1], last+1)
		}
	})
}

// Whoever deletes a topic under a source has its rows so far gone, and the later ones
// in a new one.
func TestATopicThatIsDeletedIsMadeAgain(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		u := n.run(textSource{texts: upTo(500, "x"), pause: 100 * time.Millisecond}.pipeline("text"))
		u.until("the first rows", func() bool { return len(n.keys("text.rows")) > 10 })
		_, err := n.admin.DeleteTopics(t.Context(), "text.rows")
		must(t, err)
		u.finish()
		got := n.keys("text.rows")
		if last := idKeys(500-len(got)+1, 500); len(got) < 300 || !slices.Equal(slices.Compact(got), last) {
			t.Errorf("%d rows, and not the last ones in order: %v", len(got), got)
		}
	})
}

func TestRecordsCarryPlaceAndSchema(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.run(textSource{texts: upTo(1, "x")}.pipeline("text")).finish()
		n.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{"text.rows": {0: kgo.NewOffset().AtStart()}})
		r := n.client.PollFetches(t.Context()).Records()[0]
		if string(r.Value) != `{"id":1,"text":"x"}` || len(r.Headers) != 2 || r.Headers[0].Key != connect.PlaceHeader ||
			string(r.Headers[0].Value) != "0.0.0.1.0" || r.Headers[1].Key != connect.SchemaHeader || len(r.Headers[1].Value) == 0 {
			t.Errorf("the record is %s with headers %s", r.Value, r.Headers)
		}
	})
}

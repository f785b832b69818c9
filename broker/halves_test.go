package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/txn"
)

// These tests use half messages as docs/messages.md tells any client to: with
// headers, by a Kafka client that knows nothing of them.

const (
	paid    = "orders.paid" // the topic of half messages
	service = "order-service"
)

// onShards runs a test of half messages on a node with one data shard and with three.
func onShards(t *testing.T, test func(t *testing.T, s *sender)) {
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newSender(t, shards)
				test(t, s)
				s.n.shut(t)
			})
		})
	}
}

// sender is a service that sends half messages.
type sender struct {
	t      *testing.T
	cfg    Config
	n      *node
	ask    asker
	client *kgo.Client
}

func newSender(t *testing.T, shards int) *sender {
	s := &sender{t: t, cfg: Config{FS: vfs.NewMem(), Settings: settings(t, nil), Shards: shards}}
	s.start()
	must(t, s.ask.createTopic(context.Background(), paid, 2, "message.type", "transaction"))
	return s
}

func (s *sender) start() {
	s.n = run(s.t, s.cfg)
	s.ask = s.n.asker(s.t)
	s.client = s.n.client(s.t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
}

func (s *sender) restart() {
	s.t.Helper()
	s.n.shut(s.t)
	s.start()
}

// send produces one record and returns its offset.
func (s *sender) send(topic string, partition int32, r kgo.Record) (int64, error) {
	r.Topic, r.Partition = topic, partition
	sent, err := s.client.ProduceSync(context.Background(), &r).First()
	return sent.Offset, err
}

func headers(pairs ...string) []kgo.RecordHeader {
	var hs []kgo.RecordHeader
	for i := 0; i+1 < len(pairs); i += 2 {
		hs = append(hs, kgo.RecordHeader{Key: pairs[i], Value: []byte(pairs[i+1])})
	}
	return hs
}

// prepare prepares a message for a partition of the topic. Its key is the id, its
// value says so too.
func (s *sender) prepare(id string, partition int32) {
	s.t.Helper()
	offset, err := s.send(paid, partition, prepared(id))
	if err != nil || offset != -1 {
		s.t.Fatalf("preparing %s is answered with offset %d, want -1: %v", id, offset, err)
	}
}

func prepared(id string) kgo.Record {
	return kgo.Record{
		Key: []byte(id), Value: []byte("order " + id),
		Headers: headers("trace", "t-"+id, txn.HeaderID, id, txn.HeaderState, "prepare", txn.HeaderGroup, service),
	}
}

func (s *sender) decide(id string, partition int32, decision string) (int64, error) {
	return s.send(paid, partition, kgo.Record{Headers: headers(txn.HeaderID, id, txn.HeaderState, decision)})
}

// committed commits a message, which must go to the offset.
func (s *sender) committed(id string, partition int32, want int64) {
	s.t.Helper()
	if offset, err := s.decide(id, partition, "commit"); err != nil || offset != want {
		s.t.Errorf("committing %s is answered with offset %d, want %d: %v", id, offset, want, err)
	}
}

// refused demands that a batch is answered with INVALID_RECORD and a text that says
// why.
func (s *sender) refused(partition int32, b []byte, why string) {
	s.t.Helper()
	_, err := s.ask.produce(context.Background(), paid, partition, b)
	if !errors.Is(err, kerr.InvalidRecord) || !strings.Contains(err.Error(), why) {
		s.t.Errorf("%q expected, the answer is %v", why, err)
	}
}

// sees demands that a consumer sees the messages, in both partitions.
func (s *sender) sees(want ...[]string) {
	s.t.Helper()
	for p, w := range want {
		got, err := s.ask.read(context.Background(), paid, int32(p))
		if err != nil || !slices.Equal(got, w) {
			s.t.Errorf("partition %d has %q, want %q: %v", p, got, w, err)
		}
	}
}

func TestAHalfMessageIsSeenOnceItIsCommitted(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		s.prepare("1", 0)
		s.prepare("2", 0)
		s.prepare("3", 1)
		s.prepare("4", 0)
		s.prepare("5", 0)
		s.sees(nil, nil)
		s.restart()
		s.sees(nil, nil)
		s.committed("2", 0, 0)
		s.sees([]string{"order 2"}, nil)
		if offset, err := s.decide("4", 0, "rollback"); err != nil || offset != -1 {
			t.Errorf("a rollback is answered with offset %d, want -1: %v", offset, err)
		}
		s.committed("1", 0, 1)
		s.committed("3", 1, 0)
		s.restart()
		s.sees([]string{"order 2", "order 1"}, []string{"order 3"})
		s.committed("5", 0, 2)
		s.sees([]string{"order 2", "order 1", "order 5"}, []string{"order 3"})
	})
}

func TestAMessageIsSeenAsItWasPrepared(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		at := time.Now().Add(-time.Hour).Truncate(time.Millisecond)
		r := prepared("1")
		r.Timestamp = at
		if _, err := s.send(paid, 0, r); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		s.committed("1", 0, 0)
		c := s.n.client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{paid: {0: kgo.NewOffset().AtStart()}}))
		got := c.PollFetches(context.Background()).Records()[0]
		c.Close()
		want := headers("trace", "t-1", txn.HeaderID, "1", txn.HeaderGroup, service)
		if string(got.Key) != "1" || string(got.Value) != "order 1" || !got.Timestamp.Equal(at) || fmt.Sprint(got.Headers) != fmt.Sprint(want) {
			t.Errorf("%s = %s at %v with %v; want 1 = order 1 at %v with %v", got.Key, got.Value, got.Timestamp, got.Headers, at, want)
		}
	})
}

func TestTheFirstDecisionStands(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		s.prepare("kept", 0)
		s.prepare("dropped", 0)
		s.prepare("open", 0)
		s.committed("kept", 0, 0)
		if _, err := s.decide("dropped", 0, "rollback"); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time behind a restart
			s.committed("kept", 0, 0)
			if _, err := s.decide("dropped", 0, "rollback"); err != nil {
				t.Errorf("rolling back again: %v", err)
			}
			if _, err := s.decide("kept", 0, "rollback"); !errors.Is(err, kerr.InvalidRecord) {
				t.Errorf("rolling back what is committed: %v", err)
			}
			s.refused(0, half("kept", "rollback", "", ""), `"kept" is committed: it was decided otherwise before`)
			s.refused(0, half("dropped", "commit", "", ""), `"dropped" is rolled back: it was decided otherwise before`)
			s.refused(0, half("nobody", "commit", "", ""), `"nobody": no such half message in this partition`)
			s.refused(1, half("open", "commit", "", ""), `"open": no such half message in this partition: send the decision to the topic and partition where the prepare was acknowledged`)
			s.sees([]string{"order kept"}, nil)
			s.restart()
		}
		s.committed("open", 0, 1)
	})
}

// TestOnlyTheSenderDecides asks the node itself, since clients have no names yet.
func TestOnlyTheSenderDecides(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		send := func(principal, state string) error {
			answered := make(chan kafka.Appended, 1)
			req := kafka.AppendRequest{Topic: paid, Batch: half("1", state, service, "x"), Acks: -1, Principal: principal}
			s.n.Append(req, func(a kafka.Appended) { answered <- a })
			return (<-answered).Err
		}
		must(t, send("User:shop", "prepare"))
		for _, state := range []string{"commit", "rollback"} {
			if err := send("User:thief", state); !errors.Is(err, kerr.InvalidRecord) || !strings.Contains(err.Error(), "only who prepared a half message may decide it") {
				t.Errorf("a %s by somebody else: %v", state, err)
			}
		}
		must(t, send("User:shop", "commit"))
	})
}

func TestAnIDIsOfOneMessage(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		const reused = `"1": the id is used by another message: give each half message an id of its own`
		s.prepare("1", 0)
		for range 2 { // the second time behind a restart
			s.prepare("1", 0) // a retry
			s.refused(0, half("1", "prepare", service, "order 1"), reused)
			other := prepared("1")
			other.Headers[3].Value = []byte("other-service")
			if _, err := s.send(paid, 0, other); !errors.Is(err, kerr.InvalidRecord) {
				t.Errorf("the same message of another group: %v", err)
			}
			s.restart()
		}
		s.committed("1", 0, 0)
		s.prepare("1", 0) // a retry that comes late: it is held no more
		s.refused(0, half("1", "prepare", service, "order 1"), reused)
		s.sees([]string{"order 1"}, nil)
		// In another partition, which it does not know of, the id is free.
		s.prepare("1", 1)
		s.committed("1", 1, 0)
	})
}

func TestATopicOfHalfMessagesTakesNothingElse(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		s.refused(0, batch(-1, 0, "plain"), "not a half message: the topic has message.type=transaction, so every record needs the header sd-txn-state (prepare, commit or rollback)")
		s.refused(0, half("1", "maybe", service, "x"), `the header sd-txn-state is "maybe"; it must be prepare, commit or rollback`)
		s.refused(0, half("", "prepare", service, "x"), "the header sd-txn-id must have 1 to 255 bytes, it has 0")
		s.refused(0, half(strings.Repeat("x", 256), "prepare", service, "x"), "the header sd-txn-id must have 1 to 255 bytes, it has 256")
		s.refused(0, half("1", "prepare", "", "x"), `the header sd-txn-group is ""; it must be 1 to 240 letters`)
		s.refused(0, half("1", "prepare", "a/b", "x"), `the header sd-txn-group is "a/b"; it must be`)
		s.sees(nil, nil)
	})
}

// TestHalfMessagesAreRefusedWhereAllWouldSeeThem, in batches of any compression. It
// runs outside of a bubble, which zstd's encoder, of which there is one, cannot leave.
func TestHalfMessagesAreRefusedWhereAllWouldSeeThem(t *testing.T) {
	s := newSender(t, 1)
	ctx := context.Background()
	must(t, s.ask.createTopic(ctx, orders, 1))
	for _, codec := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		o := record.BuildOptions{Codec: codec, BaseTimestamp: time.Now().UnixMilli(), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
		b := record.Build(o, []record.Record{{Value: []byte("plain")}, {Headers: []record.Header{{Key: txn.HeaderState, Value: []byte("prepare")}}}})
		_, err := s.ask.produce(ctx, orders, 0, b)
		const why = `it has the header sd-txn-state, but topic "orders" has message.type=normal: create the topic with message.type=transaction`
		if !errors.Is(err, kerr.InvalidRecord) || !strings.Contains(err.Error(), why) {
			t.Errorf("%v: %v", codec, err)
		}
	}
	if got, err := s.ask.read(ctx, orders, 0); err != nil || len(got) > 0 {
		t.Errorf("%q can be seen: %v", got, err)
	}
	// Headers with such a beginning that say nothing of half messages are anybody's.
	if _, err := s.send(orders, 0, kgo.Record{Headers: headers("sd-id", "1")}); err != nil {
		t.Error(err)
	}
	s.n.shut(t)
}

// TestABatchOfDecisionsSucceedsOrFailsAsAWhole sends several records in one batch.
func TestABatchOfDecisionsSucceedsOrFailsAsAWhole(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		several := func(of ...[]byte) []byte {
			var all []record.Record
			for _, b := range of {
				records, err := record.Batch(b).Decode(1 << 20)
				must(t, err)
				all = append(all, records...)
			}
			o := record.BuildOptions{BaseTimestamp: time.Now().UnixMilli(), ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
			return record.Build(o, all)
		}
		send := func(b []byte) (int64, error) { return s.ask.produce(context.Background(), paid, 0, b) }
		s.prepare("1", 0)
		s.prepare("2", 0)
		// A decision about nothing takes a commit and a prepare with it.
		s.refused(0, several(half("1", "commit", "", ""), half("3", "prepare", service, "x"), half("nobody", "commit", "", "")), "no such half message")
		s.sees(nil, nil)
		s.refused(0, half("3", "commit", "", ""), "no such half message")
		s.refused(0, several(half("1", "commit", "", ""), half("1", "commit", "", "")), "is there twice in one batch")
		if offset, err := send(several(half("2", "commit", "", ""), half("1", "commit", "", ""), half("3", "prepare", service, "order 3"))); err != nil || offset != -1 {
			t.Errorf("a mixed batch is answered with offset %d, want -1: %v", offset, err)
		}
		s.sees([]string{"order 2", "order 1"}, nil)
		s.restart()
		s.sees([]string{"order 2", "order 1"}, nil)
		s.committed("3", 0, 2)
	})
}

// TestTheFirstHalfMessagesOfAGroupMayComeTogether: they make the check topic, once.
func TestTheFirstHalfMessagesOfAGroupMayComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := newGate(vfs.NewMem(), "data/shards/0000")
		n := run(t, Config{FS: fs, Settings: settings(t, nil)})
		must(t, n.asker(t).createTopic(context.Background(), paid, 2, "message.type", "transaction"))
		fs.shut.Store(true)
		prepared := make(chan error)
		for p := range int32(2) {
			ask := n.asker(t)
			go func() {
				_, err := ask.produce(context.Background(), paid, p, half("1", "prepare", service, "x"))
				prepared <- err
			}()
		}
		synctest.Wait()
		fs.pass()
		for range 2 {
			if err := <-prepared; err != nil {
				t.Error(err)
			}
		}
		n.shut(t)
	})
}

// question is what an instance of the service is asked.
type question struct {
	at        time.Duration // behind the prepare
	partition int32         // of the check topic
	number    int
	record    *kgo.Record
}

// instance is an instance of the service that listens to questions.
//
// franz-go's first fetch may name only some of the partitions; the others wait until it
// is answered, by its default for five seconds.
func (s *sender) instance() *kgo.Client {
	check := txn.CheckTopic(service)
	return s.n.client(s.t, kgo.ConsumerGroup(check), kgo.ConsumeTopics(check), kgo.SessionTimeout(6*time.Second),
		kgo.FetchMaxWait(500*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.AutoCommitMarks())
}

// questions returns what an instance is asked within a time, and commits.
func (s *sender) questions(c *kgo.Client, prepared time.Time, within time.Duration) []question {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	var asked []question
	for ctx.Err() == nil {
		c.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			number, err := strconv.Atoi(header(r, txn.HeaderNumber))
			if err != nil {
				s.t.Errorf("a question with %v: %v", r.Headers, err)
			}
			asked = append(asked, question{time.Since(prepared), r.Partition, number, r})
			c.MarkCommitRecords(r)
		})
	}
	must(s.t, c.CommitMarkedOffsets(context.Background()))
	return asked
}

func header(r *kgo.Record, key string) string {
	for _, h := range r.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// TestSilenceIsAskedAbout lets an instance die behind its prepare. Another one is
// asked, by the clock, and answers.
func TestSilenceIsAskedAbout(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		s.prepare("1", 1)
		at := time.Now()
		c := s.instance()
		asked := s.questions(c, at, 70*time.Second)
		c.Close()
		if len(asked) != 3 {
			t.Fatalf("asked %d times in 70 seconds: %+v", len(asked), asked)
		}
		for i, q := range asked {
			due := 6*time.Second + time.Duration(i)*30*time.Second
			if q.at < due || q.at > due+2*time.Second || q.number != i+1 {
				t.Errorf("question %d comes after %v, as number %d; it is due after %v", i+1, q.at, q.number, due)
			}
			if i > 0 && q.partition == asked[i-1].partition {
				t.Errorf("question %d goes where the one before went", i+1)
			}
			want := headers("trace", "t-1", txn.HeaderID, "1", txn.HeaderGroup, service,
				txn.HeaderTopic, paid, txn.HeaderPartition, "1", txn.HeaderNumber, strconv.Itoa(i+1))
			if string(q.record.Key) != "1" || string(q.record.Value) != "order 1" || fmt.Sprint(q.record.Headers) != fmt.Sprint(want) {
				t.Errorf("question %d is %s = %s with %v, want %v", i+1, q.record.Key, q.record.Value, q.record.Headers, want)
			}
		}
		s.sees(nil, nil)

		// A restart begins nothing anew; what is asked next is the next question.
		s.restart()
		c = s.instance()
		asked = s.questions(c, at, 30*time.Second)
		if len(asked) != 1 || asked[0].number != 4 {
			t.Fatalf("behind a restart: %+v", asked)
		}
		// Any instance answers, by what the question says.
		q := asked[0].record
		partition, err := strconv.Atoi(header(q, txn.HeaderPartition))
		must(t, err)
		decision := kgo.Record{Headers: headers(txn.HeaderID, header(q, txn.HeaderID), txn.HeaderState, "commit")}
		if offset, err := s.send(header(q, txn.HeaderTopic), int32(partition), decision); err != nil || offset != 0 {
			t.Errorf("the decision is answered with offset %d: %v", offset, err)
		}
		s.sees(nil, []string{"order 1"})
		if asked := s.questions(c, at, 5*time.Minute); len(asked) > 0 {
			t.Errorf("asked about what is decided: %+v", asked)
		}
		c.Close()
	})
}

// TestACheckTopicIsMadeFitForQuestions: a consumer's subscription may have made it
// before there was anything to ask, with one partition; or somebody has deleted it.
func TestACheckTopicIsMadeFitForQuestions(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		ctx := context.Background()
		early := s.n.client(t, kgo.AllowAutoTopicCreation(), kgo.ConsumerGroup(txn.CheckTopic(service)), kgo.ConsumeTopics(txn.CheckTopic(service)),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMaxAge(time.Second), kgo.DisableAutoCommit())
		time.Sleep(10 * time.Second)
		if topics, err := s.ask.topics(ctx); err != nil || topics[txn.CheckTopic(service)] != 1 {
			t.Fatalf("the subscription made %v: %v", topics, err)
		}
		s.prepare("1", 0)
		at := time.Now()
		asked := s.questions(early, at, 40*time.Second)
		if len(asked) != 2 || asked[0].partition == asked[1].partition {
			t.Errorf("asked: %+v", asked)
		}
		early.Close()
		must(t, s.ask.deleteTopic(ctx, txn.CheckTopic(service)))
		c := s.instance()
		time.Sleep(30 * time.Second)
		if asked := s.questions(c, at, 30*time.Second); len(asked) == 0 || asked[0].number != 3 {
			t.Errorf("behind the deletion of the topic: %+v", asked)
		}
		c.Close()
	})
}

func TestWhatIsDecidedIsNotAskedAbout(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		at := time.Now()
		s.prepare("1", 0)
		s.prepare("2", 1)
		s.committed("1", 0, 0)
		if _, err := s.decide("2", 1, "rollback"); err != nil {
			t.Fatal(err)
		}
		s.restart()
		c := s.instance()
		if asked := s.questions(c, at, 5*time.Minute); len(asked) > 0 {
			t.Errorf("asked: %+v", asked)
		}
		c.Close()
	})
}

// TestQuestionsThatAreDueAtAStartWaitForAllShards: the shard that holds the message
// is open long before the one that the question goes to.
func TestQuestionsThatAreDueAtAStartWaitForAllShards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSender(t, 3)
		at := time.Now()
		for p := range int32(2) {
			s.prepare(fmt.Sprint(p), p)
		}
		s.n.shut(t)
		time.Sleep(10 * time.Second)
		s.cfg.FS = vfs.NewFault(s.cfg.FS, func(op vfs.Op) error {
			if op.Kind == vfs.OpOpenWrite && strings.HasSuffix(op.Name, "/manifest") {
				time.Sleep(5 * time.Second)
			}
			return nil
		})
		s.start()
		c := s.instance()
		if asked := s.questions(c, at, 5*time.Second); len(asked) != 2 {
			t.Errorf("asked: %+v", asked)
		}
		c.Close()
		s.n.shut(t)
	})
}

// TestNobodyAnswers: after the last question the message is parked, and can still be
// decided; when the retention time of its topic has passed it is rolled back.
func TestNobodyAnswers(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		const brief = "brief"
		must(t, s.ask.createTopic(context.Background(), brief, 1, "message.type", "transaction", "retention.ms", "600000"))
		at := time.Now()
		s.prepare("1", 0)
		if _, err := s.send(brief, 0, prepared("2")); err != nil {
			t.Fatal(err)
		}
		c := s.instance()
		numbers := make(map[string][]int)
		for _, q := range s.questions(c, at, 15*time.Minute) {
			id := header(q.record, txn.HeaderID)
			numbers[id] = append(numbers[id], q.number)
		}
		c.Close()
		for _, id := range []string{"1", "2"} {
			if want := []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}; !slices.Equal(numbers[id], want) {
				t.Errorf("questions about %s: %v, want %v", id, numbers[id], want)
			}
		}
		s.restart()
		time.Sleep(time.Hour + time.Minute) // parked messages are looked at every hour
		s.committed("1", 0, 0)
		_, err := s.ask.produce(context.Background(), brief, 0, half("2", "commit", "", ""))
		if err == nil || !strings.Contains(err.Error(), "is rolled back") {
			t.Errorf("committing what nobody decided within the retention time: %v", err)
		}
	})
}

// TestTheDeletionOfATopicEndsItsHolds: nobody is asked any more, and the ids are free.
func TestTheDeletionOfATopicEndsItsHolds(t *testing.T) {
	onShards(t, func(t *testing.T, s *sender) {
		ctx := context.Background()
		s.prepare("1", 0)
		s.prepare("2", 1)
		at := time.Now()
		must(t, s.ask.deleteTopic(ctx, paid))
		c := s.instance()
		if asked := s.questions(c, at, 2*time.Minute); len(asked) > 0 {
			t.Errorf("asked about messages of a deleted topic: %+v", asked)
		}
		c.Close()
		must(t, s.ask.createTopic(ctx, paid, 2, "message.type", "transaction"))
		s.refused(0, half("1", "commit", "", ""), "no such half message")
		s.restart()
		s.refused(1, half("2", "commit", "", ""), "no such half message")
		if _, err := s.ask.produce(ctx, paid, 0, half("1", "prepare", service, "anew")); err != nil {
			t.Error(err)
		}
		s.committed("1", 0, 0)
		s.sees([]string{"anew"}, nil)
	})
}

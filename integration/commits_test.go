package integration

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestAKilledNodeKeepsTheOffsetsThatItAcknowledged kills the node again and again under
// groups whose offsets are committed: by members of both protocols that come and go,
// static ones among them, by members in transactions, and by administrators. At any
// time, above all behind a kill, what a group has committed is what was acknowledged
// last, or what was sent later, with its own leader epoch and metadata.
func TestAKilledNodeKeepsTheOffsetsThatItAcknowledged(t *testing.T) {
	cycles := Rounds(t, 3, 12)
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) {
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			rnd := rand.New(rand.NewPCG(seed, 0))
			ctx := testContext(t, time.Minute+time.Duration(cycles)*20*time.Second)
			n := Start(t, "--shards", strconv.Itoa(shards), "--set", "num.partitions=3", "--set", "log.segment.bytes=1048576",
				"--set", "group.initial.rebalance.delay.ms=0", "--set", "group.min.session.timeout.ms=1000",
				"--set", "group.consumer.min.session.timeout.ms=1000", "--set", "group.consumer.session.timeout.ms=2000",
				"--set", "group.consumer.min.heartbeat.interval.ms=100", "--set", "group.consumer.heartbeat.interval.ms=100")
			originals(ctx, t, n.Addr, 3) // so that there is a topic

			c := &committing{ctx: ctx, addr: n.Addr, done: make(chan error)}
			var stop context.CancelFunc
			c.until, stop = context.WithCancel(ctx)
			defer stop()
			c.run(c.feed)
			for i := range 3 {
				c.administer(fmt.Sprint("administered-", i))
			}
			static := func(member int) kgo.Opt { return kgo.InstanceID(fmt.Sprint("instance-", member)) }
			dynamic := func(int) kgo.Opt { return kgo.ClientID("dynamic") }
			c.members("classic-cooperative", rnd, dynamic, kgo.Balancers(kgo.CooperativeStickyBalancer()))
			c.members("classic-eager", rnd, static, kgo.Balancers(kgo.RangeBalancer()))
			c.members("consumer", rnd, dynamic, kgo.ServerSideBalancer())
			c.members("consumer-static", rnd, static, kgo.ServerSideBalancer())
			c.transacting("transacting-classic", rnd)
			c.transacting("transacting-consumer", rnd, kgo.ServerSideBalancer())

			reader := newFetcher(t, n.Addr)
			for range cycles {
				// Each cycle sees some commits of every group acknowledged.
				c.awaitCommits(t, reader, 20)
				time.Sleep(time.Duration(rnd.IntN(50)) * time.Millisecond)
				n.Kill()
				n.Restart()
				c.check(t, reader)
			}
			stop()
			for range c.running {
				if err := <-c.done; err != nil {
					t.Error(err)
				}
			}
			c.check(t, reader)
			n.Kill()
			n.Restart()
			c.check(t, reader)
			for _, b := range c.books {
				t.Logf("%s: %v", b.group, b)
			}
		})
	}
}

// committing is everybody who commits, and what they were told.
type committing struct {
	// ctx is the test's; commits are made under it, so that none is given up whose
	// outcome would be open. until is when nobody begins another one.
	ctx, until context.Context
	addr       string
	books      []*book
	running    int
	done       chan error // of each that runs
}

func (c *committing) run(f func() error) {
	c.running++
	go func() { c.done <- f() }()
}

func (c *committing) book(group string) *book {
	b := &book{group: group, places: map[int32]*place{}}
	c.books = append(c.books, b)
	return b
}

func (c *committing) options(more ...kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.SeedBrokers(c.addr), kgo.RetryBackoffFn(func(int) time.Duration { return 20 * time.Millisecond }),
		kgo.RetryTimeout(time.Minute), kgo.RequestRetries(1000), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.MetadataMinAge(20 * time.Millisecond),
	}, more...)
}

// member are the options of a member of a group, whose sessions outlive a kill.
func (c *committing) member(group string, more ...kgo.Opt) []kgo.Opt {
	return c.options(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics("original"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(2 * time.Second), kgo.HeartbeatInterval(100 * time.Millisecond), kgo.FetchMaxWait(100 * time.Millisecond),
		kgo.RequireStableFetchOffsets(),
	}, more...)...)
}

// feed gives the members something to read.
func (c *committing) feed() error {
	cl, err := kgo.NewClient(c.options(kgo.DefaultProduceTopic("original"), kgo.ProducerLinger(0))...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for i := 0; c.until.Err() == nil; i++ {
		r := &kgo.Record{Partition: int32(i % 3), Value: []byte("fed")}
		if err := cl.ProduceSync(c.ctx, r).FirstErr(); err != nil {
			return fmt.Errorf("feeding: %w", err)
		}
	}
	return nil
}

// administer commits for a group without members, always a few partitions and always
// something later.
func (c *committing) administer(group string) {
	b := c.book(group)
	c.run(func() error {
		cl, err := kgo.NewClient(c.options(kgo.MaxVersions(namesOnly()))...)
		if err != nil {
			return err
		}
		defer cl.Close()
		for offset := int64(0); c.until.Err() == nil; offset++ {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group = group
			topic := kmsg.NewOffsetCommitRequestTopic()
			topic.Topic = "original"
			for p := range int32(3) {
				if offset%3 != int64(p) {
					partition := kmsg.NewOffsetCommitRequestTopicPartition()
					partition.Partition, partition.Offset, partition.LeaderEpoch = p, offset, int32(offset%1000)
					topic.Partitions = append(topic.Partitions, partition)
				}
			}
			req.Topics = append(req.Topics, topic)
			if err := b.sending(req); err != nil {
				return err
			}
			resp, err := req.RequestWith(c.ctx, cl)
			if err != nil {
				time.Sleep(5 * time.Millisecond)
				continue // the node was not there
			}
			if err := b.answered(req, resp); err != nil {
				return err
			}
		}
		return nil
	})
}

// members has two members commit for a group, each in one session after the other. A
// member may be told that it is none any more.
func (c *committing) members(group string, rnd *rand.Rand, each func(member int) kgo.Opt, more ...kgo.Opt) {
	b := c.book(group)
	for m := range 2 {
		opts := c.member(group, append(more, each(m), kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll())...)
		c.sessions(rnd, func(turns int) error {
			cl, err := kgo.NewClient(opts...)
			if err != nil {
				return err
			}
			defer cl.CloseAllowingRebalance()
			for range turns {
				fetches := cl.PollRecords(c.until, 5)
				offsets := map[string]map[int32]kgo.EpochOffset{"original": {}}
				fetches.EachRecord(func(r *kgo.Record) {
					offsets[r.Topic][r.Partition] = kgo.EpochOffset{Epoch: r.LeaderEpoch, Offset: r.Offset + 1}
				})
				var told error
				if len(offsets["original"]) > 0 {
					cl.CommitOffsetsSync(kgo.PreCommitFnContext(c.ctx, b.sending), offsets,
						func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
							if err == nil {
								told = b.answered(req, resp)
							}
						})
				}
				cl.AllowRebalance()
				if told != nil || c.until.Err() != nil {
					return told
				}
			}
			return nil
		})
	}
}

// transacting has two members copy what they read, and commit in transactions.
func (c *committing) transacting(group string, rnd *rand.Rand, more ...kgo.Opt) {
	b := c.book(group)
	for m := range 2 {
		opts := c.member(group, append(more, kgo.TransactionalID(fmt.Sprint(group, "-", m)), kgo.TransactionTimeout(20*time.Second),
			kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DefaultProduceTopic("copy"), kgo.AllowAutoTopicCreation())...)
		c.sessions(rnd, func(turns int) error {
			s, err := kgo.NewGroupTransactSession(opts...)
			if err != nil {
				return err
			}
			defer s.Close()
			// What the session before has left open would keep its own offsets from being read.
			if _, _, err := s.Client().ProducerID(c.until); err != nil {
				return nil
			}
			for range turns {
				fetches := s.PollRecords(c.until, 5)
				if c.until.Err() != nil {
					return nil
				}
				if err := s.Begin(); err != nil {
					return nil // the session is no more
				}
				fetches.EachRecord(func(r *kgo.Record) { s.Produce(c.ctx, &kgo.Record{Partition: r.Partition, Value: r.Value}, nil) })
				var sent *kmsg.TxnOffsetCommitRequest
				committed, err := s.End(kgo.PreTxnCommitFnContext(c.ctx, func(req *kmsg.TxnOffsetCommitRequest) error {
					sent = req
					return b.sendingInTransaction(req)
				}), kgo.TryCommit)
				if sent != nil {
					if told := b.ended(sent, committed, err); told != nil {
						return told
					}
				}
				if err != nil {
					return nil // another session will find out
				}
			}
			return nil
		})
	}
}

// sessions has somebody work in sessions of so many turns.
func (c *committing) sessions(rnd *rand.Rand, session func(turns int) error) {
	mine := rand.New(rand.NewPCG(rnd.Uint64(), 0))
	c.run(func() error {
		for c.until.Err() == nil {
			if err := session(20 + mine.IntN(200)); err != nil {
				return err
			}
		}
		return nil
	})
}

// check reads what is committed, of every group.
func (c *committing) check(t *testing.T, reader *kgo.Client) {
	t.Helper()
	for _, b := range c.books {
		if err := b.check(c.ctx, reader); err != nil {
			t.Fatal(err)
		}
	}
}

// awaitCommits waits until more commits of every group were acknowledged, and checks meanwhile.
func (c *committing) awaitCommits(t *testing.T, reader *kgo.Client, more int) {
	t.Helper()
	want := map[*book]int{}
	for _, b := range c.books {
		want[b] = b.acknowledged() + more
	}
	for len(want) > 0 {
		c.check(t, reader)
		for b, n := range want {
			if b.acknowledged() >= n {
				delete(want, b)
			}
		}
		select {
		case err := <-c.done:
			t.Fatalf("somebody has ended early: %v", err)
		case <-time.After(5 * time.Millisecond):
		}
		if c.ctx.Err() != nil {
			for b := range want {
				t.Errorf("%s: no commit is acknowledged any more: %v", b.group, b)
			}
			t.FailNow()
		}
	}
}

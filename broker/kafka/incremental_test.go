package kafka

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// sessionClient is a client that fetches from topic t in a session. It remembers
// what it was last told of each partition.
type sessionClient struct {
	*wire
	id, epoch int32
	told      map[int32]int64 // high watermark by partition
}

func newSessionClient(w *wire) *sessionClient {
	return &sessionClient{wire: w, told: make(map[int32]int64)}
}

// fetch sends what changed and returns the partitions in the answer.
func (c *sessionClient) fetch(version int16, ask map[int32]int64, forget ...int32) (*kmsg.FetchResponse, []int32) {
	c.t.Helper()
	req := at(kmsg.NewPtrFetchRequest(), version)
	req.MaxBytes, req.MaxWaitMillis = 1<<20, 0
	req.SessionID, req.SessionEpoch = c.id, c.epoch
	if len(ask) > 0 {
		t := kmsg.NewFetchRequestTopic()
		t.Topic = "t"
		for _, n := range slices.Sorted(maps.Keys(ask)) {
			p := kmsg.NewFetchRequestTopicPartition()
			p.Partition, p.FetchOffset, p.PartitionMaxBytes = n, ask[n], 1<<20
			t.Partitions = append(t.Partitions, p)
		}
		req.Topics = append(req.Topics, t)
	}
	if len(forget) > 0 {
		t := kmsg.NewFetchRequestForgottenTopic()
		t.Topic, t.Partitions = "t", forget
		req.ForgottenTopics = append(req.ForgottenTopics, t)
	}
	resp := wireAsk[*kmsg.FetchResponse](c.wire, req)
	if resp.ErrorCode != 0 {
		return resp, nil
	}
	c.id = resp.SessionID
	if c.id != 0 {
		c.epoch++
	}
	var named []int32
	for _, p := range partitionsRead(resp) {
		named = append(named, p.Partition)
		c.told[p.Partition] = p.HighWatermark
	}
	return resp, named
}

// wireAsk is ask, which a method's parameter hides.
func wireAsk[R kmsg.Response](w *wire, req kmsg.Request) R { return ask[R](w, req) }

func mustName(t *testing.T, what string, got []int32, want ...int32) {
	t.Helper()
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("%s: partitions %v, want %v", what, got, want)
	}
}

func TestAnIncrementalFetchIsAnsweredWithNewsOnly(t *testing.T) {
	for _, v := range []int16{7, 11, 12} {
		t.Run(fmt.Sprint("v", v), func(t *testing.T) {
			f := newFake()
			f.add("t", 4)
			c := newSessionClient(to(t, f))
			_, got := c.fetch(v, map[int32]int64{0: 0, 1: 0, 2: 0})
			mustName(t, "a new session", got, 0, 1, 2)
			if c.id == 0 {
				t.Fatal("there is no session")
			}
			_, got = c.fetch(v, nil)
			mustName(t, "no news", got)
			f.produce("t", 1, 5)
			resp, got := c.fetch(v, nil)
			mustName(t, "news of one", got, 1)
			if p := partitionsRead(resp)[0]; p.HighWatermark != 5 || len(p.RecordBatches) == 0 {
				t.Errorf("it is %+v", p)
			}
			_, got = c.fetch(v, nil)
			mustName(t, "the same records again, as the client has not moved on", got, 1)
			_, got = c.fetch(v, map[int32]int64{1: 5})
			mustName(t, "it has moved on", got)
			_, got = c.fetch(v, map[int32]int64{3: 0}, 0, 1)
			mustName(t, "one more, which was never told of", got, 3)
			f.produce("t", 0, 1)
			f.produce("t", 1, 1)
			_, got = c.fetch(v, nil)
			mustName(t, "news of those forgotten", got)
			f.topics["t"].logs[2].start, f.topics["t"].logs[2].end = 7, 7
			_, got = c.fetch(v, nil)
			mustName(t, "an error", got, 2)
			_, got = c.fetch(v, nil)
			mustName(t, "the error again", got, 2)
			_, got = c.fetch(v, map[int32]int64{2: 7})
			mustName(t, "the end of the error", got, 2)
			_, got = c.fetch(v, map[int32]int64{2: 7})
			mustName(t, "no news behind the error", got)
		})
	}
}

func TestAWrongSessionOrEpochIsRefused(t *testing.T) {
	f := newFake()
	f.add("t", 2)
	c := newSessionClient(to(t, f))
	c.fetch(12, map[int32]int64{0: 0})
	right := *c
	for name, w := range map[string]struct {
		id, epoch int32
		want      *kerr.Error
	}{
		"an old epoch":        {right.id, 2, kerr.InvalidFetchSessionEpoch},
		"an epoch to come":    {right.id, 99, kerr.InvalidFetchSessionEpoch},
		"the highest epoch":   {right.id, math.MaxInt32, kerr.InvalidFetchSessionEpoch},
		"an unknown session":  {right.id + 1, 1, kerr.FetchSessionIDNotFound},
		"no session":          {0, 1, kerr.FetchSessionIDNotFound},
		"the highest session": {math.MaxInt32, 1, kerr.FetchSessionIDNotFound},
	} {
		c.id, c.epoch = w.id, w.epoch
		if resp, _ := c.fetch(12, nil); resp.ErrorCode != w.want.Code || len(resp.Topics) > 0 {
			t.Errorf("%s: error %d", name, resp.ErrorCode)
		}
	}
	*c = right
	if resp, _ := c.fetch(12, nil); resp.ErrorCode != 0 || resp.SessionID != right.id {
		t.Errorf("the session is gone: error %d", resp.ErrorCode)
	}
	if resp, _ := c.fetch(13, nil); resp.ErrorCode != kerr.FetchSessionTopicIDError.Code {
		t.Errorf("names, then ids: error %d", resp.ErrorCode)
	}
}

func TestASessionIsClosedOrReplacedWhereTheClientSaysSo(t *testing.T) {
	f := newFake()
	f.add("t", 2)
	s := serverOf(t, f, Limits{}, Events{})
	c := newSessionClient(connect(t, context.Background(), s))
	c.fetch(12, map[int32]int64{0: 0})
	first := c.id
	c.epoch = 0
	c.fetch(12, map[int32]int64{0: 0, 1: 0})
	if c.id == first || c.id == 0 || len(s.sessions.sessions) != 1 || s.sessions.partitions != 2 {
		t.Errorf("session %d follows %d, there are %d with %d partitions", c.id, first, len(s.sessions.sessions), s.sessions.partitions)
	}
	c.epoch = -1
	resp, got := c.fetch(12, map[int32]int64{1: 0})
	mustName(t, "the last fetch", got, 1)
	if resp.SessionID != 0 || len(s.sessions.sessions) != 0 || s.sessions.partitions != 0 {
		t.Errorf("session %d, there are %d", resp.SessionID, len(s.sessions.sessions))
	}
	c.epoch = 0
	c.fetch(12, map[int32]int64{0: 0})
	if _, got := c.fetch(12, nil, 0); len(got) > 0 || c.id != 0 || len(s.sessions.sessions) != 0 {
		t.Errorf("all partitions are forgotten, session %d stays", c.id)
	}
}

func TestEvictionOfAFetchSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 10)
		s := serverOf(t, f, Limits{MaxFetchSessions: 2, IdleTimeout: time.Hour}, Events{})
		clients := make([]*sessionClient, 4)
		for i := range clients {
			w := connect(t, context.Background(), s)
			w.nc.SetDeadline(time.Time{})
			clients[i] = newSessionClient(w)
		}
		a, b, c, d := clients[0], clients[1], clients[2], clients[3]
		one, three := map[int32]int64{0: 0}, map[int32]int64{0: 0, 1: 0, 2: 0}
		a.fetch(12, one)
		b.fetch(12, three)
		if c.fetch(12, three); c.id != 0 {
			t.Error("there is a third session, while both are young")
		}
		time.Sleep(2*time.Minute + time.Second)
		a.fetch(12, nil) // in use
		b.fetch(12, nil)
		if c.fetch(12, one); c.id != 0 {
			t.Error("a session gave way to one that is not larger")
		}
		if c.fetch(12, three); c.id == 0 {
			t.Error("an old and smaller session did not give way")
		}
		if resp, _ := a.fetch(12, nil); resp.ErrorCode != kerr.FetchSessionIDNotFound.Code {
			t.Errorf("the smaller session is still there: error %d", resp.ErrorCode)
		}
		if resp, _ := b.fetch(12, nil); resp.ErrorCode != 0 {
			t.Errorf("the larger session is gone: error %d", resp.ErrorCode)
		}
		time.Sleep(2*time.Minute + time.Second)
		b.fetch(12, nil)
		if d.fetch(12, one); d.id == 0 {
			t.Error("an unused session did not give way to a smaller one")
		}
		if resp, _ := c.fetch(12, nil); resp.ErrorCode != kerr.FetchSessionIDNotFound.Code {
			t.Errorf("the unused session is still there: error %d", resp.ErrorCode)
		}
		for _, x := range clients {
			x.nc.Close()
			x.end()
		}
	})
}

func TestPartitionsOfAllSessionsAreLimited(t *testing.T) {
	f := newFake()
	f.add("t", 10)
	s := serverOf(t, f, Limits{MaxFetchSessionPartitions: 4}, Events{})
	a, b := newSessionClient(connect(t, context.Background(), s)), newSessionClient(connect(t, context.Background(), s))
	if _, got := a.fetch(12, map[int32]int64{0: 0, 1: 0, 2: 0, 3: 0, 4: 0}); a.id != 0 || len(got) != 5 {
		t.Errorf("session %d remembers more than the limit; %d partitions", a.id, len(got))
	}
	a.fetch(12, map[int32]int64{0: 0, 1: 0, 2: 0})
	if b.fetch(12, map[int32]int64{0: 0, 1: 0}); a.id == 0 || b.id != 0 {
		t.Errorf("sessions %d and %d", a.id, b.id)
	}
	b.fetch(12, map[int32]int64{0: 0})
	if resp, _ := a.fetch(12, map[int32]int64{5: 0}); resp.ErrorCode != kerr.FetchSessionIDNotFound.Code {
		t.Errorf("a session that grows beyond the limit: error %d", resp.ErrorCode)
	}
	if s.sessions.partitions != 1 || len(s.sessions.sessions) != 1 {
		t.Errorf("%d partitions in %d sessions", s.sessions.partitions, len(s.sessions.sessions))
	}
}

func TestTheEpochBeginsAgainBehindTheHighest(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	s := serverOf(t, f, Limits{}, Events{})
	c := newSessionClient(connect(t, context.Background(), s))
	c.fetch(12, map[int32]int64{0: 0})
	s.sessions.mu.Lock()
	s.sessions.sessions[c.id].epoch = math.MaxInt32
	s.sessions.mu.Unlock()
	c.epoch = math.MaxInt32
	c.fetch(12, nil)
	c.epoch = 1
	if resp, _ := c.fetch(12, nil); resp.ErrorCode != 0 {
		t.Errorf("error %d", resp.ErrorCode)
	}
}

// With room for one batch per answer, each partition has its turn.
func TestNoPartitionOfASessionStarves(t *testing.T) {
	f := newFake()
	f.add("t", 5)
	for p := range int32(5) {
		f.produce("t", p, 10)
	}
	s := serverOf(t, f, Limits{MaxFetchBytes: 1}, Events{})
	c := newSessionClient(connect(t, context.Background(), s))
	ask := map[int32]int64{0: 0, 1: 0, 2: 0, 3: 0, 4: 0}
	var order []int32
	for range 10 {
		resp, _ := c.fetch(12, ask)
		ask = nil
		for _, p := range partitionsRead(resp) {
			if len(p.RecordBatches) > 0 {
				order = append(order, p.Partition)
			}
		}
	}
	if want := []int32{0, 1, 2, 3, 4, 0, 1, 2, 3, 4}; !slices.Equal(order, want) {
		t.Errorf("read in the order %v, want %v", order, want)
	}
}

// Whatever is produced, added and forgotten: what a client was told in its session
// is what a client without one is told, and nothing comes twice.
func TestASessionTellsWhatAFullFetchTells(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	const partitions = 8
	for range 30 {
		f := newFake()
		f.add("t", partitions)
		s := serverOf(t, f, Limits{}, Events{})
		c := newSessionClient(connect(t, context.Background(), s))
		mine := make(map[int32]int64) // next offset by partition
		for range 40 {
			change := make(map[int32]int64)
			var forget []int32
			for p := range int32(partitions) {
				_, have := mine[p]
				switch {
				case r.IntN(4) == 0:
					f.produce("t", p, 1+r.IntN(3))
				case !have && r.IntN(3) == 0:
					mine[p], change[p] = 0, 0
				case have && r.IntN(10) == 0 && len(mine) > 1:
					delete(mine, p)
					delete(c.told, p)
					forget = append(forget, p)
				}
			}
			before := maps.Clone(c.told)
			if c.id == 0 {
				change, forget, before, c.epoch = mine, nil, nil, 0
			}
			if len(mine) == 0 {
				continue
			}
			for p, next := range mine {
				if known, ok := c.told[p]; ok && next < known {
					mine[p], change[p] = known, known // what was read
				}
			}
			resp, named := c.fetch(12, change, forget...)
			if resp.ErrorCode != 0 {
				t.Fatalf("error %d", resp.ErrorCode)
			}
			for p := range mine {
				end := f.topics["t"].logs[p].end
				if c.told[p] != end {
					t.Fatalf("partition %d ends at %d, the client believes %d", p, end, c.told[p])
				}
				if known, ok := before[p]; ok && known == end && slices.Contains(named, p) {
					t.Fatalf("partition %d came without news", p)
				}
			}
			for _, p := range named {
				if _, ok := mine[p]; !ok {
					t.Fatalf("partition %d came and is not asked for", p)
				}
			}
		}
		c.nc.Close()
	}
}

func TestBoundsThatMoveAreNewsWithoutRecords(t *testing.T) {
	f := newFake()
	f.add("t", 2)
	s := serverOf(t, f, Limits{MaxFetchBytes: 1}, Events{})
	c := newSessionClient(connect(t, context.Background(), s))
	f.produce("t", 0, 5) // takes all room there is
	c.fetch(12, map[int32]int64{0: 0, 1: 0})
	c.fetch(12, map[int32]int64{0: 0})
	f.produce("t", 1, 5)
	c.fetch(12, map[int32]int64{1: 5})
	if c.told[1] != 5 {
		t.Errorf("partition 1 ends at %d", c.told[1])
	}
	f.topics["t"].logs[1].start = 3
	_, got := c.fetch(12, map[int32]int64{0: 5})
	mustName(t, "a new start", got, 1)
	_, got = c.fetch(12, nil)
	mustName(t, "nothing", got)
}

func TestASessionUsedByTwoAnswersTheLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		s := serverOf(t, f, Limits{}, Events{})
		a := newSessionClient(connect(t, context.Background(), s))
		a.fetch(12, map[int32]int64{0: 0})
		waiting := at(kmsg.NewPtrFetchRequest(), 12)
		waiting.SessionID, waiting.SessionEpoch, waiting.MinBytes, waiting.MaxWaitMillis = a.id, 1, 1, 5000
		id := a.send(waiting)
		synctest.Wait()
		b := &sessionClient{wire: connect(t, context.Background(), s), id: a.id, epoch: 2, told: make(map[int32]int64)}
		if resp, _ := b.fetch(12, nil); resp.ErrorCode != 0 {
			t.Errorf("the later: error %d", resp.ErrorCode)
		}
		if resp := a.receive(waiting, id).(*kmsg.FetchResponse); resp.ErrorCode != kerr.InvalidFetchSessionEpoch.Code {
			t.Errorf("the earlier: error %d", resp.ErrorCode)
		}
		for _, x := range []*sessionClient{a, b} {
			x.nc.Close()
			x.end()
		}
	})
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/quota"
)

// throttled runs a test in virtual time, against a server where the client "wire" has
// some quotas.
func throttled(t *testing.T, values quota.Values, test func(t *testing.T, f *fake, srv *Server, w *wire)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		f.shares = f.shares.With(quota.Entity{User: quota.Of("ANONYMOUS"), Client: quota.Of("wire")}, values)
		srv := serverOf(t, f, Limits{}, Events{})
		w := connect(t, context.Background(), srv)
		w.nc.SetDeadline(time.Time{})
		test(t, f, srv, w)
		w.nc.Close()
		w.end()
	})
}

func throttledProduce(records int, acks int16) *kmsg.ProduceRequest {
	req := at(kmsg.NewPtrProduceRequest(), 9)
	req.Acks = acks
	req.Topics = []kmsg.ProduceRequestTopic{{Topic: "t", Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batchOf(records)}}}}
	return req
}

// TestAProducerOverItsQuotaIsAnsweredAtOnceAndThenNotHeard: KIP-219.
func TestAProducerOverItsQuotaIsAnsweredAtOnceAndThenNotHeard(t *testing.T) {
	throttled(t, quota.Values{quota.ProducerByteRate: 100}, func(t *testing.T, f *fake, srv *Server, w *wire) {
		began := time.Now()
		resp := ask[*kmsg.ProduceResponse](w, throttledProduce(500, -1))
		if resp.ThrottleMillis <= 0 || resp.Topics[0].Partitions[0].ErrorCode != 0 {
			t.Fatalf("%+v", resp)
		}
		if late := time.Since(began); late > 0 {
			t.Errorf("the answer came after %v", late)
		}
		// Another connection of the client shares the quota, one of another client does not.
		other := connect(t, context.Background(), srv)
		other.nc.SetDeadline(time.Time{})
		if r := ask[*kmsg.ProduceResponse](other, throttledProduce(1, -1)); r.ThrottleMillis <= 0 {
			t.Error("another connection of the same client is let")
		}
		other.nc.Close()
		other.end()

		ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 9))
		if muted := time.Since(began); muted != time.Duration(resp.ThrottleMillis)*time.Millisecond {
			t.Errorf("the next request is read after %v, promised were %d ms", muted, resp.ThrottleMillis)
		}
	})
}

func TestAProducerThatWantsNoAnswerIsMutedToo(t *testing.T) {
	throttled(t, quota.Values{quota.ProducerByteRate: 100}, func(t *testing.T, f *fake, srv *Server, w *wire) {
		began := time.Now()
		w.send(throttledProduce(500, 0))
		ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 9))
		if time.Since(began) < time.Second {
			t.Error("the next request is read at once")
		}
	})
}

func throttledFetch(maxBytes int32) *kmsg.FetchRequest {
	req := at(kmsg.NewPtrFetchRequest(), 12)
	p := kmsg.NewFetchRequestTopicPartition()
	p.PartitionMaxBytes = maxBytes
	req.Topics = []kmsg.FetchRequestTopic{{Topic: "t", Partitions: []kmsg.FetchRequestTopicPartition{p}}}
	req.MaxBytes = maxBytes
	return req
}

func TestAConsumerOverItsQuotaGetsNothingUntilItHasWaited(t *testing.T) {
	throttled(t, quota.Values{quota.ConsumerByteRate: 1000}, func(t *testing.T, f *fake, srv *Server, w *wire) {
		for range 100 {
			f.produce("t", 0, 20)
		}
		began, got := time.Now(), 0
		empty := 0
		for time.Since(began) < 2*time.Minute {
			at := time.Now()
			resp := ask[*kmsg.FetchResponse](w, throttledFetch(3000))
			if time.Since(at) > time.Minute {
				t.Fatal("an answer is late")
			}
			if len(resp.Topics) == 0 {
				if empty++; resp.ThrottleMillis == 0 {
					t.Fatal("nothing comes, and no time to wait is told")
				}
				continue
			}
			got += len(resp.Topics[0].Partitions[0].RecordBatches)
		}
		if rate := float64(got) / time.Since(began).Seconds(); rate > 1100 || rate < 700 || empty == 0 {
			t.Errorf("%.0f bytes a second, %d answers are empty", rate, empty)
		}
	})
}

func TestARecordLargerThanTheQuotaIsFetchedAllTheSame(t *testing.T) {
	throttled(t, quota.Values{quota.ConsumerByteRate: 10}, func(t *testing.T, f *fake, srv *Server, w *wire) {
		f.produce("t", 0, 100)
		resp := ask[*kmsg.FetchResponse](w, throttledFetch(math.MaxInt32))
		if len(resp.Topics) != 1 || len(resp.Topics[0].Partitions[0].RecordBatches) == 0 || resp.ThrottleMillis == 0 {
			t.Fatalf("%+v", resp)
		}
	})
}

func TestChangesOfTopicsOverTheQuotaAreRefusedAndOldClientsWait(t *testing.T) {
	throttled(t, quota.Values{quota.ControllerMutationRate: 1}, func(t *testing.T, f *fake, srv *Server, w *wire) {
		create := func(v int16, name string, partitions int32) (int16, int32) {
			req := at(kmsg.NewPtrCreateTopicsRequest(), v)
			topic := kmsg.NewCreateTopicsRequestTopic()
			topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, partitions, 1
			req.Topics = append(req.Topics, topic)
			resp := ask[*kmsg.CreateTopicsResponse](w, req)
			return resp.Topics[0].ErrorCode, resp.ThrottleMillis
		}
		if code, wait := create(7, "a", 20); code != 0 || wait != 0 {
			t.Errorf("the first: error %d, wait %d", code, wait)
		}
		exceeded := kerr.ThrottlingQuotaExceeded.Code
		if code, wait := create(7, "b", 1); code != exceeded || wait != 9000 {
			t.Errorf("too early: error %d, wait %d", code, wait)
		}
		grow := at(kmsg.NewPtrCreatePartitionsRequest(), 3)
		grow.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 15}}
		if r := ask[*kmsg.CreatePartitionsResponse](w, grow); r.Topics[0].ErrorCode != 0 {
			t.Errorf("after the wait: %+v", r)
		}
		remove := at(kmsg.NewPtrDeleteTopicsRequest(), 6)
		remove.Topics = []kmsg.DeleteTopicsRequestTopic{{Topic: s("t")}}
		if r := ask[*kmsg.DeleteTopicsResponse](w, remove); r.Topics[0].ErrorCode != exceeded {
			t.Errorf("deleting too early: %+v", r)
		}
		began := time.Now()
		if code, wait := create(5, "c", 3); code != 0 || wait == 0 {
			t.Errorf("an old client: error %d, wait %d", code, wait)
		}
		ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 9))
		if time.Since(began) < time.Second {
			t.Error("an old client does not wait")
		}
	})
}

func TestATopicThatIsCreatedByAskingForItCountsAsAChange(t *testing.T) {
	throttled(t, quota.Values{quota.ControllerMutationRate: 1}, func(t *testing.T, f *fake, srv *Server, w *wire) {
		f.auto = true
		for n := range 13 {
			req := at(kmsg.NewPtrMetadataRequest(), 9)
			req.AllowAutoTopicCreation = true
			req.Topics = []kmsg.MetadataRequestTopic{{Topic: s(fmt.Sprint("auto", n))}}
			// As many as the windows hold, and then one behind which the client waits.
			if r := ask[*kmsg.MetadataResponse](w, req); (r.ThrottleMillis > 0) != (n >= 11) {
				t.Errorf("topic %d: wait %d", n, r.ThrottleMillis)
			}
		}
	})
}

func TestConnectionsOverTheQuotaAreHeldAndClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.shares = f.shares.With(quota.Entity{IP: quota.Everybody()}, quota.Values{quota.ConnectionCreationRate: 1})
		rec := &recorded{}
		srv := serverOf(t, f, Limits{}, rec.events())
		var open []*wire
		for range 11 {
			open = append(open, connect(t, context.Background(), srv))
			synctest.Wait() // so that they come one after the other
		}
		began := time.Now()
		if err := open[10].end(); !errors.Is(err, ErrTooManyConnections) || time.Since(began) != time.Second {
			t.Errorf("the eleventh: %v after %v", err, time.Since(began))
		}
		if rec.connected != 10 {
			t.Errorf("%d are served", rec.connected)
		}
		for _, w := range open[:10] {
			ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 9))
			w.nc.Close()
			w.end()
		}
	})
}

func TestAMutedConnectionEndsWithItsServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1)
		f.shares = f.shares.With(quota.Entity{User: quota.Everybody()}, quota.Values{quota.ProducerByteRate: 1})
		ctx, stop := context.WithCancel(context.Background())
		w := connect(t, ctx, serverOf(t, f, Limits{}, Events{}))
		ask[*kmsg.ProduceResponse](w, throttledProduce(10, -1))
		w.send(at(kmsg.NewPtrMetadataRequest(), 9))
		began := time.Now()
		stop()
		w.end()
		if time.Since(began) > 0 {
			t.Errorf("it ended after %v", time.Since(began))
		}
	})
}

func TestTheTimeOfRequestsCounts(t *testing.T) {
	throttled(t, quota.Values{quota.RequestPercentage: 1e-9}, func(t *testing.T, f *fake, srv *Server, w *wire) {
		// In a bubble time stands still while anything works: so the time is given.
		c := &call{Server: srv, conn: &conn{}, client: Client{ID: "wire", Principal: "User:ANONYMOUS"}}
		if c.worked(0); c.wait != 0 {
			t.Errorf("no work: %v", c.wait)
		}
		if c.worked(time.Millisecond); c.wait != time.Second {
			t.Errorf("a millisecond: %v", c.wait)
		}
	})
}

func TestQuotasAreReadAndChanged(t *testing.T) {
	f := newFake()
	w := to(t, f)
	entity := func(parts ...string) (e []kmsg.AlterClientQuotasRequestEntryEntity) {
		for i := 0; i < len(parts); i += 2 {
			c := kmsg.AlterClientQuotasRequestEntryEntity{Type: parts[i]}
			if parts[i+1] != "" {
				c.Name = &parts[i+1]
			}
			e = append(e, c)
		}
		return e
	}
	alter := func(e []kmsg.AlterClientQuotasRequestEntryEntity, key string, value float64, remove bool) int16 {
		req := at(kmsg.NewPtrAlterClientQuotasRequest(), 1)
		req.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: e, Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value, Remove: remove}}}}
		return ask[*kmsg.AlterClientQuotasResponse](w, req).Entries[0].ErrorCode
	}
	invalid := kerr.InvalidRequest.Code
	for _, c := range []struct {
		entity []kmsg.AlterClientQuotasRequestEntryEntity
		key    string
		value  float64
		want   int16
	}{
		{entity("user", "u"), "producer_byte_rate", 1000, 0},
		{entity("user", "u", "client-id", ""), "consumer_byte_rate", 2000, 0},
		{entity("client-id", "c"), "request_percentage", 12.5, 0},
		{entity("ip", "::1"), "connection_creation_rate", 5, 0},
		{entity("user", "u"), "leader.replication.throttled.rate", 5, invalid},
		{entity("user", "u"), "producer_byte_rate", -5, invalid},
		{entity("user", "u"), "connection_creation_rate", 5, invalid},
		{entity("user", "u", "user", "v"), "producer_byte_rate", 5, invalid},
		{entity("group", "u"), "producer_byte_rate", 5, invalid},
		{nil, "producer_byte_rate", 5, invalid},
	} {
		if got := alter(c.entity, c.key, c.value, false); got != c.want {
			t.Errorf("%+v %s=%v: error %d, want %d", c.entity, c.key, c.value, got, c.want)
		}
	}
	describe := func(strict bool, cs ...kmsg.DescribeClientQuotasRequestComponent) *kmsg.DescribeClientQuotasResponse {
		req := at(kmsg.NewPtrDescribeClientQuotasRequest(), 1)
		req.Strict, req.Components = strict, cs
		return ask[*kmsg.DescribeClientQuotasResponse](w, req)
	}
	u, c := "u", "c"
	exactly := kmsg.DescribeClientQuotasRequestComponent{EntityType: "user", MatchType: kmsg.QuotasMatchTypeExact, Match: &u}
	for name, x := range map[string]struct {
		got  *kmsg.DescribeClientQuotasResponse
		want int
	}{
		"all":                  {describe(false), 4},
		"a user":               {describe(false, exactly), 2},
		"a user alone":         {describe(true, exactly), 1},
		"any client id":        {describe(false, kmsg.DescribeClientQuotasRequestComponent{EntityType: "client-id", MatchType: kmsg.QuotasMatchTypeAny}), 2},
		"the default client":   {describe(false, kmsg.DescribeClientQuotasRequestComponent{EntityType: "client-id", MatchType: kmsg.QuotasMatchTypeDefault}), 1},
		"a client alone":       {describe(true, kmsg.DescribeClientQuotasRequestComponent{EntityType: "client-id", MatchType: kmsg.QuotasMatchTypeExact, Match: &c}), 1},
		"any address":          {describe(false, kmsg.DescribeClientQuotasRequestComponent{EntityType: "ip", MatchType: kmsg.QuotasMatchTypeAny}), 1},
		"nobody at all":        {describe(true), 0},
		"a user, who is not":   {describe(false, kmsg.DescribeClientQuotasRequestComponent{EntityType: "user", MatchType: kmsg.QuotasMatchTypeExact, Match: &c}), 0},
		"the default of users": {describe(false, kmsg.DescribeClientQuotasRequestComponent{EntityType: "user", MatchType: kmsg.QuotasMatchTypeDefault}), 0},
	} {
		if x.got.ErrorCode != 0 || len(x.got.Entries) != x.want {
			t.Errorf("%s: %+v", name, x.got)
		}
	}
	for name, got := range map[string]*kmsg.DescribeClientQuotasResponse{
		"twice":            describe(false, exactly, exactly),
		"a user at an ip":  describe(false, exactly, kmsg.DescribeClientQuotasRequestComponent{EntityType: "ip", MatchType: kmsg.QuotasMatchTypeAny}),
		"a name for any":   describe(false, kmsg.DescribeClientQuotasRequestComponent{EntityType: "user", MatchType: kmsg.QuotasMatchTypeAny, Match: &u}),
		"no name":          describe(false, kmsg.DescribeClientQuotasRequestComponent{EntityType: "user"}),
		"an unknown match": describe(false, kmsg.DescribeClientQuotasRequestComponent{EntityType: "user", MatchType: 7}),
	} {
		if got.ErrorCode != invalid || got.ErrorMessage == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if code := alter(entity("client-id", "c"), "request_percentage", 0, true); code != 0 || len(f.shares) != 3 {
		t.Errorf("removing: error %d, %d are left", code, len(f.shares))
	}
}

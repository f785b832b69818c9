package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// newTopics is a request to create topics with one partition each.
func newTopics(version int16, names ...string) *kmsg.CreateTopicsRequest {
	req := at(kmsg.NewPtrCreateTopicsRequest(), version)
	for _, n := range names {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = n, 1, 1
		req.Topics = append(req.Topics, t)
	}
	return req
}

func TestEachTopicIsCreatedOrRefusedOnItsOwn(t *testing.T) {
	for v := int16(2); v <= 7; v++ {
		f := newFake()
		f.add("old", 1)
		w := to(t, f)
		req := newTopics(v, "twice", "new", "old", "twice", "assigned", "assigned badly", "set", "set twice")
		assign := func(i int, n int32, partitions ...int32) {
			req.Topics[i].NumPartitions, req.Topics[i].ReplicationFactor = n, int16(n)
			for _, p := range partitions {
				a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
				a.Partition, a.Replicas = p, []int32{1}
				req.Topics[i].ReplicaAssignment = append(req.Topics[i].ReplicaAssignment, a)
			}
		}
		set := func(i int, names ...string) {
			for _, n := range names {
				s := kmsg.NewCreateTopicsRequestTopicConfig()
				s.Name, s.Value = n, kmsg.StringPtr("1")
				req.Topics[i].Configs = append(req.Topics[i].Configs, s)
			}
		}
		assign(4, -1, 0, 1)
		assign(5, -1, 0, 0)
		set(6, "a", "b")
		set(7, "a", "a")
		resp := ask[*kmsg.CreateTopicsResponse](w, req)
		want := []int16{
			kerr.InvalidRequest.Code, 0, kerr.TopicAlreadyExists.Code, kerr.InvalidRequest.Code,
			0, kerr.InvalidReplicaAssignment.Code, 0, 0,
		}
		// Who is named twice is answered once.
		req.Topics, want = slices.Delete(req.Topics, 3, 4), slices.Delete(want, 3, 4)
		if len(resp.Topics) != len(want) {
			t.Fatalf("v%d: %d topics", v, len(resp.Topics))
		}
		for i, r := range resp.Topics {
			if r.Topic != req.Topics[i].Topic || r.ErrorCode != want[i] || (r.ErrorCode == 0) != (r.ErrorMessage == nil) {
				t.Errorf("v%d: topic %q: error %d, want %d, %v", v, r.Topic, r.ErrorCode, want[i], r.ErrorMessage)
			}
			if made := f.topics[r.Topic] != nil; made != (r.ErrorCode == 0 || r.Topic == "old") {
				t.Errorf("v%d: topic %q is there: %v", v, r.Topic, made)
			}
			if r.ErrorCode == 0 && v == 7 && r.TopicID != f.topics[r.Topic].ID {
				t.Errorf("topic %q has id %x", r.Topic, r.TopicID)
			}
			if r.ErrorCode == 0 && v >= 5 && (len(r.Configs) != 2 || r.Configs[1].Value != nil || *r.Configs[0].Value != "2") {
				t.Errorf("v%d: settings %+v", v, r.Configs)
			}
		}
		if n := len(f.topics["assigned"].Partitions); n != 2 {
			t.Errorf("the assigned topic has %d partitions", n)
		}
	}
}

func TestNumbersBesideAnAssignmentAreRefused(t *testing.T) {
	req := newTopics(7, "t")
	a := kmsg.NewCreateTopicsRequestTopicReplicaAssignment()
	a.Replicas = []int32{1}
	req.Topics[0].ReplicaAssignment = append(req.Topics[0].ReplicaAssignment, a)
	if r := ask[*kmsg.CreateTopicsResponse](to(t, newFake()), req).Topics[0]; r.ErrorCode != kerr.InvalidRequest.Code {
		t.Errorf("error %d", r.ErrorCode)
	}
}

func TestATopicThatIsOnlyValidatedIsNotCreated(t *testing.T) {
	f := newFake()
	req := newTopics(7, "t")
	req.ValidateOnly = true
	if r := ask[*kmsg.CreateTopicsResponse](to(t, f), req).Topics[0]; r.ErrorCode != 0 || len(f.topics) > 0 {
		t.Errorf("error %d, %d topics", r.ErrorCode, len(f.topics))
	}
}

func TestTopicsAreDeletedByName(t *testing.T) {
	for v := int16(1); v <= 6; v++ {
		f := newFake()
		f.add("a", 1)
		f.add("b", 1)
		req := at(kmsg.NewPtrDeleteTopicsRequest(), v)
		names := []string{"b", "a", "unknown", "b"}
		if v < 6 {
			req.TopicNames = names
		} else {
			for i := range names {
				req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: &names[i]})
			}
		}
		resp := ask[*kmsg.DeleteTopicsResponse](to(t, f), req)
		want := []int16{kerr.InvalidRequest.Code, 0, kerr.UnknownTopicOrPartition.Code, kerr.InvalidRequest.Code}
		for i, r := range resp.Topics {
			if *r.Topic != names[i] || r.ErrorCode != want[i] {
				t.Errorf("v%d: topic %q: error %d, want %d", v, *r.Topic, r.ErrorCode, want[i])
			}
		}
		if f.topics["a"] != nil || f.topics["b"] == nil {
			t.Errorf("v%d: the wrong topics are left", v)
		}
	}
}

func TestTopicsAreDeletedByID(t *testing.T) {
	f := newFake()
	a, b := f.add("a", 1).ID, f.add("b", 1).ID
	name := "b"
	req := at(kmsg.NewPtrDeleteTopicsRequest(), 6)
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: a}, {TopicID: [16]byte{9}}, {}, {Topic: &name, TopicID: b}}
	resp := ask[*kmsg.DeleteTopicsResponse](to(t, f), req)
	want := []int16{0, kerr.UnknownTopicID.Code, kerr.InvalidRequest.Code, kerr.InvalidRequest.Code}
	for i, r := range resp.Topics {
		if r.ErrorCode != want[i] {
			t.Errorf("number %d: error %d, want %d", i, r.ErrorCode, want[i])
		}
	}
	if r := resp.Topics[0]; r.TopicID != a || *r.Topic != "a" || f.topics["a"] != nil || f.topics["b"] == nil {
		t.Errorf("%+v, and %d topics are left", r, len(f.topics))
	}
}

func TestEachTopicGrowsOrIsRefusedOnItsOwn(t *testing.T) {
	f := newFake()
	f.add("a", 1)
	f.add("b", 2)
	f.add("c", 1)
	w := to(t, f)
	for v := int16(0); v <= 3; v++ {
		total := int32(3 + v)
		req := at(kmsg.NewPtrCreatePartitionsRequest(), v)
		for _, n := range []string{"a", "b", "unknown", "c", "c"} {
			topic := kmsg.NewCreatePartitionsRequestTopic()
			topic.Topic, topic.Count = n, total
			if n == "b" {
				topic.Count = 2
			}
			req.Topics = append(req.Topics, topic)
		}
		want := []int16{0, kerr.InvalidPartitions.Code, kerr.UnknownTopicOrPartition.Code, kerr.InvalidRequest.Code, kerr.InvalidRequest.Code}
		for i, r := range ask[*kmsg.CreatePartitionsResponse](w, req).Topics {
			if r.Topic != req.Topics[i].Topic || r.ErrorCode != want[i] {
				t.Errorf("v%d: topic %q: error %d, want %d", v, r.Topic, r.ErrorCode, want[i])
			}
		}
		if a, c := len(f.topics["a"].logs), len(f.topics["c"].logs); a != int(total) || c != 1 {
			t.Errorf("v%d: %d and %d partitions", v, a, c)
		}
	}
}

func TestTheAssignmentOfNewPartitionsIsPassedOn(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	req := at(kmsg.NewPtrCreatePartitionsRequest(), 3)
	topic := kmsg.NewCreatePartitionsRequestTopic()
	topic.Topic, topic.Count = "t", 3
	topic.Assignment = []kmsg.CreatePartitionsRequestTopicAssignment{{Replicas: []int32{1}}, {Replicas: []int32{2, 3}}}
	req.Topics = append(req.Topics, topic)
	ask[*kmsg.CreatePartitionsResponse](to(t, f), req)
	if len(f.assigned) != 2 || !slices.Equal(f.assigned[0], []int32{1}) || !slices.Equal(f.assigned[1], []int32{2, 3}) {
		t.Errorf("assigned %v", f.assigned)
	}
}

func TestRecordsAreDeletedUpToAnOffset(t *testing.T) {
	for v := int16(0); v <= 2; v++ {
		f := newFake()
		for p, log := range f.add("a", 4).logs {
			log.end = int64(10 + p)
		}
		req := at(kmsg.NewPtrDeleteRecordsRequest(), v)
		topic := kmsg.NewDeleteRecordsRequestTopic()
		topic.Topic = "a"
		for _, p := range []struct {
			number int32
			offset int64
		}{{0, 4}, {1, -1}, {2, 13}, {3, 1}, {3, 2}, {9, 1}} {
			d := kmsg.NewDeleteRecordsRequestTopicPartition()
			d.Partition, d.Offset = p.number, p.offset
			topic.Partitions = append(topic.Partitions, d)
		}
		req.Topics = append(req.Topics, topic)
		resp := ask[*kmsg.DeleteRecordsResponse](to(t, f), req)
		want := []struct {
			low  int64
			code int16
		}{{4, 0}, {11, 0}, {-1, kerr.OffsetOutOfRange.Code}, {-1, kerr.InvalidRequest.Code}, {-1, kerr.InvalidRequest.Code}, {-1, kerr.UnknownTopicOrPartition.Code}}
		for i, p := range resp.Topics[0].Partitions {
			if p.LowWatermark != want[i].low || p.ErrorCode != want[i].code {
				t.Errorf("v%d, partition %d: low watermark %d, error %d, want %+v", v, p.Partition, p.LowWatermark, p.ErrorCode, want[i])
			}
		}
	}
}

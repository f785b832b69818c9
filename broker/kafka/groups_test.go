package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTheCoordinatorIsFoundInEveryVersion(t *testing.T) {
	w := to(t, newFake())
	for v := int16(0); v <= 6; v++ {
		for kind, want := range map[int8]int16{
			coordinatorOfGroup: 0, coordinatorOfTransaction: 0,
			2: kerr.InvalidRequest.Code, -1: kerr.InvalidRequest.Code,
		} {
			if v == 0 && kind != coordinatorOfGroup {
				continue // it has groups only
			}
			req := at(kmsg.NewPtrFindCoordinatorRequest(), v)
			req.CoordinatorKey, req.CoordinatorKeys, req.CoordinatorType = "a", []string{"a", "b"}, kind
			resp := ask[*kmsg.FindCoordinatorResponse](w, req)
			found := resp.Coordinators
			if v < 4 {
				found = []kmsg.FindCoordinatorResponseCoordinator{{
					Key: "a", NodeID: resp.NodeID, Host: resp.Host, Port: resp.Port, ErrorCode: resp.ErrorCode, ErrorMessage: resp.ErrorMessage,
				}}
			}
			for i, c := range found {
				if c.ErrorCode != want || c.Key != req.CoordinatorKeys[i] || v >= 1 && (want == 0) != (c.ErrorMessage == nil) {
					t.Errorf("v%d, type %d: %+v", v, kind, c)
				}
				if want == 0 && (c.NodeID != 1 || c.Host != "localhost" || c.Port != 9092) || want != 0 && c.NodeID != -1 {
					t.Errorf("v%d, type %d: it is %+v", v, kind, c)
				}
			}
		}
	}
}

func TestACoordinatorWithoutAnAddressOnTheListenerIsNone(t *testing.T) {
	f := newFake()
	f.coordinator = 9
	req := at(kmsg.NewPtrFindCoordinatorRequest(), 3)
	if resp := ask[*kmsg.FindCoordinatorResponse](to(t, f), req); resp.ErrorCode != kerr.CoordinatorNotAvailable.Code || resp.NodeID != -1 {
		t.Errorf("%+v", resp)
	}
}

func TestAProducerWithoutATransactionalIDGetsAnIDOfItsOwn(t *testing.T) {
	w := to(t, newFake())
	empty := ""
	last := int64(0)
	for v := int16(0); v <= 5; v++ {
		for _, c := range []struct {
			tx    *string
			id    int64
			epoch int16
			since int16
			want  int16
		}{
			{nil, -1, -1, 0, 0},
			{nil, 5, 3, 0, 0},
			{nil, 5, -1, 3, kerr.InvalidRequest.Code},
			{nil, -1, 3, 3, kerr.InvalidRequest.Code},
			{&empty, -1, -1, 0, kerr.InvalidRequest.Code},
		} {
			if v < c.since {
				continue
			}
			req := at(kmsg.NewPtrInitProducerIDRequest(), v)
			req.TransactionalID, req.ProducerID, req.ProducerEpoch = c.tx, c.id, c.epoch
			resp := ask[*kmsg.InitProducerIDResponse](w, req)
			switch {
			case resp.ErrorCode != c.want:
				t.Errorf("v%d, %+v: error %d", v, c, resp.ErrorCode)
			case c.want != 0 && (resp.ProducerID != -1 || resp.ProducerEpoch != -1):
				t.Errorf("v%d, %+v: %+v", v, c, resp)
			case c.want == 0 && (resp.ProducerID <= last || resp.ProducerEpoch != 0):
				t.Errorf("v%d, %+v: id %d follows %d", v, c, resp.ProducerID, last)
			}
			last = max(last, resp.ProducerID)
		}
	}
}

// committing commits offset 7 of partition 1 of some topics.
func committing(version int16, group string, topics ...kmsg.OffsetCommitRequestTopic) *kmsg.OffsetCommitRequest {
	req := at(kmsg.NewPtrOffsetCommitRequest(), version)
	req.Group = group
	for _, t := range topics {
		p := kmsg.NewOffsetCommitRequestTopicPartition()
		p.Partition, p.Offset = 1, 7
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
	}
	return req
}

func TestCommittedOffsetsAreThoseOfTopicsThatExist(t *testing.T) {
	for v := int16(2); v <= 10; v++ {
		f := newFake()
		id := f.add("t", 2).ID
		w := to(t, f)
		known, unknown, want := kmsg.OffsetCommitRequestTopic{Topic: "t"}, kmsg.OffsetCommitRequestTopic{Topic: "u"}, kerr.UnknownTopicOrPartition
		if v >= 10 {
			known, unknown, want = kmsg.OffsetCommitRequestTopic{TopicID: id}, kmsg.OffsetCommitRequestTopic{TopicID: [16]byte{9}}, kerr.UnknownTopicID
		}
		resp := ask[*kmsg.OffsetCommitResponse](w, committing(v, "g", unknown, known))
		codes := make(map[string]int16)
		for _, topic := range resp.Topics {
			name := topic.Topic
			if topic.TopicID == id {
				name = "t"
			}
			codes[name] = topic.Partitions[0].ErrorCode
		}
		delete(codes, "t")
		if len(resp.Topics) != 2 || len(codes) != 1 || codes[unknown.Topic] != want.Code {
			t.Errorf("v%d: %+v", v, resp.Topics)
		}
		if got := f.offsets["g"]; len(got) != 1 || got[TopicPartition{"t", 1}].Offset != 7 {
			t.Errorf("v%d: committed %v", v, got)
		}
		only := ask[*kmsg.OffsetCommitResponse](w, committing(v, "h", unknown))
		if len(only.Topics) != 1 || only.Topics[0].Partitions[0].ErrorCode != want.Code || f.offsets["h"] != nil {
			t.Errorf("v%d: %+v", v, only)
		}
	}
}

func TestOffsetsAreFetchedByNameAndByID(t *testing.T) {
	f := newFake()
	a, b := f.add("a", 2).ID, f.add("b", 2).ID
	gone := f.add("gone", 2).ID
	w := to(t, f)
	ask[*kmsg.OffsetCommitResponse](w, committing(9, "g", kmsg.OffsetCommitRequestTopic{Topic: "a"}, kmsg.OffsetCommitRequestTopic{Topic: "gone"}))
	f.mu.Lock()
	delete(f.topics, "gone")
	f.mu.Unlock()

	for v := int16(1); v <= 7; v++ {
		req := at(kmsg.NewPtrOffsetFetchRequest(), v)
		req.Group = "g"
		req.Topics = []kmsg.OffsetFetchRequestTopic{{Topic: "a", Partitions: []int32{0, 1}}}
		ps := ask[*kmsg.OffsetFetchResponse](w, req).Topics[0].Partitions
		if ps[0].Offset != -1 || ps[1].Offset != 7 {
			t.Errorf("v%d: %+v", v, ps)
		}
	}
	req := at(kmsg.NewPtrOffsetFetchRequest(), 10)
	some, all := kmsg.NewOffsetFetchRequestGroup(), kmsg.NewOffsetFetchRequestGroup()
	some.Group, all.Group = "g", "g"
	for _, id := range [][16]byte{a, b, gone} {
		some.Topics = append(some.Topics, kmsg.OffsetFetchRequestGroupTopic{TopicID: id, Partitions: []int32{1}})
	}
	req.Groups = append(req.Groups, some, all)
	resp := ask[*kmsg.OffsetFetchResponse](w, req)
	for i, want := range []struct {
		offset int64
		code   int16
	}{{7, 0}, {-1, 0}, {-1, kerr.UnknownTopicID.Code}} {
		topic := resp.Groups[0].Topics[i]
		if p := topic.Partitions[0]; topic.TopicID != some.Topics[i].TopicID || p.Offset != want.offset || p.ErrorCode != want.code {
			t.Errorf("number %d: %+v", i, topic)
		}
	}
	// A topic that is gone has no id to be told by.
	if got := resp.Groups[1].Topics; len(got) != 1 || got[0].TopicID != a {
		t.Errorf("all: %+v", got)
	}
}

// Each of these is the Backend's to answer; here it must get there and back.
func TestRequestsOfGroupsReachTheBackend(t *testing.T) {
	f := newFake()
	w := to(t, f)
	join := at(kmsg.NewPtrJoinGroupRequest(), 9)
	join.Protocols = []kmsg.JoinGroupRequestProtocol{{Name: "range", Metadata: []byte("m")}}
	joined := ask[*kmsg.JoinGroupResponse](w, join)
	if joined.MemberID != "wire/pipe" || *joined.Protocol != "range" || !slices.Equal(joined.Members[0].ProtocolMetadata, []byte("m")) {
		t.Errorf("joined: %+v", joined)
	}
	sync := at(kmsg.NewPtrSyncGroupRequest(), 5)
	sync.GroupAssignment = []kmsg.SyncGroupRequestGroupAssignment{{MemberID: "m", MemberAssignment: []byte("a")}}
	if got := ask[*kmsg.SyncGroupResponse](w, sync); string(got.MemberAssignment) != "a" {
		t.Errorf("synced: %+v", got)
	}
	describe := at(kmsg.NewPtrDescribeGroupsRequest(), 5)
	describe.Groups = []string{"x", "y"}
	if got := ask[*kmsg.DescribeGroupsResponse](w, describe).Groups; len(got) != 2 || got[1].Group != "y" {
		t.Errorf("described: %+v", got)
	}
	f.offsets["g"] = nil
	leave := at(kmsg.NewPtrLeaveGroupRequest(), 5)
	leave.Group = "g"
	ask[*kmsg.LeaveGroupResponse](w, leave)
	if _, stays := f.offsets["g"]; stays {
		t.Error("leaving did not get there")
	}
}

package kafka

import (
	"maps"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// leaderless is a backend of three nodes, where nobody leads partition 1 of topic t.
func leaderless() *fake {
	f := newFake()
	f.add("t", 3, func(t *Topic) {
		for i := range t.Partitions {
			t.Partitions[i].Replicas, t.Partitions[i].ISR = []int32{1, 2, 3}, []int32{1, 2, 3}
		}
		t.Partitions[1].Leader, t.Partitions[1].Err = -1, kerr.LeaderNotAvailable
	})
	return f
}

func TestAnElectionIsNeededWhereNobodyLeadsAndThenItIsUnderWayAlready(t *testing.T) {
	w := to(t, leaderless())
	for v := int16(0); v <= 2; v++ {
		for kind := int8(0); kind <= 1; kind++ {
			req := at(kmsg.NewPtrElectLeadersRequest(), v)
			req.ElectionType = kind
			req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0, 1, 3, -1}}, {Topic: "u", Partitions: []int32{0}}}
			resp := ask[*kmsg.ElectLeadersResponse](w, req)
			var got []int16
			for _, rt := range resp.Topics {
				for _, p := range rt.Partitions {
					got = append(got, p.ErrorCode)
					if p.ErrorMessage == nil {
						t.Errorf("v%d: partition %d of %s has no message", v, p.Partition, rt.Topic)
					}
				}
			}
			unknown := kerr.UnknownTopicOrPartition.Code
			want := []int16{kerr.ElectionNotNeeded.Code, kerr.EligibleLeadersNotAvailable.Code, unknown, unknown, unknown}
			if resp.ErrorCode != 0 || !slices.Equal(got, want) {
				t.Errorf("v%d, type %d: error %d, of partitions %v, want %v", v, kind, resp.ErrorCode, got, want)
			}
		}
	}
}

func TestAReplicaIsInItsDirectoryAndThereIsNoOther(t *testing.T) {
	f := leaderless()
	dir, _, _ := f.LogDir()
	w := to(t, f)
	type topics = []kmsg.AlterReplicaLogDirsRequestDirTopic
	for v := int16(1); v <= 2; v++ {
		req := at(kmsg.NewPtrAlterReplicaLogDirsRequest(), v)
		req.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{
			{Dir: dir, Topics: topics{{Topic: "t", Partitions: []int32{0, 0, 1, 9}}, {Topic: "u", Partitions: []int32{0}}}},
			{Dir: "/elsewhere", Topics: topics{{Topic: "t", Partitions: []int32{2, 0}}, {Topic: "u", Partitions: []int32{1}}}},
		}
		got := make(map[TopicPartition]int16)
		for _, rt := range ask[*kmsg.AlterReplicaLogDirsResponse](w, req).Topics {
			for _, p := range rt.Partitions {
				if _, twice := got[TopicPartition{rt.Topic, p.Partition}]; twice {
					t.Errorf("v%d: %s-%d is answered twice", v, rt.Topic, p.Partition)
				}
				got[TopicPartition{rt.Topic, p.Partition}] = p.ErrorCode
			}
		}
		none, other := kerr.ReplicaNotAvailable.Code, kerr.LogDirNotFound.Code
		want := map[TopicPartition]int16{{"t", 0}: 0, {"t", 1}: none, {"t", 9}: none, {"u", 0}: none, {"t", 2}: other, {"u", 1}: other}
		if !maps.Equal(got, want) {
			t.Errorf("v%d: %v, want %v", v, got, want)
		}
	}
}

func TestAnElectionOfAllPartitionsNamesTopicsAndNoneThatNeedsNone(t *testing.T) {
	f := leaderless()
	f.add("u", 1)
	req := at(kmsg.NewPtrElectLeadersRequest(), 2)
	resp := ask[*kmsg.ElectLeadersResponse](to(t, f), req)
	if resp.ErrorCode != 0 || len(resp.Topics) != 2 {
		t.Fatalf("%+v", resp)
	}
	for _, rt := range resp.Topics {
		if len(rt.Partitions) > 0 {
			t.Errorf("%+v", rt)
		}
	}
}

func TestOnlyTheReplicasThatAPartitionHasCanBeAskedForInAnyOrder(t *testing.T) {
	w := to(t, leaderless())
	for _, c := range []struct {
		topic     string
		partition int32
		replicas  []int32
		want      *kerr.Error
	}{
		{"t", 0, []int32{1, 2, 3}, nil},
		{"t", 0, []int32{3, 1, 2}, nil},
		{"t", 1, []int32{1, 2, 3}, nil},
		{"t", 0, []int32{1, 2, 4}, kerr.InvalidReplicaAssignment},
		{"t", 0, []int32{1, 2}, kerr.InvalidReplicaAssignment},
		{"t", 0, []int32{1, 2, 3, 3}, kerr.InvalidReplicaAssignment},
		{"t", 0, []int32{}, kerr.InvalidReplicaAssignment},
		{"t", 0, []int32{-1, 2, 3}, kerr.InvalidReplicaAssignment},
		{"t", 0, nil, kerr.NoReassignmentInProgress},
		{"t", 3, nil, kerr.UnknownTopicOrPartition},
		{"t", -1, []int32{1, 2, 3}, kerr.UnknownTopicOrPartition},
		{"u", 0, []int32{1}, kerr.UnknownTopicOrPartition},
		{"", 0, []int32{1}, kerr.UnknownTopicOrPartition},
	} {
		for v := int16(0); v <= 1; v++ {
			req := at(kmsg.NewPtrAlterPartitionAssignmentsRequest(), v)
			req.AllowReplicationFactorChange = false
			req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: c.topic, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Partition: c.partition, Replicas: c.replicas}}}}
			resp := ask[*kmsg.AlterPartitionAssignmentsResponse](w, req)
			if v == 1 && resp.AllowReplicationFactorChange {
				t.Errorf("the answer says that the number of replicas may change, the request did not")
			}
			p := resp.Topics[0].Partitions[0]
			want := int16(0)
			if c.want != nil {
				want = c.want.Code
			}
			if resp.ErrorCode != 0 || p.ErrorCode != want || (p.ErrorMessage == nil) != (want == 0) || p.Partition != c.partition {
				t.Errorf("v%d, %+v: %+v", v, c, p)
			}
		}
	}
}

func TestNothingIsEverBeingReassigned(t *testing.T) {
	w := to(t, leaderless())
	req := at(kmsg.NewPtrListPartitionReassignmentsRequest(), 0)
	for _, topics := range [][]kmsg.ListPartitionReassignmentsRequestTopic{nil, {}, {{Topic: "t", Partitions: []int32{0, 9}}, {Topic: "u", Partitions: []int32{0}}}} {
		req.Topics = topics
		if resp := ask[*kmsg.ListPartitionReassignmentsResponse](w, req); resp.ErrorCode != 0 || len(resp.Topics) > 0 {
			t.Errorf("of %v: %+v", topics, resp)
		}
	}
}

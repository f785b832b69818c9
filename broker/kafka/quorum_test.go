package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestTheQuorumOfTheMetadataIsDescribedInEveryVersion(t *testing.T) {
	w := to(t, newFake())
	for v := int16(0); v <= 2; v++ {
		req := at(kmsg.NewPtrDescribeQuorumRequest(), v)
		req.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		r := ask[*kmsg.DescribeQuorumResponse](w, req)
		if r.ErrorCode != 0 || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 || (v == 2) != (len(r.Nodes) > 0) {
			t.Fatalf("v%d: %+v", v, r)
		}
		p := r.Topics[0].Partitions[0]
		if p.LeaderID != 1 || p.LeaderEpoch != 7 || p.HighWatermark != 12 || len(p.CurrentVoters) != 2 || len(p.Observers) != 1 {
			t.Fatalf("v%d: %+v", v, p)
		}
		leader, follower := p.CurrentVoters[0], p.CurrentVoters[1]
		if leader.LogEndOffset != 13 || follower.ReplicaID != 2 || follower.LogEndOffset != 12 || follower.LastFetchTimestamp != -1 || p.Observers[0].ReplicaID != 3 {
			t.Errorf("v%d: %+v", v, p)
		}
		if v >= 1 && (leader.LastFetchTimestamp != 100 || leader.LastCaughtUpTimestamp != 100) {
			t.Errorf("v%d: %+v", v, leader)
		}
	}
}

func TestOnlyTheMetadataHasAQuorumToDescribe(t *testing.T) {
	w := to(t, newFake())
	req := at(kmsg.NewPtrDescribeQuorumRequest(), 2)
	req.Topics = []kmsg.DescribeQuorumRequestTopic{
		{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}},
		{Topic: "t", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{Partition: 3}}},
	}
	r := ask[*kmsg.DescribeQuorumResponse](w, req)
	if r.ErrorCode != 0 || len(r.Topics) != 2 || len(r.Nodes) != 0 {
		t.Fatalf("%+v", r)
	}
	for _, topic := range r.Topics {
		if p := topic.Partitions[0]; p.ErrorCode != kerr.UnknownTopicOrPartition.Code || p.ErrorMessage == nil || len(p.CurrentVoters) != 0 {
			t.Errorf("%s: %+v", topic.Topic, p)
		}
	}
}

func TestFeaturesKeepTheLevelsThatTheyHave(t *testing.T) {
	w := to(t, newFake())
	type update = kmsg.UpdateFeaturesRequestFeatureUpdate
	level := func(name string, level int16, kind int8) update {
		return update{Feature: name, MaxVersionLevel: level, UpgradeType: kind}
	}
	for name, c := range map[string]struct {
		version int16
		updates []update
		refused bool
	}{
		"nothing":                      {2, nil, false},
		"as they are":                  {2, []update{level("group.version", 1, 1), level("transaction.version", 2, 3)}, false},
		"as they are, with results":    {1, []update{level("group.version", 1, 1)}, false},
		"as they are, the old way":     {0, []update{{Feature: "group.version", MaxVersionLevel: 1, AllowDowngrade: true}}, false},
		"one that there is not":        {2, []update{level("group.version", 1, 1), level("metadata.version", 1, 1)}, true},
		"too high":                     {1, []update{level("group.version", 2, 1)}, true},
		"negative":                     {1, []update{level("group.version", -1, 3)}, true},
		"lower by an upgrade":          {1, []update{level("group.version", 0, 1)}, true},
		"lower":                        {1, []update{level("group.version", 0, 2)}, true},
		"lower, the old way":           {0, []update{{Feature: "group.version", AllowDowngrade: true}}, true},
		"an update of an unknown kind": {1, []update{level("group.version", 1, 4)}, true},
		"an update of no kind":         {1, []update{level("group.version", 1, 0)}, true},
	} {
		for _, validate := range []bool{false, true} {
			req := at(kmsg.NewPtrUpdateFeaturesRequest(), c.version)
			req.FeatureUpdates, req.ValidateOnly = c.updates, validate
			r := ask[*kmsg.UpdateFeaturesResponse](w, req)
			want, results := int16(0), 0
			if c.refused {
				want = kerr.InvalidUpdateVersion.Code
			} else if c.version < 2 {
				results = len(c.updates)
			}
			if r.ErrorCode != want || (r.ErrorMessage != nil) != c.refused || len(r.Results) != results {
				t.Errorf("%s: error %d, %d results", name, r.ErrorCode, len(r.Results))
			}
		}
	}
}

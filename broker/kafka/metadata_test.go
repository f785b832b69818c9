package kafka

import (
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// about is a request for the metadata of topics.
func about(version int16, names ...string) *kmsg.MetadataRequest {
	req := at(kmsg.NewPtrMetadataRequest(), version)
	req.Topics = []kmsg.MetadataRequestTopic{}
	for i := range names {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &names[i]})
	}
	return req
}

func namesIn(resp *kmsg.MetadataResponse) []string {
	names := []string{}
	for _, t := range resp.Topics {
		names = append(names, *t.Topic)
	}
	return names
}

func TestMetadataDescribesTheClusterInEveryVersion(t *testing.T) {
	f := newFake()
	f.self[0].Rack = "r1"
	f.add("__internal", 1, func(t *Topic) { t.Internal = true })
	id := f.add("t", 2).ID
	w := to(t, f)
	for v := int16(0); v <= 13; v++ {
		all := at(kmsg.NewPtrMetadataRequest(), v)
		resp := ask[*kmsg.MetadataResponse](w, all)
		if got := namesIn(resp); !slices.Equal(got, []string{"__internal", "t"}) {
			t.Fatalf("v%d: topics %q", v, got)
		}
		if b := resp.Brokers; len(b) != 1 || b[0].NodeID != 1 || b[0].Host != "localhost" || b[0].Port != 9092 || v >= 1 && *b[0].Rack != "r1" {
			t.Errorf("v%d: brokers %+v", v, b)
		}
		if v >= 1 && (resp.ControllerID != 1 || !resp.Topics[0].IsInternal || resp.Topics[1].IsInternal) || v >= 2 && *resp.ClusterID != "cluster-of-one" {
			t.Errorf("v%d: controller %d, cluster %v", v, resp.ControllerID, resp.ClusterID)
		}
		p := resp.Topics[1].Partitions
		if len(p) != 2 || p[1].Partition != 1 || p[1].Leader != 1 || p[1].ErrorCode != 0 || !slices.Equal(p[1].Replicas, []int32{1}) || v >= 7 && p[1].LeaderEpoch != 5 {
			t.Errorf("v%d: partitions %+v", v, p)
		}
		if v >= 10 && resp.Topics[1].TopicID != id {
			t.Errorf("v%d: topic id %x", v, resp.Topics[1].TopicID)
		}
		if got := namesIn(ask[*kmsg.MetadataResponse](w, about(v, "t"))); !slices.Equal(got, []string{"t"}) {
			t.Errorf("v%d: of one topic: %q", v, got)
		}
		none := 0
		if v == 0 {
			none = 2
		}
		if got := ask[*kmsg.MetadataResponse](w, about(v)).Topics; len(got) != none {
			t.Errorf("v%d: of no topic: %d", v, len(got))
		}
	}
}

func TestATopicThatIsMissingIsCreatedWhereThatIsAllowed(t *testing.T) {
	for v := int16(0); v <= 13; v++ {
		for _, c := range []struct {
			broker, client bool
		}{{true, true}, {true, false}, {false, true}} {
			f := newFake()
			f.auto = c.broker
			w := to(t, f)
			req := about(v, "new", "..")
			req.AllowAutoTopicCreation = c.client
			resp := ask[*kmsg.MetadataResponse](w, req)
			allowed := c.broker && (c.client || v < 4)
			// The first answer is an error in any case: nobody leads the topic yet.
			want := kerr.UnknownTopicOrPartition
			if allowed {
				want = kerr.LeaderNotAvailable
			}
			if a := resp.Topics[0]; a.ErrorCode != want.Code || len(a.Partitions) > 0 {
				t.Errorf("v%d, %+v: error %d with %d partitions, want %d", v, c, a.ErrorCode, len(a.Partitions), want.Code)
			}
			if a := resp.Topics[1]; a.ErrorCode != kerr.InvalidTopicException.Code || *a.Topic != ".." {
				t.Errorf("v%d, %+v: a bad name: error %d", v, c, a.ErrorCode)
			}
			if allowed != slices.Equal(f.created, []string{"new"}) {
				t.Errorf("v%d, %+v: created %q", v, c, f.created)
			}
		}
	}
}

func TestTopicsAreFoundByIDFromVersionTwelveOn(t *testing.T) {
	f := newFake()
	id := f.add("t", 1).ID
	w := to(t, f)
	for v := int16(10); v <= 13; v++ {
		req := at(kmsg.NewPtrMetadataRequest(), v)
		req.Topics = []kmsg.MetadataRequestTopic{{TopicID: id}, {TopicID: [16]byte{9}}, {}}
		want := []int16{0, kerr.UnknownTopicID.Code, kerr.InvalidRequest.Code}
		if v < 12 {
			want[0], want[1] = kerr.InvalidRequest.Code, kerr.InvalidRequest.Code
		}
		resp := ask[*kmsg.MetadataResponse](w, req)
		for i, a := range resp.Topics {
			if a.ErrorCode != want[i] {
				t.Errorf("v%d, number %d: error %d, want %d", v, i, a.ErrorCode, want[i])
			}
		}
		if a := resp.Topics[0]; v >= 12 && (*a.Topic != "t" || a.TopicID != id) {
			t.Errorf("v%d: %+v", v, a)
		}
	}
}

func TestALeaderWithoutAnAddressOnTheListenerIsNone(t *testing.T) {
	f := newFake()
	f.add("t", 2, func(t *Topic) {
		t.Partitions[0].Leader = 7
		t.Partitions[1].Leader, t.Partitions[1].Err = -1, kerr.LeaderNotAvailable
	})
	for _, p := range ask[*kmsg.MetadataResponse](to(t, f), about(12, "t")).Topics[0].Partitions {
		if p.Leader != -1 || p.ErrorCode != kerr.LeaderNotAvailable.Code {
			t.Errorf("partition %d: leader %d, error %d", p.Partition, p.Leader, p.ErrorCode)
		}
	}
}

func TestOperationsAreToldToWhoAsks(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	for _, asked := range []bool{false, true} {
		want := func(all int32) int32 {
			if asked {
				return all
			}
			return notAsked
		}
		for v := int16(8); v <= 13; v++ {
			req := about(v, "t")
			req.IncludeClusterAuthorizedOperations, req.IncludeTopicAuthorizedOperations = asked, asked
			resp := ask[*kmsg.MetadataResponse](w, req)
			if got := resp.Topics[0].AuthorizedOperations; got != want(topicOperations) {
				t.Errorf("v%d: topic %b", v, got)
			}
			if got := resp.AuthorizedOperations; v <= 10 && got != want(clusterOperations) {
				t.Errorf("v%d: cluster %b", v, got)
			}
		}
		req := at(kmsg.NewPtrDescribeClusterRequest(), 0)
		req.IncludeClusterAuthorizedOperations = asked
		if got := ask[*kmsg.DescribeClusterResponse](w, req).ClusterAuthorizedOperations; got != want(clusterOperations) {
			t.Errorf("DescribeCluster: %b", got)
		}
	}
}

func TestTheClusterIsDescribedByItsBrokers(t *testing.T) {
	w := to(t, newFake())
	for v := int16(0); v <= 2; v++ {
		req := at(kmsg.NewPtrDescribeClusterRequest(), v)
		req.EndpointType = 1
		resp := ask[*kmsg.DescribeClusterResponse](w, req)
		if resp.ErrorCode != 0 || resp.ClusterID != "cluster-of-one" || resp.ControllerID != 1 || len(resp.Brokers) != 1 || resp.Brokers[0].Host != "localhost" {
			t.Errorf("v%d: %+v", v, resp)
		}
		if v == 0 {
			continue
		}
		for kind, want := range map[int8]*kerr.Error{0: kerr.UnsupportedEndpointType, 2: kerr.MismatchedEndpointType, -1: kerr.UnsupportedEndpointType} {
			req.EndpointType = kind
			if resp := ask[*kmsg.DescribeClusterResponse](w, req); resp.ErrorCode != want.Code || len(resp.Brokers) > 0 {
				t.Errorf("v%d, endpoints of type %d: error %d", v, kind, resp.ErrorCode)
			}
		}
	}
}

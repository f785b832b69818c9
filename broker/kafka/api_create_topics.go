package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// CreateTopics creates topics, each on its own.
//
//	2    throttle time; 1 brought validate_only and error messages
//	3    throttling happens after the answer (KIP-219)
//	4    -1 partitions and replicas mean the broker's defaults (KIP-464)
//	5    flexible; the configuration in the answer (KIP-525)
//	6    THROTTLING_QUOTA_EXCEEDED may be answered (KIP-599)
//	7    topic ids (KIP-516)
func createTopicsAPI() *api {
	return waiting(kmsg.CreateTopics, 2, 7, "[s 4 2 [4 (4)] [s S]] 4 1:1", (*call).createTopics)
}

func (c *call) createTopics(ctx context.Context, req *kmsg.CreateTopicsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, wait(req.TimeoutMillis, c.limits.MaxAdminWait))
	defer cancel()
	named := make(map[string]int)
	for i := range req.Topics {
		named[req.Topics[i].Topic]++
	}
	outcomes := make([]CreatedTopic, len(req.Topics))
	var ask []NewTopic
	var place []int
	for i := range req.Topics {
		t := &req.Topics[i]
		if named[t.Topic] > 1 {
			outcomes[i].Err = fmt.Errorf("topic %q is named twice: %w", t.Topic, kerr.InvalidRequest)
			continue
		}
		n, err := newTopic(t)
		if refused := c.mayCreate(t.Topic); refused != nil {
			err = refused
		}
		if err != nil {
			outcomes[i].Err = err
			continue
		}
		if c.mutating(c.partitionsOf(n), req.Version >= 6) {
			outcomes[i].Err = errMutations
			continue
		}
		ask, place = append(ask, n), append(place, i)
	}
	if len(ask) > 0 {
		for i, o := range c.backend.CreateTopics(ctx, ask, req.ValidateOnly) {
			outcomes[place[i]] = o
		}
	}
	resp := kmsg.NewPtrCreateTopicsResponse()
	answered := make(map[string]bool)
	for i := range req.Topics {
		if !first(answered, req.Topics[i].Topic) {
			continue
		}
		resp.Topics = append(resp.Topics, c.created(req.Topics[i].Topic, &outcomes[i]))
	}
	return resp
}

// errMutations is a change of topics that comes too early for controller_mutation_rate.
var errMutations = fmt.Errorf("more partitions are made or deleted than controller_mutation_rate allows, wait for the time that the answer says: %w", kerr.ThrottlingQuotaExceeded)

// partitionsOf is how many partitions a topic is to have.
func (c *call) partitionsOf(n NewTopic) int {
	if len(n.Assignment) > 0 {
		return len(n.Assignment)
	}
	if n.Partitions > 0 {
		return int(n.Partitions)
	}
	return c.numPartitions
}

// first reports whether k was not seen before. What a request names twice is answered
// once.
func first[K comparable](seen map[K]bool, k K) bool {
	was := seen[k]
	seen[k] = true
	return !was
}

// joined puts what was refused into what the Backend answered, so that a topic is answered
// once. key tells topics apart, add joins two answers for the same one.
func joined[T any, K comparable](answered, refused []T, key func(*T) K, add func(to, from *T)) []T {
	if len(refused) == 0 {
		return answered
	}
	at := make(map[K]int, len(answered)+len(refused))
	for i := len(answered) - 1; i >= 0; i-- { // the first of one counts
		at[key(&answered[i])] = i
	}
	for i := range refused {
		k := key(&refused[i])
		if to, ok := at[k]; ok {
			add(&answered[to], &refused[i])
			continue
		}
		at[k] = len(answered)
		answered = append(answered, refused[i])
	}
	return answered
}

// newTopic checks what a request says of one topic.
func newTopic(t *kmsg.CreateTopicsRequestTopic) (NewTopic, error) {
	n := NewTopic{Name: t.Topic, Partitions: t.NumPartitions, ReplicationFactor: t.ReplicationFactor}
	if len(t.ReplicaAssignment) > 0 {
		if n.Partitions != -1 || n.ReplicationFactor != -1 {
			return n, fmt.Errorf("topic %q: an assignment stands for the numbers of partitions and replicas, which must be -1: %w", t.Topic, kerr.InvalidRequest)
		}
		n.Assignment = make(map[int32][]int32, len(t.ReplicaAssignment))
		for _, a := range t.ReplicaAssignment {
			if _, twice := n.Assignment[a.Partition]; twice {
				return n, fmt.Errorf("topic %q: partition %d is assigned twice: %w", t.Topic, a.Partition, kerr.InvalidReplicaAssignment)
			}
			n.Assignment[a.Partition] = a.Replicas
		}
	}
	if len(t.Configs) > 0 {
		n.Configs = make(map[string]*string, len(t.Configs))
	}
	for _, s := range t.Configs {
		n.Configs[s.Name] = s.Value // of two the last counts, as in Kafka
	}
	return n, nil
}

func (c *call) created(name string, o *CreatedTopic) kmsg.CreateTopicsResponseTopic {
	r := kmsg.NewCreateTopicsResponseTopic()
	r.Topic = name
	if o.Err != nil {
		r.ErrorCode, r.ErrorMessage = c.code(o.Err), message(o.Err)
		r.NumPartitions, r.ReplicationFactor = -1, -1
		if !c.allows(kmsg.ACLOperationDescribeConfigs, onTopic, name) {
			r.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // as Kafka has it then
		}
		return r
	}
	r.TopicID = o.Topic.ID
	if !c.allows(kmsg.ACLOperationDescribeConfigs, onTopic, name) {
		r.ConfigErrorCode = kerr.TopicAuthorizationFailed.Code
		r.NumPartitions, r.ReplicationFactor = -1, -1
		return r
	}
	r.NumPartitions = int32(len(o.Topic.Partitions))
	if len(o.Topic.Partitions) > 0 {
		r.ReplicationFactor = int16(len(o.Topic.Partitions[0].Replicas))
	}
	r.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	for _, e := range o.Configs {
		s := kmsg.NewCreateTopicsResponseTopicConfig()
		s.Name, s.Value, s.ReadOnly, s.Source, s.IsSensitive = e.Name, e.shown(), e.ReadOnly, int8(e.Source), e.Sensitive
		r.Configs = append(r.Configs, s)
	}
	return r
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Metadata says which brokers there are, by the addresses of the listener that
// is asked, and who leads which partition.
//
//	 0    no topics named means all
//	 1    null means all, none named means none; controller, racks, internal topics
//	 2    cluster id
//	 3    throttle time
//	 4    whether a missing topic may be created (before: yes)
//	 5    offline replicas
//	 7    leader epochs
//	 8    authorised operations (KIP-430); the cluster's own until 10
//	 9    flexible
//	10    topic ids (KIP-516)
//	12    topics may be asked for by id
//	13    an error code for the whole answer (KIP-1102)
func metadataAPI() *api {
	return waiting(kmsg.Metadata, 0, 13, "[16:10 s:0-9 S:10] 1:4 1:8-10 1:8", (*call).metadata)
}

func (c *call) metadata(_ context.Context, req *kmsg.MetadataRequest) kmsg.Response {
	nodes := c.backend.Nodes(c.conn.peer.Listener)
	resp := kmsg.NewPtrMetadataResponse()
	for _, n := range nodes {
		b := kmsg.NewMetadataResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = n.ID, n.Host, n.Port, optional(n.Rack)
		resp.Brokers = append(resp.Brokers, b)
	}
	id := c.backend.ClusterID()
	resp.ClusterID, resp.ControllerID = &id, c.backend.ControllerID()
	resp.AuthorizedOperations = c.clusterOperations(req.IncludeClusterAuthorizedOperations)

	d := describer{call: c, req: req, nodes: make(map[int32]bool, len(nodes))}
	for _, n := range nodes {
		d.nodes[n.ID] = true
	}
	if req.Topics == nil || req.Version == 0 && len(req.Topics) == 0 {
		for _, t := range c.backend.Topics() {
			if c.allows(kmsg.ACLOperationDescribe, onTopic, t.Name) {
				resp.Topics = append(resp.Topics, d.topic(t))
			}
		}
		return resp
	}
	if req.Version < 12 && slices.ContainsFunc(req.Topics, hasID) {
		return d.refused()
	}
	answered := make(map[topicKey]bool)
	byID := slices.ContainsFunc(req.Topics, func(t kmsg.MetadataRequestTopic) bool { return t.TopicID != [16]byte{} })
	for i := range req.Topics {
		k := topicKey{id: req.Topics[i].TopicID}
		if byID { // then names do not count, as in Kafka
			req.Topics[i].Topic = nil
		} else if req.Topics[i].Topic != nil {
			k.name = *req.Topics[i].Topic
		}
		if byID && k.id == [16]byte{} || !first(answered, k) {
			continue
		}
		t, err := d.find(&req.Topics[i])
		a := d.topic(t)
		if err != nil {
			a = d.missing(&req.Topics[i], err)
		}
		resp.Topics = append(resp.Topics, a)
	}
	return resp
}

// describer puts topics into a metadata answer.
type describer struct {
	*call
	req   *kmsg.MetadataRequest
	nodes map[int32]bool
}

// find looks a topic up; one that is missing may be created on the way. Even
// then the answer is an error: nobody leads it yet, and the client asks again.
func (d *describer) find(asked *kmsg.MetadataRequestTopic) (Topic, error) {
	switch {
	case asked.TopicID != [16]byte{}:
		return d.topicFor(kmsg.ACLOperationDescribe, "", asked.TopicID, true)
	case asked.Topic == nil:
		return Topic{}, fmt.Errorf("neither a name nor an id: %w", kerr.InvalidRequest)
	}
	t, err := d.topicNamed(kmsg.ACLOperationDescribe, *asked.Topic)
	if isCode(err, kerr.UnknownTopicOrPartition) && (d.req.AllowAutoTopicCreation || d.req.Version < 4) {
		if err := d.mayCreate(*asked.Topic); err != nil {
			return Topic{}, err
		}
		begun, err := d.backend.AutoCreate(*asked.Topic)
		if err != nil {
			return Topic{}, err
		}
		if begun {
			d.mutating(d.numPartitions, false) // there is no code for a refusal: the client waits
		}
		return Topic{}, fmt.Errorf("topic %q is being created: %w", *asked.Topic, kerr.LeaderNotAvailable)
	}
	return t, err
}

// mayCreate errors unless the client may create any topic, or this one.
func (c *call) mayCreate(topic string) error {
	if c.allowsCluster(kmsg.ACLOperationCreate) {
		return nil
	}
	return c.may(kmsg.ACLOperationCreate, onTopic, topic)
}

// hasID is a topic that a request names, or means to, by its id.
func hasID(t kmsg.MetadataRequestTopic) bool { return t.TopicID != [16]byte{} || t.Topic == nil }

// refused answers a request that names topics by id before version 12: Kafka takes it
// as a whole for invalid.
func (d *describer) refused() *kmsg.MetadataResponse {
	err := fmt.Errorf("topics have names, not ids, before version 12: %w", kerr.InvalidRequest)
	resp := kmsg.NewPtrMetadataResponse()
	for i := range d.req.Topics {
		resp.Topics = append(resp.Topics, d.missing(&d.req.Topics[i], err))
	}
	return resp
}

func (d *describer) missing(asked *kmsg.MetadataRequestTopic, err error) kmsg.MetadataResponseTopic {
	a := kmsg.NewMetadataResponseTopic()
	a.Topic, a.TopicID, a.ErrorCode = asked.Topic, asked.TopicID, d.code(err)
	if a.Topic == nil && d.req.Version < 12 {
		a.Topic = new(string) // null is not allowed there
	}
	a.Partitions = []kmsg.MetadataResponseTopicPartition{}
	// What may be done to a topic is told where it is not there, but not of one that is
	// asked for by id, or that may not be seen.
	told := d.req.IncludeTopicAuthorizedOperations && asked.Topic != nil && !isRefusal(err) && d.allows(kmsg.ACLOperationDescribe, onTopic, *asked.Topic)
	a.AuthorizedOperations = notAsked
	if told {
		a.AuthorizedOperations = d.operations(true, onTopic, *asked.Topic)
	}
	return a
}

func (d *describer) topic(t Topic) kmsg.MetadataResponseTopic {
	a := kmsg.NewMetadataResponseTopic()
	a.Topic, a.TopicID, a.IsInternal = &t.Name, t.ID, t.Internal
	a.AuthorizedOperations = d.operations(d.req.IncludeTopicAuthorizedOperations, onTopic, t.Name)
	a.Partitions = make([]kmsg.MetadataResponseTopicPartition, len(t.Partitions))
	for i, p := range t.Partitions {
		m := kmsg.NewMetadataResponseTopicPartition()
		m.Partition, m.Leader, m.LeaderEpoch = int32(i), p.Leader, p.LeaderEpoch
		m.Replicas, m.ISR, m.OfflineReplicas = p.Replicas, p.ISR, p.Offline
		err := p.Err
		if err == nil && !d.nodes[p.Leader] {
			err = errLeaderUnreachable
		}
		if err != nil {
			m.Leader, m.ErrorCode = -1, d.code(err)
		}
		a.Partitions[i] = m
	}
	return a
}

// errLeaderUnreachable is a partition whose leader has no address on the
// listener: a leader that is not among the brokers confuses clients.
var errLeaderUnreachable = errors.Join(errors.New("the leader has no address on this listener"), kerr.LeaderNotAvailable)

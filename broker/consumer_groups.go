package broker

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/group"
	"github.com/splashdam/splashdam/broker/kafka"
)

// ConsumerGroupHeartbeat is what a member of a group of the consumer protocol says.
func (b *Broker) ConsumerGroupHeartbeat(ctx context.Context, c kafka.Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	resp, err := b.request(ctx, req.Group, func(co *group.Coordinator, now int64, t group.Token) []group.Effect {
		return co.ConsumerHeartbeat(now, t, group.Client(c), req)
	})
	if err != nil {
		r := req.ResponseKind().(*kmsg.ConsumerGroupHeartbeatResponse)
		r.ErrorCode = codeOf(err)
		return r
	}
	return resp.(*kmsg.ConsumerGroupHeartbeatResponse)
}

// ConsumerGroupDescribe asks, for each group, the shard that coordinates it.
func (b *Broker) ConsumerGroupDescribe(ctx context.Context, req *kmsg.ConsumerGroupDescribeRequest) *kmsg.ConsumerGroupDescribeResponse {
	r := req.ResponseKind().(*kmsg.ConsumerGroupDescribeResponse)
	for _, id := range req.Groups {
		g := kmsg.NewConsumerGroupDescribeResponseGroup()
		if err := b.reading(ctx, id, func(co *group.Coordinator) { g = co.ConsumerDescribe(id) }); err != nil {
			g.Group, g.ErrorCode = id, codeOf(err)
		}
		r.Groups = append(r.Groups, g)
	}
	return r
}

// paceOfGroup is what a group goes by now: its own settings, else the broker's.
func (b *Broker) paceOfGroup(id string) group.Pace {
	set := b.settings().Group(b.view().Configs(cluster.OfGroup(id)))
	return group.Pace{
		SessionTimeout:     time.Duration(set.SessionTimeoutMs) * time.Millisecond,
		HeartbeatInterval:  time.Duration(set.HeartbeatIntervalMs) * time.Millisecond,
		AssignmentInterval: time.Duration(set.AssignmentIntervalMs) * time.Millisecond,
	}
}

// groupTopics is the cluster's topics as a group's coordinator asks for them, with who
// may know of them.
type groupTopics struct {
	view       *cluster.View
	authorizer acl.Authorizer
}

// topicsOfGroups are those of this moment. Also a change of who may do what makes
// another version of the view.
func (b *Broker) topicsOfGroups() group.Topics {
	v := b.view()
	return groupTopics{v, b.authorizerOf(v)}
}

// Sight goes by the principal and, where some line of the list is about hosts, by the host.
func (t groupTopics) Sight(c group.Client) (string, func(string) bool) {
	if !t.authorizer.Enabled() {
		return "", nil
	}
	key := c.Principal
	if t.authorizer.List.AboutHosts() {
		key += " " + c.Host
	}
	who := acl.Subject{Principal: c.Principal, Host: acl.ParseHost(strings.TrimPrefix(c.Host, "/"))}
	return key, func(topic string) bool {
		return t.authorizer.Allowed(who, kmsg.ACLOperationDescribe, kmsg.ACLResourceTypeTopic, topic)
	}
}

func (t groupTopics) Version() uint64 { return t.view.Version() }

func (t groupTopics) Topic(name string) (id [16]byte, partitions int32, ok bool) {
	topic, ok := t.view.Topic(name)
	if !ok {
		return id, 0, false
	}
	return topic.ID, int32(len(topic.Partitions)), true
}

func (t groupTopics) TopicName(id [16]byte) (string, bool) {
	topic, ok := t.view.TopicByID(id)
	if !ok {
		return "", false
	}
	return topic.Name, true
}

func (t groupTopics) TopicNames() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, topic := range t.view.Topics() {
			if !yield(topic.Name) {
				return
			}
		}
	}
}

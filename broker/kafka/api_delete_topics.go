package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteTopics deletes topics, each on its own.
//
//	1    throttle time
//	2    throttling happens after the answer (KIP-219)
//	3    TOPIC_DELETION_DISABLED may be answered
//	4    flexible
//	5    an error message (KIP-599)
//	6    topics by name or by id (KIP-516)
func deleteTopicsAPI() *api {
	return waiting(kmsg.DeleteTopics, 1, 6, "(s):1-5 [S 16]:6 4", (*call).deleteTopics)
}

func (c *call) deleteTopics(ctx context.Context, req *kmsg.DeleteTopicsRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, wait(req.TimeoutMillis, c.limits.MaxAdminWait))
	defer cancel()
	for i := range req.TopicNames { // before version 6
		req.Topics = append(req.Topics, kmsg.DeleteTopicsRequestTopic{Topic: &req.TopicNames[i]})
	}
	topics := make([]Topic, len(req.Topics))
	errs := make([]error, len(req.Topics))
	named := make(map[string]int)
	for i := range req.Topics {
		if topics[i], errs[i] = c.doomed(&req.Topics[i]); errs[i] == nil {
			named[topics[i].Name]++
		}
	}
	var names []string
	var place []int
	for i, t := range topics {
		switch {
		case errs[i] != nil:
		case named[t.Name] > 1:
			errs[i] = fmt.Errorf("topic %q is named twice: %w", t.Name, kerr.InvalidRequest)
		case c.mutating(len(t.Partitions), req.Version >= 5):
			errs[i] = errMutations
		default:
			names, place = append(names, t.Name), append(place, i)
		}
	}
	if len(names) > 0 {
		for i, err := range c.backend.DeleteTopics(ctx, names) {
			errs[place[i]] = err
		}
	}
	resp := kmsg.NewPtrDeleteTopicsResponse()
	answered := make(map[string]bool)
	for i := range req.Topics {
		if name := topics[i].Name; name != "" && !first(answered, name) {
			continue
		}
		r := kmsg.NewDeleteTopicsResponseTopic()
		r.Topic, r.TopicID = req.Topics[i].Topic, req.Topics[i].TopicID
		if topics[i].Name != "" {
			r.Topic, r.TopicID = &topics[i].Name, topics[i].ID
		}
		r.ErrorCode, r.ErrorMessage = c.code(errs[i]), message(errs[i])
		resp.Topics = append(resp.Topics, r)
	}
	return resp
}

// nameless takes a name that no topic can have for one that no topic has, where Kafka
// does not tell them apart.
func nameless(err error) error {
	if isCode(err, kerr.InvalidTopicException) {
		return fmt.Errorf("%w: %w", kerr.UnknownTopicOrPartition, err)
	}
	return err
}

// doomed finds the topic that one element of a request means.
func (c *call) doomed(t *kmsg.DeleteTopicsRequestTopic) (Topic, error) {
	byID := t.TopicID != [16]byte{}
	switch {
	case byID && t.Topic != nil:
		return Topic{}, fmt.Errorf("topic %q: a name and an id at once: %w", *t.Topic, kerr.InvalidRequest)
	case byID:
		topic, err := c.backend.TopicByID(t.TopicID)
		if err != nil {
			return topic, err
		}
		mayNot := c.mayDelete(topic.Name)
		if mayNot != nil && !c.allows(kmsg.ACLOperationDescribe, onTopic, topic.Name) {
			// Not even its name is told.
			return Topic{}, fmt.Errorf("topic id %x: %w", t.TopicID, kerr.TopicAuthorizationFailed)
		}
		return topic, mayNot
	case t.Topic == nil:
		return Topic{}, fmt.Errorf("neither a name nor an id: %w", kerr.InvalidRequest)
	}
	if err := c.mayDelete(*t.Topic); err != nil {
		return Topic{}, err
	}
	topic, err := c.backend.Topic(*t.Topic)
	return topic, nameless(err)
}

// mayDelete errors unless the client may delete topics, or this one.
func (c *call) mayDelete(name string) error {
	if c.allowsCluster(kmsg.ACLOperationDelete) {
		return nil
	}
	return c.may(kmsg.ACLOperationDelete, onTopic, name)
}

package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupDescribe shows the state and the members of groups of the consumer
// protocol (KIP-848).
//
//	0
//	1    which protocol a member speaks (KIP-1099)
func consumerGroupDescribeAPI() *api {
	return waiting(kmsg.ConsumerGroupDescribe, 0, 1, "(s) 1", (*call).consumerGroupDescribe)
}

func (c *call) consumerGroupDescribe(ctx context.Context, req *kmsg.ConsumerGroupDescribeRequest) kmsg.Response {
	allowed := *req
	allowed.Groups = nil
	var refused []kmsg.ConsumerGroupDescribeResponseGroup
	refuse := func(group string, err error) kmsg.ConsumerGroupDescribeResponseGroup {
		g := kmsg.NewConsumerGroupDescribeResponseGroup()
		g.Group, g.ErrorCode, g.ErrorMessage = group, c.code(err), message(err)
		g.AuthorizedOperations = notAsked
		return g
	}
	answered := make(map[string]bool)
	for _, name := range req.Groups {
		if !first(answered, name) {
			continue
		}
		if err := c.may(kmsg.ACLOperationDescribe, onGroup, name); err != nil {
			refused = append(refused, refuse(name, err))
			continue
		}
		allowed.Groups = append(allowed.Groups, name)
	}
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	if len(allowed.Groups) > 0 {
		resp = c.backend.ConsumerGroupDescribe(ctx, &allowed)
	}
	for i := range resp.Groups {
		g := &resp.Groups[i]
		if err := c.maySeeTopics(g); err != nil {
			*g = refuse(g.Group, err)
		}
		g.AuthorizedOperations = c.operations(req.IncludeAuthorizedOperations && g.ErrorCode == 0, onGroup, g.Group)
	}
	resp.Groups = append(resp.Groups, refused...)
	return resp
}

// maySeeTopics errors if a group reads a topic that the client may not know.
func (c *call) maySeeTopics(g *kmsg.ConsumerGroupDescribeResponseGroup) error {
	for _, m := range g.Members {
		for _, a := range [...]kmsg.Assignment{m.Assignment, m.TargetAssignment} {
			for _, t := range a.TopicPartitions {
				if c.may(kmsg.ACLOperationDescribe, onTopic, t.Topic) != nil { // its error names the topic
					return fmt.Errorf("group %q reads topics that %s may not describe: %w", g.Group, c.client.Principal, kerr.TopicAuthorizationFailed)
				}
			}
		}
	}
	return nil
}

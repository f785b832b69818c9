package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupHeartbeat is all that a member of a group of the consumer protocol
// says: that it joins, lives, has given partitions up, or leaves (KIP-848).
//
//	0
//	1    the client makes the member id (KIP-1082); a regular expression that the
//	     server resolves
func consumerGroupHeartbeatAPI() *api {
	return waiting(kmsg.ConsumerGroupHeartbeat, 0, 1,
		"s s 4 S S 4 (s) S:1 S [16 (4)]", func(c *call, ctx context.Context, req *kmsg.ConsumerGroupHeartbeatRequest) kmsg.Response {
			return c.backend.ConsumerGroupHeartbeat(ctx, c.client, req)
		})
}

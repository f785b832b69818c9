package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// AlterConfigs sets all that a topic, a broker or a group has of its own: a setting that the
// request does not name goes back to what holds without it. IncrementalAlterConfigs (KIP-339) took
// its place; older clients have only this one.
//
//	0
//	1    throttling happens after the answer (KIP-219)
//	2    flexible
func alterConfigsAPI() *api {
	return waiting(kmsg.AlterConfigs, 0, 2, "[1 s [s S]] 1", (*call).alterConfigs)
}

func (c *call) alterConfigs(ctx context.Context, req *kmsg.AlterConfigsRequest) kmsg.Response {
	asked := make([]configChanges, len(req.Resources))
	for i := range req.Resources {
		r := &req.Resources[i]
		asked[i].of = ConfigResource{r.ResourceType, r.ResourceName}
		asked[i].Replace, asked[i].ValidateOnly = true, req.ValidateOnly
		for _, s := range r.Configs {
			asked[i].Changes = append(asked[i].Changes, ConfigChange{Name: s.Name, Op: kmsg.IncrementalAlterConfigOpSet, Value: s.Value})
		}
	}
	resp := kmsg.NewPtrAlterConfigsResponse()
	for i, err := range c.changeConfigs(ctx, asked) {
		r := kmsg.NewAlterConfigsResponseResource()
		r.ResourceType, r.ResourceName = asked[i].of.Type, asked[i].of.Name
		r.ErrorCode, r.ErrorMessage = c.code(err), message(err)
		resp.Resources = append(resp.Resources, r)
	}
	return resp
}

package kafka

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/quota"
)

// AlterClientQuotas sets and removes quotas of entities, each on its own (KIP-546).
//
//	0
//	1    flexible
func alterClientQuotasAPI() *api {
	return waiting(kmsg.AlterClientQuotas, 0, 1, "[[s S] [s 8 1]] 1", (*call).alterClientQuotas)
}

func (c *call) alterClientQuotas(ctx context.Context, req *kmsg.AlterClientQuotasRequest) kmsg.Response {
	ctx, cancel := context.WithTimeout(ctx, c.limits.MaxAdminWait)
	defer cancel()
	mayNot := c.mayCluster(kmsg.ACLOperationAlterConfigs)
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	for i := range req.Entries {
		asked := &req.Entries[i]
		err := mayNot
		if err == nil {
			err = c.alterQuotas(ctx, asked, req.ValidateOnly)
		}
		r := kmsg.NewAlterClientQuotasResponseEntry()
		r.ErrorCode, r.ErrorMessage = c.code(err), message(err)
		for _, e := range asked.Entity {
			r.Entity = append(r.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: e.Type, Name: e.Name})
		}
		resp.Entries = append(resp.Entries, r)
	}
	return resp
}

func (c *call) alterQuotas(ctx context.Context, asked *kmsg.AlterClientQuotasRequestEntry, validateOnly bool) error {
	var e quota.Entity
	for _, component := range asked.Entity {
		p := part(&e, component.Type)
		if p == nil || p.Kind != quota.None {
			return fmt.Errorf("entity type %.100q is not known, or there twice: %w", component.Type, kerr.InvalidRequest)
		}
		*p = quota.Everybody()
		if component.Name != nil {
			*p = quota.Of(*component.Name)
		}
	}
	if ip, err := netip.ParseAddr(e.IP.Name); err == nil {
		e.IP.Name = ip.Unmap().String()
	}
	var changes []quota.Change
	for _, op := range asked.Ops {
		k, ok := quota.KeyNamed(op.Key)
		if !ok {
			return fmt.Errorf("there is no quota %.100q: %w", op.Key, kerr.InvalidRequest)
		}
		if slices.ContainsFunc(changes, func(ch quota.Change) bool { return ch.Key == k }) {
			return fmt.Errorf("quota %s is there twice: %w", op.Key, kerr.InvalidRequest)
		}
		ch := quota.Change{Key: k}
		if !op.Remove {
			ch.Value = op.Value
			if err := quota.CheckValue(e, k, op.Value); err != nil {
				return fmt.Errorf("%w: %w", err, kerr.InvalidRequest)
			}
		}
		changes = append(changes, ch)
	}
	return c.backend.AlterQuotas(ctx, e, changes, validateOnly)
}

package broker

import (
	"context"
	"slices"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/record"
)

// This file is the node as kafka.Access.

// Authorizer decides by the settings of this node and the cluster's list.
func (b *Broker) Authorizer() acl.Authorizer { return b.authorizerOf(b.view()) }

func (b *Broker) authorizerOf(v *cluster.View) acl.Authorizer {
	return acl.Authorizer{Policy: b.cfg.Settings.Access, List: v.ACLs()}
}

// AddACLs adds bindings in changes of a bounded size, each of which is made whole or
// not at all.
func (b *Broker) AddACLs(ctx context.Context, bs []acl.Binding) []error {
	errs := make([]error, 0, len(bs))
	for part := range slices.Chunk(bs, cluster.MaxBindingsPerChange) {
		err := b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) { return c.AddACLs(part) })
		errs = append(errs, slices.Repeat([]error{err}, len(part))...)
	}
	return errs
}

func (b *Broker) RemoveACLs(ctx context.Context, bs []acl.Binding) error {
	for part := range slices.Chunk(bs, cluster.MaxBindingsPerChange) {
		err := b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) { return c.RemoveACLs(part) })
		if err != nil {
			return err
		}
	}
	return nil
}

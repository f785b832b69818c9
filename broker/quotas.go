package broker

import (
	"context"
	"time"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/quota"
	"github.com/splashdam/splashdam/broker/record"
)

// This file is the node as kafka.Quotas.

func (b *Broker) Quotas() quota.Table { return b.view().Quotas() }

func (b *Broker) AlterQuotas(ctx context.Context, e quota.Entity, changes []quota.Change, validateOnly bool) error {
	if validateOnly {
		_, err := cluster.Lead(b.view()).AlterQuotas(e, changes)
		return err
	}
	return b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) { return c.AlterQuotas(e, changes) })
}

func quotaWindows(number, seconds int) quota.Windows {
	return quota.Windows{Number: number, Size: time.Duration(seconds) * time.Second}
}

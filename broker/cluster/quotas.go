package cluster

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/quota"
	"github.com/splashdam/splashdam/broker/record"
)

// maxQuotas bounds the entities that have quotas: all are in memory on every node, and
// a change copies the table.
const maxQuotas = 10_000

// Quotas are the cluster's client quotas.
func (v *View) Quotas() quota.Table { return v.quotas }

// AlterQuotas decides to change some quotas of an entity, in order. It errors with
// kerr.InvalidRequest. A nil command means that nothing changes.
func (c *Controller) AlterQuotas(e quota.Entity, changes []quota.Change) (record.Command, error) {
	old, known := c.view.quotas.Find(e)
	values := old
	for _, change := range changes {
		values[change.Key] = change.Value
	}
	ch := &setQuotas{entity: e, values: values}
	if err := ch.check(); err != nil {
		return nil, fmt.Errorf("quotas of %s: %w: %w", e, err, kerr.InvalidRequest)
	}
	switch {
	case values == old:
		return nil, nil
	case !known && len(c.view.quotas) >= maxQuotas:
		return nil, fmt.Errorf("quotas of %s: %d others have some, and no more may, remove some or use defaults: %w", e, maxQuotas, kerr.InvalidRequest)
	}
	return c.decide(ch), nil
}

// setQuotas makes some values all that an entity has; none removes it.
type setQuotas struct {
	entity quota.Entity
	values quota.Values
}

func (*setQuotas) kind() uint8 { return kindSetQuotas }

func (c *setQuotas) append(dst []byte) []byte {
	return appendQuota(dst, quota.Quota{Entity: c.entity, Values: c.values})
}

func (c *setQuotas) read(r *reader) {
	q := r.quota()
	c.entity, c.values = q.Entity, q.Values
}

func (c *setQuotas) check() error {
	if err := c.entity.Check(); err != nil {
		return err
	}
	return c.values.Check(c.entity)
}

func (c *setQuotas) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "quotas of %s:", c.entity)
	for k, v := range c.values {
		if v != 0 {
			fmt.Fprintf(&b, " %s=%v", quota.Key(k), v)
		}
	}
	return b.String()
}

func (c *setQuotas) apply(v *View) *View {
	if old, _ := v.quotas.Find(c.entity); old == c.values {
		return v
	}
	n := v.next()
	n.quotas = v.quotas.With(c.entity, c.values)
	return n
}

// minQuota is the least encoded size of an entity with its quotas.
const minQuota = 3*(1+minString) + 4

// appendQuota writes an entity with its quotas:
//
//	3 x     user, client id, address: i8 0 if the entity has none, 1 the default, 2 a name; string name
//	list    quotas that are set, rising: i8 key, f64 value
//
// The keys are: 0 producer_byte_rate, 1 consumer_byte_rate, 2 request_percentage,
// 3 controller_mutation_rate, 4 connection_creation_rate.
func appendQuota(dst []byte, q quota.Quota) []byte {
	for _, p := range []quota.Part{q.User, q.Client, q.IP} {
		dst = kbin.AppendInt8(dst, int8(p.Kind))
		dst = kbin.AppendString(dst, p.Name)
	}
	set := int32(0)
	for _, v := range q.Values {
		if v != 0 {
			set++
		}
	}
	dst = kbin.AppendInt32(dst, set)
	for k, v := range q.Values {
		if v != 0 {
			dst = kbin.AppendInt8(dst, int8(k))
			dst = kbin.AppendFloat64(dst, v)
		}
	}
	return dst
}

func (r *reader) quota() quota.Quota {
	var q quota.Quota
	for _, p := range []*quota.Part{&q.User, &q.Client, &q.IP} {
		p.Kind, p.Name = quota.Kind(r.Int8()), r.String()
	}
	last := -1
	for _, set := range list(r, 9, func() quota.Change { return quota.Change{Key: quota.Key(r.Int8()), Value: r.Float64()} }) {
		if int(set.Key) <= last || set.Key >= quota.Keys || !(set.Value > 0) {
			r.bad = true
			break
		}
		last, q.Values[set.Key] = int(set.Key), set.Value
	}
	return q
}

func appendQuotas(dst []byte, t quota.Table) []byte {
	dst = kbin.AppendInt32(dst, int32(len(t)))
	for _, q := range t {
		dst = appendQuota(dst, q)
	}
	return dst
}

// quotas reads a whole table.
func (r *reader) quotas() quota.Table {
	t := quota.Table(list(r, minQuota, r.quota))
	r.bad = r.bad || !rising(t, func(a, b quota.Quota) int { return a.Compare(b.Entity) })
	for _, q := range t {
		r.bad = r.bad || q.Values == quota.Values{} || q.Entity.Check() != nil || q.Values.Check(q.Entity) != nil
	}
	return t
}

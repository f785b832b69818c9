package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/quota"
)

// DescribeClientQuotas lists the quotas of the entities that a filter chooses (KIP-546).
//
//	0
//	1    flexible
func describeClientQuotasAPI() *api {
	return waiting(kmsg.DescribeClientQuotas, 0, 1, "[s 1 S] 1", (*call).describeClientQuotas)
}

// The types of entities.
const (
	entityUser   = "user"
	entityClient = "client-id"
	entityIP     = "ip"
)

func (c *call) describeClientQuotas(_ context.Context, req *kmsg.DescribeClientQuotasRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeClientQuotasResponse()
	err := c.mayCluster(kmsg.ACLOperationDescribeConfigs)
	var filter quotaFilter
	if err == nil {
		filter, err = readQuotaFilter(req)
	}
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		return resp
	}
	resp.Entries = []kmsg.DescribeClientQuotasResponseEntry{}
	for _, q := range c.backend.Quotas() {
		if filter.chooses(q.Entity) {
			resp.Entries = append(resp.Entries, describedQuota(q))
		}
	}
	return resp
}

// quotaFilter chooses entities: by parts that must be the same, and by types that they
// must have. A strict one chooses those that have nothing besides.
type quotaFilter struct {
	exact  quota.Entity
	having map[string]bool
	strict bool
}

func readQuotaFilter(req *kmsg.DescribeClientQuotasRequest) (quotaFilter, error) {
	f := quotaFilter{having: make(map[string]bool), strict: req.Strict}
	seen := make(map[string]bool)
	for _, c := range req.Components {
		p := part(&f.exact, c.EntityType)
		switch {
		case c.EntityType == "":
			return f, fmt.Errorf("a component without an entity type: %w", kerr.InvalidRequest)
		case p == nil:
			return f, fmt.Errorf("entities of type %q are not offered: %w", c.EntityType, kerr.UnsupportedVersion)
		case seen[c.EntityType]:
			return f, fmt.Errorf("entity type %s is there twice: %w", c.EntityType, kerr.InvalidRequest)
		case (c.MatchType == kmsg.QuotasMatchTypeExact) != (c.Match != nil):
			return f, fmt.Errorf("entity type %s: a name belongs to an exact match and to no other: %w", c.EntityType, kerr.InvalidRequest)
		}
		seen[c.EntityType] = true
		switch c.MatchType {
		case kmsg.QuotasMatchTypeExact:
			*p = quota.Of(*c.Match)
		case kmsg.QuotasMatchTypeDefault:
			*p = quota.Everybody()
		case kmsg.QuotasMatchTypeAny:
			f.having[c.EntityType] = true
		default:
			return f, fmt.Errorf("there is no match type %d: %w", c.MatchType, kerr.InvalidRequest)
		}
	}
	if seen[entityIP] && len(seen) > 1 {
		return f, fmt.Errorf("an ip does not go together with a user or a client id: %w", kerr.InvalidRequest)
	}
	return f, nil
}

func (f quotaFilter) chooses(e quota.Entity) bool {
	for _, kind := range []string{entityUser, entityClient, entityIP} {
		has, want := *part(&e, kind), *part(&f.exact, kind)
		switch {
		case want.Kind != quota.None:
			if has != want {
				return false
			}
		case f.having[kind]:
			if has.Kind == quota.None {
				return false
			}
		case f.strict && has.Kind != quota.None:
			return false
		}
	}
	return true
}

// part is the part of an entity by Kafka's name of its type, nil for a type that is
// not known.
func part(e *quota.Entity, kind string) *quota.Part {
	switch kind {
	case entityUser:
		return &e.User
	case entityClient:
		return &e.Client
	case entityIP:
		return &e.IP
	}
	return nil
}

func describedQuota(q quota.Quota) kmsg.DescribeClientQuotasResponseEntry {
	e := kmsg.NewDescribeClientQuotasResponseEntry()
	for _, kind := range []string{entityUser, entityClient, entityIP} {
		p := *part(&q.Entity, kind)
		if p.Kind == quota.None {
			continue
		}
		c := kmsg.NewDescribeClientQuotasResponseEntryEntity()
		c.Type = kind
		if p.Kind == quota.Named {
			c.Name = &p.Name
		}
		e.Entity = append(e.Entity, c)
	}
	for k, v := range q.Values {
		if v != 0 {
			e.Values = append(e.Values, kmsg.DescribeClientQuotasResponseEntryValue{Key: quota.Key(k).String(), Value: v})
		}
	}
	return e
}

package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UpdateFeatures changes the levels of features (KIP-584). Here each has the level of
// this version for good: an update to that is accepted, and to any other refused.
//
//	0    flexible; whether a level may fall
//	1    kinds of updates; validation alone (KIP-778)
//	2    no results but those of the whole (KIP-1022)
func updateFeaturesAPI() *api {
	return waiting(kmsg.UpdateFeatures, 0, 2, "4 [s 2 1:0-0 1:1] 1:1", (*call).updateFeatures)
}

// Kinds of updates: to a higher level, and down without or with loss.
const (
	upgrade         = 1
	safeDowngrade   = 2
	unsafeDowngrade = 3
)

func (c *call) updateFeatures(_ context.Context, req *kmsg.UpdateFeaturesRequest) kmsg.Response {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	err := c.mayCluster(kmsg.ACLOperationAlter)
	for i := range req.FeatureUpdates {
		if err == nil {
			err = checkFeature(&req.FeatureUpdates[i], req.Version)
		}
	}
	if resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err); err != nil || req.Version > 1 {
		return resp
	}
	for _, u := range req.FeatureUpdates {
		resp.Results = append(resp.Results, kmsg.UpdateFeaturesResponseResult{Feature: u.Feature})
	}
	return resp
}

// checkFeature errors, as Kafka does in the same order, unless an update changes nothing.
func checkFeature(u *kmsg.UpdateFeaturesRequestFeatureUpdate, version int16) error {
	kind := u.UpgradeType
	if version == 0 {
		if kind = upgrade; u.AllowDowngrade {
			kind = safeDowngrade
		}
	}
	invalid := func(why string, args ...any) error {
		return fmt.Errorf("no feature is updated: level %d of feature %.249q: %s: %w", u.MaxVersionLevel, u.Feature, fmt.Sprintf(why, args...), kerr.InvalidUpdateVersion)
	}
	level := int16(-1)
	for _, f := range features {
		if f.name == u.Feature {
			level = f.level
		}
	}
	switch {
	case kind < upgrade || kind > unsafeDowngrade:
		return invalid("there is no kind of update %d", kind)
	case u.MaxVersionLevel < 0:
		return invalid("levels are not negative")
	case level < 0:
		return invalid("this cluster does not have that feature")
	case u.MaxVersionLevel > level:
		return invalid("this version supports levels from 0 to %d", level)
	case u.MaxVersionLevel < level && kind == upgrade:
		return invalid("it is at %d, and an upgrade does not lower it", level)
	case u.MaxVersionLevel < level:
		return invalid("it is at %d, as always in this version, which does not lower it", level)
	}
	return nil
}

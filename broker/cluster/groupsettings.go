package cluster

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// GroupSettings are what a consumer group goes by, its own or, where it has none, the
// broker's. Times are in ms.
type GroupSettings struct {
	SessionTimeoutMs     int32
	HeartbeatIntervalMs  int32
	AssignmentIntervalMs int32
}

// groupSetting is a setting of single groups (KIP-848, KIP-1142). A group that has none
// of its own goes by the setting of the broker that has group. before the name.
type groupSetting struct {
	Setting
	value func(*GroupSettings) *int32
	// bounds are the broker's, which may become narrower than what a group has set.
	bounds func(*BrokerSettings) (least, most int32)
}

// The settings of groups that rules speak of.
const (
	groupSessionMs   = "consumer.session.timeout.ms"
	groupHeartbeatMs = "consumer.heartbeat.interval.ms"
	groupPrefix      = "group."
)

// groupSettings declares them, by name, as Kafka 4.3 has them for consumer groups.
var groupSettings = []groupSetting{
	{
		Setting: ofGroup("consumer.assignment.interval.ms", 0,
			"How long a consumer group keeps an assignment before it makes another one, in ms. It must be between group.consumer.min.assignment.interval.ms and group.consumer.max.assignment.interval.ms."),
		value: func(g *GroupSettings) *int32 { return &g.AssignmentIntervalMs },
		bounds: func(s *BrokerSettings) (int32, int32) {
			return s.GroupConsumerMinAssignmentMs, s.GroupConsumerMaxAssignmentMs
		},
	},
	{
		Setting: ofGroup(groupHeartbeatMs, 1,
			"How often a member of the group is asked for a heartbeat, in ms. It must be between group.consumer.min.heartbeat.interval.ms and group.consumer.max.heartbeat.interval.ms."),
		value: func(g *GroupSettings) *int32 { return &g.HeartbeatIntervalMs },
		bounds: func(s *BrokerSettings) (int32, int32) {
			return s.GroupConsumerMinHeartbeatMs, s.GroupConsumerMaxHeartbeatMs
		},
	},
	{
		Setting: ofGroup(groupSessionMs, 1,
			"After how much silence a member of the group is lost, in ms. It must be between group.consumer.min.session.timeout.ms and group.consumer.max.session.timeout.ms, and more than "+groupHeartbeatMs+"."),
		value: func(g *GroupSettings) *int32 { return &g.SessionTimeoutMs },
		bounds: func(s *BrokerSettings) (int32, int32) {
			return s.GroupConsumerMinSessionMs, s.GroupConsumerMaxSessionMs
		},
	},
}

// ofGroup declares a number whose default is the broker's.
func ofGroup(name string, least int64, doc string) Setting {
	return number(name, kmsg.ConfigTypeInt, nil, least, math.MaxInt32, doc)
}

func groupSettingNamed(name string) (*groupSetting, bool) {
	for i := range groupSettings {
		if groupSettings[i].Name == name {
			return &groupSettings[i], true
		}
	}
	return nil, false
}

// GroupSettingDeclarations lists all settings of groups by name, for documentation.
func GroupSettingDeclarations() []Setting {
	out := make([]Setting, len(groupSettings))
	for i := range groupSettings {
		out[i] = groupSettings[i].Setting
	}
	return out
}

// OfGroup has what is set for a group.
func OfGroup(name string) Resource { return Resource{kmsg.ConfigResourceTypeGroupConfig, name} }

// ConfiguredGroups lists the groups that have settings of their own.
func (v *View) ConfiguredGroups() []string {
	var names []string
	for _, c := range v.configured {
		if c.Type == kmsg.ConfigResourceTypeGroupConfig {
			names = append(names, c.Name)
		}
	}
	return names
}

// Group is what a group goes by that has configs of its own. As in Kafka, a value outside
// of the broker's bounds counts as the bound.
func (s *BrokerSettings) Group(configs map[string]string) GroupSettings {
	g := GroupSettings{s.GroupConsumerSessionTimeoutMs, s.GroupConsumerHeartbeatIntervalMs, s.GroupConsumerAssignmentMs}
	for name, value := range configs {
		d, ok := groupSettingNamed(name)
		if !ok {
			continue // of another version
		}
		if v, err := d.Canonical(value); err == nil {
			least, most := d.bounds(s)
			*d.value(&g) = min(max(toInt32(v), least), most)
		}
	}
	return g
}

// GroupEntries lists every setting of a group by name: the group's own, else the broker's.
func (s *BrokerSettings) GroupEntries(configs map[string]string) []Entry {
	out := make([]Entry, len(groupSettings))
	for i := range groupSettings {
		d := &groupSettings[i]
		synonyms := s.synonyms(groupPrefix + d.Name)
		if own, ok := configs[d.Name]; ok {
			synonyms = slices.Insert(synonyms, 0, Synonym{d.Name, own, kmsg.ConfigSourceGroupConfig})
		}
		out[i] = entry(&d.Setting, &synonyms[0].Value, synonyms[0].Source)
		out[i].Synonyms = synonyms
	}
	return out
}

// AlterGroup decides to change what is set for a group, be there one of that name or not,
// as AlterBroker does for brokers. It errors with kerr.InvalidConfig where a setting or its
// value is wrong, and otherwise with kerr.InvalidRequest.
func (c *Controller) AlterGroup(r Resource, changes []ConfigChange, replace bool, s *BrokerSettings) (record.Command, error) {
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", err, kerr.InvalidRequest)
	}
	old := c.view.Configs(r)
	if replace {
		changes = replacing(old, changes)
	}
	configs, touched, err := stepped(old, changes, func(name string) (*Setting, string, error) {
		d, ok := groupSettingNamed(name)
		if !ok {
			return nil, "", fmt.Errorf("%s: %w", unknown("group setting", name, groupSettingNames()), kerr.InvalidConfig)
		}
		return &d.Setting, "", nil
	})
	if err == nil {
		err = s.checkGroup(configs, touched)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	return c.configure(r, configs)
}

// checkGroup makes the settings of a group that were touched canonical, and holds them to
// the broker's bounds and to each other.
func (s *BrokerSettings) checkGroup(configs map[string]string, touched []string) error {
	for _, name := range touched {
		value, set := configs[name]
		if !set {
			continue
		}
		d, _ := groupSettingNamed(name)
		v, err := d.Canonical(value)
		if err != nil {
			return fmt.Errorf("%w: %w", err, kerr.InvalidConfig)
		}
		if least, most := d.bounds(s); toInt32(v) < least || toInt32(v) > most {
			kind := strings.TrimPrefix(name, "consumer.")
			return fmt.Errorf("%s: %s is not between group.consumer.min.%s, %d, and group.consumer.max.%s, %d: %w", name, v, kind, least, kind, most, kerr.InvalidConfig)
		}
		configs[name] = v
	}
	if g := s.Group(configs); len(touched) > 0 && g.SessionTimeoutMs <= g.HeartbeatIntervalMs {
		return fmt.Errorf("%s: %d is not more than %s, %d: %w", groupSessionMs, g.SessionTimeoutMs, groupHeartbeatMs, g.HeartbeatIntervalMs, kerr.InvalidConfig)
	}
	return nil
}

func groupSettingNames() []string {
	names := make([]string, len(groupSettings))
	for i := range groupSettings {
		names[i] = groupSettings[i].Name
	}
	return names
}

package cluster

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Entry is one setting as it holds, for DescribeConfigs.
type Entry struct {
	Name      string
	Value     *string // nil if it is unset
	Default   *string // what it is when nobody sets it
	Source    kmsg.ConfigSource
	Type      kmsg.ConfigType
	ReadOnly  bool
	Sensitive bool
	Doc       string
}

// Effective lists every setting of a topic by name, as it holds: the topic's own,
// else the broker's, else the default.
func (s *BrokerSettings) Effective(t *Topic) []Entry {
	out := make([]Entry, len(topicSettings))
	for i := range topicSettings {
		d := &topicSettings[i]
		value, source := s.topicValue(d)
		if own, ok := t.Configs[d.Name]; ok {
			value, source = own, kmsg.ConfigSourceDynamicTopicConfig
		}
		out[i] = entry(&d.Setting, &value, source)
	}
	return out
}

// Entries lists every setting of the broker by name. None can be changed while it
// runs.
func (s *BrokerSettings) Entries() []Entry {
	out := make([]Entry, len(brokerSettings))
	for i := range brokerSettings {
		d := &brokerSettings[i]
		source := kmsg.ConfigSourceDefaultConfig
		if _, ok := s.set[d.Name]; ok {
			source = kmsg.ConfigSourceStaticBrokerConfig
		}
		out[i] = entry(&d.Setting, s.value(d), source)
		out[i].ReadOnly = true
	}
	return out
}

func entry(d *Setting, value *string, source kmsg.ConfigSource) Entry {
	return Entry{Name: d.Name, Value: value, Default: d.Default, Source: source, Type: d.Type, Doc: d.Doc}
}

// Topic is what the broker acts on for a topic. A value of the topic that this
// binary does not understand counts as not set: the log may have been written by
// another version.
func (s *BrokerSettings) Topic(t *Topic) TopicSettings {
	if len(t.Configs) == 0 {
		return s.topics // of most; it is asked for every batch, and nothing is allocated
	}
	out := s.topics
	for name, value := range t.Configs {
		d, ok := topicSettingNamed(name)
		if !ok || d.bind == nil {
			continue
		}
		if v, err := d.Canonical(value); err == nil {
			d.bind(&out, v)
		}
	}
	return out
}

// convert brings the value of a broker setting into the unit of the topic setting.
func (o origin) convert(v string) string {
	if o.scale == 1 {
		return v
	}
	if n := toInt64(v); n >= 0 {
		return strconv.FormatInt(n*o.scale, 10)
	}
	return v
}

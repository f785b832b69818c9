package cluster

import (
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/internal/invariant"
)

// Entry is one setting as it holds, for DescribeConfigs.
type Entry struct {
	Name      string
	Value     *string // nil if it is unset
	Source    kmsg.ConfigSource
	Synonyms  []Synonym
	Type      kmsg.ConfigType
	ReadOnly  bool
	Sensitive bool
	Doc       string
}

// Synonym is a value that a setting has from one source, by the name that it has there.
// The first of an entry's is in force; the next would be without it.
type Synonym struct {
	Name   string
	Value  string
	Source kmsg.ConfigSource
}

// Effective lists every setting of a topic by name, as it holds: the topic's own,
// else the broker's, else the default.
func (s *BrokerSettings) Effective(t *Topic) []Entry {
	out := make([]Entry, len(topicSettings))
	for i := range topicSettings {
		d := &topicSettings[i]
		value, source := s.topicValue(d)
		var synonyms []Synonym
		if own, ok := t.Configs[d.Name]; ok {
			value, source = own, kmsg.ConfigSourceDynamicTopicConfig
			synonyms = append(synonyms, Synonym{d.Name, own, source})
		}
		out[i] = entry(&d.Setting, &value, source)
		out[i].Synonyms = append(synonyms, s.origins(d)...)
	}
	return out
}

// origins are the broker's values behind a topic setting, by the broker's names and in
// the broker's units. As in Kafka the default is that of the first name, if that has one.
func (s *BrokerSettings) origins(d *topicSetting) []Synonym {
	if len(d.from) == 0 {
		return []Synonym{{d.Name, *d.Default, kmsg.ConfigSourceDefaultConfig}}
	}
	var all []Synonym
	for _, o := range d.from {
		if v, ok := s.set[o.name]; ok {
			all = append(all, Synonym{o.name, v, kmsg.ConfigSourceStaticBrokerConfig})
		}
	}
	b, ok := brokerSettingNamed(d.from[0].name)
	invariant.That(ok, "topic setting %s comes from %s, which is no broker setting", d.Name, d.from[0].name)
	if b.Default != nil {
		all = append(all, Synonym{b.Name, *b.Default, kmsg.ConfigSourceDefaultConfig})
	}
	return all
}

// Entries lists every setting of the broker by name, and of its listeners those that
// are set. None can be changed while it runs.
func (s *BrokerSettings) Entries() []Entry {
	var out []Entry
	add := func(d *Setting, name string, value *string) {
		source := kmsg.ConfigSourceDefaultConfig
		if _, ok := s.set[name]; ok {
			source = kmsg.ConfigSourceStaticBrokerConfig
		}
		e := entry(d, value, source)
		e.Name, e.ReadOnly = name, true
		if v, ok := s.set[name]; ok {
			e.Synonyms = append(e.Synonyms, Synonym{name, v, source})
		}
		if d.Default != nil {
			e.Synonyms = append(e.Synonyms, Synonym{d.Name, *d.Default, kmsg.ConfigSourceDefaultConfig})
		}
		out = append(out, e)
	}
	for i := range brokerSettings {
		d := &brokerSettings[i].Setting
		add(d, d.Name, s.settingValue(d))
	}
	for i := range listenerSettings {
		d := &listenerSettings[i].Setting
		add(d, d.Name, s.settingValue(d))
	}
	for name, value := range s.set {
		if _, d, ok := ofListener(name); ok {
			add(&d.Setting, name, &value)
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func entry(d *Setting, value *string, source kmsg.ConfigSource) Entry {
	return Entry{Name: d.Name, Value: value, Source: source, Type: d.Type, Sensitive: d.Sensitive, Doc: d.Doc}
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

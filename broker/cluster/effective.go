package cluster

import (
	"maps"
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
// the broker's units. As in Kafka the defaults are there where the first name has a
// value.
func (s *BrokerSettings) origins(d *topicSetting) []Synonym {
	if len(d.from) == 0 {
		return []Synonym{{d.Name, *d.Default, kmsg.ConfigSourceDefaultConfig}}
	}
	names := make([]string, len(d.from))
	for i, o := range d.from {
		names[i] = o.name
	}
	all := s.synonyms(names...)
	if !slices.ContainsFunc(all, func(y Synonym) bool { return y.Name == names[0] }) {
		all = slices.DeleteFunc(all, func(y Synonym) bool { return y.Source == kmsg.ConfigSourceDefaultConfig })
	}
	return all
}

// synonyms are the values that a setting has by its names, that of most weight first.
func (s *BrokerSettings) synonyms(names ...string) []Synonym {
	var all []Synonym
	for _, l := range s.layers() {
		for _, name := range names {
			if v, ok := l.set[name]; ok {
				all = append(all, Synonym{name, v, l.source})
			}
		}
	}
	for _, name := range names {
		if _, _, ofOne := ofListener(name); ofOne {
			continue // it has the default of all listeners
		}
		d, ok := anySettingNamed(name)
		invariant.That(ok, "%s is no broker setting", name)
		if d.Default != nil {
			all = append(all, Synonym{name, *d.Default, kmsg.ConfigSourceDefaultConfig})
		}
	}
	return all
}

// brokerSynonyms are all names by which a setting of the broker can be given.
func brokerSynonyms(name string) []string {
	switch name {
	case "log.retention.ms":
		return []string{name, "log.retention.minutes", "log.retention.hours"}
	case "log.retention.minutes":
		return []string{name, "log.retention.hours"}
	case "log.roll.ms":
		return []string{name, "log.roll.hours"}
	}
	if _, d, ok := ofListener(name); ok {
		return []string{name, d.Name}
	}
	return []string{name}
}

// Entries lists every setting of the broker by name, and of its listeners those that
// are set.
func (s *BrokerSettings) Entries() []Entry {
	var out []Entry
	add := func(d *Setting, name string) {
		value := d.Default
		v, source, given := s.given(name)
		if given {
			value = &v
		}
		e := entry(d, value, source)
		e.Name, e.ReadOnly = name, !d.Dynamic
		if value != nil {
			e.Synonyms = s.synonyms(brokerSynonyms(name)...)
		}
		out = append(out, e)
	}
	for i := range brokerSettings {
		add(&brokerSettings[i].Setting, brokerSettings[i].Name)
	}
	for i := range listenerSettings {
		add(&listenerSettings[i].Setting, listenerSettings[i].Name)
	}
	listeners := make(map[string]*Setting)
	for _, l := range s.layers() {
		for name := range l.set {
			if _, d, ok := ofListener(name); ok {
				listeners[name] = &d.Setting
			}
		}
	}
	for name, d := range listeners {
		add(d, name)
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// CommonEntries lists what is set for all brokers while they run, by name.
func (s *BrokerSettings) CommonEntries() []Entry {
	var out []Entry
	for _, name := range slices.Sorted(maps.Keys(s.all)) {
		d, _ := anySettingNamed(name)
		v := s.all[name]
		e := entry(d, &v, kmsg.ConfigSourceDynamicDefaultBrokerConfig)
		e.Name = name
		e.Synonyms = slices.DeleteFunc(s.synonyms(brokerSynonyms(name)...), func(y Synonym) bool {
			return y.Source != kmsg.ConfigSourceDynamicDefaultBrokerConfig // the others are each broker's
		})
		out = append(out, e)
	}
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

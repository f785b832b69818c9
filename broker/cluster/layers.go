package cluster

import "github.com/twmb/franz-go/pkg/kmsg"

// This file is what holds of all that was set for a broker, in which place.

// With is s with what is set for all brokers and for this one: what this binary does
// not know, does not understand, or reads only at the start counts as not set. The
// error says which of the settings do not go together.
func (s *BrokerSettings) With(all, own map[string]string) (*BrokerSettings, error) {
	n := &BrokerSettings{set: s.set, all: understood(all), own: understood(own)}
	n.bind()
	if err := n.check(); err != nil {
		return nil, err
	}
	return n, nil
}

func understood(set map[string]string) map[string]string {
	out := make(map[string]string, len(set))
	for name, value := range set {
		if d, ok := anySettingNamed(name); ok && d.Dynamic {
			if v, err := d.Canonical(value); err == nil {
				out[name] = v
			}
		}
	}
	return out
}

// given is what was set, by the one of most weight, and where.
func (s *BrokerSettings) given(name string) (v string, source kmsg.ConfigSource, ok bool) {
	for _, l := range s.layers() {
		if v, ok := l.set[name]; ok {
			return v, l.source, true
		}
	}
	return "", kmsg.ConfigSourceDefaultConfig, false
}

// layer is what was set in one place.
type layer struct {
	set    map[string]string
	source kmsg.ConfigSource
}

// layers are the places where settings may be set, those of most weight first (KIP-226).
func (s *BrokerSettings) layers() [3]layer {
	return [3]layer{
		{s.own, kmsg.ConfigSourceDynamicBrokerConfig},
		{s.all, kmsg.ConfigSourceDynamicDefaultBrokerConfig},
		{s.set, kmsg.ConfigSourceStaticBrokerConfig},
	}
}

// settingValue is what was set, else the default, else nil.
func (s *BrokerSettings) settingValue(d *Setting) *string {
	if v, _, ok := s.given(d.Name); ok {
		return &v
	}
	return d.Default
}

// topicValue is what holds for topics that do not set d, and where it is from.
func (s *BrokerSettings) topicValue(d *topicSetting) (string, kmsg.ConfigSource) {
	for _, o := range d.from {
		if v, source, ok := s.given(o.name); ok {
			return o.convert(v), source
		}
	}
	return *d.Default, kmsg.ConfigSourceDefaultConfig
}

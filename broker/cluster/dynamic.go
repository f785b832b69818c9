package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// This file is what may be changed of brokers' settings while they run (KIP-226), for
// one broker or for all. A broker's own weighs more than that of all, and either more
// than what the broker was started with.

// BrokerConfigs are the settings that were changed while brokers run: for all, and for
// one besides. They may be nil.
func (v *View) BrokerConfigs(node int32) (all, own map[string]string) {
	return v.Configs(AllBrokers), v.Configs(OneBroker(node))
}

// AlterBroker decides to change what is set for a broker, or for all. All changes are
// made, or none; replace resets besides what is set and no change names. Append and
// Subtract start from what holds now. static are the settings that this broker was
// started with. It errors with kerr.InvalidRequest, as Kafka does also where a value is
// wrong, and kerr.InvalidConfig for steps in what is no list. A nil command means that
// nothing changes.
func (c *Controller) AlterBroker(r Resource, changes []ConfigChange, replace bool, static *BrokerSettings) (record.Command, error) {
	configs, err := c.alteredBroker(r, changes, replace, static)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	return c.configure(r, configs)
}

func (c *Controller) alteredBroker(r Resource, changes []ConfigChange, replace bool, static *BrokerSettings) (map[string]string, error) {
	old := c.view.Configs(r)
	if replace {
		changes = replacing(old, changes)
	}
	configs, touched, err := stepped(old, changes, func(name string) (*Setting, string, error) {
		d, err := c.changeable(name)
		if err != nil {
			return nil, "", err
		}
		for _, l := range []map[string]string{old, c.view.Configs(AllBrokers), static.set} {
			if v, ok := l[name]; ok {
				return d, v, nil
			}
		}
		if d.Default == nil {
			return d, "", nil
		}
		return d, *d.Default, nil
	})
	if err != nil {
		return nil, err
	}
	for _, name := range touched {
		value, set := configs[name]
		if !set {
			continue
		}
		d, _ := anySettingNamed(name)
		if configs[name], err = d.Canonical(value); err != nil {
			return nil, fmt.Errorf("broker setting %w: %w", err, kerr.InvalidRequest)
		}
	}
	return configs, c.goTogether(r, configs, static)
}

// changeable finds a setting of a broker that may be changed while it runs.
func (c *Controller) changeable(name string) (*Setting, error) {
	d, ok := anySettingNamed(name)
	switch {
	case !ok:
		return nil, fmt.Errorf("%s: %w", unknown("broker setting", name, brokerSettingNames()), kerr.InvalidRequest)
	case !d.Dynamic:
		return nil, fmt.Errorf("broker setting %s is read when a broker starts and cannot be changed while it runs: set it where the broker is configured, and start it again: %w",
			name, kerr.InvalidRequest)
	}
	if listener, _, ok := ofListener(name); ok && !c.view.hasListener(listener) {
		return nil, fmt.Errorf("broker setting %s: no broker has a listener %q: %w", name, shortened(listener), kerr.InvalidRequest)
	}
	return d, nil
}

// hasListener looks for a listener by its name in lower case.
func (v *View) hasListener(name string) bool {
	return slices.ContainsFunc(v.nodes, func(n Node) bool {
		return slices.ContainsFunc(n.Endpoints, func(e Endpoint) bool { return strings.ToLower(e.Listener) == name })
	})
}

// goTogether holds a change to what brokers have set besides.
func (c *Controller) goTogether(r Resource, configs map[string]string, static *BrokerSettings) error {
	all, owns := c.view.Configs(AllBrokers), []map[string]string{configs}
	if r == AllBrokers {
		all, owns = configs, []map[string]string{nil}
		for _, n := range c.view.nodes {
			owns = append(owns, c.view.Configs(OneBroker(n.ID)))
		}
	}
	for _, own := range owns {
		if _, err := static.With(all, own); err != nil {
			return fmt.Errorf("%w: %w", err, kerr.InvalidRequest)
		}
	}
	return nil
}

// replacing are changes, and resets of what is set besides.
func replacing(old map[string]string, changes []ConfigChange) []ConfigChange {
	out := slices.Clone(changes)
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if !slices.ContainsFunc(changes, func(c ConfigChange) bool { return c.Name == name }) {
			out = append(out, ConfigChange{Name: name, Op: kmsg.IncrementalAlterConfigOpDelete})
		}
	}
	return out
}

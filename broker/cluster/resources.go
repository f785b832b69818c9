package cluster

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// Resource is what has settings of its own and is no topic: one broker, all, or a group.
type Resource struct {
	Type kmsg.ConfigResourceType
	Name string
}

// AllBrokers has what is set for all brokers: Kafka calls it the broker without a name.
var AllBrokers = Resource{Type: kmsg.ConfigResourceTypeBroker}

// OneBroker has what is set for a broker besides.
func OneBroker(id int32) Resource {
	return Resource{kmsg.ConfigResourceTypeBroker, strconv.Itoa(int(id))}
}

func (r Resource) String() string {
	if r == AllBrokers {
		return "all brokers"
	}
	if r.Type == kmsg.ConfigResourceTypeGroupConfig {
		return "group " + strconv.Quote(shortened(r.Name))
	}
	return strings.ToLower(r.Type.String()) + " " + strconv.Quote(shortened(r.Name))
}

func (r Resource) compare(o Resource) int {
	return cmp.Or(cmp.Compare(r.Type, o.Type), strings.Compare(r.Name, o.Name))
}

func (r Resource) check() error {
	if r == AllBrokers {
		return nil
	}
	switch r.Type {
	case kmsg.ConfigResourceTypeBroker:
	case kmsg.ConfigResourceTypeGroupConfig:
		if r.Name == "" || len(r.Name) > maxText {
			return fmt.Errorf("settings of %s, whose name has not 1 to %d bytes", r, maxText)
		}
		return nil
	default:
		return fmt.Errorf("settings of resource type %d", r.Type)
	}
	if id, err := strconv.ParseInt(r.Name, 10, 32); err != nil || OneBroker(int32(id)) != r || id < 0 {
		return fmt.Errorf("settings of %s, which is no id", r)
	}
	return nil
}

// configured is a resource with what is set for it, at least one setting.
type configured struct {
	Resource
	configs map[string]string
}

// maxConfigured bounds the resources that have settings of their own: all are in memory on
// every node, and a change copies the list.
const maxConfigured = 10_000

// Configs are the settings of a resource's own, in canonical form. They may be nil.
func (v *View) Configs(r Resource) map[string]string {
	i, ok := v.searchResource(r)
	if !ok {
		return nil
	}
	return v.configured[i].configs
}

func (v *View) searchResource(r Resource) (int, bool) {
	return slices.BinarySearchFunc(v.configured, r, func(c configured, r Resource) int { return c.compare(r) })
}

// configure decides that configs, which were checked, are all that a resource has. A nil
// command means that it has them already.
func (c *Controller) configure(r Resource, configs map[string]string) (record.Command, error) {
	old := c.view.Configs(r)
	if maps.Equal(old, configs) {
		return nil, nil
	}
	if len(old) == 0 && len(c.view.configured) >= maxConfigured {
		return nil, fmt.Errorf("%s: %d others have settings of their own, and no more may: remove some: %w", r, maxConfigured, kerr.InvalidRequest)
	}
	return c.decide(&configure{Resource: r, configs: pairsOf(configs)}), nil
}

// configure makes some settings all that a resource has of its own; none removes it.
type configure struct {
	Resource
	configs []pair
}

func (*configure) kind() uint8 { return kindConfigure }

func (c *configure) append(dst []byte) []byte {
	return appendConfigured(dst, c.Resource, c.configs)
}

func (c *configure) read(r *reader) { c.Resource, c.configs = r.configured() }

func (c *configure) check() error {
	if err := c.Resource.check(); err != nil {
		return err
	}
	return checkPairs(c.configs)
}

func (c *configure) String() string {
	return fmt.Sprintf("configure %s:%s", c.Resource, configWords(c.configs, nil))
}

func (c *configure) apply(v *View) *View {
	i, ok := v.searchResource(c.Resource)
	if !ok && len(c.configs) == 0 || ok && maps.Equal(v.configured[i].configs, mapOf(c.configs)) {
		return v
	}
	n := v.next()
	switch {
	case len(c.configs) == 0 && len(v.configured) == 1:
		n.configured = nil
	case len(c.configs) == 0:
		n.configured = deleted(v.configured, i)
	case !ok:
		n.configured = inserted(v.configured, i, configured{c.Resource, mapOf(c.configs)})
	default:
		n.configured = slices.Clone(v.configured)
		n.configured[i].configs = mapOf(c.configs)
	}
	return n
}

// minConfigured is the least encoded size of a resource with its settings.
const minConfigured = 1 + minString + 4

// appendConfigured writes a resource with its settings, in a command and in a snapshot:
//
//	i8      Kafka's type of the resource: 4 a broker, 32 a group
//	string  its name: of a broker the id, or "" for all brokers
//	list    settings, by name: string name, string value
func appendConfigured(dst []byte, r Resource, configs []pair) []byte {
	dst = kbin.AppendInt8(dst, int8(r.Type))
	dst = kbin.AppendString(dst, r.Name)
	return appendPairs(dst, configs)
}

func (r *reader) configured() (Resource, []pair) {
	return Resource{kmsg.ConfigResourceType(r.Int8()), r.String()}, r.pairs()
}

func appendAllConfigured(dst []byte, all []configured) []byte {
	dst = kbin.AppendInt32(dst, int32(len(all)))
	for _, c := range all {
		dst = appendConfigured(dst, c.Resource, pairsOf(c.configs))
	}
	return dst
}

// allConfigured reads what a snapshot has of all resources.
func (r *reader) allConfigured() []configured {
	all := list(r, minConfigured, func() configured {
		of, pairs := r.configured()
		r.bad = r.bad || len(pairs) == 0 || of.check() != nil || checkPairs(pairs) != nil
		return configured{of, mapOf(pairs)}
	})
	r.bad = r.bad || !rising(all, func(a, b configured) int { return a.compare(b.Resource) })
	return all
}

// stepped is what changes make of configs, not checked yet, and the names that they
// touch, rising. find gives a setting that may be changed, and what it is now, for those
// steps that start from that. Resetting what is not set changes nothing.
func stepped(configs map[string]string, changes []ConfigChange, find func(name string) (d *Setting, now string, err error)) (after map[string]string, touched []string, err error) {
	after = maps.Clone(configs)
	if after == nil {
		after = make(map[string]string, len(changes))
	}
	seen := make(map[string]bool, len(changes))
	for _, change := range changes {
		name := change.Name
		d, now, err := find(name)
		if change.Op == kmsg.IncrementalAlterConfigOpDelete {
			if _, set := after[name]; !set && err != nil {
				continue
			}
		} else if err != nil {
			return nil, nil, err
		}
		if seen[name] {
			return nil, nil, fmt.Errorf("setting %q is there twice: %w", name, kerr.InvalidRequest)
		}
		seen[name] = true
		if change.Op == kmsg.IncrementalAlterConfigOpDelete {
			delete(after, name)
		} else if after[name], err = change.value(d, now); err != nil {
			return nil, nil, err
		}
	}
	return after, slices.Sorted(maps.Keys(seen)), nil
}

// value is what a change gives its setting, which is now something else. It is not yet
// checked.
func (c *ConfigChange) value(d *Setting, now string) (string, error) {
	if c.Value == nil {
		return "", fmt.Errorf("setting %q has no value: %w", c.Name, kerr.InvalidRequest)
	}
	var merge func(now, words []string) []string
	switch c.Op {
	case kmsg.IncrementalAlterConfigOpSet:
		return *c.Value, nil
	case kmsg.IncrementalAlterConfigOpAppend:
		merge = union
	case kmsg.IncrementalAlterConfigOpSubtract:
		merge = without
	default:
		return "", fmt.Errorf("setting %q: unknown operation %d: %w", c.Name, c.Op, kerr.InvalidRequest)
	}
	if d.Type != kmsg.ConfigTypeList {
		return "", fmt.Errorf("setting %q is not a list, nothing can be added to it or taken from it: %w", c.Name, kerr.InvalidConfig)
	}
	return strings.Join(merge(splitList(now), splitList(*c.Value)), ","), nil
}

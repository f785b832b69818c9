package broker

import (
	"context"
	"fmt"
	"maps"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
)

// This file is the node's settings as they hold now, and what kafka.Cluster says of
// settings. What was changed while brokers run is in the metadata (cluster.AlterBroker).
// Whoever acts on a setting that is dynamic asks for it each time.

// settings are those that hold now.
func (b *Broker) settings() *cluster.BrokerSettings { return b.current.Load() }

// followed is what the metadata said of brokers' settings when it was looked at last.
type followed struct{ all, own map[string]string }

// followSettings makes what the metadata says of brokers' settings hold here. Changes of
// the metadata are applied one after the other, and this comes behind each of them,
// before who asked for it is answered.
func (b *Broker) followSettings() {
	all, own := b.view().BrokerConfigs(b.cfg.NodeID)
	if maps.Equal(all, b.followed.all) && maps.Equal(own, b.followed.own) {
		return
	}
	b.followed = followed{all, own}
	set, err := b.cfg.Settings.With(all, own)
	if err != nil {
		// They were checked against the settings of the broker that took the change, or
		// those of this one have changed since.
		b.loggers.Of(brokerLogger).Error("settings that were changed while brokers run do not go with those that this one was started with, and do not hold here: change them again, or start the broker with others", "cause", err)
		return
	}
	b.current.Store(set)
	if b.server != nil {
		b.server.LimitConnections(b.connectionLimits())
	}
	signal(b.hurry) // the cleaner may rest for a time that is of the past
}

// connectionLimits are those of the server's connections.
func (b *Broker) connectionLimits() kafka.ConnectionLimits {
	set := b.settings()
	l := kafka.ConnectionLimits{
		All: set.MaxConnections, OfListener: make(map[string]int),
		OfAddress: set.MaxConnectionsPerIP, Overrides: set.ConnectionsPerIP,
	}
	for _, on := range b.cfg.Listeners {
		if n := set.Listener(on.Name).MaxConnections; n > 0 {
			l.OfListener[on.Name] = n
		}
	}
	return l
}

// Configs implements kafka.Cluster.
func (b *Broker) Configs(r kafka.ConfigResource) ([]kafka.ConfigEntry, error) {
	switch {
	case r.Type == kmsg.ConfigResourceTypeTopic:
		if err := cluster.CheckTopicName(r.Name); err != nil {
			return nil, err
		}
		t, ok := b.view().Topic(r.Name)
		if !ok {
			return nil, fmt.Errorf("topic %q: %w", r.Name, kerr.UnknownTopicOrPartition)
		}
		return b.topicConfigs(t), nil
	case r.Type == kmsg.ConfigResourceTypeGroupConfig:
		return configEntries(b.settings().GroupEntries(b.view().Configs(cluster.OfGroup(r.Name)))), nil
	case r.Type == kmsg.ConfigResourceTypeBrokerLogger:
		return b.logLevels(), nil
	case r.Name == "":
		return configEntries(b.settings().CommonEntries()), nil
	}
	return b.brokerConfigs(), nil
}

func (b *Broker) topicConfigs(t *cluster.Topic) []kafka.ConfigEntry {
	return configEntries(b.settings().Effective(t))
}

func configEntries(entries []cluster.Entry) []kafka.ConfigEntry {
	all := make([]kafka.ConfigEntry, len(entries))
	for i, e := range entries {
		all[i] = kafka.ConfigEntry{
			Name: e.Name, Value: e.Value, Source: e.Source,
			Type: e.Type, ReadOnly: e.ReadOnly, Sensitive: e.Sensitive, Doc: e.Doc,
		}
		for _, y := range e.Synonyms {
			all[i].Synonyms = append(all[i].Synonyms, kafka.ConfigSynonym(y))
		}
	}
	return all
}

// ConfiguredGroups implements kafka.Cluster.
func (b *Broker) ConfiguredGroups() []string { return b.view().ConfiguredGroups() }

// AlterConfigs implements kafka.Cluster.
func (b *Broker) AlterConfigs(ctx context.Context, r kafka.ConfigResource, cs kafka.ConfigChanges) error {
	if r.Type == kmsg.ConfigResourceTypeBrokerLogger {
		return b.alterLogLevels(cs)
	}
	changes := make([]cluster.ConfigChange, len(cs.Changes))
	for i, c := range cs.Changes {
		changes[i] = cluster.ConfigChange{Name: c.Name, Op: c.Op, Value: c.Value}
	}
	if _, ok := b.view().Topic(r.Name); r.Type == kmsg.ConfigResourceTypeTopic && !ok {
		if err := cluster.CheckTopicName(r.Name); err != nil {
			return err
		}
	}
	decide := func(c *cluster.Controller) (cmd record.Command, err error) {
		switch {
		case r.Type == kmsg.ConfigResourceTypeBroker:
			return c.AlterBroker(b.brokerNamed(r.Name), changes, cs.Replace, b.cfg.Settings)
		case r.Type == kmsg.ConfigResourceTypeGroupConfig:
			return c.AlterGroup(cluster.OfGroup(r.Name), changes, cs.Replace, b.settings())
		case cs.Replace:
			cmd, _, err = c.ReplaceConfigs(r.Name, changes, b.settings())
		default:
			cmd, _, err = c.AlterConfigs(r.Name, changes, b.settings())
		}
		return cmd, err
	}
	if cs.ValidateOnly {
		_, err := decide(cluster.Lead(b.view()))
		return err
	}
	return b.changeMetadata(ctx, decide)
}

// brokerNamed is this broker, or all of them for no name.
func (b *Broker) brokerNamed(name string) cluster.Resource {
	if name == "" {
		return cluster.AllBrokers
	}
	return cluster.OneBroker(b.cfg.NodeID)
}

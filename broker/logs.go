package broker

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/loggers"
)

// The parts of a node that log, by the names of their loggers: docs/protocol.md has what
// is heard of each.
const (
	authorizerLogger   = "authorizer"
	brokerLogger       = "broker"
	cleanerLogger      = "cleaner"
	groupsLogger       = "groups"
	halvesLogger       = "halves"
	logLogger          = "log"
	networkLogger      = "network"
	raftLoggerName     = "raft"
	transactionsLogger = "transactions"
)

var parts = []string{authorizerLogger, brokerLogger, cleanerLogger, groupsLogger, halvesLogger, logLogger, networkLogger, raftLoggerName, transactionsLogger}

// shardLogs are the loggers of a shard.
type shardLogs struct {
	cleaner, groups, halves, log, raft, transactions *slog.Logger
}

func newShardLogs(set *loggers.Set, id record.ShardID) shardLogs {
	of := func(part string) *slog.Logger { return set.Of(part).With("shard", id) }
	return shardLogs{
		cleaner: of(cleanerLogger), groups: of(groupsLogger), halves: of(halvesLogger),
		log: of(logLogger), raft: of(raftLoggerName), transactions: of(transactionsLogger),
	}
}

// logLevels are the levels of the node's loggers, as settings (KIP-412).
func (b *Broker) logLevels() []kafka.ConfigEntry {
	entries := make([]kafka.ConfigEntry, 0, len(parts)+1)
	for _, name := range b.loggers.Names() {
		level := b.loggers.Level(name)
		entries = append(entries, kafka.ConfigEntry{Name: name, Value: &level, Source: kmsg.ConfigSourceDynamicBrokerLoggerConfig})
	}
	return entries
}

// alterLogLevels sets levels of this node's loggers, until it is started again.
func (b *Broker) alterLogLevels(cs kafka.ConfigChanges) error {
	changes := make([]loggers.Change, len(cs.Changes))
	for i, c := range cs.Changes {
		changes[i].Name = c.Name
		switch c.Op {
		case kmsg.IncrementalAlterConfigOpSet:
			changes[i].Level = *c.Value
			if *c.Value == "" {
				return fmt.Errorf("logger %q: an empty level: %w", c.Name, kerr.InvalidConfig)
			}
		case kmsg.IncrementalAlterConfigOpDelete:
		default:
			return fmt.Errorf("logger %q: a level is no list, to which something is added: %w", c.Name, kerr.InvalidRequest)
		}
		err := b.loggers.Check(changes[i])
		if errors.Is(err, loggers.ErrRoot) {
			return fmt.Errorf("%w: %w", kerr.InvalidRequest, err)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", kerr.InvalidConfig, err)
		}
	}
	if !cs.ValidateOnly {
		b.loggers.Change(changes)
	}
	return nil
}

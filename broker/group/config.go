package group

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// Config bounds and paces the groups of a Coordinator. DefaultConfig has Kafka's
// defaults; NewID has none.
type Config struct {
	// MinSessionTimeout and MaxSessionTimeout bound what a member may ask for
	// (group.min.session.timeout.ms, group.max.session.timeout.ms). Outside of
	// them a Join is refused with INVALID_SESSION_TIMEOUT.
	MinSessionTimeout time.Duration
	MaxSessionTimeout time.Duration
	// InitialRebalanceDelay is how long an empty group waits for more members
	// behind the first, and again behind each further one, at most for the
	// rebalance timeout (group.initial.rebalance.delay.ms, KIP-134).
	InitialRebalanceDelay time.Duration
	// NewMemberJoinTimeout ends the first Join of a member that nobody may be
	// waiting for any more, since such a member has no heartbeats yet.
	NewMemberJoinTimeout time.Duration
	// MaxSize is the most members a group may have, and the most member ids it
	// hands out to members that have not joined yet (group.max.size). Further
	// members get GROUP_MAX_SIZE_REACHED.
	MaxSize int
	// MaxGroups is the most groups of one Coordinator. What would make another is
	// refused with POLICY_VIOLATION.
	MaxGroups int
	// MaxMemberBytes bounds the protocols and their metadata of one member. A
	// Join above it is refused with POLICY_VIOLATION.
	MaxMemberBytes int
	// MaxGroupBytes bounds a group with its members' subscriptions and assignments
	// as persisted. A Sync above it fails with UNKNOWN_SERVER_ERROR for all
	// members, as in Kafka where such a record exceeds max.message.bytes.
	MaxGroupBytes int
	// MaxOffsets is the most partitions that a group may have committed offsets
	// of. A commit of further ones is refused with POLICY_VIOLATION.
	MaxOffsets int
	// OffsetMetadataMaxBytes bounds the metadata of one committed offset
	// (offset.metadata.max.bytes): OFFSET_METADATA_TOO_LARGE. It is counted, as
	// Kafka does in spite of the name, in UTF-16 code units.
	OffsetMetadataMaxBytes int
	// OffsetsRetention is how long offsets outlive the members of their group
	// (offsets.retention.minutes, KIP-211).
	OffsetsRetention time.Duration
	// OffsetsRetentionCheckInterval is the pause between two looks for what may
	// expire (offsets.retention.check.interval.ms).
	OffsetsRetentionCheckInterval time.Duration
	// ConsumerPace is that of a consumer group, which may change. It is called by
	// whoever calls the Coordinator.
	ConsumerPace func(group string) Pace
	// ConsumerMaxSize is the most members of a consumer group
	// (group.consumer.max.size). Further ones get GROUP_MAX_SIZE_REACHED.
	ConsumerMaxSize int
	// Assignors are those that members may ask for; the first is taken where none
	// does (group.consumer.assignors).
	Assignors []Assignor
	// MigrationPolicy says which groups with members may change their protocol
	// (group.consumer.migration.policy).
	MigrationPolicy MigrationPolicy
	// Topics gives what the cluster has now. It is called by whoever calls the
	// Coordinator. By default there is nothing.
	Topics func() Topics
	// NewID makes the random part of a member id, such as a UUID. It must never
	// return the same string twice.
	NewID func() string
}

// DefaultConfig is Kafka's configuration, with limits where Kafka has none. NewID
// is left for the caller to set.
func DefaultConfig() Config {
	return Config{
		MinSessionTimeout:             6 * time.Second,
		MaxSessionTimeout:             30 * time.Minute,
		InitialRebalanceDelay:         3 * time.Second,
		NewMemberJoinTimeout:          5 * time.Minute,
		MaxSize:                       10_000,
		MaxGroups:                     1_000_000,
		MaxMemberBytes:                1 << 20,
		MaxGroupBytes:                 16 << 20,
		MaxOffsets:                    1_000_000,
		OffsetMetadataMaxBytes:        4096,
		OffsetsRetention:              7 * 24 * time.Hour,
		OffsetsRetentionCheckInterval: 10 * time.Minute,
		ConsumerPace:                  func(string) Pace { return DefaultPace() },
		ConsumerMaxSize:               10_000,
		Assignors:                     []Assignor{Uniform, Range},
		MigrationPolicy:               MigrateBothWays,
		Topics:                        func() Topics { return noTopics{} },
	}
}

// Pace is when things of a consumer group are due.
type Pace struct {
	// SessionTimeout is after how much silence a member is lost, HeartbeatInterval how
	// often it is asked to speak (group.consumer.session.timeout.ms,
	// group.consumer.heartbeat.interval.ms, and the same of a group without "group.").
	SessionTimeout    time.Duration
	HeartbeatInterval time.Duration
	// AssignmentInterval is how long an assignment holds before another one is made
	// (group.consumer.assignment.interval.ms, KIP-1263).
	AssignmentInterval time.Duration
}

// DefaultPace is Kafka's, but that the next assignment is made at once.
func DefaultPace() Pace {
	return Pace{SessionTimeout: 45 * time.Second, HeartbeatInterval: 5 * time.Second}
}

// Validate names the first setting that cannot work.
func (c Config) Validate() error {
	for _, d := range []struct {
		name string
		v    time.Duration
		min  time.Duration
	}{
		{"minimum session timeout", c.MinSessionTimeout, time.Millisecond},
		{"maximum session timeout", c.MaxSessionTimeout, c.MinSessionTimeout},
		{"initial rebalance delay", c.InitialRebalanceDelay, 0},
		{"new member join timeout", c.NewMemberJoinTimeout, time.Millisecond},
		{"offsets retention", c.OffsetsRetention, time.Millisecond},
		{"offsets retention check interval", c.OffsetsRetentionCheckInterval, time.Millisecond},
	} {
		if d.v < d.min || d.v > math.MaxInt32*time.Second {
			return fmt.Errorf("%s of %v: must be between %v and %v", d.name, d.v, d.min, math.MaxInt32*time.Second)
		}
	}
	for _, n := range []struct {
		name string
		v    int
	}{
		{"maximum group size", c.MaxSize},
		{"maximum consumer group size", c.ConsumerMaxSize},
		{"maximum number of groups", c.MaxGroups},
		{"maximum size of a member", c.MaxMemberBytes},
		{"maximum size of a group", c.MaxGroupBytes},
		{"maximum number of offsets", c.MaxOffsets},
		{"maximum size of offset metadata", c.OffsetMetadataMaxBytes},
	} {
		if n.v < 1 {
			return fmt.Errorf("%s of %d: must be at least 1", n.name, n.v)
		}
	}
	if len(c.Assignors) == 0 {
		return fmt.Errorf("no assignor")
	}
	for _, a := range c.Assignors {
		if assignors[a] == nil {
			return fmt.Errorf("unknown assignor %q", a)
		}
	}
	if !slices.Contains(MigrationPolicies(), string(c.MigrationPolicy)) {
		return fmt.Errorf("unknown migration policy %q", c.MigrationPolicy)
	}
	if c.ConsumerPace == nil {
		return fmt.Errorf("no source of paces")
	}
	if c.Topics == nil {
		return fmt.Errorf("no source of topics")
	}
	if c.NewID == nil {
		return fmt.Errorf("no source of member ids")
	}
	return nil
}

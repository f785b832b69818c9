package cluster

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
)

// BrokerSettings are a broker's settings at one moment: as it was started with, and
// With what was changed since. They never change, and may be read concurrently. Times
// are in the unit of the field's name, sizes in bytes.
type BrokerSettings struct {
	NumPartitions            int32
	DefaultReplicationFactor int16
	AutoCreateTopics         bool
	DeleteTopics             bool
	FlushSync                bool // else async
	SegmentBytes             int64
	ScrubBytesPerSecond      int64
	RollMs                   int64
	RetentionCheckMs         int64
	CleanerBackoffMs         int64
	CleanerKeyMapBytes       int
	CleanerBytesPerSecond    int64
	MinFreeBytes             int64
	SocketRequestMaxBytes    int
	MaxConnections           int
	MaxConnectionsPerIP      int
	ConnectionsPerIP         map[netip.Addr]int // instead, for some addresses
	ConnectionsMaxIdleMs     int64
	QueuedMaxRequestBytes    int
	LoginMaxBytes            int
	FailedLoginDelayMs       int64
	Rack                     string

	GroupInitialRebalanceDelayMs     int32
	GroupMinSessionTimeoutMs         int32
	GroupMaxSessionTimeoutMs         int32
	GroupMaxSize                     int
	GroupConsumerSessionTimeoutMs    int32
	GroupConsumerHeartbeatIntervalMs int32
	GroupConsumerMinSessionMs        int32
	GroupConsumerMaxSessionMs        int32
	GroupConsumerMinHeartbeatMs      int32
	GroupConsumerMaxHeartbeatMs      int32
	GroupConsumerAssignmentMs        int32
	GroupConsumerMinAssignmentMs     int32
	GroupConsumerMaxAssignmentMs     int32
	GroupConsumerMaxSize             int
	GroupConsumerAssignors           []string
	GroupConsumerMigrationPolicy     string
	OffsetsTopicPartitions           int32
	OffsetsRetentionMinutes          int32
	OffsetMetadataMaxBytes           int

	HalfMessageImmunityMs      int32
	HalfMessageCheckIntervalMs int32
	HalfMessageCheckMax        int

	ProducerIDExpirationMs      int64
	TransactionalIDExpirationMs int64
	TransactionMaxTimeoutMs     int32
	TransactionStatePartitions  int32

	QuotaWindows               int
	QuotaWindowSeconds         int
	MutationQuotaWindows       int
	MutationQuotaWindowSeconds int

	// Access is how the access control list is read, nil where none is obeyed.
	Access *acl.Policy

	access struct { // what Access is made of
		enabled, everyone bool
		superUsers        string
	}
	// What was set, in canonical form: at the start, and since then for all brokers and
	// for this one.
	set, all, own map[string]string
	topics        TopicSettings // of a topic that sets nothing itself
}

// brokerSetting is a Setting of the broker, and where its value goes: nowhere if
// it is only the default of a topic setting.
type brokerSetting struct {
	Setting
	bind func(*BrokerSettings, string)
}

// The authorizer that there is, by the name of Kafka's that decides by the same rules.
const (
	authorizerClass    = "authorizer.class.name"
	standardAuthorizer = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
)

// Bounds of numbers of partitions. Kafka has no limit per topic; a topic must be
// creatable by one command in one entry of the log.
const (
	MaxPartitionsPerTopic = 100_000
	// MaxInternalPartitions bounds the topics that groups and transactional ids
	// hash to.
	MaxInternalPartitions = 10_000
)

// brokerSettings declares all settings of the broker, by name. Names, types,
// ranges and defaults are those of Kafka 4.2 unless a comment says otherwise. The
// log.* settings are the defaults of topic settings and say the same there.
var brokerSettings = []brokerSetting{
	{
		Setting: toggle("allow.everyone.if.no.acl.found", false,
			"Whether a resource that no line of the access control list is about is open to everybody."),
		bind: func(s *BrokerSettings, v string) { s.access.everyone = toBool(v) },
	},
	{
		// Kafka's is any class; this is the one that it comes with.
		Setting: textUnsetOf(authorizerClass, []string{standardAuthorizer},
			"What decides who may do what. Unset, nothing is refused to anybody; "+standardAuthorizer+" refuses what no access control list allows, but for super.users."),
		bind: func(s *BrokerSettings, _ string) { s.access.enabled = true },
	},
	{
		Setting: toggle("auto.create.topics.enable", true,
			"Whether a topic that a client asks for is created."),
		bind: func(s *BrokerSettings, v string) { s.AutoCreateTopics = toBool(v) },
	},
	{
		Setting: textUnset("broker.rack",
			"The rack or zone of this broker, as clients compare it with theirs."),
		bind: func(s *BrokerSettings, v string) { s.Rack = v },
	},
	topicDefault("compression.gzip.level", "compression.gzip.level"),
	topicDefault("compression.lz4.level", "compression.lz4.level"),
	topicDefault("compression.type", "compression.type"),
	topicDefault("compression.zstd.level", "compression.zstd.level"),
	{
		// Kafka has no upper bound; an answer that comes late holds a connection.
		Setting: integer("connection.failed.authentication.delay.ms", 100, 1, 5000,
			"How long after a login that fails the client is told, and the connection closed, in ms."),
		bind: func(s *BrokerSettings, v string) { s.FailedLoginDelayMs = toInt64(v) },
	},
	{
		Setting: long("connections.max.idle.ms", 10*minuteMs, 1, math.MaxInt64,
			"A connection without a request for so long is closed, in ms."),
		bind: func(s *BrokerSettings, v string) { s.ConnectionsMaxIdleMs = toInt64(v) },
	},
	{
		Setting: integer("default.replication.factor", 1, 1, math.MaxInt16,
			"The replication factor of topics that are created without one, and of the internal topics."),
		bind: func(s *BrokerSettings, v string) { s.DefaultReplicationFactor = int16(toInt32(v)) },
	},
	{
		Setting: integer("controller.quota.window.num", 11, 1, 1000,
			"For how many windows changes of topics that controller_mutation_rate allows may be saved up."),
		bind: func(s *BrokerSettings, v string) { s.MutationQuotaWindows = toInt(v) },
	},
	{
		Setting: integer("controller.quota.window.size.seconds", 1, 1, 3600,
			"The length of each of these windows, in seconds."),
		bind: func(s *BrokerSettings, v string) { s.MutationQuotaWindowSeconds = toInt(v) },
	},
	{
		Setting: toggle("delete.topic.enable", true,
			"Whether clients may delete topics."),
		bind: func(s *BrokerSettings, v string) { s.DeleteTopics = toBool(v) },
	},
	{
		// Ours.
		Setting: dynamic(long("disk.min.free.bytes", 16<<20, 1<<20, math.MaxInt64/8,
			"How much of the disk stays free, in bytes. With less, batches are refused until there is room again, while reads and deletions go on; with less than eight times as much, what may be deleted is deleted as soon as possible.")),
		bind: func(s *BrokerSettings, v string) { s.MinFreeBytes = toInt64(v) },
	},
	{
		// Ours, for Kafka's log.flush.*.
		Setting: choice("flush", "sync", []string{"sync", "async"},
			"When a write is acknowledged. sync: once it is on the disk; all that waits shares one flush. async: once it is written; the disk follows in the background, and a power loss may take the last moments."),
		bind: func(s *BrokerSettings, v string) { s.FlushSync = v == "sync" },
	},
	{
		// Kafka's is 1000 since 4.3, which saves work where many members come and go; then a
		// member that joins waits for its partitions until its second heartbeat.
		Setting: dynamic(integer(consumerAssignmentMs, 0, 0, math.MaxInt32,
			"How long a consumer group keeps an assignment before it makes another one, in ms. 0 makes it at once.")),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerAssignmentMs = toInt32(v) },
	},
	{
		Setting: some("group.consumer.assignors", "uniform,range", []string{"uniform", "range"},
			"The server-side assignors that members of consumer groups may ask for. The first is taken where none is asked for."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerAssignors = splitList(v) },
	},
	{
		Setting: integer(consumerHeartbeatMs, 5000, 1, math.MaxInt32,
			"How often a member of a consumer group is asked for a heartbeat, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerHeartbeatIntervalMs = toInt32(v) },
	},
	{
		Setting: integer("group.consumer.max.assignment.interval.ms", 15000, 0, math.MaxInt32,
			"The longest that group.consumer.assignment.interval.ms may be, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerMaxAssignmentMs = toInt32(v) },
	},
	{
		Setting: integer("group.consumer.max.heartbeat.interval.ms", 15000, 1, math.MaxInt32,
			"The longest that group.consumer.heartbeat.interval.ms may be, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerMaxHeartbeatMs = toInt32(v) },
	},
	{
		Setting: integer("group.consumer.max.session.timeout.ms", 60000, 1, math.MaxInt32,
			"The longest that group.consumer.session.timeout.ms may be, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerMaxSessionMs = toInt32(v) },
	},
	{
		Setting: integer("group.consumer.max.size", 10_000, 1, math.MaxInt32,
			"The most members that a consumer group may have. Kafka has no bound by default."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerMaxSize = toInt(v) },
	},
	{
		Setting: choice("group.consumer.migration.policy", "bidirectional", []string{"bidirectional", "upgrade", "downgrade", "disabled"},
			"In which directions a group with members may change between the classic and the consumer protocol."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerMigrationPolicy = v },
	},
	{
		Setting: integer("group.consumer.min.assignment.interval.ms", 0, 0, math.MaxInt32,
			"The shortest that group.consumer.assignment.interval.ms may be, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerMinAssignmentMs = toInt32(v) },
	},
	{
		Setting: integer("group.consumer.min.heartbeat.interval.ms", 5000, 1, math.MaxInt32,
			"The shortest that group.consumer.heartbeat.interval.ms may be, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerMinHeartbeatMs = toInt32(v) },
	},
	{
		Setting: integer("group.consumer.min.session.timeout.ms", 45000, 1, math.MaxInt32,
			"The shortest that group.consumer.session.timeout.ms may be, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerMinSessionMs = toInt32(v) },
	},
	{
		Setting: integer(consumerSessionMs, 45000, 1, math.MaxInt32,
			"After how much silence a member of a consumer group is lost, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupConsumerSessionTimeoutMs = toInt32(v) },
	},
	{
		Setting: integer("group.initial.rebalance.delay.ms", 3000, 0, math.MaxInt32,
			"How long the first rebalance of an empty group waits for more members, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupInitialRebalanceDelayMs = toInt32(v) },
	},
	{
		Setting: integer(groupMaxSessionMs, 30*minuteMs, 1, math.MaxInt32,
			"The longest session timeout that a group member may ask for, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupMaxSessionTimeoutMs = toInt32(v) },
	},
	{
		Setting: integer("group.max.size", 10_000, 1, math.MaxInt32,
			"The most members that a group may have. Kafka has no bound by default."),
		bind: func(s *BrokerSettings, v string) { s.GroupMaxSize = toInt(v) },
	},
	{
		Setting: integer(groupMinSessionMs, 6000, 1, math.MaxInt32,
			"The shortest session timeout that a group member may ask for, in ms."),
		bind: func(s *BrokerSettings, v string) { s.GroupMinSessionTimeoutMs = toInt32(v) },
	},
	{
		// Ours; the defaults of half.message.* are RocketMQ's.
		Setting: integer("half.message.check.interval.ms", 30*secondMs, 1, math.MaxInt32,
			"How long the group of an undecided half message's sender has to answer one question before it is asked the next, in ms."),
		bind: func(s *BrokerSettings, v string) { s.HalfMessageCheckIntervalMs = toInt32(v) },
	},
	{
		// Ours.
		Setting: integer("half.message.check.max", 15, 1, math.MaxInt32,
			"How many questions are put about an undecided half message. After the last it is parked: it can still be decided, but nobody is asked."),
		bind: func(s *BrokerSettings, v string) { s.HalfMessageCheckMax = toInt(v) },
	},
	{
		// Ours.
		Setting: integer("half.message.immunity.ms", 6*secondMs, 0, math.MaxInt32,
			"How long the sender of a half message has to decide before its group is asked, in ms. Counts when the message is prepared."),
		bind: func(s *BrokerSettings, v string) { s.HalfMessageImmunityMs = toInt32(v) },
	},
	{
		Setting: dynamic(long("log.cleaner.backoff.ms", 15*secondMs, 1, math.MaxInt64,
			"How long the cleaner rests between two looks at what there is to delete or compact, in ms.")),
		bind: func(s *BrokerSettings, v string) { s.CleanerBackoffMs = toInt64(v) },
	},
	{
		// Kafka divides it among its cleaner threads; here there is one.
		Setting: dynamic(long("log.cleaner.dedupe.buffer.size", 128<<20, 1<<20, math.MaxInt32,
			"The memory in which the cleaner keeps the keys of topics that it compacts, in bytes. With fewer it takes more passes.")),
		bind: func(s *BrokerSettings, v string) { s.CleanerKeyMapBytes = toInt(v) },
	},
	topicDefault("log.cleaner.delete.retention.ms", "delete.retention.ms"),
	{
		// Kafka has no limit unless one is set. On one disk a cleaner at full speed is
		// felt by every producer.
		Setting: dynamic(long("log.cleaner.io.max.bytes.per.second", 100<<20, 1<<10, math.MaxInt64,
			"How much the cleaner reads and writes, together, in bytes per second.")),
		bind: func(s *BrokerSettings, v string) { s.CleanerBytesPerSecond = toInt64(v) },
	},
	topicDefault(cleanerMaxLagMs, maxCompactionLagMs),
	topicDefault("log.cleaner.min.cleanable.ratio", "min.cleanable.dirty.ratio"),
	topicDefault(cleanerMinLagMs, minCompactionLagMs),
	topicDefault("log.cleanup.policy", cleanupPolicy),
	topicDefault("log.message.timestamp.after.max.ms", "message.timestamp.after.max.ms"),
	topicDefault("log.message.timestamp.before.max.ms", "message.timestamp.before.max.ms"),
	topicDefault("log.message.timestamp.type", "message.timestamp.type"),
	topicDefault("log.retention.bytes", "retention.bytes"),
	{
		Setting: long("log.retention.check.interval.ms", 5*minuteMs, 1, math.MaxInt64,
			"How often retention.ms and retention.bytes of all topics are carried out, in ms."),
		bind: func(s *BrokerSettings, v string) { s.RetentionCheckMs = toInt64(v) },
	},
	{
		Setting: integer("log.retention.hours", 7*24, -1, math.MaxInt32,
			"retention.ms of topics, in hours, where neither log.retention.ms nor log.retention.minutes is set."),
	},
	{
		Setting: longUnset("log.retention.minutes", -1, math.MaxInt32,
			"retention.ms of topics, in minutes, where log.retention.ms is not set."),
	},
	{
		Setting: dynamic(longUnset("log.retention.ms", -1, math.MaxInt64,
			"retention.ms of topics.")),
	},
	{
		Setting: integer("log.roll.hours", 7*24, 1, math.MaxInt32,
			"The age at which a segment of a shard's log ends, in hours, where log.roll.ms is not set."),
		bind: func(s *BrokerSettings, v string) { s.RollMs = toInt64(v) * hourMs },
	},
	{
		Setting: dynamic(longUnset("log.roll.ms", 1, math.MaxInt64,
			"The age at which a segment of a shard's log ends, in ms.")),
		bind: func(s *BrokerSettings, v string) { s.RollMs = toInt64(v) },
	},
	{
		// Ours, named like Kafka's log.cleaner.io.max.bytes.per.second.
		Setting: dynamic(long("log.scrub.io.max.bytes.per.second", 16<<20, 1<<10, math.MaxInt64,
			"How fast what lies on the disk is read to find damage before somebody needs it, in bytes a second. It is read once a day, or without a pause if that takes longer.")),
		bind: func(s *BrokerSettings, v string) { s.ScrubBytesPerSecond = toInt64(v) },
	},
	{
		// Kafka's least is 1 MiB as well; above 2 GiB nothing is gained.
		Setting: dynamic(integer("log.segment.bytes", 1<<30, 1<<20, math.MaxInt32,
			"The size at which a segment of a shard's log ends, in bytes.")),
		bind: func(s *BrokerSettings, v string) { s.SegmentBytes = toInt64(v) },
	},
	{
		// Kafka has no limit unless one is set. Each connection takes memory.
		Setting: dynamic(integer("max.connections", 10_000, 1, math.MaxInt32,
			"The most connections at once; one more is closed when it comes.")),
		bind: func(s *BrokerSettings, v string) { s.MaxConnections = toInt(v) },
	},
	{
		Setting: dynamic(integer("max.connections.per.ip", math.MaxInt32, 1, math.MaxInt32,
			"The most connections from one address at once; one more is closed when it comes.")),
		bind: func(s *BrokerSettings, v string) { s.MaxConnectionsPerIP = toInt(v) },
	},
	{
		Setting: Setting{
			Name: "max.connections.per.ip.overrides", Default: new(""), Type: kmsg.ConfigTypeString, Dynamic: true,
			Accepts: "a list, separated by commas, of address:number",
			Doc:     "max.connections.per.ip for some addresses: 10.0.0.1:100,[::1]:200. Names are not looked up.",
			parse: func(v string) (string, bool) {
				_, ok := addressLimits(v)
				return v, ok
			},
		},
		bind: func(s *BrokerSettings, v string) { s.ConnectionsPerIP, _ = addressLimits(v) },
	},
	topicDefault(messageMaxBytes, "max.message.bytes"),
	{
		Setting: integer("num.partitions", 1, 1, MaxPartitionsPerTopic,
			"The number of partitions of topics that are created without one."),
		bind: func(s *BrokerSettings, v string) { s.NumPartitions = toInt32(v) },
	},
	{
		Setting: integer("offset.metadata.max.bytes", 4096, 0, math.MaxInt16,
			"The longest text that may be committed with an offset, in bytes."),
		bind: func(s *BrokerSettings, v string) { s.OffsetMetadataMaxBytes = toInt(v) },
	},
	{
		Setting: integer("offsets.retention.minutes", 7*24*60, 1, math.MaxInt32,
			"How long the offsets of a group without members are kept, in minutes."),
		bind: func(s *BrokerSettings, v string) { s.OffsetsRetentionMinutes = toInt32(v) },
	},
	{
		Setting: integer("offsets.topic.num.partitions", 50, 1, MaxInternalPartitions,
			"The number of partitions of "+ConsumerOffsets+". Counts when the topic is created."),
		bind: func(s *BrokerSettings, v string) { s.OffsetsTopicPartitions = toInt32(v) },
	},
	{
		Setting: dynamic(integer("producer.id.expiration.ms", dayMs, 1, math.MaxInt32,
			"How long a partition remembers a producer that sends nothing, in ms.")),
		bind: func(s *BrokerSettings, v string) { s.ProducerIDExpirationMs = toInt64(v) },
	},
	{
		// Kafka has no bound by default.
		Setting: integer("queued.max.request.bytes", 512<<20, 1<<20, math.MaxInt64,
			"The memory of the requests of all connections together, in bytes. Where it is used up, requests of more than 64 KiB are read one at a time."),
		bind: func(s *BrokerSettings, v string) { s.QueuedMaxRequestBytes = toInt(v) },
	},
	{
		Setting: integer("quota.window.num", 11, 1, 1000,
			"Over how many windows it is measured what a client with a quota takes."),
		bind: func(s *BrokerSettings, v string) { s.QuotaWindows = toInt(v) },
	},
	{
		Setting: integer("quota.window.size.seconds", 1, 1, 3600,
			"The length of each of these windows, in seconds."),
		bind: func(s *BrokerSettings, v string) { s.QuotaWindowSeconds = toInt(v) },
	},
	{
		// Kafka's default is 524288, for Kerberos.
		Setting: integer("sasl.server.max.receive.size", 64<<10, 1<<10, 1<<20,
			"The largest request of a client that has not logged in yet, in bytes."),
		bind: func(s *BrokerSettings, v string) { s.LoginMaxBytes = toInt(v) },
	},
	{
		Setting: integer("socket.request.max.bytes", 100<<20, 1, math.MaxInt32,
			"The largest request that is read, in bytes. It bounds the largest batch too."),
		bind: func(s *BrokerSettings, v string) { s.SocketRequestMaxBytes = toInt(v) },
	},
	{
		Setting: Setting{
			Name: "super.users", Type: kmsg.ConfigTypeString, Default: new(""), Accepts: "principals with semicolons between, as in User:alice;User:bob",
			Doc: "Who may do anything, whatever the access control list says.",
			parse: func(v string) (string, bool) {
				_, err := acl.NewPolicy(v, false)
				return v, err == nil
			},
		},
		bind: func(s *BrokerSettings, v string) { s.access.superUsers = v },
	},
	{
		Setting: integer("transaction.max.timeout.ms", 15*minuteMs, 1, math.MaxInt32,
			"The longest timeout that a transactional producer may ask for, in ms."),
		bind: func(s *BrokerSettings, v string) { s.TransactionMaxTimeoutMs = toInt32(v) },
	},
	{
		Setting: integer("transaction.state.log.num.partitions", 50, 1, MaxInternalPartitions,
			"The number of partitions of "+TransactionState+". Counts when the topic is created."),
		bind: func(s *BrokerSettings, v string) { s.TransactionStatePartitions = toInt32(v) },
	},
	{
		Setting: integer("transactional.id.expiration.ms", 7*dayMs, 1, math.MaxInt32,
			"How long a transactional id without a transaction is remembered, in ms."),
		bind: func(s *BrokerSettings, v string) { s.TransactionalIDExpirationMs = toInt64(v) },
	},
}

// topicDefault declares a broker setting that is nothing but the default of a
// topic setting, in the same unit. It is dynamic, as it is in Kafka.
func topicDefault(name, topic string) brokerSetting {
	t, ok := topicSettingNamed(topic)
	if !ok {
		panic("no topic setting " + topic)
	}
	s := dynamic(t.Setting)
	s.Name = name
	return brokerSetting{Setting: s}
}

// ParseBrokerSettings makes a broker's settings from what was set, by Kafka's
// names. The error names everything that is wrong with it.
func ParseBrokerSettings(set map[string]string) (*BrokerSettings, error) {
	s := &BrokerSettings{set: make(map[string]string, len(set))}
	var faults []error
	for _, name := range slices.Sorted(maps.Keys(set)) {
		d, ok := anySettingNamed(name)
		if !ok {
			faults = append(faults, errors.New(unknown("broker setting", name, brokerSettingNames())))
			continue
		}
		v, err := d.Canonical(set[name])
		if err != nil {
			faults = append(faults, fmt.Errorf("broker setting %w", err))
			continue
		}
		s.set[name] = v
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	s.bind()
	if err := s.check(); err != nil {
		return nil, err
	}
	return s, nil
}

// DefaultBrokerSettings are the settings of a broker where nothing was set.
func DefaultBrokerSettings() *BrokerSettings {
	s, err := ParseBrokerSettings(nil)
	if err != nil {
		panic(err)
	}
	return s
}

func (s *BrokerSettings) bind() {
	for i := range brokerSettings {
		d := &brokerSettings[i]
		if v := s.settingValue(&d.Setting); v != nil && d.bind != nil {
			d.bind(s, *v)
		}
	}
	if s.access.enabled {
		var err error
		s.Access, err = acl.NewPolicy(s.access.superUsers, s.access.everyone)
		mustBeCanonical(s.access.superUsers, err)
	}
	for i := range topicSettings {
		d := &topicSettings[i]
		if v, _ := s.topicValue(d); d.bind != nil {
			d.bind(&s.topics, v)
		}
	}
}

// check holds settings against each other.
func (s *BrokerSettings) check() error {
	if s.GroupMinSessionTimeoutMs > s.GroupMaxSessionTimeoutMs {
		return fmt.Errorf("broker setting %s: %d is more than %s, %d",
			groupMinSessionMs, s.GroupMinSessionTimeoutMs, groupMaxSessionMs, s.GroupMaxSessionTimeoutMs)
	}
	for _, b := range []struct {
		name           string
		least, v, most int32
	}{
		{consumerAssignmentMs, s.GroupConsumerMinAssignmentMs, s.GroupConsumerAssignmentMs, s.GroupConsumerMaxAssignmentMs},
		{consumerHeartbeatMs, s.GroupConsumerMinHeartbeatMs, s.GroupConsumerHeartbeatIntervalMs, s.GroupConsumerMaxHeartbeatMs},
		{consumerSessionMs, s.GroupConsumerMinSessionMs, s.GroupConsumerSessionTimeoutMs, s.GroupConsumerMaxSessionMs},
	} {
		if b.v < b.least || b.v > b.most {
			return fmt.Errorf("broker setting %s: %d is not between its group.consumer.min and max settings, %d and %d",
				b.name, b.v, b.least, b.most)
		}
	}
	if len(s.GroupConsumerAssignors) == 0 {
		return errors.New("broker setting group.consumer.assignors: it names none")
	}
	if s.topics.MinCompactionLagMs > s.topics.MaxCompactionLagMs {
		return fmt.Errorf("broker setting %s: %d is more than %s, %d",
			cleanerMinLagMs, s.topics.MinCompactionLagMs, cleanerMaxLagMs, s.topics.MaxCompactionLagMs)
	}
	return nil
}

func brokerSettingNamed(name string) (*brokerSetting, bool) {
	for i := range brokerSettings {
		if brokerSettings[i].Name == name {
			return &brokerSettings[i], true
		}
	}
	return nil, false
}

// anySettingNamed finds a setting of the broker, of all listeners or of one.
func anySettingNamed(name string) (*Setting, bool) {
	if d, ok := brokerSettingNamed(name); ok {
		return &d.Setting, true
	}
	if d, ok := listenerSettingNamed(name); ok {
		return &d.Setting, true
	}
	if _, d, ok := ofListener(name); ok {
		return &d.Setting, true
	}
	return nil, false
}

func brokerSettingNames() []string {
	var names []string
	for _, s := range BrokerSettingDeclarations() {
		names = append(names, s.Name)
	}
	return names
}

// BrokerSettingDeclarations lists all settings of the broker by name, for
// documentation.
func BrokerSettingDeclarations() []Setting {
	var out []Setting
	for i := range brokerSettings {
		out = append(out, brokerSettings[i].Setting)
	}
	for i := range listenerSettings {
		out = append(out, listenerSettings[i].Setting)
	}
	slices.SortFunc(out, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// addressLimits reads address:number,...
func addressLimits(v string) (map[netip.Addr]int, bool) {
	limits := make(map[netip.Addr]int)
	for _, pair := range splitList(v) {
		at := strings.LastIndexByte(pair, ':')
		if at < 0 {
			return nil, false
		}
		ip, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(pair[:at], "["), "]"))
		n, err2 := strconv.Atoi(pair[at+1:])
		if err != nil || err2 != nil || n < 0 {
			return nil, false
		}
		limits[ip.Unmap().WithZone("")] = n
	}
	return limits, true
}

// checkTopicConfigs checks settings that a topic is to have, each for itself and
// all together, and returns them in canonical form. The error carries
// kerr.InvalidConfig.
func (s *BrokerSettings) checkTopicConfigs(configs map[string]string) (map[string]string, error) {
	out := make(map[string]string, len(configs))
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		v, err := canonicalTopicConfig(name, configs[name])
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	t := s.Topic(&Topic{Configs: out})
	if t.MinCompactionLagMs > t.MaxCompactionLagMs {
		return nil, fmt.Errorf("%s: %d is more than %s, %d: %w",
			minCompactionLagMs, t.MinCompactionLagMs, maxCompactionLagMs, t.MaxCompactionLagMs, kerr.InvalidConfig)
	}
	return out, nil
}

func canonicalTopicConfig(name, value string) (string, error) {
	d, ok := topicSettingNamed(name)
	if !ok {
		return "", unknownTopicSetting(name)
	}
	if name == messageType && strings.TrimSpace(value) == string(delayed) {
		return "", fmt.Errorf("%s: delay is not available yet: this broker does not hold messages until they are due: %w",
			messageType, kerr.InvalidConfig)
	}
	v, err := d.Canonical(value)
	if err != nil {
		return "", fmt.Errorf("%w: %w", err, kerr.InvalidConfig)
	}
	return v, nil
}

func unknownTopicSetting(name string) error {
	return fmt.Errorf("%s: %w", unknown("topic setting", name, topicSettingNames()), kerr.InvalidConfig)
}

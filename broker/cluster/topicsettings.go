package cluster

import (
	"math"
	"slices"

	"github.com/splashdam/splashdam/broker/record"
)

// MessageType says what a topic does with the messages that it is sent.
type MessageType string

const (
	Normal      MessageType = "normal"
	FIFO        MessageType = "fifo"
	Transaction MessageType = "transaction"
	// delayed is part of the design and not there yet.
	delayed MessageType = "delay"
)

// Names of the topic settings that rules outside of the declarations speak of.
const (
	cleanupPolicy        = "cleanup.policy"
	messageType          = "message.type"
	maxCompactionLagMs   = "max.compaction.lag.ms"
	minCompactionLagMs   = "min.compaction.lag.ms"
	timestampLogAppend   = "LogAppendTime"
	policyCompact        = "compact"
	policyDelete         = "delete"
	messageMaxBytes      = "message.max.bytes"
	cleanerMaxLagMs      = "log.cleaner.max.compaction.lag.ms"
	cleanerMinLagMs      = "log.cleaner.min.compaction.lag.ms"
	groupMinSessionMs    = "group.min.session.timeout.ms"
	consumerHeartbeatMs  = "group.consumer.heartbeat.interval.ms"
	consumerAssignmentMs = "group.consumer.assignment.interval.ms"
	consumerSessionMs    = "group.consumer.session.timeout.ms"
	groupMaxSessionMs    = "group.max.session.timeout.ms"
	maxBatchBytes        = record.MaxEntrySize / 2
	defaultMessageBytes  = 4 << 20
)

const (
	secondMs = 1000
	minuteMs = 60 * secondMs
	hourMs   = 60 * minuteMs
	dayMs    = 24 * hourMs
)

// Said in the Doc of settings that clients send and that have nothing to act on.
const (
	noEffectSharedLog = " Accepted for compatibility; changes nothing: all partitions of a shard share one log, whose files have no settings per topic."
	noEffectRaft      = " Accepted for compatibility; changes nothing: replication is by Raft, which acknowledges a write once a majority has it and elects only who has it all."
	noEffectFlush     = " Accepted for compatibility; changes nothing: the broker setting flush decides, for all topics alike."
)

// topicSetting is a Setting of topics: which broker settings give its default,
// and where its value goes.
type topicSetting struct {
	Setting
	// from are broker settings; the first that is set counts. If none is, the
	// default of the topic setting holds.
	from []origin
	bind func(*TopicSettings, string)
}

// origin is a broker setting that a topic setting takes its value from, in another
// unit if scale is not 0. Negative numbers mean "no limit" in any unit.
type origin struct {
	name  string
	scale int64
}

// TopicSettings are the settings of a topic that the broker acts on, the topic's
// own or, where it has none, the broker's. Times and sizes are in ms and bytes; -1
// is no limit.
type TopicSettings struct {
	MaxMessageBytes        int // of one batch, as sent
	LogAppendTime          bool
	TimestampBeforeMs      int64
	TimestampAfterMs       int64
	Compacted              bool // cleanup.policy contains compact
	Expires                bool // cleanup.policy contains delete
	RetentionMs            int64
	RetentionBytes         int64 // of each partition
	DeleteRetentionMs      int64
	MinCompactionLagMs     int64
	MaxCompactionLagMs     int64
	MinCleanableDirtyRatio float64
	MessageType            MessageType

	recompress                     bool // compression.type is not the producer's
	codec                          record.Codec
	gzipLevel, lz4Level, zstdLevel int
}

var codecsByName = map[string]record.Codec{
	"uncompressed": record.None, "gzip": record.Gzip, "snappy": record.Snappy, "lz4": record.LZ4, "zstd": record.Zstd,
}

// Recompress is how the topic keeps a batch that came in another compression; false if
// it keeps the batch as it came. A level alone is no reason to compress anew (KIP-390).
func (t *TopicSettings) Recompress(sent record.Codec) (record.Compression, bool) {
	if !t.recompress || t.codec == sent {
		return record.Compression{Codec: sent}, false
	}
	c := record.Compression{Codec: t.codec}
	switch c.Codec {
	case record.Gzip:
		c.Level = max(t.gzipLevel, 0)
	case record.LZ4:
		c.Level = t.lz4Level
	case record.Zstd:
		c.Level = t.zstdLevel
	}
	return c, true
}

// topicSettings declares all settings of topics, by name. Names, types, ranges and
// defaults are those of Kafka 4.2 unless a comment says otherwise.
var topicSettings = []topicSetting{
	{
		Setting: some(cleanupPolicy, policyDelete, []string{policyCompact, policyDelete},
			"What becomes of old messages: delete removes them by retention.ms and retention.bytes, compact keeps the newest of each key, an empty list keeps all. With compact every message needs a key."),
		from: from("log.cleanup.policy"),
		bind: func(t *TopicSettings, v string) {
			words := splitList(v)
			t.Compacted, t.Expires = slices.Contains(words, policyCompact), slices.Contains(words, policyDelete)
		},
	},
	{
		Setting: except(integer("compression.gzip.level", -1, -1, 9,
			"How hard gzip tries where compression.type=gzip has the broker compress; -1 is its default."), 0),
		from: from("compression.gzip.level"),
		bind: func(t *TopicSettings, v string) { t.gzipLevel = toInt(v) },
	},
	{
		Setting: integer("compression.lz4.level", 9, 1, 17,
			"How hard LZ4 tries where compression.type=lz4 has the broker compress. Above 9 it is 9."),
		from: from("compression.lz4.level"),
		bind: func(t *TopicSettings, v string) { t.lz4Level = toInt(v) },
	},
	{
		Setting: choice("compression.type", "producer", []string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"},
			"How batches are compressed that a producer compressed otherwise: the broker inflates them and compresses them anew. producer keeps each as it came."),
		from: from("compression.type"),
		bind: func(t *TopicSettings, v string) { t.codec, t.recompress = codecsByName[v] },
	},
	{
		Setting: integer("compression.zstd.level", 3, -131072, 22,
			"How hard Zstd tries where compression.type=zstd has the broker compress, The nearest of four levels is taken."),
		from: from("compression.zstd.level"),
		bind: func(t *TopicSettings, v string) { t.zstdLevel = toInt(v) },
	},
	{
		Setting: long("delete.retention.ms", dayMs, 0, math.MaxInt64,
			"How long the delete marker of a key stays in a compacted topic, in ms."),
		from: from("log.cleaner.delete.retention.ms"),
		bind: func(t *TopicSettings, v string) { t.DeleteRetentionMs = toInt64(v) },
	},
	{
		Setting: long("file.delete.delay.ms", minuteMs, 0, math.MaxInt64,
			"How long a deleted file stays."+noEffectSharedLog),
	},
	{
		Setting: long("flush.messages", math.MaxInt64, 1, math.MaxInt64,
			"After how many messages the log is flushed."+noEffectFlush),
	},
	{
		Setting: long("flush.ms", math.MaxInt64, 0, math.MaxInt64,
			"After which time the log is flushed, in ms."+noEffectFlush),
	},
	{
		Setting: integer("index.interval.bytes", 4096, 0, math.MaxInt32,
			"How densely a segment is indexed."+noEffectSharedLog),
	},
	{
		Setting: long(maxCompactionLagMs, math.MaxInt64, 1, math.MaxInt64,
			"How long a message may stay uncompacted, in ms."),
		from: from(cleanerMaxLagMs),
		bind: func(t *TopicSettings, v string) { t.MaxCompactionLagMs = toInt64(v) },
	},
	{
		// Kafka's default is 1048588 and its limit 2^31-1; ours is what an entry of
		// the log can carry.
		Setting: integer("max.message.bytes", defaultMessageBytes, 0, maxBatchBytes,
			"The largest batch that is taken, as the producer sent it and as compression.type has it, in bytes."),
		from: from(messageMaxBytes),
		bind: func(t *TopicSettings, v string) { t.MaxMessageBytes = toInt(v) },
	},
	{
		Setting: long("message.timestamp.after.max.ms", hourMs, 0, math.MaxInt64,
			"How far the timestamp of a message may be ahead of the broker's clock, in ms. Does not apply under LogAppendTime."),
		from: from("log.message.timestamp.after.max.ms"),
		bind: func(t *TopicSettings, v string) { t.TimestampAfterMs = toInt64(v) },
	},
	{
		Setting: long("message.timestamp.before.max.ms", math.MaxInt64, 0, math.MaxInt64,
			"How far the timestamp of a message may be behind the broker's clock, in ms. Does not apply under LogAppendTime."),
		from: from("log.message.timestamp.before.max.ms"),
		bind: func(t *TopicSettings, v string) { t.TimestampBeforeMs = toInt64(v) },
	},
	{
		Setting: choice("message.timestamp.type", "CreateTime", []string{"CreateTime", timestampLogAppend},
			"Whether a message keeps the timestamp that its producer gave it or gets that of its append."),
		from: from("log.message.timestamp.type"),
		bind: func(t *TopicSettings, v string) { t.LogAppendTime = v == timestampLogAppend },
	},
	{
		// Ours.
		Setting: choice(messageType, string(Normal), []string{string(Normal), string(FIFO), string(Transaction)},
			"What the topic does with messages. normal: appends them. fifo: the same, and says that readers rely on their order. transaction: takes half messages too, which nobody sees until their sender commits them. Fixed when the topic is created. delay is not available yet."),
		bind: func(t *TopicSettings, v string) { t.MessageType = MessageType(v) },
	},
	{
		Setting: ratio("min.cleanable.dirty.ratio", "0.5",
			"How much of a compacted topic must be uncompacted before it is compacted again."),
		from: from("log.cleaner.min.cleanable.ratio"),
		bind: func(t *TopicSettings, v string) { t.MinCleanableDirtyRatio = toFloat(v) },
	},
	{
		Setting: long(minCompactionLagMs, 0, 0, math.MaxInt64,
			"How long a message stays uncompacted at least, in ms."),
		from: from(cleanerMinLagMs),
		bind: func(t *TopicSettings, v string) { t.MinCompactionLagMs = toInt64(v) },
	},
	{
		Setting: integer("min.insync.replicas", 1, 1, math.MaxInt32,
			"How many replicas must have a write before it is acknowledged with acks=all."+noEffectRaft),
	},
	{
		Setting: toggle("preallocate", false,
			"Whether a segment's file gets its full size when it is made."+noEffectSharedLog),
	},
	{
		Setting: long("retention.bytes", -1, -1, math.MaxInt64,
			"The size of a partition above which its oldest messages are deleted, in bytes; -1 is no limit."),
		from: from("log.retention.bytes"),
		bind: func(t *TopicSettings, v string) { t.RetentionBytes = toInt64(v) },
	},
	{
		Setting: long("retention.ms", 7*dayMs, -1, math.MaxInt64,
			"The age above which messages are deleted, in ms; -1 is no limit."),
		from: []origin{{"log.retention.ms", 1}, {"log.retention.minutes", minuteMs}, {"log.retention.hours", hourMs}},
		bind: func(t *TopicSettings, v string) { t.RetentionMs = toInt64(v) },
	},
	{
		// The least is that of Kafka before 4.0 (then 1 MiB): tests of clients ask
		// for a few hundred bytes to see compaction soon.
		Setting: integer("segment.bytes", 1<<30, 14, math.MaxInt32,
			"The size of a segment of the log."+noEffectSharedLog),
	},
	{
		Setting: integer("segment.index.bytes", 10<<20, 4, math.MaxInt32,
			"The size of a segment's index."+noEffectSharedLog),
	},
	{
		Setting: long("segment.jitter.ms", 0, 0, math.MaxInt64,
			"How far the age at which segments end is spread."+noEffectSharedLog),
	},
	{
		Setting: long("segment.ms", 7*dayMs, 1, math.MaxInt64,
			"The age at which a segment of the log ends."+noEffectSharedLog),
	},
	{
		Setting: toggle("unclean.leader.election.enable", false,
			"Whether a replica that lacks acknowledged messages may lead."+noEffectRaft),
	},
}

// from names a broker setting in the same unit.
func from(name string) []origin { return []origin{{name: name, scale: 1}} }

// topicSettingNamed finds a declaration.
func topicSettingNamed(name string) (*topicSetting, bool) {
	for i := range topicSettings {
		if topicSettings[i].Name == name {
			return &topicSettings[i], true
		}
	}
	return nil, false
}

func topicSettingNames() []string {
	names := make([]string, len(topicSettings))
	for i := range topicSettings {
		names[i] = topicSettings[i].Name
	}
	return names
}

// TopicSettingDeclarations lists all settings of topics by name, for
// documentation.
func TopicSettingDeclarations() []Setting {
	out := make([]Setting, len(topicSettings))
	for i := range topicSettings {
		out[i] = topicSettings[i].Setting
	}
	return out
}

package cluster

import (
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

func TestEveryDeclarationHoldsTogether(t *testing.T) {
	for what, all := range map[string][]Setting{"topic": TopicSettingDeclarations(), "broker": BrokerSettingDeclarations(), "group": GroupSettingDeclarations()} {
		if !slices.IsSortedFunc(all, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) }) {
			t.Errorf("%s settings are not in order", what)
		}
		for i, s := range all {
			if i > 0 && all[i-1].Name == s.Name {
				t.Errorf("%s is declared twice", s.Name)
			}
			if s.Doc == "" || s.Accepts == "" || s.Type == kmsg.ConfigTypeUnknown || len(s.Name) > maxSuggested {
				t.Errorf("%s is not declared in full", s.Name)
			}
			if s.Default == nil {
				continue
			}
			if v, err := s.Canonical(*s.Default); err != nil || v != *s.Default {
				t.Errorf("the default of %s becomes %q: %v", s.Name, v, err)
			}
		}
	}
	for _, d := range topicSettings {
		if d.Default == nil {
			t.Errorf("topic setting %s has no default", d.Name)
		}
		for _, o := range d.from {
			b, ok := brokerSettingNamed(o.name)
			if !ok {
				t.Errorf("%s comes from %s, which does not exist", d.Name, o.name)
				continue
			}
			if o.scale < 1 {
				t.Errorf("%s comes from %s times %d", d.Name, o.name, o.scale)
			}
			if b.Default == nil {
				continue
			}
			if got := o.convert(*b.Default); got != *d.Default {
				t.Errorf("the default of %s is %s, of %s %s", d.Name, *d.Default, o.name, got)
			}
		}
		if d.bind == nil && !strings.Contains(d.Doc, "changes nothing") {
			t.Errorf("%s goes nowhere, and does not say that it changes nothing", d.Name)
		}
	}
}

func TestEveryTopicSettingOfKafkaIsThere(t *testing.T) {
	for name, def := range map[string]string{
		"cleanup.policy":                  "delete",
		"compression.gzip.level":          "-1",
		"compression.lz4.level":           "9",
		"compression.type":                "producer",
		"compression.zstd.level":          "3",
		"delete.retention.ms":             "86400000",
		"file.delete.delay.ms":            "60000",
		"flush.messages":                  "9223372036854775807",
		"flush.ms":                        "9223372036854775807",
		"index.interval.bytes":            "4096",
		"max.compaction.lag.ms":           "9223372036854775807",
		"max.message.bytes":               "4194304",
		"message.timestamp.after.max.ms":  "3600000",
		"message.timestamp.before.max.ms": "9223372036854775807",
		"message.timestamp.type":          "CreateTime",
		"message.type":                    "normal",
		"min.cleanable.dirty.ratio":       "0.5",
		"min.compaction.lag.ms":           "0",
		"min.insync.replicas":             "1",
		"preallocate":                     "false",
		"retention.bytes":                 "-1",
		"retention.ms":                    "604800000",
		"segment.bytes":                   "1073741824",
		"segment.index.bytes":             "10485760",
		"segment.jitter.ms":               "0",
		"segment.ms":                      "604800000",
		"unclean.leader.election.enable":  "false",
	} {
		d, ok := topicSettingNamed(name)
		if !ok || *d.Default != def {
			t.Errorf("%s is missing, or its default is not %s", name, def)
		}
	}
}

func TestValuesAreCheckedAndMadeCanonical(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"retention.ms", "-1", "-1"},
		{"retention.ms", " +5 ", "5"},
		{"retention.ms", "-2", ""},
		{"retention.ms", "1e3", ""},
		{"retention.ms", "", ""},
		{"retention.ms", "9223372036854775807", "9223372036854775807"},
		{"retention.ms", "9223372036854775808", ""},
		{"segment.index.bytes", "2147483647", "2147483647"},
		{"segment.index.bytes", "2147483648", ""},
		{"segment.bytes", "200", "200"},
		{"max.message.bytes", "536870912", "536870912"},
		{"max.message.bytes", "536870913", ""},
		{"min.cleanable.dirty.ratio", "1", "1"},
		{"min.cleanable.dirty.ratio", ".25", "0.25"},
		{"min.cleanable.dirty.ratio", "1.01", ""},
		{"min.cleanable.dirty.ratio", "NaN", ""},
		{"preallocate", "TRUE", "true"},
		{"preallocate", "1", ""},
		{"message.timestamp.type", "LogAppendTime", "LogAppendTime"},
		{"message.timestamp.type", "logappendtime", ""},
		{"cleanup.policy", "compact , delete", "compact,delete"},
		{"cleanup.policy", "delete,delete", ""},
		{"cleanup.policy", "compact,", ""},
		{"compression.type", "zstd", "zstd"},
		{"compression.type", "brotli", ""},
		{"compression.gzip.level", "-1", "-1"},
		{"compression.gzip.level", "0", ""},
		{"compression.gzip.level", "-0", ""},
		{"compression.gzip.level", "9", "9"},
		{"compression.gzip.level", "10", ""},
		{"compression.lz4.level", "0", ""},
		{"compression.zstd.level", "-131072", "-131072"},
		{"compression.zstd.level", "23", ""},
		{"retention.ms", strings.Repeat("0", 2000) + "1", ""},
	} {
		d, _ := topicSettingNamed(c.name)
		got, err := d.Canonical(c.value)
		if (err != nil) != (c.want == "") || err == nil && got != c.want {
			t.Errorf("%s=%q: got %q, %v, want %q", c.name, shortened(c.value), got, err, c.want)
		}
		if err != nil && (!strings.Contains(err.Error(), c.name) || !strings.Contains(err.Error(), d.Accepts)) {
			t.Errorf("%q does not name key and range", err)
		}
	}
	d, _ := topicSettingNamed("cleanup.policy")
	if got, err := d.Canonical(" "); err != nil || got != "" {
		t.Errorf("an empty list became %q, %v", got, err)
	}
}

func TestBrokerSettingsTellAllThatIsWrong(t *testing.T) {
	_, err := ParseBrokerSettings(map[string]string{
		"num.partition":     "3",
		"num.partitions":    "many",
		"flush":             "never",
		"something.foreign": "x",
	})
	if err == nil {
		t.Fatal("accepted")
	}
	want := strings.Join([]string{
		`broker setting flush: "never" is not one of sync, async`,
		`unknown broker setting "num.partition" (did you mean num.partitions?)`,
		`broker setting num.partitions: "many" is not an integer from 1 to 100000`,
		`unknown broker setting "something.foreign"`,
	}, "\n")
	if err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	for name, set := range map[string]map[string]string{
		consumerHeartbeatMs:        {consumerHeartbeatMs: "1000"},
		consumerSessionMs:          {consumerSessionMs: "61000"},
		"group.consumer.assignors": {"group.consumer.assignors": ""},
		groupMinSessionMs:          {groupMinSessionMs: "9000", groupMaxSessionMs: "8000"},
		cleanerMinLagMs:            {cleanerMinLagMs: "9", cleanerMaxLagMs: "8"},
	} {
		if _, err := ParseBrokerSettings(set); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v: got %v", set, err)
		}
	}
}

func TestDefaultsOfTheBroker(t *testing.T) {
	s := DefaultBrokerSettings()
	got := *s
	got.set, got.topics = nil, TopicSettings{}
	want := BrokerSettings{
		NumPartitions: 1, DefaultReplicationFactor: 1, AutoCreateTopics: true, DeleteTopics: true, FlushSync: true,
		SegmentBytes: 1 << 30, RollMs: 604_800_000, RetentionCheckMs: 300_000, CleanerBackoffMs: 15_000,
		CleanerKeyMapBytes: 128 << 20, CleanerBytesPerSecond: 100 << 20, MinFreeBytes: 16 << 20, ScrubBytesPerSecond: 16 << 20, SocketRequestMaxBytes: 100 << 20, MaxConnections: 10_000, ConnectionsMaxIdleMs: 600_000,
		MaxConnectionsPerIP: 1<<31 - 1, ConnectionsPerIP: map[netip.Addr]int{}, QueuedMaxRequestBytes: 512 << 20, LoginMaxBytes: 64 << 10, FailedLoginDelayMs: 100,
		GroupInitialRebalanceDelayMs: 3000, GroupMinSessionTimeoutMs: 6000, GroupMaxSessionTimeoutMs: 1_800_000,
		GroupConsumerSessionTimeoutMs: 45_000, GroupConsumerMinSessionMs: 45_000, GroupConsumerMaxSessionMs: 60_000,
		GroupConsumerHeartbeatIntervalMs: 5000, GroupConsumerMinHeartbeatMs: 5000, GroupConsumerMaxHeartbeatMs: 15_000,
		GroupConsumerMaxAssignmentMs: 15_000, GroupConsumerMaxSize: 10_000, GroupConsumerAssignors: []string{"uniform", "range"}, GroupConsumerMigrationPolicy: "bidirectional",
		GroupMaxSize: 10_000, OffsetsTopicPartitions: 50, OffsetsRetentionMinutes: 10080, OffsetMetadataMaxBytes: 4096,
		HalfMessageImmunityMs: 6000, HalfMessageCheckIntervalMs: 30_000, HalfMessageCheckMax: 15,
		ProducerIDExpirationMs: 86_400_000, TransactionalIDExpirationMs: 604_800_000, TransactionMaxTimeoutMs: 900_000,
		TransactionStatePartitions: 50,
		QuotaWindows:               11, QuotaWindowSeconds: 1, MutationQuotaWindows: 11, MutationQuotaWindowSeconds: 1,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
	topics := TopicSettings{
		MaxMessageBytes: 4 << 20, TimestampBeforeMs: 1<<63 - 1, TimestampAfterMs: 3_600_000, Expires: true,
		RetentionMs: 604_800_000, RetentionBytes: -1, DeleteRetentionMs: 86_400_000, MaxCompactionLagMs: 1<<63 - 1,
		MinCleanableDirtyRatio: 0.5, MessageType: Normal, gzipLevel: -1, lz4Level: 9, zstdLevel: 3,
	}
	if got := s.Topic(&Topic{}); got != topics {
		t.Errorf("got %+v\nwant %+v", got, topics)
	}
}

func TestTopicTakesItsOwnThenTheBrokersThenTheDefault(t *testing.T) {
	s := brokerSettingsOf(t, map[string]string{
		"log.retention.hours":        "2",
		"message.max.bytes":          "1000",
		"log.message.timestamp.type": "LogAppendTime",
		"log.cleanup.policy":         "compact",
	})
	topic := &Topic{Configs: map[string]string{"max.message.bytes": "77", "cleanup.policy": "delete"}}
	got := s.Topic(topic)
	if got.MaxMessageBytes != 77 || !got.LogAppendTime || got.Compacted || !got.Expires || got.RetentionMs != 2*hourMs || got.DeleteRetentionMs != dayMs {
		t.Errorf("got %+v", got)
	}
	for _, want := range []struct {
		name, value string
		source      kmsg.ConfigSource
		synonyms    []Synonym
	}{
		{"max.message.bytes", "77", kmsg.ConfigSourceDynamicTopicConfig, []Synonym{
			{"max.message.bytes", "77", kmsg.ConfigSourceDynamicTopicConfig},
			{"message.max.bytes", "1000", kmsg.ConfigSourceStaticBrokerConfig},
			{"message.max.bytes", "4194304", kmsg.ConfigSourceDefaultConfig},
		}},
		{"retention.ms", "7200000", kmsg.ConfigSourceStaticBrokerConfig, []Synonym{
			{"log.retention.hours", "2", kmsg.ConfigSourceStaticBrokerConfig},
		}},
		{"delete.retention.ms", "86400000", kmsg.ConfigSourceDefaultConfig, []Synonym{
			{"log.cleaner.delete.retention.ms", "86400000", kmsg.ConfigSourceDefaultConfig},
		}},
		{"message.type", "normal", kmsg.ConfigSourceDefaultConfig, []Synonym{
			{"message.type", "normal", kmsg.ConfigSourceDefaultConfig},
		}},
	} {
		e := entryNamed(t, s.Effective(topic), want.name)
		if *e.Value != want.value || !slices.Equal(e.Synonyms, want.synonyms) || e.Source != want.source || e.ReadOnly {
			t.Errorf("got %s=%s, %v, synonyms %v", e.Name, *e.Value, e.Source, e.Synonyms)
		}
	}
}

func TestABatchIsCompressedAnewForACodecAndNotForALevel(t *testing.T) {
	s := brokerSettingsOf(t, map[string]string{"compression.type": "lz4", "compression.zstd.level": "7"})
	for _, c := range []struct {
		configs map[string]string
		sent    record.Codec
		want    record.Compression
		anew    bool
	}{
		{nil, record.LZ4, record.Compression{Codec: record.LZ4}, false},
		{map[string]string{"compression.lz4.level": "1"}, record.LZ4, record.Compression{Codec: record.LZ4}, false},
		{nil, record.None, record.Compression{Codec: record.LZ4, Level: 9}, true},
		{map[string]string{"compression.lz4.level": "1"}, record.None, record.Compression{Codec: record.LZ4, Level: 1}, true},
		{map[string]string{"compression.type": "zstd"}, record.LZ4, record.Compression{Codec: record.Zstd, Level: 7}, true},
		{map[string]string{"compression.type": "gzip"}, record.LZ4, record.Compression{Codec: record.Gzip}, true},
		{map[string]string{"compression.type": "gzip", "compression.gzip.level": "9"}, record.Snappy, record.Compression{Codec: record.Gzip, Level: 9}, true},
		{map[string]string{"compression.type": "snappy"}, record.Zstd, record.Compression{Codec: record.Snappy}, true},
		{map[string]string{"compression.type": "uncompressed"}, record.Zstd, record.Compression{}, true},
		{map[string]string{"compression.type": "producer"}, record.Zstd, record.Compression{Codec: record.Zstd}, false},
	} {
		topic := s.Topic(&Topic{Configs: c.configs})
		if got, anew := topic.Recompress(c.sent); got != c.want || anew != c.anew {
			t.Errorf("%v sent to %v is kept as %+v, anew: %v; want %+v, %v", c.sent, c.configs, got, anew, c.want, c.anew)
		}
	}
}

func TestRetentionTakesTheFinestUnitThatIsSet(t *testing.T) {
	for _, c := range []struct {
		set  map[string]string
		want int64
	}{
		{map[string]string{"log.retention.hours": "1"}, hourMs},
		{map[string]string{"log.retention.hours": "1", "log.retention.minutes": "2"}, 2 * minuteMs},
		{map[string]string{"log.retention.ms": "3", "log.retention.minutes": "2"}, 3},
		{map[string]string{"log.retention.hours": "-1"}, -1},
		{map[string]string{"log.retention.hours": "2147483647"}, 2147483647 * hourMs},
	} {
		if got := brokerSettingsOf(t, c.set).Topic(&Topic{}).RetentionMs; got != c.want {
			t.Errorf("%v: got %d", c.set, got)
		}
	}
}

// TestWhatKafkaChangesWhileItRunsIsDynamic but for security.
func TestWhatKafkaChangesWhileItRunsIsDynamic(t *testing.T) {
	var got []string
	entries := brokerSettingsOf(t, map[string]string{"num.partitions": "3"}).Entries()
	for _, e := range entries {
		if !e.ReadOnly {
			got = append(got, e.Name)
		}
	}
	want := []string{
		"compression.gzip.level", "compression.lz4.level", "compression.type", "compression.zstd.level", "disk.min.free.bytes", "group.consumer.assignment.interval.ms", "log.cleaner.backoff.ms", "log.cleaner.dedupe.buffer.size", "log.cleaner.delete.retention.ms",
		"log.cleaner.io.max.bytes.per.second", "log.cleaner.max.compaction.lag.ms", "log.cleaner.min.cleanable.ratio", "log.cleaner.min.compaction.lag.ms",
		"log.cleanup.policy", "log.message.timestamp.after.max.ms", "log.message.timestamp.before.max.ms", "log.message.timestamp.type",
		"log.retention.bytes", "log.retention.ms", "log.roll.ms", "log.scrub.io.max.bytes.per.second", "log.segment.bytes",
		"max.connections", "max.connections.per.ip", "max.connections.per.ip.overrides", "message.max.bytes", "producer.id.expiration.ms",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if e := entryNamed(t, entries, "num.partitions"); *e.Value != "3" || len(e.Synonyms) != 2 || e.Synonyms[1].Value != "1" || e.Source != kmsg.ConfigSourceStaticBrokerConfig {
		t.Errorf("got %+v", e)
	}
	if e := entryNamed(t, entries, "broker.rack"); e.Value != nil || e.Source != kmsg.ConfigSourceDefaultConfig {
		t.Errorf("got %+v", e)
	}
}

func TestValueOfAnotherVersionCountsAsNotSet(t *testing.T) {
	got := DefaultBrokerSettings().Topic(&Topic{Configs: map[string]string{
		"retention.ms": "a fortnight", "message.type": "delay", "of.the.future": "1",
	}})
	if got != DefaultBrokerSettings().topics {
		t.Errorf("got %+v", got)
	}
}

func TestSuggestionsAreNear(t *testing.T) {
	names := topicSettingNames()
	for name, want := range map[string]string{
		"retention.m": "retention.ms", "Retention.ms": "retention.ms", "max.message.byte": "max.message.bytes",
		"foo": "", "": "", strings.Repeat("x", 1000): "",
	} {
		if got := nearest(name, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", shortened(name), got, want)
		}
	}
}

func entryNamed(t *testing.T, es []Entry, name string) Entry {
	t.Helper()
	for _, e := range es {
		if e.Name == name {
			return e
		}
	}
	t.Fatalf("%s is not listed", name)
	return Entry{}
}

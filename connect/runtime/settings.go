package runtime

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
)

// SourceSettings are what every source takes besides its own, under Kafka
// Connect's and Debezium's names.
var SourceSettings = []connect.Setting{
	{Name: "tasks.max", Form: connect.Number, Default: "1", Min: 1, Max: 1024, Doc: "how many tasks the source may be split into"},
	{Name: "tombstones.on.delete", Form: connect.Switch, Default: "true", Doc: "whether a delete is followed by a record without a value, " +
		"by which compaction forgets the key"},
	{Name: "producer.override.compression.type", Default: "snappy", OneOf: slices.Sorted(maps.Keys(compressions)),
		Doc: "how batches of records are compressed"},
}

// compressions are Kafka's, by the names of its compression.type.
var compressions = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(),
	"zstd": kgo.ZstdCompression(),
}

// SinkSettings are what every sink takes besides its own.
var SinkSettings = []connect.Setting{
	{Name: "topics", Form: connect.List, Required: true, Check: checkTopics, Doc: "the topics to read, with commas between"},
}

var topicName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,249}$`)

func checkTopics(text string) error {
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); !topicName.MatchString(name) || name == "." || name == ".." {
			return fmt.Errorf("%q is no name of a topic: letters, digits, dots, dashes and underscores, 249 at most", name)
		}
	}
	return nil
}

// NewSource checks what was given for a source, and returns all that is wrong.
func NewSource(c connect.SourceConnector, given map[string]string) (*Source, []*connect.SettingError) {
	config, wrong := connect.ParseConfig(slices.Concat(c.Settings, SourceSettings), given)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return &Source{
		connector: c, config: config, tasksMax: int(config.Number("tasks.max")), tombstones: config.Switch("tombstones.on.delete"),
		compression: compressions[config.Text("producer.override.compression.type")],
	}, nil
}

// NewSink checks what was given for a sink, and returns all that is wrong.
func NewSink(c connect.SinkConnector, given map[string]string) (*Sink, []*connect.SettingError) {
	config, wrong := connect.ParseConfig(slices.Concat(c.Settings, SinkSettings), given)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return &Sink{c, config, config.List("topics")}, nil
}

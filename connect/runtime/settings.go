package runtime

import (
	"slices"

	"github.com/splashdam/splashdam/connect"
)

// SourceSettings are what every source takes besides its own, under Kafka
// Connect's and Debezium's names.
var SourceSettings = []connect.Setting{
	{Name: "tasks.max", Form: connect.Number, Default: "1", Min: 1, Max: 1024, Doc: "how many tasks the source may be split into"},
	{Name: "tombstones.on.delete", Form: connect.Switch, Default: "true", Doc: "whether a delete is followed by a record without a value, " +
		"by which compaction forgets the key"},
}

// SinkSettings are what every sink takes besides its own.
var SinkSettings = []connect.Setting{
	{Name: "topics", Form: connect.List, Required: true, Doc: "the topics to read, with commas between"},
}

// NewSource checks what was given for a source, and returns all that is wrong.
func NewSource(c connect.SourceConnector, given map[string]string) (*Source, []*connect.SettingError) {
	config, wrong := connect.ParseConfig(slices.Concat(c.Settings, SourceSettings), given)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return &Source{c, config, int(config.Number("tasks.max")), config.Switch("tombstones.on.delete")}, nil
}

// NewSink checks what was given for a sink, and returns all that is wrong.
func NewSink(c connect.SinkConnector, given map[string]string) (*Sink, []*connect.SettingError) {
	config, wrong := connect.ParseConfig(slices.Concat(c.Settings, SinkSettings), given)
	if len(wrong) > 0 {
		return nil, wrong
	}
	return &Sink{c, config, config.List("topics")}, nil
}

package runtime

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

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

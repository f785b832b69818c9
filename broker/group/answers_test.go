package group

import (
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestOldOffsetFetchTellsAllFromNothing(t *testing.T) {
	s := full(t)
	cfg := DefaultConfig()
	cfg.NewID = func() string { return "x" }
	c := Lead(s, cfg, 10)
	topic := kmsg.NewOffsetFetchRequestTopic()
	topic.Topic, topic.Partitions = "t", []int32{1, 7}
	for name, q := range map[string]struct {
		topics []kmsg.OffsetFetchRequestTopic
		want   string
	}{
		"null topics: all":    {nil, "t/0=5 t/1=6 "},
		"no topics: nothing":  {[]kmsg.OffsetFetchRequestTopic{}, ""},
		"one topic: that one": {[]kmsg.OffsetFetchRequestTopic{topic}, "t/1=6 t/7=-1 "},
	} {
		r := kmsg.NewPtrOffsetFetchRequest()
		r.Version, r.Group, r.Topics = 7, "simple", q.topics
		got := ""
		for _, x := range c.Fetch(r).Topics {
			for _, p := range x.Partitions {
				got += fmt.Sprintf("%s/%d=%d ", x.Topic, p.Partition, p.Offset)
			}
		}
		if got != q.want {
			t.Errorf("%s: %q, want %q", name, got, q.want)
		}
	}
	r := kmsg.NewPtrOffsetFetchRequest()
	r.Version = 9
	for _, id := range []string{"simple", "g", "nobody"} {
		g := kmsg.NewOffsetFetchRequestGroup()
		g.Group = id
		r.Groups = append(r.Groups, g)
	}
	a := c.Fetch(r)
	if len(a.Groups) != 3 || len(a.Groups[0].Topics) != 1 || len(a.Groups[1].Topics) != 1 || len(a.Groups[2].Topics) != 0 {
		t.Errorf("three groups: %+v", a.Groups)
	}
	if r.Version != a.Version {
		t.Errorf("version %d is answered with %d", r.Version, a.Version)
	}
}

func TestWhatTheLogSaysBecomesWhatTheCoordinatorSays(t *testing.T) {
	for _, c := range []struct {
		err  error
		want *kerr.Error
	}{
		{nil, nil},
		{errors.New("too many proposals"), kerr.CoordinatorNotAvailable},
		{fmt.Errorf("proposing: %w", kerr.NotLeaderForPartition), kerr.NotCoordinator},
		{kerr.KafkaStorageError, kerr.NotCoordinator},
		{kerr.NotEnoughReplicas, kerr.CoordinatorNotAvailable},
		{kerr.RequestTimedOut, kerr.CoordinatorNotAvailable},
		{kerr.MessageTooLarge, kerr.UnknownServerError},
		{kerr.NotCoordinator, kerr.NotCoordinator},
	} {
		if got := persistError(c.err); got != c.want {
			t.Errorf("%v becomes %v, want %v", c.err, got, c.want)
		}
	}
}

func TestConfigNamesWhatCannotWork(t *testing.T) {
	good := DefaultConfig()
	good.NewID = func() string { return "" }
	if err := good.Validate(); err != nil {
		t.Errorf("the default: %v", err)
	}
	for name, spoil := range map[string]func(*Config){
		"maximum session below minimum": func(c *Config) { c.MaxSessionTimeout = c.MinSessionTimeout - 1 },
		"negative delay":                func(c *Config) { c.InitialRebalanceDelay = -1 },
		"no retention":                  func(c *Config) { c.OffsetsRetention = 0 },
		"no members":                    func(c *Config) { c.MaxSize = 0 },
		"no ids":                        func(c *Config) { c.NewID = nil },
	} {
		c := good
		spoil(&c)
		if c.Validate() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

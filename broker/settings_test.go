package broker

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/internal/vfs"
)

// configure sets a setting of a resource, or resets it for no value.
func (a asker) configure(ctx context.Context, of kmsg.ConfigResourceType, name, setting, value string, validateOnly bool) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = of, name
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Op = setting, kmsg.IncrementalAlterConfigOpDelete
	if value != "" {
		c.Op, c.Value = kmsg.IncrementalAlterConfigOpSet, &value
	}
	r.Configs = append(r.Configs, c)
	req.Resources, req.ValidateOnly = append(req.Resources, r), validateOnly
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return err
	}
	return said(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage)
}

// configured is what a setting of a resource is, and from where.
func (a asker) configured(ctx context.Context, t *testing.T, of kmsg.ConfigResourceType, name, setting string) string {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = of, name, []string{setting}
	req.Resources = append(req.Resources, r)
	resp, err := req.RequestWith(ctx, a)
	must(t, err)
	must(t, said(resp.Resources[0].ErrorCode, resp.Resources[0].ErrorMessage))
	if len(resp.Resources[0].Configs) == 0 {
		return ""
	}
	c := resp.Resources[0].Configs[0]
	return *c.Value + " " + c.Source.String()
}

const (
	ofTopic  = kmsg.ConfigResourceTypeTopic
	ofBroker = kmsg.ConfigResourceTypeBroker
)

func TestABrokerSaysWhoAndWhereItIs(t *testing.T) {
	within(t, Config{FS: vfs.NewMem(), NodeID: 7}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		const static = " STATIC_BROKER_CONFIG"
		l := n.cfg.Listeners[0]
		for name, want := range map[string]string{
			"node.id":              "7",
			"broker.id":            "7",
			"listeners":            l.Name + "://" + l.Net.Addr().String(),
			"advertised.listeners": fmt.Sprintf("%s://%s:%d", l.Name, l.Host, l.Port),
			"log.dirs":             n.cfg.Dir,
		} {
			if got := ask.configured(ctx, t, ofBroker, "7", name); got != want+static {
				t.Errorf("%s is %q, want %q", name, got, want+static)
			}
			if err := ask.configure(ctx, ofBroker, "7", name, want, false); !errors.Is(err, kerr.InvalidRequest) {
				t.Errorf("altering %s: %v", name, err)
			}
			if got := ask.configured(ctx, t, ofBroker, "", name); got != "" {
				t.Errorf("%s of all brokers is %q", name, got)
			}
		}
	})
}

func TestWhatIsSetWhileABrokerRunsHoldsAtOnceAndOverARestart(t *testing.T) {
	disk := vfs.NewMem()
	tooLarge := func(ctx context.Context, t *testing.T, ask asker, want error) {
		t.Helper()
		if _, err := ask.produce(ctx, orders, 0, batch(-1, 0, string(make([]byte, 500)))); !errors.Is(err, want) {
			t.Errorf("a batch of 500 bytes: %v, want %v", err, want)
		}
	}
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 1))
		must(t, ask.configure(ctx, ofBroker, "", "message.max.bytes", "300", true))
		tooLarge(ctx, t, ask, nil) // it was only to be checked
		must(t, ask.configure(ctx, ofBroker, "", "message.max.bytes", "300", false))
		tooLarge(ctx, t, ask, kerr.MessageTooLarge)
		if got := ask.configured(ctx, t, ofTopic, orders, "max.message.bytes"); got != "300 DYNAMIC_DEFAULT_BROKER_CONFIG" {
			t.Error(got)
		}
		must(t, ask.configure(ctx, ofBroker, "1", "message.max.bytes", "400", false))
	})
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		tooLarge(ctx, t, ask, kerr.MessageTooLarge)
		if got := ask.configured(ctx, t, ofBroker, "1", "message.max.bytes"); got != "400 DYNAMIC_BROKER_CONFIG" {
			t.Error(got)
		}
		if got := ask.configured(ctx, t, ofBroker, "", "message.max.bytes"); got != "300 DYNAMIC_DEFAULT_BROKER_CONFIG" {
			t.Error(got)
		}
		must(t, ask.configure(ctx, ofBroker, "1", "message.max.bytes", "", false))
		must(t, ask.configure(ctx, ofBroker, "", "message.max.bytes", "", false))
		tooLarge(ctx, t, ask, nil)
		if err := ask.configure(ctx, ofBroker, "1", "num.partitions", "7", false); !errors.Is(err, kerr.InvalidRequest) {
			t.Errorf("a setting that is read at the start: %v", err)
		}
	})
}

func TestAGroupGoesByItsSettingsAtOnceAndOverARestart(t *testing.T) {
	disk := vfs.NewMem()
	const group = kmsg.ConfigResourceTypeGroupConfig
	pace := func(ctx context.Context, n *node, g string) int32 {
		req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		req.Version, req.Group, req.MemberID, req.RebalanceTimeoutMillis = 1, g, "m", 60_000
		req.SubscribedTopicNames, req.Topics = []string{orders}, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		r := n.ConsumerGroupHeartbeat(ctx, kafka.Client{ID: "c", Host: "/::1", Principal: "User:u"}, req)
		must(t, said(r.ErrorCode, r.ErrorMessage))
		return r.HeartbeatIntervalMillis
	}
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, n.ensureTopic(ctx, cluster.NewTopic{Name: offsetsTopic, Partitions: -1, ReplicationFactor: -1}))
		must(t, ask.configure(ctx, group, "g", "consumer.heartbeat.interval.ms", "7000", true))
		if got := pace(ctx, n, "g"); got != 5000 {
			t.Errorf("heartbeats every %d ms", got)
		}
		must(t, ask.configure(ctx, group, "g", "consumer.heartbeat.interval.ms", "7000", false))
		if got := pace(ctx, n, "g"); got != 7000 {
			t.Errorf("heartbeats every %d ms", got)
		}
	})
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		if g, h := pace(ctx, n, "g"), pace(ctx, n, "h"); g != 7000 || h != 5000 {
			t.Errorf("heartbeats every %d ms, of another group %d", g, h)
		}
		if got := ask.configured(ctx, t, group, "g", "consumer.heartbeat.interval.ms"); got != "7000 GROUP_CONFIG" {
			t.Error(got)
		}
	})
}

// TestACleanerThatRestsHearsThatItMayRestLess: it would otherwise go on as it began.
func TestACleanerThatRestsHearsThatItMayRestLess(t *testing.T) {
	cfg := Config{Settings: settings(t, map[string]string{"log.cleaner.backoff.ms": "86400000", "log.retention.check.interval.ms": "1"})}
	within(t, cfg, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 1, "retention.ms", "60000"))
		if _, err := ask.produce(ctx, orders, 0, batch(-1, 0, "one")); err != nil {
			t.Fatal(err)
		}
		topic, _ := n.view().Topic(orders)
		start := func() int64 {
			synctest.Wait()
			return n.shards[topic.Partitions[0].Shard].bounds(topic.Partitions[0].ID).LogStart
		}
		time.Sleep(time.Hour)
		if start() != 0 {
			t.Fatal("the cleaner does not rest")
		}
		must(t, ask.configure(ctx, ofBroker, "1", "log.cleaner.backoff.ms", "1000", false))
		time.Sleep(3*time.Second + 7*time.Millisecond)
		if got := start(); got != 1 {
			t.Errorf("the log begins at %d", got)
		}
	})
}

func TestConnectionsAreLimitedWhileABrokerRuns(t *testing.T) {
	within(t, Config{}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 1))
		must(t, ask.configure(ctx, ofBroker, "", "listener.name.plaintext.max.connections", "1", false))
		late := n.asker(t)
		if _, err := late.topics(ctx); err == nil {
			t.Error("a connection more than listener.name.plaintext.max.connections is served")
		}
		late.close()
		must(t, ask.configure(ctx, ofBroker, "", "listener.name.plaintext.max.connections", "", false))
		late = n.asker(t)
		_, err := late.topics(ctx)
		must(t, err)
		late.close()
		if n.log.find("a connection was refused") == nil {
			t.Error("nobody hears of it")
		}
		n.log.forget()
	})
}

func TestSegmentsEndSoonerWhenTheirSizeIsLowered(t *testing.T) {
	within(t, Config{}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 1))
		topic, _ := n.view().Topic(orders)
		log := n.shards[topic.Partitions[0].Shard].log
		fill := func() int {
			for range 8 {
				if _, err := ask.produce(ctx, orders, 0, batch(-1, 0, string(make([]byte, 300<<10)))); err != nil {
					t.Fatal(err)
				}
			}
			return len(log.Segments())
		}
		if got := fill(); got != 1 {
			t.Fatalf("%d segments of 1 GiB", got)
		}
		must(t, ask.configure(ctx, ofBroker, "1", "log.segment.bytes", "1048576", false))
		time.Sleep(time.Second)
		if got := fill(); got != 3 {
			t.Errorf("%d segments, want 3: the first ends with the next batch, and one of 1 MiB four later", got)
		}
	})
}

// TestSettingsThatDoNotGoWithThoseOfTheStartAreSaidAndDoNotHold: the configuration of a
// broker may be another one than when they were set.
func TestSettingsThatDoNotGoWithThoseOfTheStartAreSaidAndDoNotHold(t *testing.T) {
	disk := vfs.NewMem()
	const least, most = "log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.configure(ctx, ofBroker, "", least, "5000", false))
	})
	within(t, Config{FS: disk, Settings: settings(t, map[string]string{most: "100"})}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		if got := ask.configured(ctx, t, ofBroker, "1", least); got != "0 DEFAULT_CONFIG" {
			t.Error(got)
		}
		if len(n.log.find("do not go with")) != 1 {
			t.Errorf("logged: %q", n.log.find(""))
		}
		n.log.forget()
		must(t, ask.configure(ctx, ofBroker, "", least, "50", false))
		if got := ask.configured(ctx, t, ofBroker, "1", least); got != "50 DYNAMIC_DEFAULT_BROKER_CONFIG" {
			t.Error(got)
		}
	})
}

func TestReadingASettingThatMayChangeAllocatesNothing(t *testing.T) {
	var n Broker
	n.current.Store(settings(t, nil))
	topic := new(cluster.Topic)
	if got := testing.AllocsPerRun(100, func() { _ = n.settings().Topic(topic) }); got > 0 {
		t.Errorf("%v allocations", got)
	}
}

package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/broker"
	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// startBroker runs a broker until the end of the test and says how to reach it.
func startBroker(t *testing.T) []kgo.Opt {
	t.Helper()
	sock, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	settings, err := cluster.ParseBrokerSettings(nil)
	must(t, err)
	b, err := broker.Open(broker.Config{
		FS: vfs.NewMem(), Dir: "data", NodeID: 1, Settings: settings, Logger: slog.New(slog.DiscardHandler),
		Listeners: []broker.Listener{{
			Name: "PLAINTEXT", Protocol: "PLAINTEXT", Net: sock, Host: "127.0.0.1", Port: int32(sock.Addr().(*net.TCPAddr).Port),
		}},
	})
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	<-b.Ready()
	t.Cleanup(func() {
		cancel()
		must(t, errors.Join(<-ended, b.Close()))
	})
	return []kgo.Opt{kgo.SeedBrokers(sock.Addr().String())}
}

func open(t *testing.T, cluster []kgo.Opt, connector string) *Topic {
	t.Helper()
	topic, err := Open(t.Context(), cluster, DefaultTopic, connector)
	must(t, err)
	t.Cleanup(topic.Close)
	return topic
}

// record is one of the topic, as any program may write it; a value of "" is none.
func record(key, value string) *kgo.Record {
	r := &kgo.Record{Topic: DefaultTopic, Key: []byte(key)}
	if value != "" {
		r.Value = []byte(value)
	}
	return r
}

func produce(t *testing.T, cluster []kgo.Opt, records ...*kgo.Record) {
	t.Helper()
	client, err := kgo.NewClient(cluster...)
	must(t, err)
	defer client.Close()
	must(t, client.ProduceSync(t.Context(), records...).FirstErr())
}

func position(partition, offset string) connect.Position {
	p := connect.Position{Partition: json.RawMessage(partition)}
	if offset != "" {
		p.Offset = json.RawMessage(offset)
	}
	return p
}

// wantPositions are written "partition offset".
func wantPositions(t *testing.T, topic *Topic, want ...string) {
	t.Helper()
	positions, err := topic.Load(t.Context())
	must(t, err)
	var got []string
	for _, p := range positions {
		got = append(got, fmt.Sprintf("%s %s", p.Partition, p.Offset))
	}
	if !slices.Equal(got, want) {
		t.Errorf("positions\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestPositionsAreThoseSavedLast(t *testing.T) {
	cluster := startBroker(t)
	topic := open(t, cluster, "shop")
	wantPositions(t, topic)
	must(t, topic.Save(t.Context(), []connect.Position{
		position(`{"server":"db"}`, `{"gtid":"1-1-5"}`),
		position(`{"table":"orders","chunk":1}`, `{"at":10}`),
		position(`{"table":"orders","chunk":2}`, `{"at":20}`),
	}))
	must(t, topic.Save(t.Context(), []connect.Position{
		position(`{"table":"orders","chunk":1}`, ""), // forgotten
		position(`{"table":"orders","chunk":2}`, `{"at":21}`),
		position(`{"table":"orders","chunk":2}`, `{"at":22}`), // twice at once: the last one holds
	}))
	want := []string{`{"server":"db"} {"gtid":"1-1-5"}`, `{"table":"orders","chunk":2} {"at":22}`}
	wantPositions(t, topic, want...)
	wantPositions(t, open(t, cluster, "shop"), want...)
	wantPositions(t, open(t, cluster, "shop2")) // another connector's are not ours
}

func TestTheTopicIsKafkaConnects(t *testing.T) {
	cluster := startBroker(t)
	topic := open(t, cluster, "shop-1")
	must(t, topic.Save(t.Context(), []connect.Position{position(`{"server":"db<1>"}`, `{"pos":4}`), position(`{"server":"b"}`, "")}))
	var got []string
	must(t, ReadAll(t.Context(), cluster, DefaultTopic, func(r *kgo.Record) error {
		got = append(got, fmt.Sprintf("%s %v %s", r.Key, r.Value == nil, r.Value))
		return nil
	}))
	slices.Sort(got)
	if want := []string{`["shop-1",{"server":"b"}] true `, `["shop-1",{"server":"db<1>"}] false {"pos":4}`}; !slices.Equal(got, want) {
		t.Errorf("records\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	client, err := kgo.NewClient(cluster...)
	must(t, err)
	defer client.Close()
	admin := kadm.NewClient(client)
	details, err := admin.ListTopics(t.Context(), DefaultTopic)
	must(t, err)
	configs, err := admin.DescribeTopicConfigs(t.Context(), DefaultTopic)
	must(t, err)
	policy := ""
	for _, entry := range configs[0].Configs {
		if entry.Key == "cleanup.policy" {
			policy = entry.MaybeValue()
		}
	}
	if partitions := len(details[DefaultTopic].Partitions); partitions != DefaultPartitions || policy != "compact" {
		t.Errorf("the topic has %d partitions and the cleanup.policy %q", partitions, policy)
	}
}

// What Kafka Connect and others have written there is read as it is: positions of a
// connector that moves here, and records of other connectors, whatever those are.
func TestRecordsOfOthersAreReadOrLeftAlone(t *testing.T) {
	cluster := startBroker(t)
	topic := open(t, cluster, "shop")
	produce(t, cluster,
		record(`["shop",{"server":"db"}]`, `{"pos": 4}`),
		record(`["shop",{"server":"old"}]`, `{"pos":1}`),
		record(`["shop",{"server":"old"}]`, ""),
		record(`["shop", {"server":"odd"}]`, ""), // a mistake that was forgotten
		record(`["other",{"server":"db"}]`, `not even JSON`),
		record(`["other",null]`, `{}`),
		record(`{"schema":null,"payload":["shop",{}]}`, `{}`), // a worker with schemas.enable
		record(`["task-count-record",7]`, `{}`),
		record(``, `{}`),
	)
	wantPositions(t, topic, `{"server":"db"} {"pos": 4}`)
	must(t, topic.Save(t.Context(), []connect.Position{position(`{"server":"db"}`, `{"pos":5}`)}))
	wantPositions(t, topic, `{"server":"db"} {"pos":5}`)
}

func TestAPositionOfOursThatIsNoneIsAnError(t *testing.T) {
	const key = `["shop",{"server":"db"}]`
	for _, c := range []struct{ name, key, value, want string }{
		{"not JSON", key, `{"pos":`, "a source offset is not JSON"},
		{"no object", key, `7`, "a source offset is not a JSON object"},
		{"a partition that is none", `["shop",7]`, `{"pos":7}`, "a source partition is not a JSON object"},
		{"a key with a space", `["shop", {"server":"db"}]`, `{"pos":7}`, "not written as Kafka Connect and we do"},
		{"a partition with a space", `["shop",{"server": "db"}]`, `{"pos":7}`, "not written as Kafka Connect and we do"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cluster := startBroker(t)
			topic := open(t, cluster, "shop")
			produce(t, cluster, record(c.key, c.value))
			_, err := topic.Load(t.Context())
			_, permanent := errors.AsType[*connect.PermanentError](err)
			if err == nil || !permanent || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "record 0 of partition ") {
				t.Errorf("the error is %v, and should say %q and where", err, c.want)
			}
			produce(t, cluster, record(c.key, ""))
			wantPositions(t, topic)
		})
	}
}

// Compaction may leave out any record that is not the newest of its key.
func TestACompactedTopicSaysTheSame(t *testing.T) {
	long, short := startBroker(t), startBroker(t)
	all := []*kgo.Record{
		record(`["shop",{"n":1}]`, `{"at":1}`), record(`["shop",{"n":2}]`, `{"at":1}`), record(`["shop",{"n":1}]`, `{"at":2}`),
		record(`["shop",{"n":2}]`, ""), record(`["shop",{"n":3}]`, `{"at":1}`), record(`["shop",{"n":1}]`, `{"at":3}`),
	}
	newest := []*kgo.Record{record(`["shop",{"n":3}]`, `{"at":1}`), record(`["shop",{"n":1}]`, `{"at":3}`)}
	for _, c := range []struct {
		cluster []kgo.Opt
		records []*kgo.Record
	}{{long, all}, {short, newest}} {
		topic := open(t, c.cluster, "shop")
		produce(t, c.cluster, c.records...)
		wantPositions(t, topic, `{"n":1} {"at":3}`, `{"n":3} {"at":1}`)
	}
}

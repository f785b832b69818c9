package cluster

import (
	"encoding/binary"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
)

// ids hands out topic ids 1, 2, 3 ...
func ids() func() [16]byte {
	n := uint32(0)
	return func() (id [16]byte) {
		n++
		binary.BigEndian.PutUint32(id[:], n)
		return id
	}
}

func node(id int32) Node {
	return Node{ID: id, Rack: "r1", Endpoints: []Endpoint{{Listener: "PLAINTEXT", Host: "localhost", Port: 9092 + id}}}
}

// lead makes a cluster of some nodes, numbered from 1, and data shards.
func lead(t testing.TB, nodes int, shards ...record.ShardID) *Controller {
	t.Helper()
	c := Lead(Empty())
	if _, err := c.Bootstrap("Zm9vYmFyYmF6cXV4MTIzNA", shards); err != nil {
		t.Fatal(err)
	}
	for i := range nodes {
		if _, err := c.RegisterNode(node(int32(i + 1))); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func brokerSettingsOf(t testing.TB, set map[string]string) *BrokerSettings {
	t.Helper()
	s, err := ParseBrokerSettings(set)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// plain asks for a topic with the broker's defaults for all but the partitions.
func plain(name string, partitions int32) NewTopic {
	return NewTopic{Name: name, Partitions: partitions, ReplicationFactor: -1}
}

func mustCreate(t testing.TB, c *Controller, r NewTopic, newID func() [16]byte) (record.Command, *Topic) {
	t.Helper()
	cmd, topic, err := c.CreateTopic(r, DefaultBrokerSettings(), newID)
	if err != nil {
		t.Fatal(err)
	}
	return cmd, topic
}

func mustApply(t testing.TB, v *View, cmd record.Command) *View {
	t.Helper()
	next, err := v.Apply(cmd, 0)
	if err != nil {
		t.Fatal(err)
	}
	return next
}

// wantKafka demands the code that a client would see; nil is success.
func wantKafka(t testing.TB, err error, want *kerr.Error) {
	t.Helper()
	if want == nil {
		if err != nil {
			t.Fatalf("got %v, want no error", err)
		}
		return
	}
	var got *kerr.Error
	if !errors.As(err, &got) || got != want {
		t.Fatalf("got %v, want %s", err, want.Message)
	}
}

func ptr(s string) *string { return &s }

package integration

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// What a person has to cure ends `connect run` with exit code 1 and a message that says
// what to do, and what was written stays as it is. Package connect/runtime tries the same
// on our own broker; here it is Apache Kafka's answers that have to be understood.

func TestAPipelineStopsAtATopicThatWasMadeAgain(t *testing.T) {
	c := kafkaCluster(t)
	topic := c.prefix + ".orders"
	ctx, admin := adminOf(t, c)
	p := newPipeline(t, c.addr, generated(c.prefix, 1000))
	p.start()
	p.waitFor(topic, 1000)
	if _, err := admin.DeleteTopic(ctx, topic); err != nil {
		t.Fatal(err)
	}
	eventually(ctx, t, "making the topic again", func() error {
		_, err := admin.CreateTopic(ctx, 1, 1, nil, topic)
		return err
	})
	p.stops("topic "+topic+" was deleted and created again", "away, or give the sink another dir")
	if rows := p.rows(topic); rows != 1000 {
		t.Errorf("%d rows are in the files", rows)
	}
}

func TestAPipelineStopsAtAGap(t *testing.T) {
	c := kafkaCluster(t)
	topic := c.prefix + ".orders"
	ctx, admin := adminOf(t, c)
	p := newPipeline(t, c.addr, generated(c.prefix, 3000))
	p.start()
	p.waitFor(topic, 3000)
	p.stop()
	// Another pipeline's source goes on with the topic, and then retention strikes.
	more := newPipeline(t, c.addr, strings.Replace(generated(c.prefix+"-more", 3000), "topic.prefix: "+c.prefix+"-more", "topic.prefix: "+c.prefix, 1))
	more.start()
	var ends kadm.ListedOffsets
	eventually(ctx, t, "more rows", func() (err error) {
		if ends, err = admin.ListEndOffsets(ctx, topic); err == nil && sum(ends) < 6000 {
			err = fmt.Errorf("the topic has %d", sum(ends))
		}
		return err
	})
	more.kill()
	deleted, err := admin.DeleteRecords(ctx, ends.Offsets())
	if err = errors.Join(err, deleted.Error()); err != nil {
		t.Fatal(err)
	}
	p.start()
	p.stops("OFFSET_OUT_OF_RANGE", "its retention has deleted what was not read", "Nothing was skipped")
	if rows := p.rows(topic); rows != 3000 {
		t.Errorf("%d rows are in the files", rows)
	}
}

func TestOfTwoProcessesWithOnePipelineTheFirstStops(t *testing.T) {
	c := kafkaCluster(t)
	topic := c.prefix + ".orders"
	p := newPipeline(t, c.addr, generated(c.prefix, 3000))
	p.start()
	p.waitFor(topic, 3000)
	second := *p
	second.cmd = nil
	second.start()
	defer second.kill()
	p.stops("another process has begun to run this sink", "let only one run the pipeline")
}

func TestAPipelineStopsAtARowThatIsTooLarge(t *testing.T) {
	c := kafkaCluster(t)
	topic := c.prefix + ".orders"
	ctx, admin := adminOf(t, c)
	limit := "400"
	if _, err := admin.CreateTopic(ctx, 1, 1, map[string]*string{"max.message.bytes": &limit}, topic); err != nil {
		t.Fatal(err)
	}
	p := newPipeline(t, c.addr, generated(c.prefix, 100))
	p.start()
	p.until("stopped for good")
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil { // the sink goes on until then
		t.Fatal(err)
	}
	p.stops("bytes as a record, and topic "+topic+" takes 144", "raise max.message.bytes of the topic")
	limit = "100000"
	if _, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "max.message.bytes", Value: &limit}}, topic); err != nil {
		t.Fatal(err)
	}
	p.start()
	p.waitFor(topic, 100)
	p.stop()
	if rows := p.rows(topic); rows != 100 {
		t.Errorf("%d rows are in the files", rows)
	}
}

// generated is a pipeline of rows that are made, and their files.
func generated(prefix string, rows int) string {
	return fmt.Sprintf(`
name: %s
source:
  connector: generator
  topic.prefix: %s
  rows: %d
sink:
  connector: arrow
  topics: %s.orders
  dir: %%s
  file.age.ms: 100
`, prefix, prefix, rows, prefix)
}

func adminOf(t *testing.T, c cluster) (context.Context, *kadm.Client) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(c.addr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return testContext(t, time.Minute), kadm.NewClient(client)
}

func sum(ends kadm.ListedOffsets) (n int64) {
	ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
	return n
}

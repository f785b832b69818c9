package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect/checkpoint"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
)

// The pipelines of a directory run in the node. One that cannot go on says so and is no
// concern of the others. An orderly end leaves nothing half done: what was read is in
// the topic, once, and what the sink has read is in the files.
func TestANodeRunsPipelinesAndEndsThemBeforeItself(t *testing.T) {
	n := Start(t, "--set", "group.initial.rebalance.delay.ms=0")
	client, err := kgo.NewClient(kgo.SeedBrokers(n.Addr), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(10))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx := testContext(t, time.Minute)
	if err := client.ProduceSync(ctx, &kgo.Record{Topic: "foreign", Value: []byte("no row")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	n.Stop()

	dir, lake := t.TempDir(), filepath.Join(t.TempDir(), "lake")
	for name, text := range map[string]string{
		// file.age.ms is 30 s: it is the orderly end that writes the file.
		"load.yaml": "name: load\nsource:\n  connector: generator\n  topic.prefix: load\n  rows.per.second: 5000\n" +
			"sink:\n  connector: arrow\n  topics: load.orders\n  dir: " + lake,
		"foreign.yml": "name: foreign\nsink:\n  connector: arrow\n  topics: foreign\n  dir: " + lake,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	n.args = append(n.args, "--connect", dir)
	rows := 0
	for range 3 {
		n.Restart()
		before := rows
		admin := kadm.NewClient(client)
		var joined int64 // where the topic ended when the sink was there
		eventually(ctx, t, "reading what the sink has not seen before", func() error {
			group, err := admin.DescribeGroups(ctx, "connect-load")
			if err != nil || group["connect-load"].State != "Stable" {
				return fmt.Errorf("the group is %s: %w", group["connect-load"].State, err)
			}
			ends, err := admin.ListEndOffsets(ctx, "load.orders")
			at, _ := ends.Lookup("load.orders", 0)
			if joined == 0 {
				joined = at.Offset
			}
			if err != nil || at.Offset < joined+3000 {
				return fmt.Errorf("the topic ends at %d: %w", at.Offset, err)
			}
			return nil
		})
		n.Stop()
		rows = countRows(t, filepath.Join(lake, "load.orders"))
		if rows <= before {
			t.Errorf("after a run there are %d rows in the files, and before it there were %d", rows, before)
		}
	}
	log, err := os.ReadFile(n.log)
	if err != nil {
		t.Fatal(err)
	}
	if complaint := regexp.MustCompile(`level=(WARN|ERROR).* pipeline=load .*`).Find(log); complaint != nil {
		t.Errorf("the sound pipeline had something to say: %s", complaint)
	}
	if said := bytes.Count(log, []byte(`level=ERROR msg="stopped for good, until somebody cures the cause and starts it again" pipeline=foreign`)); said != 3 {
		t.Errorf("the other one said %d times that it stopped, and there were 3 starts", said)
	}

	// The sink reads behind the source, so the topic may have more than the files.
	n.args = n.args[:len(n.args)-2]
	n.Restart()
	got := map[string]bool{}
	err = checkpoint.ReadAll(ctx, []kgo.Opt{kgo.SeedBrokers(n.Addr)}, "load.orders", func(r *kgo.Record) error {
		if got[string(r.Key)] {
			return fmt.Errorf("row %s is in the topic twice, after orderly ends only", r.Key)
		}
		got[string(r.Key)] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for id := range len(got) {
		if !got[fmt.Sprintf(`{"id":%d}`, id+1)] {
			t.Fatalf("row %d of %d is not in the topic", id+1, len(got))
		}
	}
	if len(got) < rows {
		t.Errorf("%d rows in the topic, and %d in the files", len(got), rows)
	}
}

// countRows counts those in the files of a topic.
func countRows(t *testing.T, dir string) (rows int) {
	t.Helper()
	d, err := arrow.OpenDirectory(vfs.OS(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Rows(func(b *arrow.Block) error { rows += len(b.Offset); return nil }); err != nil {
		t.Fatal(err)
	}
	return rows
}

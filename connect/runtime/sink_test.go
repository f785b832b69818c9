package runtime

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
)

// files is a pipeline that writes the topic text.rows to files.
func files(disk vfs.FS, name string) Pipeline {
	sink, wrong := NewSink(arrow.Connector(disk), map[string]string{"topics": "text.rows", "dir": "lake", "file.age.ms": "1000"})
	if len(wrong) > 0 {
		panic(wrong)
	}
	return Pipeline{Name: name, Sink: sink}
}

// written are the ids in the files, in order.
func written(t *testing.T, disk vfs.FS) (ids []int) {
	t.Helper()
	dir := path.Join("lake", "text.rows")
	if there, err := disk.Exists(dir); err != nil || !there {
		return nil
	}
	d, err := arrow.OpenDirectory(disk, dir)
	must(t, err)
	must(t, d.Rows(func(b *arrow.Block) error {
		for row := range b.Offset {
			ids = append(ids, int(b.Columns[b.Schema.Index("id")].Int(row)))
		}
		return nil
	}))
	return ids
}

func ids(from, to int) (all []int) {
	for id := from; id <= to; id++ {
		all = append(all, id)
	}
	return all
}

// wantFiles demands the rows up to a last one, each once and in order.
func wantFiles(t *testing.T, disk vfs.FS, last int) {
	t.Helper()
	if got := written(t, disk); !slices.Equal(got, ids(1, last)) {
		t.Errorf("%d rows in the files, and not the %d each once and in order", len(got), last)
	}
}

func (u *run) untilFiles(disk vfs.FS, last int) {
	u.t.Helper()
	u.until(fmt.Sprint(last, " rows in the files"), func() bool { return len(written(u.t, disk)) >= last })
}

// fill puts rows into the topic, up to a last one.
func (n *node) fill(last int) {
	n.t.Helper()
	n.run(textSource{texts: upTo(last, "x"), batch: 100}.pipeline("text")).finish()
}

func TestASinkWritesEveryRow(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.fill(1000)
		disk := vfs.NewMem()
		u := n.run(files(disk, "files"))
		u.untilFiles(disk, 1000)
		u.interrupt()
		n.fill(2000)
		u = n.run(files(disk, "files"))
		u.untilFiles(disk, 2000)
		u.interrupt()
		wantFiles(t, disk, 2000)
		if said := u.log.find("files"); len(said) > 0 {
			t.Errorf("it said %v", said)
		}
		offsets, err := n.admin.FetchOffsets(t.Context(), "connect-files")
		must(t, err)
		if at, ok := offsets.Lookup("text.rows", 0); !ok || at.At != 2000 {
			t.Errorf("the group is at %d", at.At)
		}
	})
}

func TestASinkGoesOnWhenTheDiskHasRoomAgain(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		var full atomic.Bool
		mem := vfs.NewMem()
		disk := vfs.NewFault(mem, func(op vfs.Op) error {
			if full.Load() && (op.Kind == vfs.OpWrite || op.Kind == vfs.OpCreate || op.Kind == vfs.OpSync) {
				return vfs.ErrNoSpace
			}
			return nil
		})
		u := n.run(textSource{texts: upTo(3000, "x"), batch: 10, pause: 100 * time.Millisecond}.pipeline("text"), files(disk, "files"))
		u.untilFiles(mem, 500)
		full.Store(true)
		time.Sleep(time.Minute)
		got := written(t, mem)
		full.Store(false)
		u.untilFiles(mem, 3000)
		wantFiles(t, mem, 3000)
		if len(got) > 1500 {
			t.Errorf("%d rows were written to a full disk", len(got))
		}
		said := u.log.find("make room on the disk of lake")
		if len(said) < 3 || len(said) > 10 {
			t.Errorf("within a minute it said so %d times", len(said))
		}
	})
}

func TestASinkGoesOnWhenTheBrokerIsBack(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		disk := vfs.NewMem()
		u := n.run(textSource{texts: upTo(3000, "x"), batch: 10, pause: 100 * time.Millisecond}.pipeline("text"), files(disk, "files"))
		u.untilFiles(disk, 500)
		n.stop()
		time.Sleep(time.Minute)
		n.start()
		u.untilFiles(disk, 3000)
		wantFiles(t, disk, 3000)
		if said := u.log.find("ERROR"); len(said) > 0 {
			t.Errorf("it said %v", said)
		}
	})
}

func TestASinkStopsAtATopicThatWasMadeAgain(t *testing.T) {
	again := func(t *testing.T, n *node) {
		t.Helper()
		_, err := n.admin.DeleteTopics(t.Context(), "text.rows")
		must(t, err)
		n.topic("text.rows")
	}
	t.Run("while it was stopped", func(t *testing.T) {
		onNode(t, func(t *testing.T, n *node) {
			n.fill(100)
			disk := vfs.NewMem()
			u := n.run(files(disk, "files"))
			u.untilFiles(disk, 100)
			u.interrupt()
			again(t, n)
			n.run(files(disk, "files")).fail("topic text.rows was deleted and created again", "move lake/text.rows/p=0 and lake/.splashdam/text.rows/p=0 away")
			wantFiles(t, disk, 100)
		})
	})
	t.Run("while it ran", func(t *testing.T) {
		onNode(t, func(t *testing.T, n *node) {
			n.fill(100)
			disk := vfs.NewMem()
			u := n.run(files(disk, "files"))
			u.untilFiles(disk, 100)
			again(t, n)
			u.fail("topic text.rows was deleted and created again", "move lake/text.rows/p=0 and lake/.splashdam/text.rows/p=0 away")
			wantFiles(t, disk, 100)
		})
	})
}

func TestASinkWaitsForATopicThatIsNotThere(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		disk := vfs.NewMem()
		u := n.run(files(disk, "files"))
		u.until("saying so", func() bool {
			return len(u.log.find("INFO waiting for topics that are not there topics=[text.rows]")) > 0
		})
		n.fill(100)
		u.untilFiles(disk, 100)
		wantFiles(t, disk, 100)
		if said := u.log.find("beginning again"); len(said) > 0 {
			t.Errorf("it said %v", said)
		}
	})
}

func TestTwoSinksMustNotWriteToOneDirectory(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.fill(100)
		disk := vfs.NewMem()
		u := n.run(files(disk, "files"))
		u.untilFiles(disk, 100)
		n.run(files(disk, "others")).fail("belongs to connector files, not to others", "give each a dir of its own")
		n.fill(200)
		u.untilFiles(disk, 200)
		wantFiles(t, disk, 200)
	})
}

// A second process that runs the same pipeline takes its sink over, as one has to that
// replaces a dead one; the first one must not take it back.
func TestOfTwoProcessesWithOnePipelineTheFirstStops(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.fill(100)
		disk := vfs.NewMem()
		first := n.run(files(disk, "files"))
		first.untilFiles(disk, 100)
		second := n.run(files(disk, "files"))
		first.fail("another process has begun to run this sink", "let only one run the pipeline")
		n.fill(200)
		second.untilFiles(disk, 200)
		wantFiles(t, disk, 200)
	})
}

func TestARecordThatIsNoRowStopsTheSink(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.fill(3)
		must(t, n.client.ProduceSync(t.Context(), &kgo.Record{Topic: "text.rows", Value: []byte("no row")}).FirstErr())
		n.fill(5)
		disk := vfs.NewMem()
		n.run(files(disk, "files")).fail("record text.rows-0-3: it has no header sd-schema", "the sink stops there")
	})
}

func TestSchemasThatAreGoneStopTheSink(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.fill(3)
		_, err := n.admin.DeleteTopics(t.Context(), "text.schemas")
		must(t, err)
		n.run(files(vfs.NewMem(), "files")).fail("topic text.schemas has no schema", "bring it back")
	})
}

// offsets are those that a sink was given. The test reads them while it runs.
type offsets struct {
	mu  sync.Mutex
	all []int64
}

func (o *offsets) take(r connect.Records) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, record := range r.Records {
		o.all = append(o.all, record.Offset)
	}
}

func (o *offsets) seen() []int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.all)
}

// fixedSink wants to begin at an offset, and takes everything.
type fixedSink struct {
	start   int64
	took    *offsets
	durable bool // all of it is, and it says so
	told    *int
}

func (s fixedSink) pipeline() Pipeline {
	sink, wrong := NewSink(connect.SinkConnector{
		Name: "fixed", New: func(connect.Config, connect.Environment) (connect.Sink, error) { return s, nil },
	}, map[string]string{"topics": "text.rows"})
	if len(wrong) > 0 {
		panic(wrong)
	}
	return Pipeline{Name: "fixed", Sink: sink}
}

func (s fixedSink) Open(_ context.Context, assigned []connect.Partition) ([]int64, error) {
	return slices.Repeat([]int64{s.start}, len(assigned)), nil
}
func (s fixedSink) Write(_ context.Context, r connect.Records) error {
	s.took.take(r)
	return nil
}
func (s fixedSink) Flush(context.Context, bool) ([]connect.Offset, error) {
	took := s.took.seen()
	if !s.durable || *s.told == len(took) {
		return nil, nil
	}
	*s.told = len(took)
	return []connect.Offset{{Partition: connect.Partition{Topic: "text.rows"}, Next: int64(len(took))}}, nil
}
func (s fixedSink) Revoke(context.Context, []connect.Partition) error { return nil }
func (s fixedSink) Close(context.Context) error                       { return nil }

// So it is when the end of a log was lost, or a directory is of another cluster.
func TestASinkBehindTheTopicsEndStops(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.fill(5)
		var took offsets
		n.run(fixedSink{start: 7, took: &took}.pipeline()).fail("partition 0 of topic text.rows", "OFFSET_OUT_OF_RANGE",
			"its end was lost", "Nothing was skipped", "give the sink a new directory")
		if got := took.seen(); len(got) > 0 {
			t.Errorf("it was given the offsets %v", got)
		}
	})
}

func TestTheNamesOfTopicsAreChecked(t *testing.T) {
	for text, good := range map[string]bool{
		"a": true, "a, b.c": true, "": false, "a,": false, "a b": false, "..": false, "a/b": false, strings.Repeat("a", 250): false,
	} {
		if err := checkTopics(text); (err == nil) != good {
			t.Errorf("%.20q: %v", text, err)
		}
	}
}

// The group's offset is for those who look at the lag. What a sink has to begin with is
// for the sink to say: an empty directory gets everything, though the group is far on.
func TestAnEmptyDirectoryGetsEverything(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.fill(100)
		for range 2 {
			disk := vfs.NewMem()
			u := n.run(files(disk, "files"))
			u.untilFiles(disk, 100)
			u.interrupt()
			wantFiles(t, disk, 100)
		}
	})
}

// Without a word from the sink it is where the group is.
func TestASinkWithoutOffsetsOfItsOwnBeginsWhereTheGroupIs(t *testing.T) {
	onNode(t, func(t *testing.T, n *node) {
		n.fill(5)
		var took offsets
		sink := fixedSink{start: connect.StoredOffset, took: &took, durable: true, told: new(int)}
		for last := 5; last <= 10; last += 5 {
			u := n.run(sink.pipeline())
			u.until("the records", func() bool { return len(took.seen()) >= last })
			u.interrupt()
			n.fill(last + 5)
		}
		if want := []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}; !slices.Equal(took.seen(), want) {
			t.Errorf("it was given %v", took.seen())
		}
	})
}

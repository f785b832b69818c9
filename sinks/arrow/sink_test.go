package arrow

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
)

// workload is three partitions with deletes, repetitions and changed schemas.
func workload() topic {
	w := topic{}
	pos := 0
	for n := range int32(3) {
		for i := range 12 {
			pos++
			schema := i / (5 + int(n))
			members := [...]string{`,"state":"new"`, `,"state":"paid","note":"x"`, `,"note":null`}[schema]
			w.add(n, schema, [...]connect.Op{connect.Create, connect.Update, connect.Delete}[i%3], i%4, pos, members)
			if i == 6 {
				w.again(n, 4)
			}
		}
		w.again(n, 3) // and nothing new behind them
	}
	return w
}

func checkAll(t *testing.T, w topic, fsys vfs.FS, next map[int32]int64, when string) {
	t.Helper()
	rows := rowsOf(t, fsys)
	for n := range w {
		if want := w.wanted(n, next[n]); !slices.Equal(rows[n], want) {
			t.Fatalf("%s: partition %d below offset %d has\n%s\ninstead of\n%s", when, n, next[n], strings.Join(rows[n], "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestEveryRowIsInTheFilesOnce(t *testing.T) {
	for _, settings := range [][]string{
		{}, {settingRows, "1"}, {settingRows, "4"}, {settingFormat, formatArrow}, {settingFormat, formatArrow, settingRows, "3", settingCompression, "zstd"},
	} {
		for _, most := range []int{1, 5, 100} {
			mem, w := vfs.NewMem(), workload()
			r := &runner{sink: newSink(t, mem, settings...), topic: w}
			must(t, r.open(0, 1, 2))
			must(t, r.drain(most))
			must(t, r.sink.Close(context.Background()))
			ends := map[int32]int64{0: w.end(0), 1: w.end(1), 2: w.end(2)}
			checkAll(t, w, mem, ends, fmt.Sprint(settings, most))
			for n, end := range ends {
				if r.durable[n] != end {
					t.Errorf("%v: partition %d is durable up to %d of %d", settings, n, r.durable[n], end)
				}
			}
		}
	}
}

func TestWhatCameBeforeARestartIsDroppedBehindIt(t *testing.T) {
	mem, w := vfs.NewMem(), topic{}
	for i := range 10 {
		w.add(0, 0, connect.Create, i, i, "")
		w[0][i].Headers[0] = header(connect.PlaceHeader, connect.Place{Task: uint32(i % 3), End: uint64(i)}.String())
	}
	first := &runner{sink: newSink(t, mem), topic: w}
	must(t, first.open(0))
	must(t, first.drain(100))
	w.again(0, 10)
	second := &runner{sink: newSink(t, mem), topic: w}
	must(t, second.open(0))
	must(t, second.drain(100))
	checkAll(t, w, mem, second.next, "all twice")
	if got := spans(t, mem); got != "0-10" || second.durable[0] != 20 {
		t.Errorf("files: %s, durable %d", got, second.durable[0])
	}
}

func TestAFileEndsAtItsRows(t *testing.T) {
	mem, w := vfs.NewMem(), topic{}
	for i := range 25 {
		w.add(0, 0, connect.Create, i, i, "")
	}
	r := &runner{sink: newSink(t, mem, settingRows, "10"), topic: w}
	must(t, r.open(0))
	must(t, r.write(0, 100))
	if got := spans(t, mem); got != "0-10 10-20" {
		t.Errorf("before the flush: %s", got)
	}
	must(t, r.flush(false))
	if r.durable[0] != 20 {
		t.Errorf("durable up to %d", r.durable[0])
	}
	must(t, r.flush(true))
	if got := spans(t, mem); got != "0-10 10-20 20-25" {
		t.Errorf("behind it: %s", got)
	}
}

func spans(t *testing.T, fsys vfs.FS) string {
	t.Helper()
	d, err := OpenDirectory(fsys, "lake/orders")
	must(t, err)
	var all []string
	for _, f := range d.Files {
		all = append(all, fmt.Sprintf("%d-%d", f.Base, f.Next))
	}
	return strings.Join(all, " ")
}

func TestAFileEndsAtItsBytes(t *testing.T) {
	mem, w := vfs.NewMem(), topic{}
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range 1200 {
		w.add(0, 1, connect.Create, i, i, fmt.Sprintf(`,"note":"%x%x%x"`, rnd.Uint64(), rnd.Uint64(), rnd.Uint64()))
	}
	r := &runner{sink: newSink(t, mem, settingBytes, "20000"), topic: w}
	must(t, r.open(0))
	must(t, r.drain(50))
	d, err := OpenDirectory(mem, "lake/orders")
	must(t, err)
	if len(d.Files) < 2 {
		t.Fatalf("%d files", len(d.Files))
	}
	for _, f := range d.Files[:len(d.Files)-1] {
		file, size, err := d.open(f)
		must(t, err)
		must(t, file.Close())
		if size < 20000 || size > 60000 {
			t.Errorf("%s has %d bytes", f.Path, size)
		}
	}
}

func TestAFileEndsWhenItIsOldAlsoIfNothingComes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem, w := vfs.NewMem(), topic{}
		w.add(0, 0, connect.Create, 1, 1, "")
		w.add(0, 0, connect.Create, 2, 2, "")
		r := &runner{sink: newSink(t, mem, settingAge, "30000"), topic: w}
		must(t, r.open(0))
		must(t, r.write(0, 1))
		time.Sleep(29 * time.Second)
		must(t, r.write(0, 1))
		must(t, r.flush(false))
		if got := spans(t, mem); got != "" {
			t.Errorf("after 29 s: %s", got)
		}
		time.Sleep(time.Second)
		must(t, r.flush(false))
		if got := spans(t, mem); got != "0-2" || r.durable[0] != 2 {
			t.Errorf("after 30 s: %s, durable %d", got, r.durable[0])
		}
		w.again(0, 2) // nothing for a file, but the offsets go on
		must(t, r.write(0, 2))
		time.Sleep(29 * time.Second)
		must(t, r.flush(false))
		if r.durable[0] != 2 {
			t.Errorf("durable %d", r.durable[0])
		}
		time.Sleep(time.Second)
		must(t, r.flush(false))
		if got := spans(t, mem); got != "0-2" || r.durable[0] != 4 {
			t.Errorf("without rows: %s, durable %d", got, r.durable[0])
		}
	})
}

func TestOnlyRowsOfOneSchemaShareAFile(t *testing.T) {
	mem, w := vfs.NewMem(), topic{}
	for i, schema := range []int{0, 0, 1, 1, 2, 0} {
		w.add(0, schema, connect.Create, i, i, "")
	}
	r := &runner{sink: newSink(t, mem), topic: w}
	must(t, r.open(0))
	must(t, r.drain(100))
	if got := spans(t, mem); got != "0-2 2-4 4-5 5-6" {
		t.Errorf("files: %s", got)
	}
}

// smallFiles are of a format that takes less time; to what is tested it makes no
// difference.
var smallFiles = []string{settingRows, "4", settingFormat, formatArrow}

// Whatever call the machine dies before, the files hold every row below the
// manifest's offset once, and that is not below what Flush said; and the next sink
// goes on to the end.
func TestACrashAtEveryCallLosesAndDoublesNothing(t *testing.T) {
	w := workload()
	seeds := uint64(3)
	if os.Getenv("SPLASHDAM_TEST_LONG") != "" {
		seeds = 12
	}
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		r := &runner{sink: newSink(t, vfs.NewFault(mem, vfs.CrashAt(n)), smallFiles...), topic: w}
		failed := r.session()
		checkVisible(t, w, mem, fmt.Sprintf("call %d, as a process that was killed", n))
		for seed := range seeds {
			left := mem.Crash(rand.New(rand.NewPCG(uint64(n), seed)))
			if seed == 0 {
				left = mem.CrashClean()
			}
			when := fmt.Sprintf("call %d, seed %d", n, seed)
			checkVisible(t, w, left, when)
			again := &runner{sink: newSink(t, left, smallFiles...), topic: w}
			must(t, again.open(0, 1, 2))
			checkAll(t, w, left, again.next, when)
			for p, durable := range r.durable {
				if again.next[p] < durable {
					t.Fatalf("%s: partition %d goes on at %d, and %d was durable", when, p, again.next[p], durable)
				}
			}
			must(t, again.drain(7))
			checkAll(t, w, left, map[int32]int64{0: w.end(0), 1: w.end(1), 2: w.end(2)}, when+", to the end")
		}
		if failed == nil {
			return
		}
	}
}

// session is a sink's life with a flush in the middle and one at the end.
func (r *runner) session() error {
	if err := r.open(0, 1, 2); err != nil {
		return err
	}
	for n := range int32(3) {
		if err := r.write(n, 7); err != nil {
			return err
		}
	}
	if err := r.flush(true); err != nil {
		return err
	}
	return r.drain(5)
}

// checkVisible fails if a reader sees anything but whole files with rows that are
// due, each once.
func checkVisible(t *testing.T, w topic, fsys vfs.FS, when string) {
	t.Helper()
	for n, rows := range rowsOf(t, fsys) {
		if want := w.wanted(n, w.end(n)); len(rows) > len(want) || !slices.Equal(rows, want[:len(rows)]) {
			t.Fatalf("%s: a reader sees of partition %d\n%s", when, n, strings.Join(rows, "\n"))
		}
	}
}

// Whichever call fails, the sink says so and stays failed, and another one goes on.
func TestAFailureOfEveryCallLosesAndDoublesNothing(t *testing.T) {
	w := workload()
	broken := errors.New("the disk is broken")
	for n := 1; ; n++ {
		mem := vfs.NewMem()
		fault := vfs.NewFault(mem, vfs.FailAt(n, broken))
		r := &runner{sink: newSink(t, fault, smallFiles...), topic: w}
		failed := r.session()
		if failed == nil && fault.Calls() < n {
			return
		}
		if failed == nil {
			t.Fatalf("call %d failed and nobody said so", n)
		}
		if !errors.Is(failed, broken) {
			t.Fatalf("call %d: %v", n, failed)
		}
		if _, err := r.sink.Flush(context.Background(), true); err != failed {
			t.Fatalf("call %d: later the sink said %v", n, err)
		}
		must(t, r.sink.Close(context.Background()))
		checkVisible(t, w, mem, fmt.Sprintf("call %d", n))
		again := &runner{sink: newSink(t, mem, smallFiles...), topic: w}
		must(t, again.open(0, 1, 2))
		must(t, again.drain(7))
		checkAll(t, w, mem, map[int32]int64{0: w.end(0), 1: w.end(1), 2: w.end(2)}, fmt.Sprintf("call %d", n))
	}
}

func TestAZombieWritesNothing(t *testing.T) {
	mem, w := vfs.NewMem(), workload()
	old := &runner{sink: newSink(t, mem), topic: w}
	must(t, old.open(0, 1, 2))
	must(t, old.write(0, 5))
	other := &runner{sink: newSink(t, mem), topic: w}
	must(t, other.open(0, 1, 2))
	err := old.write(0, 3)
	if err == nil {
		err = old.flush(true)
	}
	if !errors.Is(err, errFenced) || !strings.Contains(err.Error(), "give each its own") {
		t.Errorf("the old sink's flush: %v", err)
	}
	must(t, other.drain(10))
	must(t, old.sink.Close(context.Background()))
	checkAll(t, w, mem, other.next, "with a zombie")
}

func TestAFullDiskStopsTheSinkUntilThereIsRoom(t *testing.T) {
	w := workload()
	for capacity := int64(0); capacity < 1_000_000; capacity += 1777 {
		mem := vfs.NewMem()
		mem.SetCapacity(capacity)
		r := &runner{sink: newSink(t, mem, smallFiles...), topic: w}
		err := r.session()
		if err == nil {
			return
		}
		later, ok := errors.AsType[*connect.RetryAfterError](err)
		if !ok || later.Wait <= 0 || !errors.Is(err, vfs.ErrNoSpace) || !strings.Contains(err.Error(), "make room") {
			t.Fatalf("with %d bytes: %v", capacity, err)
		}
		must(t, r.sink.Close(context.Background()))
		mem.SetCapacity(-1)
		again := &runner{sink: newSink(t, mem, smallFiles...), topic: w}
		must(t, again.open(0, 1, 2))
		for n, durable := range r.durable {
			if again.next[n] < durable {
				t.Fatalf("with %d bytes: partition %d goes on at %d, and %d was durable", capacity, n, again.next[n], durable)
			}
		}
		must(t, again.drain(7))
		checkAll(t, w, mem, again.next, fmt.Sprintf("after %d bytes", capacity))
	}
	t.Error("no capacity was enough")
}

func TestRevokedPartitionsLeaveNothingBehind(t *testing.T) {
	mem, w := vfs.NewMem(), workload()
	r := &runner{sink: newSink(t, mem, settingBytes, "1024"), topic: w}
	must(t, r.open(0, 1))
	for range 2 {
		must(t, r.write(0, 5))
	}
	must(t, r.sink.Revoke(context.Background(), []connect.Partition{w.partition(0)}))
	names, err := mem.List("lake/.splashdam/orders/p=0")
	must(t, err)
	if len(names) != 1 {
		t.Errorf("left: %q", names)
	}
	must(t, r.open(0))
	must(t, r.drain(5))
	if _, err := r.sink.Open(context.Background(), []connect.Partition{w.partition(2)}); err != nil {
		t.Error(err)
	}
}

func TestATopicThatBeginsAgainIsRefused(t *testing.T) {
	mem, w := vfs.NewMem(), workload()
	r := &runner{sink: newSink(t, mem), topic: w}
	must(t, r.open(0))
	must(t, r.drain(100))
	r.next[0] = 3
	err := r.write(0, 1)
	if _, ok := errors.AsType[*connect.PermanentError](err); !ok || !strings.Contains(err.Error(), "begins again at offset 3") {
		t.Errorf("the error is %v", err)
	}
}

func TestOneBadRecordIsBlamedAndTheOthersStay(t *testing.T) {
	for name, test := range map[string]struct {
		offset int64
		spoil  func(r *connect.Record)
	}{
		"value":      {3, func(r *connect.Record) { r.Value = []byte(`{"after":{"id":"x"},"op":"c"}`) }},
		"last value": {5, func(r *connect.Record) { r.Value = []byte(`{`) }},
		"pos":        {3, func(r *connect.Record) { r.Headers[0].Value = []byte("1.2.3") }},
		"no schema":  {0, func(r *connect.Record) { r.Headers = r.Headers[:1] }},
	} {
		t.Run(name, func(t *testing.T) {
			mem, w := vfs.NewMem(), topic{}
			for i := range 6 {
				schema := i / 3
				w.add(0, schema, connect.Create, i, i, "")
			}
			test.spoil(&w[0][test.offset])
			r := &runner{sink: newSink(t, mem), topic: w}
			must(t, r.open(0))
			err := r.write(0, 100)
			bad, ok := errors.AsType[*connect.RecordError](err)
			if !ok || bad.Topic != "orders" || bad.Offset != test.offset {
				t.Fatalf("the error is %v", err)
			}
			r.next[0] = test.offset + 1
			must(t, r.drain(100))
			if got := rowsOf(t, mem)[0]; len(got) != 5 {
				t.Errorf("in the files: %q", got)
			}
		})
	}
}

func TestAColumnWithANameOfOursIsRefused(t *testing.T) {
	s := *orderSchemas[0]
	s.Fields = slices.Clone(s.Fields)
	s.Fields[1].Name = "__OP"
	if _, err := fileFields(&s); err == nil || !strings.Contains(err.Error(), "__OP") {
		t.Errorf("the error is %v", err)
	}
}

func TestTasksOfASourceAreBounded(t *testing.T) {
	mem, w := vfs.NewMem(), topic{}
	for i := range maxTasks + 1 {
		w.add(0, 0, connect.Create, i, i, "")
		w[0][i].Headers[0] = header(connect.PlaceHeader, connect.Place{Task: uint32(i)}.String())
	}
	r := &runner{sink: newSink(t, mem), topic: w}
	must(t, r.open(0))
	err := r.write(0, len(w[0]))
	if bad, ok := errors.AsType[*connect.RecordError](err); !ok || bad.Offset != maxTasks {
		t.Fatalf("the error is %v", err)
	}
	must(t, r.flush(true))
	again := &runner{sink: newSink(t, mem), topic: w}
	must(t, again.open(0))
	if again.next[0] != maxTasks {
		t.Errorf("it goes on at %d", again.next[0])
	}
}

func TestSettingsThatDoNotGoTogetherAreRefused(t *testing.T) {
	connector := Connector(vfs.NewMem())
	for _, given := range []map[string]string{
		{settingDir: "x", settingFormat: formatArrow, settingCompression: compressionSnappy},
		{settingDir: "x", settingFormat: formatParquet, settingCompression: compressionLZ4},
	} {
		c, wrong := connect.ParseConfig(connector.Settings, given)
		if len(wrong) > 0 {
			t.Fatal(wrong)
		}
		_, err := connector.New(c, environment("lake"))
		if _, ok := errors.AsType[*connect.PermanentError](err); !ok {
			t.Errorf("%v: %v", given, err)
		}
	}
	if _, wrong := connect.ParseConfig(connector.Settings, map[string]string{settingDir: ""}); len(wrong) != 1 {
		t.Errorf("an empty directory: %v", wrong)
	}
}

func TestAnEndedContextEndsTheCall(t *testing.T) {
	mem, w := vfs.NewMem(), workload()
	r := &runner{sink: newSink(t, mem), topic: w}
	must(t, r.open(0))
	must(t, r.write(0, 3))
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.sink.Open(ctx, []connect.Partition{w.partition(1)}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open: %v", err)
	}
	if err := r.sink.Write(ctx, w.from(0, 3, 2)); !errors.Is(err, context.Canceled) {
		t.Errorf("Write: %v", err)
	}
	if _, err := r.sink.Flush(ctx, true); !errors.Is(err, context.Canceled) {
		t.Errorf("Flush: %v", err)
	}
	must(t, r.drain(5)) // and nothing is lost
	checkAll(t, w, mem, map[int32]int64{0: w.end(0)}, "later")
}

package partition

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/heap"
)

// lived is a table with everything that a snapshot can hold.
func lived(t testing.TB) *Table {
	table := written(t)
	openPartition(t, table, 0x102)
	for i := range int32(7) {
		table.ApplyBatch(1, at(2+int64(i), sequenced(8, 0, i, 1)), record.Term(2+i), 10)
	}
	table.ApplyBatch(record.Halves, at(0, sequenced(-1, -1, -1, 1)), 2, 10)
	for _, c := range []record.Command{
		SequenceCommand(9, 3, 0, 4), LogStartCommand(3), ExpireProducersCommand(5, 7),
	} {
		if err := table.Apply(1, c, 20); err != nil {
			t.Fatal(err)
		}
	}
	table.ApplyBatch(0x102, at(0, inTransaction(30, 0, 0, 2)), 9, 10)
	table.ApplyBatch(0x102, at(2, inTransaction(31, 4, 0, 1)), 9, 11)
	table.ApplyBatch(0x102, at(3, marker(30, 1, record.MarkerAbort)), 9, 12)
	return table
}

func at(offset int64, b record.Batch) record.Batch {
	b.SetBaseOffset(offset)
	return b
}

func TestASnapshotHasItsBytesForEver(t *testing.T) {
	table := written(t)
	if err := table.Apply(1, LogStartCommand(1), 5); err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"01", "00000001",
		"00000001", "01000000000000000000000000000000", "00000001", // partition 1, topic, number
		"0000000000000001", "0000000000000002", "00000000000003e8", "ffffffffffffffff", // log start, end, newest, expired
		"00000001", "00000001", "0000000000000000", // leader epochs
		"00000001", "0000000000000007", "0001", "00000002", "00000002", "0000000000000005", "ffffffffffffffff", // producer
		"0000000000000000", "00000000", // its last marker
		"01", "00000000", "00000002", "0000000000000000", "00000000000003e8", // its batch
		"00000000", // aborted transactions
	}, "")
	if got := hex.EncodeToString(table.View().Encode()); got != want {
		t.Errorf("it is\n%s, in a snapshot it is\n%s", got, want)
	}
}

func TestWhatASnapshotHoldsIsRestored(t *testing.T) {
	table := lived(t)
	encoded := table.View().Encode()
	r, err := Restore(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if string(r.View().Encode()) != string(encoded) {
		t.Error("the encoding is another one")
	}
	if r.Len() != 3 {
		t.Errorf("%d partitions", r.Len())
	}
	for p := range table.partitions.All() {
		want, _ := table.Bounds(p)
		if got, ok := r.Bounds(p); !ok || got != want {
			t.Errorf("%v: %+v, was %+v", p, got, want)
		}
	}
}

func TestASnapshotDoesNotSeeWhatComesLater(t *testing.T) {
	table := lived(t)
	before := string(table.View().Encode())
	v := table.View()
	table.ApplyBatch(1, at(9, sequenced(8, 0, 7, 1)), 20, 30)
	table.ApplyBatch(record.Halves, at(1, sequenced(3, 0, 0, 1)), 20, 30)
	for _, c := range []record.Command{SequenceCommand(9, 3, 4, 1), LogStartCommand(9), ExpireProducersCommand(1000, 9), CloseCommand()} {
		if err := table.Apply(1, c, 40); err != nil {
			t.Fatal(err)
		}
	}
	openPartition(t, table, 0x103)
	if string(v.Encode()) != before {
		t.Error("it changed")
	}
	if string(table.View().Encode()) == before {
		t.Error("the commands changed nothing")
	}
}

// TestASnapshotIsTakenWhileTheTableChanges is for the race detector.
func TestASnapshotIsTakenWhileTheTableChanges(t *testing.T) {
	want := string(lived(t).View().Encode())
	table := lived(t)
	v := table.View()
	encoded := make(chan string)
	go func() { encoded <- string(v.Encode()) }()
	for i := range int32(100) {
		table.ApplyBatch(1, at(9+int64(i), sequenced(8, 0, 7+i, 1)), record.Term(20+i), 30)
	}
	if got := <-encoded; got != want {
		t.Error("it is not the state of the moment at which it was taken")
	}
}

func TestDamagedSnapshotsAreRefused(t *testing.T) {
	good := lived(t).View().Encode()
	refused := func(what string, data []byte) {
		t.Helper()
		if _, err := Restore(data); !errors.Is(err, ErrState) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for n := range good {
		refused(fmt.Sprintf("%d of %d bytes", n, len(good)), good[:n])
	}
	refused("a byte behind it", append(slices.Clone(good), 0))
	for _, future := range []byte{0, stateVersion + 1, 255} {
		refused(fmt.Sprintf("version %d", future), append([]byte{future}, good[1:]...))
	}

	// What no table holds.
	spoilt := func(what string, spoil func(p *partition)) {
		t.Helper()
		table := lived(t)
		spoil(table.find(1))
		refused(what, table.View().Encode())
	}
	spoilt("number -1", func(p *partition) { p.number = -1 })
	spoilt("log start -1", func(p *partition) { p.logStart = -1 })
	spoilt("log start behind the end", func(p *partition) { p.logStart = p.end + 1 })
	spoilt("expired producer -2", func(p *partition) { p.producers.maxExpired = -2 })
	spoilt("leader epoch -1", func(p *partition) { p.epochs[0].epoch = -1 })
	spoilt("leader epochs that fall", func(p *partition) { p.epochs[1].epoch = p.epochs[0].epoch })
	spoilt("leader epochs that overlap", func(p *partition) { p.epochs[1].start = p.epochs[0].start })
	spoilt("a leader epoch that wrote nothing", func(p *partition) { p.epochs[len(p.epochs)-1].start = p.end })
	spoilt("too many leader epochs", func(p *partition) {
		p.end = 1000
		for i := range int32(maxEpochs) {
			p.epochs = append(p.epochs, epochStart{100 + i, 100 + int64(i)})
		}
	})
	for what, spoil := range map[string]func(*producer){
		"epoch -1":             func(p *producer) { p.epoch = -1 },
		"next sequence -1":     func(p *producer) { p.next = -1 },
		"nothing accepted":     func(p *producer) { p.accepted = 0 },
		"too much accepted":    func(p *producer) { p.accepted = sequences/2 + 1 },
		"no batches":           func(p *producer) { p.n = 0 },
		"a batch from -1":      func(p *producer) { p.window[0].first = -1 },
		"a batch of nothing":   func(p *producer) { p.window[0].count = 0 },
		"a batch at offset -2": func(p *producer) { p.window[0].offset = -2 },
	} {
		spoilt("a producer with "+what, func(p *partition) { spoil(p.producers.byID[8]) })
	}
	transaction := func(what string, spoil func(p *partition)) {
		t.Helper()
		table := lived(t)
		spoil(table.find(0x102))
		refused(what, table.View().Encode())
	}
	transaction("a transaction behind the end", func(p *partition) { p.producers.byID[31].transaction = p.end })
	transaction("a transaction at -2", func(p *partition) { p.producers.byID[31].transaction = -2 })
	transaction("two transactions that begin at one offset", func(p *partition) { p.producers.byID[30].transaction = p.producers.byID[31].transaction })
	for what, spoil := range map[string]func(a *Aborted){
		"of nobody":                    func(a *Aborted) { a.Producer = -1 },
		"from -1":                      func(a *Aborted) { a.First = -1 },
		"of its marker only":           func(a *Aborted) { a.First = a.Last },
		"that ends behind the end":     func(a *Aborted) { a.Last = 4 },
		"that is stable behind itself": func(a *Aborted) { a.Stable = a.Last + 2 },
		"that is stable at -1":         func(a *Aborted) { a.Stable = -1 },
	} {
		transaction("an aborted transaction "+what, func(p *partition) { spoil(&p.transactions.aborted[0]) })
	}
	transaction("the same transaction twice", func(p *partition) {
		p.transactions.aborted = append(p.transactions.aborted, p.transactions.aborted[0])
	})
	transaction("an aborted transaction below the log start", func(p *partition) { p.logStart = p.end })
	spoilt("producer -1", func(p *partition) { p.producers.byID[-1] = p.producers.byID[8] })

	two := NewTable()
	openPartition(t, two, 1)
	one := two.View().Encode()[5:]
	refused("the same partition twice", slices.Concat([]byte{stateVersion, 0, 0, 0, 2}, one, one))
	refused("partition 0", slices.Concat([]byte{stateVersion, 0, 0, 0, 1}, make([]byte, 4), one[4:]))
}

func TestHostileCountsAllocateNothing(t *testing.T) {
	table := written(t)
	p := table.find(1)
	p.producers.byID[50] = &producer{transaction: noTransaction}
	p.transactions.aborted = []Aborted{{50, 0, 1, 2}}
	good := table.View().Encode()
	counts := map[string]int{
		"partitions": 1,
		"epochs":     5 + minPartition - 12,
		"producers":  len(good) - 4 - (minProducer + 24) - 4 - 4 - abortedSize - 4 - minProducer,
		"aborted":    len(good) - abortedSize - 4,
	}
	for what, at := range counts {
		if n := binary.BigEndian.Uint32(good[at:]); n != 1 && what != "producers" || n > 2 {
			t.Fatalf("the count of %s is not at %d: %d", what, at, n)
		}
		for _, n := range []uint32{1<<31 - 1, 1<<32 - 1, 1 << 31, 1 << 20} {
			data := slices.Clone(good)
			binary.BigEndian.PutUint32(data[at:], n)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Restore(data)
			runtime.ReadMemStats(&after)
			if !errors.Is(err, ErrState) {
				t.Errorf("%d %s: %v", int32(n), what, err)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 64<<10 {
				t.Errorf("%d %s: %d bytes were allocated", int32(n), what, got)
			}
		}
	}
}

func TestOldLeaderEpochsAreForgottenAboveALimit(t *testing.T) {
	table := NewTable()
	openPartition(t, table, 1)
	for i := range int64(3 * maxEpochs) {
		table.ApplyBatch(1, at(i, sequenced(-1, -1, -1, 1)), record.Term(i+1), 1)
	}
	if n := len(table.find(1).epochs); n != maxEpochs {
		t.Errorf("%d are remembered", n)
	}
	oldest := int64(3*maxEpochs - maxEpochs)
	for epoch, want := range map[int32]int64{1: oldest, int32(oldest): oldest, int32(oldest + 1): oldest + 1, 3 * maxEpochs: 3 * maxEpochs} {
		if _, end, ok := table.EpochEnd(1, epoch); !ok || end != want {
			t.Errorf("epoch %d ends at %d, want %d", epoch, end, want)
		}
	}
	if _, err := Restore(table.View().Encode()); err != nil {
		t.Error(err)
	}
}

func TestRefusedBeginningsAreForgottenAboveALimit(t *testing.T) {
	table := NewTable()
	openPartition(t, table, 1)
	l := Lead(table, 1)
	for i := range int64(maxRefused) * 2 {
		m := l.Mark()
		if _, err := l.Append(1, sequenced(i, 0, 0, 1), 1); err != nil {
			t.Fatal(err)
		}
		l.Undo(m)
		if len(l.refused) > maxRefused {
			t.Fatalf("%d are remembered", len(l.refused))
		}
	}
	if len(l.idle)+len(l.newest)+len(l.tails)+len(l.flights) != 0 {
		t.Errorf("of what was taken back stay %d, %d, %d, %d", len(l.idle), len(l.newest), len(l.tails), len(l.flights))
	}
}

func FuzzRestore(f *testing.F) {
	f.Add([]byte{stateVersion, 0, 0, 0, 0})
	f.Add(written(f).View().Encode())
	f.Add(lived(f).View().Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		// A state takes more room than its bytes, but in proportion to them.
		if n := heap.Allocated(func() { _, _ = Restore(data) }); n > uint64(64*len(data)+1<<20) {
			t.Fatalf("%d bytes are allocated for an input of %d", n, len(data))
		}
		table, err := Restore(data)
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if string(table.View().Encode()) != string(data) {
			t.Fatal("what was restored has another encoding")
		}
		// It can be gone on with.
		l := Lead(table, 1<<30)
		table.Each(func(p record.PartitionID, b Bounds) {
			if b.HighWatermark > 1<<60 {
				return
			}
			batch := sequenced(1<<40, 0, 0, 1)
			if _, err := l.Append(p, batch, 1); err == nil {
				table.ApplyBatch(p, batch, 1<<30, 1)
			}
		})
		l.Applied(1)
		l.ExpiredProducers(1<<60, 1, 100)
		if _, err := Restore(table.View().Encode()); err != nil {
			t.Fatalf("the next state cannot be read: %v", err)
		}
	})
}

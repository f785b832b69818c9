package partition

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/heap"
)

// sample are commands of all kinds, each with the bytes that it has in the log for
// ever.
var sample = []struct {
	name    string
	command record.Command
	bytes   string
}{
	{"open", OpenCommand([16]byte{1, 15: 2}, 3), "020101" + "01000000000000000000000000000002" + "00000003"},
	{"close", CloseCommand(), "020201"},
	{"log start", LogStartCommand(5), "020301" + "0000000000000005"},
	{"sequence", SequenceCommand(7, 1, 2, 3), "020401" + "0000000000000007" + "0001" + "00000002" + "00000003"},
	{"expire", ExpireProducersCommand(9, 7, 8), "020501" + "0000000000000009" + "00000002" + "0000000000000007" + "0000000000000008"},
	{"expire none", ExpireProducersCommand(9), "020501" + "0000000000000009" + "00000000"},
}

func TestCommandsHaveTheirBytesForEver(t *testing.T) {
	for _, c := range sample {
		if got := hex.EncodeToString(c.command); got != c.bytes {
			t.Errorf("%s is\n%s, in the log it is\n%s", c.name, got, c.bytes)
		}
	}
}

// written is a table with what commands may change: partition 1 with two records of
// producer 7, last used at 5.
func written(t testing.TB) *Table {
	table := NewTable()
	openPartition(t, table, 1)
	table.ApplyBatch(1, sequenced(7, 1, 0, 2), 1, 5)
	return table
}

func TestDamagedCommandsAreRefusedAndChangeNothing(t *testing.T) {
	table := written(t)
	before := string(table.View().Encode())
	refused := func(what string, p record.PartitionID, c record.Command) {
		t.Helper()
		if err := table.Apply(p, c, 20); !errors.Is(err, ErrCommand) {
			t.Errorf("%s: %v", what, err)
		}
		if string(table.View().Encode()) != before {
			t.Fatalf("%s changed the state", what)
		}
	}
	for _, c := range sample {
		for n := range c.command {
			refused(c.name+" cut short", 1, c.command[:n])
		}
		refused(c.name+" with a byte behind it", 1, append(slices.Clone(c.command), 0))
		for what, spoil := range map[string]func(record.Command){
			"of another owner":    func(c record.Command) { c[0] = byte(record.OwnerGroup) },
			"of kind 0":           func(c record.Command) { c[1] = 0 },
			"of a future kind":    func(c record.Command) { c[1] = kindExpire + 1 },
			"of version 0":        func(c record.Command) { c[2] = 0 },
			"of a future version": func(c record.Command) { c[2] = commandVersion + 1 },
		} {
			spoilt := slices.Clone(c.command)
			spoil(spoilt)
			refused(c.name+" "+what, 1, spoilt)
		}
	}
	refused("opening number -1", 2, OpenCommand([16]byte{1}, -1))
	refused("opening partition 0", 0, OpenCommand([16]byte{1}, 0))
	refused("opening a hidden partition", record.Halves, OpenCommand([16]byte{1}, 0))
	refused("log start -1", 1, LogStartCommand(-1))
	refused("sequences of nobody", 1, SequenceCommand(-1, 1, 2, 3))
	refused("sequences of epoch -1", 1, SequenceCommand(7, -1, 2, 3))
	refused("sequences from -1", 1, SequenceCommand(7, 1, -1, 3))
	refused("no sequences", 1, SequenceCommand(7, 1, 2, 0))

	// Counts that promise more than there is.
	for _, count := range []string{"7fffffff", "ffffffff", "80000000", "20000000", "00000003", "00000001"} {
		c, err := hex.DecodeString("020501" + "0000000000000009" + count + "0000000000000007" + "0000000000000008")
		if err != nil {
			t.Fatal(err)
		}
		refused("expiring 0x"+count+" producers, of which two are there", 1, c)
	}
}

func FuzzApply(f *testing.F) {
	for _, c := range sample {
		f.Add(uint32(1), []byte(c.command))
	}
	f.Add(uint32(record.Halves), []byte(SequenceCommand(7, 0, 0, 1)))
	f.Fuzz(func(t *testing.T, p uint32, data []byte) {
		table := written(t)
		before := string(table.View().Encode())
		var err error
		if n := heap.Allocated(func() { err = table.Apply(record.PartitionID(p), data, 20) }); n > uint64(64*len(data)+1<<20) {
			t.Fatalf("%d bytes are allocated for a command of %d", n, len(data))
		}
		after := table.View().Encode()
		switch {
		case err != nil && !errors.Is(err, ErrCommand):
			t.Fatalf("another error: %v", err)
		case err != nil && string(after) != before:
			t.Fatal("a refused command changed the state")
		}
		r, err := Restore(after)
		if err != nil {
			t.Fatalf("%x leads to a state that cannot be read: %v", data, err)
		}
		if string(r.View().Encode()) != string(after) {
			t.Fatalf("%x leads to a state that is another one when it is read", data)
		}
	})
}

package txn

import (
	"encoding/hex"
	"errors"
	"slices"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
)

// sample are commands of all kinds, each with the bytes that it has in the log for
// ever.
var sample = []struct {
	name    string
	command record.Command
	bytes   string
}{
	{
		"prepared",
		preparedCommand("id-1", PrepareRequest{Held: 5, Group: "g", Principal: "User:a", Body: Hash{1, 15: 2}}, 7000),
		"050101" + "000469642d31" + "0000000000000005" + "000167" + "0006557365723a61" + "01000000000000000000000000000002" + "0000000000001b58",
	},
	{"asked", askedCommand("id-1", 3, 7000), "050201" + "000469642d31" + "00000003" + "0000000000001b58"},
	{"parked", parkedCommand("id-1"), "050301" + "000469642d31"},
	{"committed", endedCommand("id-1", Committed, 9), "050401" + "000469642d31" + "03" + "0000000000000009"},
	{"rolled back", endedCommand("id-1", RolledBack, -1), "050401" + "000469642d31" + "04" + "ffffffffffffffff"},
	{"expired", expiredCommand("id-1"), "050501" + "000469642d31"},
}

func TestCommandsHaveTheirBytesForEver(t *testing.T) {
	for _, c := range sample {
		if got := hex.EncodeToString(c.command); got != c.bytes {
			t.Errorf("%s is\n%s, in the log it is\n%s", c.name, got, c.bytes)
		}
	}
}

func TestDamagedCommandsAreRefusedAndChangeNothing(t *testing.T) {
	h := NewHalves()
	for _, c := range sample[:2] {
		if err := h.Apply(1, c.command, 1000); err != nil {
			t.Fatal(err)
		}
	}
	before := string(h.View().Encode())
	refused := func(what string, c record.Command) {
		t.Helper()
		if err := h.Apply(1, c, 2000); !errors.Is(err, ErrCommand) {
			t.Errorf("%s: %v", what, err)
		}
		if string(h.View().Encode()) != before {
			t.Fatalf("%s changed the state", what)
		}
	}
	for _, c := range sample {
		for n := range c.command {
			refused(c.name+" cut short", c.command[:n])
		}
		refused(c.name+" with a byte behind it", append(slices.Clone(c.command), 0))
		for what, spoil := range map[string]func(record.Command){
			"of another owner":         func(c record.Command) { c[0] = byte(record.OwnerGroup) },
			"of kind 0":                func(c record.Command) { c[1] = 0 },
			"of a future kind":         func(c record.Command) { c[1] = kindExpired + 1 },
			"of version 0":             func(c record.Command) { c[2] = 0 },
			"of a future version":      func(c record.Command) { c[2] = commandVersion + 1 },
			"with a negative length":   func(c record.Command) { c[3] = 0xff },
			"with a length beyond all": func(c record.Command) { c[3] = 0x7f },
		} {
			spoilt := slices.Clone(c.command)
			spoil(spoilt)
			refused(c.name+" "+what, spoilt)
		}
	}
	for _, s := range []State{0, Undecided, Parked, RolledBack + 1, 255} {
		refused("an end as "+s.String(), endedCommand("id-1", s, 0))
	}
	refused("a commit without an offset", endedCommand("id-1", Committed, -1))
	refused("a roll-back with an offset", endedCommand("id-1", RolledBack, 0))
	refused("question 0", askedCommand("id-1", 0, 7000))
	refused("held nowhere", preparedCommand("id-2", PrepareRequest{Held: -1, Group: "g"}, 7000))
	refused("no id", parkedCommand(""))
}

func TestOvertakenCommandsChangeNothing(t *testing.T) {
	prepared, asked := sample[0].command, func(n int) record.Command { return askedCommand("id-1", n, 9000) }
	committed, rolledBack := sample[3].command, sample[4].command
	other := preparedCommand("id-1", PrepareRequest{Held: 6, Group: "h", Principal: "User:b"}, 8000)
	for _, test := range []struct {
		name   string
		before []record.Command
		late   record.Command
	}{
		{"a question too early", []record.Command{prepared}, asked(2)},
		{"a question too late", []record.Command{prepared, asked(1), asked(2)}, askedCommand("id-1", 1, 10_000)},
		{"a question to a parked one", []record.Command{prepared, parkedCommand("id-1")}, asked(1)},
		{"a question to an ended one", []record.Command{prepared, committed}, asked(1)},
		{"a question to nobody", nil, asked(1)},
		{"parking an ended one", []record.Command{prepared, rolledBack}, parkedCommand("id-1")},
		{"parking nobody", nil, parkedCommand("id-1")},
		{"rolling back what is committed", []record.Command{prepared, committed}, rolledBack},
		{"committing what is rolled back", []record.Command{prepared, rolledBack}, committed},
		{"committing nobody", nil, committed},
		{"preparing another one", []record.Command{prepared}, other},
		{"preparing another one behind the end", []record.Command{prepared, committed}, other},
		{"expiring an undecided one", []record.Command{prepared}, expiredCommand("id-1")},
		{"expiring a parked one", []record.Command{prepared, parkedCommand("id-1")}, expiredCommand("id-1")},
		{"expiring nobody", nil, expiredCommand("id-1")},
	} {
		h := NewHalves()
		for i, c := range append(test.before, test.late) {
			before := string(h.View().Encode())
			if err := h.Apply(1, c, int64(1000*i)); err != nil {
				t.Fatal(err)
			}
			changed := string(h.View().Encode()) != before
			if last := i == len(test.before); changed == last {
				t.Errorf("%s: command %d changed something: %v", test.name, i, changed)
			}
		}
	}
}

func FuzzApply(f *testing.F) {
	for _, c := range sample {
		f.Add([]byte(c.command))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h := NewHalves()
		for _, c := range sample[:2] {
			if err := h.Apply(1, c.command, 1000); err != nil {
				t.Fatal(err)
			}
		}
		before := string(h.View().Encode())
		err := h.Apply(1, data, 2000)
		after := h.View().Encode()
		switch {
		case err != nil && !errors.Is(err, ErrCommand):
			t.Fatalf("another error: %v", err)
		case err != nil && string(after) != before:
			t.Fatal("a refused command changed the state")
		}
		if _, err := RestoreHalves(after); err != nil {
			t.Fatalf("%x leads to a state that cannot be read: %v", data, err)
		}
	})
}

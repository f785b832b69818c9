package group

import (
	"bytes"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/heap"
)

func apply(t testing.TB, s *State, now int64, cs ...record.Command) {
	t.Helper()
	for _, c := range cs {
		if err := s.Apply(c, now); err != nil {
			t.Fatal(err)
		}
	}
}

func offsets(topic string, partition int32, offset int64, metadata string) []topicOffsets {
	return []topicOffsets{{topic, []partitionOffset{{partition, offset, 3, metadata}}}}
}

// full is a state with something of everything.
func full(t testing.TB) *State {
	s := NewState()
	apply(t, s, 10,
		commitCommand("simple", -1, offsets("t", 0, 5, "note")),
		commitCommand("simple", 100, offsets("t", 1, 6, "")),
		commitCommand("g", -1, offsets("u", 0, 7, "")),
		changeCommand("g", &metadata{
			protocolType: "consumer", generation: 4, protocol: kmsg.StringPtr("range"), leader: kmsg.StringPtr("a-1"),
			members: []memberMetadata{
				{"a-1", nil, "a", "/::1", 60_000, 10_000, consumes("u"), []byte("A")},
				{"i-2", kmsg.StringPtr("i"), "b", "/::1", 60_000, 10_000, consumes("u"), nil},
			},
		}),
		changeCommand("empty", &metadata{protocolType: "consumer", generation: 2}),
		consumerCommand("k", fullConsumers()),
	)
	return s
}

// fullConsumers is a change with something in every field.
func fullConsumers() *consumerChange {
	t, u := [16]byte{0: 't', 15: 1}, [16]byte{0: 'u', 15: 1} // as fakeTopics has them
	set := func(numbers ...int32) partitions {
		var ps partitions
		for _, n := range numbers {
			ps = append(ps, partition{t, n}, partition{u, n})
		}
		return newPartitions(ps)
	}
	return &consumerChange{
		consumerEpochs: consumerEpochs{group: 7, assignment: 6, topics: 99, assignor: "uniform"},
		members: []*consumerMember{
			{
				id: "m", instance: kmsg.StringPtr("i"), rack: kmsg.StringPtr("r"), client: Client{"c", "/::1", "User:u"}, rebalance: 60_000,
				assignor: "range", topics: []string{"t", "u"}, regex: "v.*", epoch: 6, previous: 5, state: unrevoked,
				assigned: set(0, 3), revoking: set(1), target: set(0, 3, 4),
				since: map[partition]int32{{t, 0}: 2, {u, 0}: 6, {t, 3}: 0, {u, 3}: 1, {t, 1}: 3, {u, 1}: 4},
			},
			{id: "n", classic: &classicMember{10_000, []protocol{{"range", consumes("t")}}}, epoch: leftForNow},
		},
		gone: []string{"o"},
	}
}

// TestAGroupIsOfOneProtocol applies a change of one to a group of the other.
func TestAGroupIsOfOneProtocol(t *testing.T) {
	s := full(t)
	view := s.View()
	before := view.Encode()
	apply(t, s, 20, consumerCommand("g", fullConsumers()), changeCommand("k", &metadata{protocolType: "consumer", generation: 9}))
	if g, k := s.groups["g"], s.groups["k"]; g.meta != nil || g.consumer == nil || k.meta == nil || k.consumer != nil {
		t.Errorf("%+v, %+v", g, k)
	}
	if o, ok := s.Offset("g", "u", 0); !ok || o.Offset != 7 {
		t.Error("the offset is gone")
	}
	if !bytes.Equal(view.Encode(), before) {
		t.Error("an earlier view has changed")
	}
	restored, err := Restore(s.View().Encode())
	if err != nil {
		t.Fatal(err)
	}
	if m := restored.groups["g"].consumer.members["m"]; !m.equal(fullConsumers().members[0]) {
		t.Errorf("%+v comes back", m)
	}
}

func TestOffsetsHaveTheTimeOfTheirEntry(t *testing.T) {
	s := full(t)
	if o, ok := s.Offset("simple", "t", 0); !ok || o != (Offset{5, 3, "note", 10, -1, o.order}) {
		t.Errorf("offset without a retention: %+v, %v", o, ok)
	}
	if o, ok := s.Offset("simple", "t", 1); !ok || o != (Offset{6, 3, "", 10, 110, o.order}) {
		t.Errorf("offset with a retention of 100 ms: %+v, %v", o, ok)
	}
	apply(t, s, 20, deleteOffsetsCommand("simple", []topicPartitions{{"t", []int32{0, 9}}, {"x", []int32{0}}}))
	if _, ok := s.Offset("simple", "t", 0); ok {
		t.Error("a deleted offset is still there")
	}
	if _, ok := s.Offset("simple", "t", 1); !ok {
		t.Error("an offset that was not named is gone")
	}
	apply(t, s, 20, deleteCommand("simple"), deleteCommand("nobody"))
	if _, ok := s.Offset("simple", "t", 1); ok || s.Groups() != 3 {
		t.Error("a deleted group left its offsets behind")
	}
}

func TestRestoreGivesTheSameState(t *testing.T) {
	want := full(t).View().Encode()
	s, err := Restore(want)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.View().Encode(); !bytes.Equal(got, want) {
		t.Errorf("restored:\n%q\nwant:\n%q", got, want)
	}
	if n := s.groups["simple"].offsets; n != 2 {
		t.Errorf("%d offsets are counted, want 2", n)
	}
}

func TestViewStaysAsItWasWhileCommandsAreApplied(t *testing.T) {
	s := full(t)
	var wg sync.WaitGroup
	for i := range 50 {
		v := s.View()
		want := v.Encode()
		wg.Go(func() {
			if got := v.Encode(); !bytes.Equal(got, want) {
				t.Errorf("view %d changed", i)
			}
		})
		apply(t, s, int64(i),
			commitCommand("simple", -1, offsets("t", int32(i%3), int64(i), "")),
			commitCommand("g", -1, offsets(fmt.Sprint("new", i), 0, 1, "")),
			deleteOffsetsCommand("g", []topicPartitions{{"u", []int32{0}}}),
			changeCommand("g", &metadata{protocolType: "consumer", generation: int32(i)}),
			deleteCommand("empty"),
		)
	}
	wg.Wait()
}

func TestRestoreRefusesWhatIsNotASnapshot(t *testing.T) {
	good := full(t).View().Encode()
	future := bytes.Clone(good)
	future[0]++
	groups := func(b ...byte) []byte { return append([]byte{snapshotVersion, 0, 0, 0, 0, 0, 0, 0, 0}, b...) }
	if _, err := Restore(groups(3, 2, 'g', 0, 1, 1, 2, 'h', 0, 1, 1)); err != nil {
		t.Errorf("two groups: %v", err)
	}
	for name, c := range map[string]struct {
		data []byte
		want error
	}{
		"nothing":         {nil, ErrSnapshot},
		"a newer version": {future, ErrSnapshotVersion},
		"more than that":  {append(bytes.Clone(good), 0), ErrSnapshot},
		"a group twice":   {groups(3, 2, 'g', 0, 1, 1, 2, 'g', 0, 1, 1), ErrSnapshot},
		"a topic twice":   {groups(2, 2, 'g', 0, 3, 2, 't', 1, 2, 't', 1, 1), ErrSnapshot},
		"many groups":     {groups(0xff, 0xff, 0xff, 0xff, 0x07), ErrSnapshot},
	} {
		if _, err := Restore(c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	for n := range good {
		if _, err := Restore(good[:n]); err == nil {
			t.Errorf("the first %d of %d bytes are taken for a snapshot", n, len(good))
		}
	}
}

func TestApplyRefusesMalformedCommandsAndChangesNothing(t *testing.T) {
	s := full(t)
	want := s.View().Encode()
	good := []record.Command{
		commitCommand("g", -1, offsets("t", 0, 5, "note")),
		changeCommand("g", s.groups["g"].meta),
		deleteOffsetsCommand("g", []topicPartitions{{"u", []int32{0}}}),
		deleteCommand("g"),
		consumerCommand("k", fullConsumers()),
	}
	bad := []record.Command{
		nil,
		record.NewCommand(record.OwnerTxn, groupDeleted, commandVersion),
		record.NewCommand(record.OwnerGroup, groupDeleted, commandVersion+1),
		record.NewCommand(record.OwnerGroup, 99, commandVersion),
	}
	for _, c := range good {
		for n := record.CommandHeaderSize; n < len(c); n++ {
			bad = append(bad, c[:n:n])
		}
		bad = append(bad, append(bytes.Clone(c), 0))
	}
	for _, c := range bad {
		if err := s.Apply(c, 50); !errors.Is(err, ErrCommand) {
			t.Errorf("%q: %v", c, err)
		}
	}
	if !bytes.Equal(s.View().Encode(), want) {
		t.Error("a refused command changed the state")
	}
}

func FuzzRestore(f *testing.F) {
	f.Add(full(f).View().Encode())
	f.Add(NewState().View().Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		// A state takes more room than its bytes, but in proportion to them.
		if n := heap.Allocated(func() { _, _ = Restore(data) }); n > uint64(64*len(data)+1<<20) {
			t.Fatalf("%d bytes are allocated for an input of %d", n, len(data))
		}
		s, err := Restore(data)
		if err != nil {
			return
		}
		once := s.View().Encode()
		again, err := Restore(once)
		if err != nil {
			t.Fatalf("what was restored cannot be restored again: %v", err)
		}
		if !bytes.Equal(again.View().Encode(), once) {
			t.Fatal("the second restoration differs from the first")
		}
	})
}

func FuzzApply(f *testing.F) {
	f.Add([]byte(commitCommand("g", 5, offsets("t", 0, 5, "note"))))
	f.Add([]byte(changeCommand("g", full(f).groups["g"].meta)))
	f.Add([]byte(deleteOffsetsCommand("g", []topicPartitions{{"u", []int32{0}}})))
	f.Add([]byte(deleteCommand("g")))
	f.Add([]byte(consumerCommand("k", fullConsumers())))
	f.Fuzz(func(t *testing.T, c []byte) {
		s := full(t)
		var err error
		if n := heap.Allocated(func() { err = s.Apply(c, 30) }); n > uint64(64*len(c)+1<<20) {
			t.Fatalf("%d bytes are allocated for a command of %d", n, len(c))
		}
		if err != nil {
			return
		}
		data := s.View().Encode()
		r, err := Restore(data)
		if err != nil {
			t.Fatalf("the state after %q cannot be restored: %v", c, err)
		}
		if !bytes.Equal(r.View().Encode(), data) {
			t.Fatal("the restored state differs")
		}
	})
}

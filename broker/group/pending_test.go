package group

import (
	"bytes"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// pendingState has offsets of two producers pending for two groups.
func pendingState(t testing.TB) *State {
	s := NewState()
	apply(t, s, 10, commitCommand("g", -1, offsets("t", 0, 1, "old")))
	apply(t, s, 20,
		pendingCommand("g", 7, 3, offsets("t", 0, 5, "new")),
		pendingCommand("g", 7, 3, offsets("t", 1, 6, "")),
		pendingCommand("h", 7, 3, offsets("t", 0, 7, "")),
		pendingCommand("g", 8, 0, offsets("u", 0, 8, "")),
	)
	return s
}

func at(s *State, group, topic string, partition int32) int64 {
	o, ok := s.Offset(group, topic, partition)
	if !ok {
		return -1
	}
	return o.Offset
}

func TestPendingOffsetsAreCommittedOrDroppedByTheMarker(t *testing.T) {
	for name, test := range map[string]struct {
		epoch  int16
		commit bool
		want   [3]int64 // g t/0, g t/1, h t/0
		left   bool
	}{
		"a commit":                   {3, true, [3]int64{5, 6, 7}, false},
		"an abort":                   {3, false, [3]int64{1, -1, -1}, false},
		"of a newer epoch":           {4, true, [3]int64{5, 6, 7}, false},
		"of an older epoch":          {2, true, [3]int64{1, -1, -1}, true},
		"of an older epoch, aborted": {2, false, [3]int64{1, -1, -1}, true},
	} {
		for _, restored := range []bool{false, true} {
			s := pendingState(t)
			if restored {
				data := s.View().Encode()
				var err error
				if s, err = Restore(data); err != nil || !bytes.Equal(s.View().Encode(), data) {
					t.Fatalf("restored it is another state: %v", err)
				}
			}
			view := s.View()
			before := view.Encode()
			apply(t, s, 30, EndCommand(7, test.epoch, test.commit))
			if got := [3]int64{at(s, "g", "t", 0), at(s, "g", "t", 1), at(s, "h", "t", 0)}; got != test.want {
				t.Errorf("%s: %v, want %v", name, got, test.want)
			}
			for _, p := range []bool{s.Pending("g", "t", 0), s.Pending("g", "t", 1), s.Pending("h", "t", 0)} {
				if p != test.left {
					t.Errorf("%s: pending is %t", name, p)
				}
			}
			if !s.Pending("g", "u", 0) || at(s, "g", "u", 0) != -1 {
				t.Errorf("%s: it ended another producer's", name)
			}
			if !bytes.Equal(view.Encode(), before) {
				t.Errorf("%s: a view changed", name)
			}
			apply(t, s, 40, EndCommand(7, test.epoch, !test.commit)) // a marker again, however
			if got := [3]int64{at(s, "g", "t", 0), at(s, "g", "t", 1), at(s, "h", "t", 0)}; !test.left && got != test.want {
				t.Errorf("%s: a second marker made it %v", name, got)
			}
		}
	}
}

func TestWhatIsCommittedLaterIsNotOverwrittenByATransaction(t *testing.T) {
	plain := commitCommand("g", -1, offsets("t", 0, 9, ""))
	other := pendingCommand("g", 9, 0, offsets("t", 0, 9, ""))
	mine := pendingCommand("g", 7, 3, offsets("t", 0, 10, ""))
	for name, test := range map[string]struct {
		now  int64
		then []record.Command
		want int64
	}{
		"a commit, later":                         {25, []record.Command{plain}, 9},
		"a commit, at the same time":              {20, []record.Command{plain}, 9},
		"and then again in the transaction":       {20, []record.Command{plain, mine}, 10},
		"another transaction, at the same time":   {20, []record.Command{other, EndCommand(9, 0, true)}, 9},
		"another transaction, that was aborted":   {20, []record.Command{other, EndCommand(9, 0, false)}, 5},
		"another transaction, and this one again": {20, []record.Command{other, mine, EndCommand(9, 0, true)}, 10},
	} {
		s := pendingState(t)
		apply(t, s, test.now, test.then...)
		restored, err := Restore(s.View().Encode())
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []*State{s, restored} {
			apply(t, s, 30, EndCommand(7, 3, true))
			if got := at(s, "g", "t", 0); got != test.want {
				t.Errorf("%s: it is %d, want %d", name, got, test.want)
			}
		}
	}
}

func TestPendingOffsetsGoWithTheirGroupAndTheirTopic(t *testing.T) {
	s := pendingState(t)
	apply(t, s, 30, deleteCommand("h"))
	if s.Pending("h", "t", 0) {
		t.Error("a deleted group has offsets pending")
	}
	c := Lead(s, testConfig(), 30)
	effects := c.TopicsDeleted(31, func(topic string) bool { return topic == "t" })
	for _, e := range effects {
		p := e.(Persist)
		apply(t, s, 31, p.Command)
		c.Done(31, p.ID, nil)
	}
	apply(t, s, 40, EndCommand(7, 3, true), EndCommand(8, 0, true))
	if a, b, u := at(s, "g", "t", 0), at(s, "g", "t", 1), at(s, "g", "u", 0); a != -1 || b != -1 || u != 8 {
		t.Errorf("%d, %d and %d are committed", a, b, u)
	}
	if at(s, "h", "t", 0) != -1 {
		t.Error("a deleted group is back")
	}
}

func TestAGroupWithPendingOffsetsIsNotForgotten(t *testing.T) {
	s := NewState()
	apply(t, s, 10, pendingCommand("g", 7, 3, offsets("t", 0, 5, "")))
	cfg := testConfig()
	c := Lead(s, cfg, 10)
	if e := c.Tick(10 + 10*cfg.OffsetsRetention.Milliseconds()); len(e) != 0 {
		t.Errorf("%v", e)
	}
	apply(t, s, 20, EndCommand(7, 3, false))
	if e := c.Tick(10 + 20*cfg.OffsetsRetention.Milliseconds()); len(e) != 1 {
		t.Errorf("behind its abort: %v", e)
	}
}

func TestOnlyTheCurrentGenerationCommitsInATransaction(t *testing.T) {
	s := full(t) // g is at generation 4, with a-1 and the instance i
	for name, test := range map[string]struct {
		group, member string
		instance      *string
		generation    int32
		want          *kerr.Error
	}{
		"a member":                 {"g", "a-1", nil, 4, nil},
		"an instance":              {"g", "i-2", kmsg.StringPtr("i"), 4, nil},
		"of an older generation":   {"g", "a-1", nil, 3, kerr.IllegalGeneration},
		"nobody's":                 {"g", "x", nil, 4, kerr.UnknownMemberID},
		"an instance taken over":   {"g", "x", kmsg.StringPtr("i"), 4, kerr.FencedInstanceID},
		"who names no member":      {"g", "", nil, -1, nil},
		"for a new group":          {"new", "", nil, -1, nil},
		"of a group that is not":   {"new", "a-1", nil, 4, kerr.IllegalGeneration},
		"into an empty group":      {"empty", "", nil, -1, nil},
		"a member that is no more": {"empty", "a-1", nil, 2, kerr.UnknownMemberID},
		"a consumer":               {"k", "m", nil, 6, nil},
		"a consumer under the epoch it has had the partition since":      {"k", "m", nil, 2, nil},
		"a consumer under an epoch before it was assigned the partition": {"k", "m", nil, 1, kerr.IllegalGeneration},
		"a consumer under an epoch to come":                              {"k", "m", nil, 7, kerr.IllegalGeneration},
	} {
		cfg := testConfig()
		topics := newFakeTopics()
		topics.set("t", 1)
		cfg.Topics = func() Topics { return topics }
		c := Lead(s, cfg, 10)
		req := kmsg.NewPtrTxnOffsetCommitRequest()
		req.Version, req.Group, req.MemberID, req.InstanceID, req.Generation = 3, test.group, test.member, test.instance, test.generation
		req.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{Offset: 5}}}}
		in := Transaction{Partition: 1, Producer: 7, Epoch: 3, Verified: 9}
		effects := c.TxnCommit(20, 1, req, in)
		if len(effects) != 1 {
			t.Fatalf("%s: %v", name, effects)
		}
		if p, ok := effects[0].(Persist); ok {
			if test.want != nil || p.Transaction == nil || *p.Transaction != in {
				t.Errorf("%s is taken: %+v", name, p)
			}
			effects = c.Done(20, p.ID, kerr.InvalidProducerEpoch)
			test.want = kerr.InvalidProducerEpoch // the answer when the log does not take it
		}
		got := effects[0].(Answer).Response.(*kmsg.TxnOffsetCommitResponse).Topics[0].Partitions[0].ErrorCode
		if got != test.want.Code {
			t.Errorf("%s: %d, want %v", name, got, test.want)
		}
	}
}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.NewID = func() string { return "x" }
	return cfg
}

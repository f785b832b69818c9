package cluster

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

func TestCreateTopicAnswersAsKafka(t *testing.T) {
	for _, c := range []struct {
		name string
		ask  NewTopic
		want *kerr.Error
		text string // the message contains it
	}{
		{"defaults", NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1}, nil, ""},
		{"factor of one", NewTopic{Name: "t", Partitions: 3, ReplicationFactor: 1}, nil, ""},
		{"bad name", plain("a b", 1), kerr.InvalidTopicException, `"a b"`},
		{"taken", plain("taken.name", 1), kerr.TopicAlreadyExists, "taken.name"},
		{"collision", plain("taken_name", 1), kerr.InvalidTopicException, `"taken.name"`},
		{"internal", plain(ConsumerOffsets, 1), kerr.InvalidTopicException, "internal"},
		{"in the way of an internal one", plain("__consumer.offsets", 1), kerr.InvalidTopicException, ConsumerOffsets},
		{"no partitions", plain("t", 0), kerr.InvalidPartitions, "0 partitions"},
		{"negative partitions", plain("t", -2), kerr.InvalidPartitions, "-2"},
		{"too many partitions", plain("t", 100_001), kerr.InvalidPartitions, "100000"},
		{"most partitions", plain("t", 100_000), nil, ""},
		{"no replicas", NewTopic{Name: "t", Partitions: 1}, kerr.InvalidReplicationFactor, "0"},
		{"negative factor", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: -3}, kerr.InvalidReplicationFactor, "-3"},
		{"more replicas than nodes", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 2}, kerr.InvalidReplicationFactor, "1 broker"},
		{"assigned", NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {1}, 1: {1}}}, nil, ""},
		{"partitions and assignment", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {1}}}, kerr.InvalidRequest, "-1"},
		{"factor and assignment", NewTopic{Name: "t", Partitions: -1, ReplicationFactor: 1, Assignment: map[int32][]int32{0: {1}}}, kerr.InvalidRequest, "-1"},
		{"assignment with a hole", NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {1}, 2: {1}}}, kerr.InvalidReplicaAssignment, "partition 1"},
		{"assigned to nobody", NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {}}}, kerr.InvalidReplicaAssignment, "no replicas"},
		{"assigned to a stranger", NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {7}}}, kerr.InvalidReplicaAssignment, "7"},
		{"assigned twice", NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1, Assignment: map[int32][]int32{0: {1, 1}}}, kerr.InvalidReplicaAssignment, "twice"},
		{"setting", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{"retention.ms": ptr("5000")}}, nil, ""},
		{"unknown setting", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{"retension.ms": ptr("1")}}, kerr.InvalidConfig, "did you mean retention.ms?"},
		{"setting out of range", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{"max.message.bytes": ptr("-1")}}, kerr.InvalidConfig, `max.message.bytes: "-1" is not an integer from 0 to 536870912`},
		{"setting without value", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{"retention.ms": nil}}, kerr.InvalidConfig, "retention.ms"},
		{"settings at odds", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{minCompactionLagMs: ptr("9"), maxCompactionLagMs: ptr("8")}}, kerr.InvalidConfig, "9 is more than"},
		{"delay", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{messageType: ptr("delay")}}, kerr.InvalidConfig, "not available yet"},
		{"transaction", NewTopic{Name: "t", Partitions: 1, ReplicationFactor: 1, Configs: map[string]*string{messageType: ptr("transaction")}}, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctl, newID := lead(t, 1, 1), ids()
			mustCreate(t, ctl, plain("taken.name", 1), newID)
			before := ctl.View()
			cmd, topic, err := ctl.CreateTopic(c.ask, DefaultBrokerSettings(), newID)
			wantKafka(t, err, c.want)
			if err == nil {
				if got, ok := mustApply(t, before, cmd).Topic(c.ask.Name); !ok || !reflect.DeepEqual(got, topic) {
					t.Fatalf("applied %+v, decided %+v", got, topic)
				}
				return
			}
			if !strings.Contains(err.Error(), c.text) {
				t.Errorf("%q does not contain %q", err, c.text)
			}
			if ctl.View() != before {
				t.Error("a refusal changed the leading View")
			}
		})
	}
}

func TestNumbersNotAskedForAreTheBrokers(t *testing.T) {
	c := lead(t, 3, 1, 2)
	s := brokerSettingsOf(t, map[string]string{"num.partitions": "4", "default.replication.factor": "3"})
	_, topic, err := c.CreateTopic(plain("t", -1), s, ids())
	wantKafka(t, err, nil)
	if len(topic.Partitions) != 4 || topic.ReplicationFactor != 3 {
		t.Fatalf("got %d partitions and factor %d", len(topic.Partitions), topic.ReplicationFactor)
	}
}

func TestAssignmentThatShardsCannotFollowIsRefused(t *testing.T) {
	c := lead(t, 3, 1)
	for _, a := range []struct {
		replicas []int32
		want     *kerr.Error
	}{{[]int32{2}, kerr.InvalidReplicaAssignment}, {[]int32{3, 1, 2}, nil}} {
		_, topic, err := c.Fork().CreateTopic(NewTopic{Name: "t", Partitions: -1, ReplicationFactor: -1,
			Assignment: map[int32][]int32{0: a.replicas}}, DefaultBrokerSettings(), ids())
		wantKafka(t, err, a.want)
		if err == nil && topic.ReplicationFactor != 3 {
			t.Errorf("factor %d", topic.ReplicationFactor)
		}
	}
}

func TestClusterWithoutNodesOrShardsTakesNoTopic(t *testing.T) {
	_, _, err := lead(t, 0, 1).CreateTopic(plain("t", 1), DefaultBrokerSettings(), ids())
	wantKafka(t, err, kerr.InvalidReplicationFactor)
	c := Lead(Empty())
	if _, err := c.RegisterNode(node(1)); err != nil {
		t.Fatal(err)
	}
	_, _, err = c.CreateTopic(plain("t", 1), DefaultBrokerSettings(), ids())
	wantKafka(t, err, kerr.BrokerNotAvailable)
}

func TestTopicIDThatIsTakenOrZeroIsDrawnAgain(t *testing.T) {
	c := lead(t, 1, 1)
	draws := [][16]byte{{}, {1}, {1}, {}, {2}}
	newID := func() [16]byte {
		id := draws[0]
		draws = draws[1:]
		return id
	}
	_, a := mustCreate(t, c, plain("a", 1), newID)
	_, b := mustCreate(t, c, plain("b", 1), newID)
	if a.ID != [16]byte{1} || b.ID != [16]byte{2} {
		t.Fatalf("got %x and %x", a.ID, b.ID)
	}
}

func TestInternalTopicsAreTheBrokersAlone(t *testing.T) {
	c, newID, s := lead(t, 1, 1, 2), ids(), DefaultBrokerSettings()
	_, topic, err := c.CreateInternal(ConsumerOffsets, s, newID)
	wantKafka(t, err, nil)
	if !topic.Internal || len(topic.Partitions) != 50 || !s.Topic(topic).Compacted {
		t.Fatalf("got %+v", topic)
	}
	if a, b := c.View().PartitionsOf(1), c.View().PartitionsOf(2); a != 25 || b != 25 {
		t.Errorf("%d and %d partitions in the shards", a, b)
	}
	_, _, err = c.CreateInternal(ConsumerOffsets, s, newID)
	wantKafka(t, err, kerr.TopicAlreadyExists)
	_, _, err = c.CreateTopic(plain(ConsumerOffsets, 1), s, newID)
	wantKafka(t, err, kerr.TopicAlreadyExists)
	_, _, err = c.CreateInternal("orders", s, newID)
	wantKafka(t, err, kerr.InvalidTopicException)
	_, _, err = c.DeleteTopic(ConsumerOffsets, s)
	wantKafka(t, err, kerr.InvalidTopicException)
	_, _, err = c.AddPartitions(ConsumerOffsets, 60, nil)
	wantKafka(t, err, kerr.InvalidTopicException)
}

func TestDeletedTopicLeavesNothingButItsIDs(t *testing.T) {
	c, newID, s := lead(t, 1, 1), ids(), DefaultBrokerSettings()
	_, old := mustCreate(t, c, plain("t", 2), newID)
	_, _, err := c.DeleteTopic("t", brokerSettingsOf(t, map[string]string{"delete.topic.enable": "false"}))
	wantKafka(t, err, kerr.TopicDeletionDisabled)
	_, gone, err := c.DeleteTopic("t", s)
	wantKafka(t, err, nil)
	if gone != old {
		t.Errorf("deleted %+v", gone)
	}
	_, _, err = c.DeleteTopic("t", s)
	wantKafka(t, err, kerr.UnknownTopicOrPartition)
	v := c.View()
	if _, ok := v.TopicByID(old.ID); ok {
		t.Error("found by id")
	}
	if _, _, ok := v.Partition(old.Partitions[0].ID); ok || v.PartitionsOf(1) != 0 {
		t.Error("partitions are still there")
	}
	_, again := mustCreate(t, c, plain("t", 1), newID)
	if again.Partitions[0].ID != 3 || again.ID == old.ID {
		t.Errorf("ids were used again: %+v", again)
	}
}

func TestPartitionsOnlyGrow(t *testing.T) {
	c := lead(t, 1, 1, 2)
	newID := ids()
	_, before := mustCreate(t, c, plain("t", 2), newID)
	mustCreate(t, c, plain("u", 1), newID)
	for total, want := range map[int32]*kerr.Error{
		0: kerr.InvalidPartitions, -1: kerr.InvalidPartitions, 1: kerr.InvalidPartitions,
		2: kerr.InvalidPartitions, math.MaxInt32: kerr.InvalidPartitions, 100_001: kerr.InvalidPartitions,
	} {
		_, _, err := c.AddPartitions("t", total, nil)
		wantKafka(t, err, want)
	}
	_, _, err := c.AddPartitions("unknown", 3, nil)
	wantKafka(t, err, kerr.UnknownTopicOrPartition)

	_, after, err := c.AddPartitions("t", 4, nil)
	wantKafka(t, err, nil)
	want := []Partition{{1, 1}, {2, 2}, {4, 2}, {5, 1}}
	if !reflect.DeepEqual(after.Partitions, want) || len(before.Partitions) != 2 {
		t.Fatalf("got %v, was %v", after.Partitions, before.Partitions)
	}
	for number, p := range want {
		if topic, n, ok := c.View().Partition(p.ID); !ok || topic != after || n != int32(number) {
			t.Errorf("partition %v is number %d of %v", p.ID, n, topic)
		}
	}
}

func TestNewPartitionsGoWhereAnAssignmentLeavesNoChoice(t *testing.T) {
	c := lead(t, 2, 1)
	mustCreate(t, c, plain("t", 1), ids())
	for _, a := range []struct {
		replicas [][]int32
		want     *kerr.Error
	}{
		{[][]int32{{1, 2}}, kerr.InvalidReplicaAssignment}, // there are two new ones
		{[][]int32{{1, 2}, {1, 2}, {1, 2}}, kerr.InvalidReplicaAssignment},
		{[][]int32{{1, 2}, {2}}, kerr.InvalidReplicaAssignment},
		{[][]int32{{1, 2}, {2, 3}}, kerr.InvalidReplicaAssignment},
		{[][]int32{{1, 2}, {}}, kerr.InvalidReplicaAssignment},
		{[][]int32{{1, 2}, {2, 1}}, nil},
	} {
		_, topic, err := c.Fork().AddPartitions("t", 3, a.replicas)
		wantKafka(t, err, a.want)
		if err == nil && len(topic.Partitions) != 3 {
			t.Errorf("%d partitions", len(topic.Partitions))
		}
	}
}

func TestPartitionIDsEnd(t *testing.T) {
	c := lead(t, 1, 1)
	v := *c.View()
	v.nextPartition = record.FirstHidden - 3
	c.Reset(&v)
	_, _, err := c.CreateTopic(plain("t", 4), DefaultBrokerSettings(), ids())
	wantKafka(t, err, kerr.InvalidPartitions)
	mustCreate(t, c, plain("t", 3), ids())
	if got := c.View().NextPartitionID(); got != record.FirstHidden {
		t.Fatalf("next is %v", got)
	}
	_, _, err = c.AddPartitions("t", 4, nil)
	wantKafka(t, err, kerr.InvalidPartitions)
}

func TestReplacedConfigsAreAllThatATopicHas(t *testing.T) {
	c, s := lead(t, 1, 1), DefaultBrokerSettings()
	r := plain("t", 1)
	r.Configs = map[string]*string{"retention.ms": ptr("5"), "cleanup.policy": ptr("compact"), "segment.ms": ptr("7")}
	mustCreate(t, c, r, ids())
	set := func(name, value string) ConfigChange { return ConfigChange{Name: name, Value: &value} }
	_, topic, err := c.ReplaceConfigs("t", []ConfigChange{set("retention.ms", "6"), set("max.message.bytes", "1000")}, s)
	wantKafka(t, err, nil)
	if want := map[string]string{"retention.ms": "6", "max.message.bytes": "1000"}; !maps.Equal(topic.Configs, want) {
		t.Errorf("got %v, want %v", topic.Configs, want)
	}
	for name, changes := range map[string][]ConfigChange{
		"an unknown setting": {set("nonsense", "1")},
		"a wrong value":      {set("retention.ms", "soon")},
		"twice the same":     {set("retention.ms", "1"), set("retention.ms", "2")},
	} {
		if _, _, err := c.ReplaceConfigs("t", changes, s); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	_, topic, err = c.ReplaceConfigs("t", nil, s)
	wantKafka(t, err, nil)
	if len(topic.Configs) > 0 {
		t.Errorf("it still has %v", topic.Configs)
	}
	_, _, err = c.ReplaceConfigs("unknown", nil, s)
	wantKafka(t, err, kerr.UnknownTopicOrPartition)
}

func TestAlterConfigsStepByStep(t *testing.T) {
	const (
		set  = kmsg.IncrementalAlterConfigOpSet
		del  = kmsg.IncrementalAlterConfigOpDelete
		add  = kmsg.IncrementalAlterConfigOpAppend
		take = kmsg.IncrementalAlterConfigOpSubtract
	)
	one := func(op kmsg.IncrementalAlterConfigOp, name string, v *string) []ConfigChange {
		return []ConfigChange{{Name: name, Op: op, Value: v}}
	}
	c := lead(t, 1, 1)
	mustCreate(t, c, plain("t", 1), ids())
	has := map[string]string{}
	for _, step := range []struct {
		name    string
		changes []ConfigChange
		want    *kerr.Error
		becomes map[string]string // nil: as before
	}{
		{"set", one(set, "retention.ms", ptr(" 077 ")), nil, map[string]string{"retention.ms": "77"}},
		{"reset", one(del, "retention.ms", nil), nil, map[string]string{}},
		{"reset what is not set", one(del, "retention.ms", nil), nil, map[string]string{}},
		{"append to the default", one(add, cleanupPolicy, ptr("compact")), nil, map[string]string{cleanupPolicy: "delete,compact"}},
		{"append again", one(add, cleanupPolicy, ptr("compact, delete")), nil, nil},
		{"subtract", one(take, cleanupPolicy, ptr("delete")), nil, map[string]string{cleanupPolicy: "compact"}},
		{"subtract the last", one(take, cleanupPolicy, ptr("compact")), nil, map[string]string{cleanupPolicy: ""}},
		{"append a wrong word", one(add, cleanupPolicy, ptr("shred")), kerr.InvalidConfig, nil},
		{"append to a number", one(add, "retention.ms", ptr("1")), kerr.InvalidConfig, nil},
		{"set to nothing", one(set, "retention.ms", nil), kerr.InvalidRequest, nil},
		{"append nothing", one(add, cleanupPolicy, nil), kerr.InvalidRequest, nil},
		{"no such operation", one(9, cleanupPolicy, ptr("delete")), kerr.InvalidRequest, nil},
		{"no such operation on a number", one(9, "retention.ms", ptr("1")), kerr.InvalidRequest, nil},
		{"unknown", one(set, "retention", ptr("1")), kerr.InvalidConfig, nil},
		{"reset unknown", one(del, "retention", nil), nil, map[string]string{cleanupPolicy: ""}},
		{"out of range", one(set, "retention.ms", ptr("-2")), kerr.InvalidConfig, nil},
		{"twice", append(one(set, "retention.ms", ptr("1")), one(del, "retention.ms", nil)...), kerr.InvalidRequest, nil},
		{"one good and one bad", append(one(set, "retention.ms", ptr("1")), one(set, "segment.ms", ptr("0"))...), kerr.InvalidConfig, nil},
		{"another type of message", one(set, messageType, ptr("transaction")), kerr.InvalidConfig, nil},
		{"the same type of message", one(set, messageType, ptr("normal")), nil, map[string]string{cleanupPolicy: "", messageType: "normal"}},
		{"several at once", append(one(del, messageType, nil), one(set, cleanupPolicy, ptr("delete"))...), nil, map[string]string{cleanupPolicy: "delete"}},
		{"lags at odds", one(set, minCompactionLagMs, ptr("9")), nil, map[string]string{cleanupPolicy: "delete", minCompactionLagMs: "9"}},
		{"lags at odds with what is set", one(set, maxCompactionLagMs, ptr("8")), kerr.InvalidConfig, nil},
	} {
		cmd, topic, err := c.AlterConfigs("t", step.changes, DefaultBrokerSettings())
		t.Run(step.name, func(t *testing.T) {
			wantKafka(t, err, step.want)
			if step.becomes != nil {
				has = step.becomes
			}
			now, _ := c.View().Topic("t")
			if !maps.Equal(now.Configs, has) {
				t.Errorf("got %v, want %v (%s)", now.Configs, has, Describe(cmd))
			}
			if err == nil && topic != now {
				t.Errorf("answered %+v", topic)
			}
		})
	}
	_, _, err := c.AlterConfigs("unknown", nil, DefaultBrokerSettings())
	wantKafka(t, err, kerr.UnknownTopicOrPartition)
}

func TestAppendStartsFromTheBrokersValue(t *testing.T) {
	c := lead(t, 1, 1)
	s := brokerSettingsOf(t, map[string]string{"log.cleanup.policy": "compact"})
	mustCreate(t, c, plain("t", 1), ids())
	_, topic, err := c.AlterConfigs("t", []ConfigChange{{cleanupPolicy, kmsg.IncrementalAlterConfigOpAppend, ptr("delete")}}, s)
	wantKafka(t, err, nil)
	if got := topic.Configs[cleanupPolicy]; got != "compact,delete" {
		t.Fatalf("got %q", got)
	}
}

func TestForkAndResetTakeDecisionsBack(t *testing.T) {
	c, newID := lead(t, 1, 1), ids()
	before := c.View()
	mustCreate(t, c.Fork(), plain("a", 3), newID)
	if c.View() != before {
		t.Fatal("a fork's decision is in the Controller")
	}
	mustCreate(t, c, plain("b", 3), newID)
	c.Reset(before)
	_, topic := mustCreate(t, c, plain("c", 1), newID)
	if topic.Partitions[0].ID != 1 || len(c.View().Topics()) != 1 {
		t.Fatalf("got %+v of %d topics", topic, len(c.View().Topics()))
	}
}

func TestDecisionsInFlightAreSeenByTheNext(t *testing.T) {
	c, newID := lead(t, 1, 1, 2), ids()
	applied := c.View()
	var cmds []record.Command
	for i := range 5 {
		cmd, _ := mustCreate(t, c, plain(fmt.Sprintf("t%d", i), 3), newID)
		cmds = append(cmds, cmd)
	}
	_, _, err := c.CreateTopic(plain("t3", 1), DefaultBrokerSettings(), newID)
	wantKafka(t, err, kerr.TopicAlreadyExists)
	for _, cmd := range cmds {
		applied = mustApply(t, applied, cmd)
	}
	if !same(applied, c.View()) {
		t.Fatal("what was decided is not what was applied")
	}
}

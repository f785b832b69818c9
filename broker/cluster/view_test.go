package cluster

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/broker/quota"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/heap"
)

// TestAnyHistoryKeepsTheInvariants lets a leader decide at random, against an
// obvious model in maps.
func TestAnyHistoryKeepsTheInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel()
		t.Repeat(map[string]func(*rapid.T){
			"":              m.check,
			"createTopic":   m.createTopic,
			"deleteTopic":   m.deleteTopic,
			"addPartitions": m.addPartitions,
			"alterConfigs":  m.alterConfigs,
			"producerIDs":   m.producerIDs,
			"addShard":      m.addShard,
			"registerNode":  m.registerNode,
			"setUser":       m.setCredential,
			"deleteUser":    m.deleteCredential,
			"dropProposal":  m.dropProposal,
			"replay":        m.replay,
			"addACLs":       m.addACLs,
			"removeACLs":    m.removeACLs,
			"alterQuotas":   m.alterQuotas,
			"alterBroker":   m.alterBroker,
		})
	})
}

// model is what a View should be, kept the slow way.
type model struct {
	ctl     *Controller
	applied *View
	topics  map[string]modelTopic
	load    map[record.ShardID]int
	// even is how far the loads of two shards may be apart, as long as nothing but
	// creating has happened.
	even    bool
	used    map[record.PartitionID]bool // ever handed out
	nextPID int64
	users   map[string]bool // user and mechanism
	acls    map[acl.Binding]bool
	quotas  map[quota.Entity]quota.Values
	brokers map[Resource]map[string]string
	newID   func() [16]byte
	history []record.Command
	old     []frozen // Views and what they were
	s       *BrokerSettings
}

type modelTopic struct {
	id         [16]byte
	partitions []Partition
	configs    map[string]string
}

type frozen struct {
	view *View
	as   []byte
}

func newModel() *model {
	m := &model{
		ctl: Lead(Empty()), applied: Empty(), topics: map[string]modelTopic{},
		load: map[record.ShardID]int{1: 0, 2: 0, 5: 0}, even: true,
		used: map[record.PartitionID]bool{}, users: map[string]bool{}, acls: map[acl.Binding]bool{}, quotas: map[quota.Entity]quota.Values{}, brokers: map[Resource]map[string]string{}, newID: ids(), s: DefaultBrokerSettings(),
	}
	cmd, _ := m.ctl.Bootstrap("abc", []record.ShardID{5, 1, 2})
	m.commit(cmd)
	cmd, _ = m.ctl.RegisterNode(node(1))
	m.commit(cmd)
	return m
}

func (m *model) commit(cmd record.Command) {
	m.old = append(m.old, frozen{m.applied, m.applied.Encode()})
	next, err := m.applied.Apply(cmd, 0)
	if err != nil {
		panic(err)
	}
	m.applied = next
	m.history = append(m.history, cmd)
}

// place is the rule of placement, said once more.
func (m *model) place(t *rapid.T, added []Partition) {
	for _, p := range added {
		least := slices.MinFunc(slices.Sorted(maps.Keys(m.load)), func(a, b record.ShardID) int {
			return cmp.Or(cmp.Compare(m.load[a], m.load[b]), cmp.Compare(a, b))
		})
		if p.Shard != least {
			t.Fatalf("partition %v is in shard %d, not in %d: %v", p.ID, p.Shard, least, m.load)
		}
		m.load[p.Shard]++
		if m.used[p.ID] || p.ID.Hidden() {
			t.Fatalf("partition id %v was used before, or is hidden", p.ID)
		}
		m.used[p.ID] = true
	}
}

func (m *model) name(t *rapid.T) string {
	return fmt.Sprintf("topic-%d", rapid.IntRange(0, 9).Draw(t, "topic"))
}

func (m *model) createTopic(t *rapid.T) {
	name, n := m.name(t), rapid.Int32Range(1, 12).Draw(t, "partitions")
	cmd, topic, err := m.ctl.CreateTopic(plain(name, n), m.s, m.newID)
	if _, taken := m.topics[name]; taken != (err != nil) {
		t.Fatalf("creating %s: %v", name, err)
	}
	if err != nil {
		return
	}
	m.place(t, topic.Partitions)
	m.topics[name] = modelTopic{id: topic.ID, partitions: topic.Partitions, configs: map[string]string{}}
	m.commit(cmd)
}

func (m *model) deleteTopic(t *rapid.T) {
	name := m.name(t)
	cmd, _, err := m.ctl.DeleteTopic(name, m.s)
	old, there := m.topics[name]
	if there != (err == nil) {
		t.Fatalf("deleting %s: %v", name, err)
	}
	if err != nil {
		return
	}
	for _, p := range old.partitions {
		m.load[p.Shard]--
	}
	delete(m.topics, name)
	m.even = false
	m.commit(cmd)
}

func (m *model) addPartitions(t *rapid.T) {
	name, total := m.name(t), rapid.Int32Range(1, 20).Draw(t, "total")
	old, there := m.topics[name]
	cmd, topic, err := m.ctl.AddPartitions(name, total, nil)
	if ok := there && int(total) > len(old.partitions); ok != (err == nil) {
		t.Fatalf("%s to %d partitions: %v", name, total, err)
	}
	if err != nil {
		return
	}
	if !slices.Equal(topic.Partitions[:len(old.partitions)], old.partitions) {
		t.Fatal("partitions that were there have moved")
	}
	m.place(t, topic.Partitions[len(old.partitions):])
	old.partitions = topic.Partitions
	m.topics[name] = old
	m.commit(cmd)
}

func (m *model) alterConfigs(t *rapid.T) {
	name := m.name(t)
	var changes []ConfigChange
	configs := maps.Clone(m.topics[name].configs)
	for _, key := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"retention.ms", "segment.ms", "flush.ms"}), 0, 3, rapid.ID).Draw(t, "keys") {
		if rapid.Bool().Draw(t, "reset") {
			changes = append(changes, ConfigChange{Name: key, Op: kmsg.IncrementalAlterConfigOpDelete})
			delete(configs, key)
			continue
		}
		v := fmt.Sprint(rapid.IntRange(1, 3).Draw(t, "value"))
		changes = append(changes, ConfigChange{Name: key, Op: kmsg.IncrementalAlterConfigOpSet, Value: &v})
		if configs != nil {
			configs[key] = v
		}
	}
	cmd, _, err := m.ctl.AlterConfigs(name, changes, m.s)
	topic, there := m.topics[name]
	if there != (err == nil) {
		t.Fatalf("altering %s: %v", name, err)
	}
	if err != nil {
		return
	}
	topic.configs = configs
	m.topics[name] = topic
	m.commit(cmd)
}

func (m *model) producerIDs(t *rapid.T) {
	n := rapid.IntRange(1, 1000).Draw(t, "ids")
	cmd, from, to, err := m.ctl.AllocateProducerIDs(1, n)
	if err != nil || from < m.nextPID || to-from != int64(n) {
		t.Fatalf("got [%d, %d), %v", from, to, err)
	}
	m.nextPID = to
	m.commit(cmd)
}

func (m *model) addShard(t *rapid.T) {
	s := record.ShardID(rapid.Uint32Range(1, 8).Draw(t, "shard"))
	cmd, err := m.ctl.AddShard(s)
	if _, there := m.load[s]; there != (err != nil) {
		t.Fatalf("adding shard %d: %v", s, err)
	}
	if err != nil {
		return
	}
	m.load[s] = 0
	m.even = m.even && len(m.used) == 0
	m.commit(cmd)
}

func (m *model) registerNode(t *rapid.T) {
	n := node(rapid.Int32Range(1, 3).Draw(t, "node"))
	n.Endpoints = append(n.Endpoints, Endpoint{Listener: "INTERNAL", Host: "h", Port: rapid.Int32Range(1, 3).Draw(t, "port")})
	cmd, err := m.ctl.RegisterNode(n)
	if err != nil {
		t.Fatal(err)
	}
	m.commit(cmd)
	got, ok := m.applied.Node(n.ID)
	if e, _ := got.Endpoint("INTERNAL"); !ok || e != n.Endpoints[1] {
		t.Fatalf("registered %+v, got %+v", n, got)
	}
}

// dropProposal decides and takes it back, as when Raft drops a proposal.
func (m *model) dropProposal(t *rapid.T) {
	before := m.ctl.View()
	if _, _, err := m.ctl.CreateTopic(plain("dropped", 3), m.s, m.newID); err != nil {
		t.Fatal(err)
	}
	m.ctl.Reset(before)
}

// replay applies a command again that was applied before. Whatever it does, the
// View stays sound; commands that make or hand out something do nothing.
func (m *model) replay(t *rapid.T) {
	cmd := rapid.SampledFrom(m.history).Draw(t, "command")
	switch cmd.Kind() {
	case kindCreateTopic, kindAddPartitions, kindBootstrap, kindAddShard, kindAllocateProducerIDs:
		if next, err := m.applied.Apply(cmd, 0); err != nil || next != m.applied {
			t.Fatalf("%s, once more: %v", Describe(cmd), err)
		}
	}
}

func (m *model) check(t *rapid.T) {
	m.checkUsers(t)
	v := m.applied
	if !same(v, m.ctl.View()) {
		t.Fatal("the applied View is not the leading one")
	}
	checkSound(t, v)
	m.checkACLs(t)
	m.checkQuotas(t)
	m.checkConfigured(t)
	if len(v.Topics()) != len(m.topics) {
		t.Fatalf("%d topics, want %d", len(v.Topics()), len(m.topics))
	}
	for name, want := range m.topics {
		got, ok := v.Topic(name)
		if !ok || got.ID != want.id || !slices.Equal(got.Partitions, want.partitions) || !maps.Equal(got.Configs, want.configs) {
			t.Fatalf("%s is %+v, want %+v", name, got, want)
		}
	}
	for s, n := range m.load {
		if v.PartitionsOf(s) != n {
			t.Fatalf("shard %d has %d partitions, want %d", s, v.PartitionsOf(s), n)
		}
	}
	if loads := slices.Sorted(maps.Values(m.load)); m.even && loads[len(loads)-1]-loads[0] > 1 {
		t.Fatalf("out of balance: %v", m.load)
	}
	live := 0
	for id := range m.used {
		if _, _, ok := v.Partition(id); ok {
			live++
		}
	}
	total := 0
	for _, topic := range m.topics {
		total += len(topic.partitions)
	}
	if live != total {
		t.Fatalf("%d partition ids lead somewhere, want %d", live, total)
	}
	for _, f := range m.old {
		if !bytes.Equal(f.view.Encode(), f.as) {
			t.Fatal("an older View has changed")
		}
	}
}

// checkSound holds a View to what is true of every one.
func checkSound(t interface {
	Helper()
	Fatalf(string, ...any)
}, v *View) {
	t.Helper()
	data := v.Encode()
	again, err := Restore(data)
	if err != nil || !same(v, again) {
		t.Fatalf("restored another View: %v", err)
	}
	for _, topic := range v.Topics() {
		if got, ok := v.TopicByID(topic.ID); !ok || got != topic {
			t.Fatalf("topic %s is not found by its id", topic.Name)
		}
		for number, p := range topic.Partitions {
			got, n, ok := v.Partition(p.ID)
			if !ok || got != topic || n != int32(number) {
				t.Fatalf("partition %v is not number %d of %s", p.ID, number, topic.Name)
			}
			if p.ID >= v.NextPartitionID() {
				t.Fatalf("partition %v is not below %v", p.ID, v.NextPartitionID())
			}
		}
	}
	for _, id := range []record.PartitionID{v.NextPartitionID(), record.FirstHidden, math.MaxUint32} {
		if _, _, ok := v.Partition(id); ok {
			t.Fatalf("partition %v belongs to a topic", id)
		}
	}
}

// same reports whether two Views are equal in all that they hold, stored or derived.
// No elements may be nil in one and an empty slice in the other.
func same(a, b *View) bool {
	flat := func(v *View) View {
		f := *v
		if len(f.byName) == 0 {
			f.byName, f.byID, f.runs = nil, nil, nil
		}
		return f
	}
	return reflect.DeepEqual(flat(a), flat(b))
}

func TestApplySharesWhatStays(t *testing.T) {
	c, newID := lead(t, 1, 1), ids()
	_, a := mustCreate(t, c, plain("a", 1), newID)
	before := c.View()
	mustCreate(t, c, plain("b", 1), newID)
	if got, _ := c.View().Topic("a"); got != a {
		t.Error("an untouched topic was copied")
	}
	if c.View().Version() != before.Version()+1 {
		t.Errorf("version %d behind %d", c.View().Version(), before.Version())
	}
}

func TestOvertakenCommandsChangeNothing(t *testing.T) {
	c, newID := lead(t, 1, 1), ids()
	_, topic := mustCreate(t, c, plain("t", 2), newID)
	if _, _, _, err := c.AllocateProducerIDs(1, 10); err != nil {
		t.Fatal(err)
	}
	v := c.View()
	for name, ch := range map[string]change{
		"second bootstrap":                   &bootstrap{"other", []record.ShardID{9}},
		"node as it is":                      &registerNode{node(1)},
		"shard that is there":                &addShard{1},
		"name that is taken":                 &createTopic{"t", [16]byte{9}, false, 1, 2, []record.ShardID{1}, nil},
		"topic id that is taken":             &createTopic{"u", topic.ID, false, 1, 2, []record.ShardID{1}, nil},
		"partition id that was handed out":   &createTopic{"u", [16]byte{9}, false, 1, 1, []record.ShardID{1}, nil},
		"topic in a shard that is not there": &createTopic{"u", [16]byte{9}, false, 1, 2, []record.ShardID{2}, nil},
		"topic that is gone":                 &deleteTopic{[16]byte{9}},
		"partitions of a topic that is gone": &addPartitions{[16]byte{9}, 2, 2, []record.ShardID{1}},
		"partitions that are there":          &addPartitions{topic.ID, 1, 2, []record.ShardID{1}},
		"partitions behind a gap":            &addPartitions{topic.ID, 3, 2, []record.ShardID{1}},
		"partitions with used ids":           &addPartitions{topic.ID, 2, 0, []record.ShardID{1}},
		"settings of a topic that is gone":   &setConfigs{[16]byte{9}, []pair{{"retention.ms", "1"}}, nil},
		"settings reset that are not set":    &setConfigs{topic.ID, nil, []string{"retention.ms"}},
		"producer ids that were handed out":  &allocateProducerIDs{1, 9, 20},
		"a credential that is gone":          &deleteCredential{"a", "SCRAM-SHA-256"},
	} {
		cmd := command(ch)
		if got, err := v.Apply(cmd, 0); err != nil || got != v {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCommandsOfAnotherTimeAreFatal(t *testing.T) {
	good := command(&addShard{7})
	for name, cmd := range map[string]record.Command{
		"empty":            nil,
		"short":            good[:2],
		"another owner":    append(record.NewCommand(record.OwnerGroup, kindAddShard, commandVersion), good.Payload()...),
		"unknown kind":     append(record.NewCommand(record.OwnerCluster, 99, commandVersion), good.Payload()...),
		"future version":   append(record.NewCommand(record.OwnerCluster, kindAddShard, commandVersion+1), good.Payload()...),
		"torn":             good[:len(good)-1],
		"trailing bytes":   append(slices.Clone(good), 0),
		"metadata shard":   command(&addShard{0}),
		"no shards":        command(&bootstrap{"id", nil}),
		"shards unordered": command(&bootstrap{"id", []record.ShardID{2, 1}}),
		"no cluster id":    command(&bootstrap{"", []record.ShardID{1}}),
		"negative node":    command(&registerNode{node(-1)}),
		"nowhere":          command(&registerNode{Node{ID: 1}}),
		"bad name":         command(&createTopic{"a b", [16]byte{9}, false, 1, 0, []record.ShardID{1}, nil}),
		"no partitions":    command(&createTopic{"a", [16]byte{9}, false, 1, 0, nil, nil}),
		"no replicas":      command(&createTopic{"a", [16]byte{9}, false, 0, 0, []record.ShardID{1}, nil}),
		"hidden partition": command(&createTopic{"a", [16]byte{9}, false, 1, record.FirstHidden - 1, []record.ShardID{1, 1}, nil}),
		"in shard 0":       command(&addPartitions{[16]byte{9}, 1, 0, []record.ShardID{0}}),
		"from number 0":    command(&addPartitions{[16]byte{9}, 0, 0, []record.ShardID{1}}),
		"settings twice":   command(&setConfigs{[16]byte{9}, []pair{{"a", "1"}, {"a", "2"}}, nil}),
		"resets unordered": command(&setConfigs{[16]byte{9}, nil, []string{"b", "a"}}),
		"no producer ids":  command(&allocateProducerIDs{1, 5, 5}),
	} {
		if v, err := Empty().Apply(cmd, 0); !errors.Is(err, ErrCommand) || v != nil {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestProducerIDsEnd(t *testing.T) {
	c := lead(t, 1, 1)
	v := *c.View()
	v.nextProducer = math.MaxInt64 - 5
	c.Reset(&v)
	if _, _, _, err := c.AllocateProducerIDs(1, 6); err == nil {
		t.Error("handed out ids beyond the last")
	}
	if _, from, to, err := c.AllocateProducerIDs(1, 5); err != nil || from != math.MaxInt64-5 || to != math.MaxInt64 {
		t.Errorf("got [%d, %d), %v", from, to, err)
	}
	for _, n := range []int{0, -1, MaxProducerIDs + 1} {
		if _, _, _, err := c.AllocateProducerIDs(1, n); err == nil {
			t.Errorf("a block of %d", n)
		}
	}
}

func TestBootstrapHappensOnce(t *testing.T) {
	c := lead(t, 1, 3, 1)
	if got := c.View().Shards(); !slices.Equal(got, []record.ShardID{1, 3}) {
		t.Errorf("shards %v", got)
	}
	if _, err := c.Bootstrap("again", []record.ShardID{1}); err == nil {
		t.Error("bootstrapped twice")
	}
	for name, shards := range map[string][]record.ShardID{"none": nil, "metadata": {0, 1}, "twice": {1, 1}} {
		if _, err := Lead(Empty()).Bootstrap("id", shards); err == nil {
			t.Errorf("shards %s: bootstrapped", name)
		}
	}
}

func TestNodeMustBeReachable(t *testing.T) {
	for name, change := range map[string]func(*Node){
		"no endpoint":    func(n *Node) { n.Endpoints = nil },
		"no host":        func(n *Node) { n.Endpoints[0].Host = "" },
		"port 0":         func(n *Node) { n.Endpoints[0].Port = 0 },
		"port 65536":     func(n *Node) { n.Endpoints[0].Port = 65536 },
		"listener twice": func(n *Node) { n.Endpoints = append(n.Endpoints, n.Endpoints[0]) },
		"no listener":    func(n *Node) { n.Endpoints[0].Listener = "" },
		"negative id":    func(n *Node) { n.ID = -1 },
	} {
		n := node(1)
		change(&n)
		if _, err := Lead(Empty()).RegisterNode(n); err == nil {
			t.Errorf("%s: registered", name)
		}
	}
}

func TestRestoreRefusesWhatEncodeDoesNotWrite(t *testing.T) {
	c, newID := lead(t, 2, 1, 2), ids()
	mustCreate(t, c, plain("a", 2), newID)
	mustCreate(t, c, plain("b", 2), newID)
	for _, user := range []string{"a", "b"} {
		if _, err := c.SetCredential(user, small); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range []Resource{AllBrokers, OneBroker(1)} {
		if _, err := c.AlterBroker(r, []ConfigChange{configChange("log.roll.ms=7")}, false, DefaultBrokerSettings()); err != nil {
			t.Fatal(err)
		}
	}
	for name, spoil := range map[string]func(*View){
		"nodes unordered":       func(v *View) { v.nodes = []Node{v.nodes[1], v.nodes[0]} },
		"topics unordered":      func(v *View) { v.byName = []*Topic{v.byName[1], v.byName[0]} },
		"topic twice":           func(v *View) { v.byName = []*Topic{v.byName[0], v.byName[0]} },
		"one id for two topics": func(v *View) { v.byName[1] = edited(v.byName[1], func(t *Topic) { t.ID = v.byName[0].ID }) },
		"one id for two partitions": func(v *View) {
			v.byName[1] = edited(v.byName[1], func(t *Topic) { t.Partitions = v.byName[0].Partitions })
		},
		"partition id not handed out": func(v *View) { v.nextPartition = 3 },
		"next partition hidden":       func(v *View) { v.nextPartition = record.FirstHidden + 1 },
		"unknown shard":               func(v *View) { v.shards = v.shards[:1] },
		"metadata shard":              func(v *View) { v.shards = []record.ShardID{0, 1, 2} },
		"topic without partitions":    func(v *View) { v.byName[0] = edited(v.byName[0], func(t *Topic) { t.Partitions = nil }) },
		"topic without replicas":      func(v *View) { v.byName[0] = edited(v.byName[0], func(t *Topic) { t.ReplicationFactor = 0 }) },
		"bad name":                    func(v *View) { v.byName[0] = edited(v.byName[0], func(t *Topic) { t.Name = "a b" }) },
		"users unordered":             func(v *View) { v.users = []User{v.users[1], v.users[0]} },
		"user twice":                  func(v *View) { v.users = []User{v.users[0], v.users[0]} },
		"user without a credential":   func(v *View) { v.users = []User{{Name: "a"}} },
		"user without a name":         func(v *View) { v.users = []User{{Credentials: v.users[0].Credentials}} },
		"two credentials of one kind": func(v *View) { v.users = []User{{"a", []auth.Credential{small, small}}} },
		"credential without a salt": func(v *View) {
			v.users = []User{{"a", []auth.Credential{{Mechanism: "SCRAM-SHA-256", Iterations: 4096}}}}
		},
		"settings of nobody":       func(v *View) { v.configured = []configured{{AllBrokers, nil}} },
		"settings of a broker one": func(v *View) { v.configured[0].Name = "one" },
		"settings unordered":       func(v *View) { v.configured = []configured{v.configured[1], v.configured[0]} },
		"settings of a logger":     func(v *View) { v.configured[0].Type = kmsg.ConfigResourceTypeBrokerLogger },
		"negative producer id":     func(v *View) { v.nextProducer = -1 },
		"falling partition ids": func(v *View) {
			v.byName[0] = edited(v.byName[0], func(t *Topic) { t.Partitions = []Partition{{1, 1}, {0, 1}} })
		},
	} {
		v := *c.View()
		v.byName, v.configured = slices.Clone(v.byName), slices.Clone(v.configured)
		spoil(&v)
		if _, err := Restore(v.Encode()); !errors.Is(err, ErrState) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	good := c.View().Encode()
	for n := range good {
		if _, err := Restore(good[:n]); !errors.Is(err, ErrState) {
			t.Fatalf("the first %d of %d bytes: got %v", n, len(good), err)
		}
	}
	if _, err := Restore(append(slices.Clone(good), 0)); !errors.Is(err, ErrState) {
		t.Errorf("a byte more: got %v", err)
	}
	future := slices.Clone(good)
	future[0]++
	if _, err := Restore(future); !errors.Is(err, ErrState) {
		t.Errorf("a future format: got %v", err)
	}
}

func edited(t *Topic, edit func(*Topic)) *Topic {
	c := *t
	edit(&c)
	return &c
}

func FuzzRestore(f *testing.F) {
	f.Add(Empty().Encode())
	f.Add(busy(f).Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		// A state takes more room than its bytes, but in proportion to them.
		if n := heap.Allocated(func() { _, _ = Restore(data) }); n > uint64(64*len(data)+1<<20) {
			t.Fatalf("%d bytes are allocated for an input of %d", n, len(data))
		}
		v, err := Restore(data)
		if err != nil {
			if !errors.Is(err, ErrState) {
				t.Fatalf("got %v", err)
			}
			return
		}
		if !bytes.Equal(v.Encode(), data) {
			t.Fatal("two encodings of one View")
		}
		checkSound(t, v)
	})
}

func FuzzApply(f *testing.F) {
	v := busy(f)
	before := v.Encode()
	topic := v.Topics()[0]
	for _, ch := range []change{
		&bootstrap{"id", []record.ShardID{1, 2}},
		&registerNode{node(7)},
		&addShard{9},
		&createTopic{"new", [16]byte{9}, false, 1, v.NextPartitionID(), []record.ShardID{1, 2}, []pair{{"retention.ms", "5"}}},
		&deleteTopic{topic.ID},
		&addPartitions{topic.ID, int32(len(topic.Partitions)), v.NextPartitionID(), []record.ShardID{2}},
		&setConfigs{topic.ID, []pair{{"retention.ms", "5"}}, []string{"segment.ms"}},
		&allocateProducerIDs{1, 1000, 2000},
		&setCredential{"u", small},
		&deleteCredential{"v", "SCRAM-SHA-512"},
		&addACLs{[]acl.Binding{allowing("t", "User:a"), allowing("t", "User:b")}},
		&removeACLs{[]acl.Binding{allowing("t", "User:a")}},
		&setQuotas{quota.Entity{User: quota.Of("u"), Client: quota.Everybody()}, quota.Values{1, 2, 3.5, 4}},
		&setQuotas{quota.Entity{IP: quota.Of("::1")}, quota.Values{}},
		&configure{AllBrokers, []pair{{"log.roll.ms", "5"}}},
		&configure{OneBroker(1), nil},
		&configure{OfGroup("g"), []pair{{groupHeartbeatMs, "7000"}}},
	} {
		f.Add([]byte(command(ch)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var next *View
		var err error
		if n := heap.Allocated(func() { next, err = v.Apply(record.Command(data), 0) }); n > uint64(64*len(data)+1<<20) {
			t.Fatalf("%d bytes are allocated for a command of %d", n, len(data))
		}
		if !bytes.Equal(v.Encode(), before) {
			t.Fatal("Apply changed the View it was called on")
		}
		if err != nil {
			if !errors.Is(err, ErrCommand) {
				t.Fatalf("got %v", err)
			}
			return
		}
		ch, _ := parseCommand(record.Command(data))
		if !bytes.Equal(command(ch), data) {
			t.Fatalf("two encodings of one command: %v", ch)
		}
		checkSound(t, next)
	})
}

// busy is a View with something of everything.
func busy(t testing.TB) *View {
	c, newID := lead(t, 3, 1, 2, 3), ids()
	mustCreate(t, c, plain("a", 2), newID)
	mustCreate(t, c, NewTopic{Name: "b", Partitions: 3, ReplicationFactor: 3, Configs: map[string]*string{"segment.ms": ptr("5")}}, newID)
	mustCreate(t, c, plain("c", 1), newID)
	if _, _, err := c.AddPartitions("a", 4, nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.DeleteTopic("c", DefaultBrokerSettings()); err != nil {
		t.Fatal(err)
	}
	if _, _, _, err := c.AllocateProducerIDs(1, 1000); err != nil {
		t.Fatal(err)
	}
	for _, credential := range []auth.Credential{small, large} {
		if _, err := c.SetCredential("v", credential); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.AddACLs([]acl.Binding{allowing("t", "User:a"), allowing("*", "User:*")}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.AlterQuotas(quota.Entity{User: quota.Of("u")}, []quota.Change{{Key: quota.RequestPercentage, Value: 12.5}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range []Resource{AllBrokers, OneBroker(1)} {
		if _, err := c.AlterBroker(r, []ConfigChange{configChange("log.roll.ms=7")}, false, DefaultBrokerSettings()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.AlterGroup(OfGroup("g"), []ConfigChange{configChange(groupHeartbeatMs + "=7000")}, false, DefaultBrokerSettings()); err != nil {
		t.Fatal(err)
	}
	return c.View()
}

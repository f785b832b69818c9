package kafka

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/broker/quota"
	"github.com/splashdam/splashdam/broker/record"
)

// fake is a Backend in memory: one node, batches in slices. It is honest about
// what a client can see, and groups have one member at most.
type fake struct {
	self []Node

	mu        sync.Mutex
	topics    map[string]*fakeTopic
	auto      bool // topics may be created by asking for them
	created   []string
	changes   []string  // of topics' settings
	assigned  [][]int32 // to the partitions that were created last
	producers int64
	users     []User
	// coordinator is the node that coordinates all groups.
	coordinator int32
	offsets     map[string]map[TopicPartition]kmsg.OffsetCommitRequestTopicPartition
	watchers    map[chan<- struct{}][]TopicPartition
	// hold, if set, takes the completions of appends instead of running them.
	hold func(complete func())
	// changed says that a batch on hold did not stay as it was.
	changed error
	// refuse, if set, is the outcome of every append.
	refuse  *Appended
	fetches int // calls of Fetch
	// watching, if set, runs when a watch is about to begin.
	watching func()
	// wait, if set, is what joining a group waits for.
	wait   chan struct{}
	access acl.Authorizer
	shares quota.Table
	groups []string // that are listed
	// panics makes InitProducerID meet a bug.
	panics       bool
	transactions fakeTransactions
	last         AppendRequest
}

type fakeTopic struct {
	Topic
	logs []*fakeLog
}

type fakeLog struct {
	start, end int64
	batches    []record.Batch
}

func newFake() *fake {
	return &fake{
		self:        []Node{{ID: 1, Host: "localhost", Port: 9092}},
		coordinator: 1,
		topics:      make(map[string]*fakeTopic),
		offsets:     make(map[string]map[TopicPartition]kmsg.OffsetCommitRequestTopicPartition),
		watchers:    make(map[chan<- struct{}][]TopicPartition),
	}
}

// add makes a topic.
func (f *fake) add(name string, partitions int, change ...func(*Topic)) *fakeTopic {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.addLocked(name, partitions, change...)
}

func (f *fake) addLocked(name string, partitions int, change ...func(*Topic)) *fakeTopic {
	sum := sha256.Sum256(fmt.Append(nil, name, len(f.topics)))
	t := &fakeTopic{Topic: Topic{Name: name, ID: [16]byte(sum[:16]), Config: TopicConfig{
		MaxMessageBytes: 1 << 20, TimestampBeforeMs: 1<<63 - 1, TimestampAfterMs: 3600_000,
	}}}
	for range partitions {
		t.Partitions = append(t.Partitions, PartitionInfo{Leader: f.self[0].ID, LeaderEpoch: 5, Replicas: []int32{1}, ISR: []int32{1}})
		t.logs = append(t.logs, &fakeLog{})
	}
	for _, c := range change {
		c(&t.Topic)
	}
	f.topics[name] = t
	return t
}

// produce appends one batch of n records to a partition.
func (f *fake) produce(topic string, partition int32, n int) {
	f.Append(AppendRequest{Topic: topic, Partition: partition, Batch: batchOf(n)}, func(Appended) {})
}

func batchOf(n int) record.Batch {
	rs := make([]record.Record, n)
	for i := range rs {
		rs[i] = record.Record{OffsetDelta: int32(i), Key: fmt.Append(nil, "k", i), Value: fmt.Append(nil, "v", i)}
	}
	return record.Build(record.BuildOptions{ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, rs)
}

func (f *fake) ClusterID() string   { return "cluster-of-one" }
func (f *fake) NodeID() int32       { return f.self[0].ID }
func (f *fake) ControllerID() int32 { return f.self[0].ID }
func (f *fake) Nodes(string) []Node { return f.self }
func (f *fake) Topics() (all []Topic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.topics {
		all = append(all, t.Topic)
	}
	slices.SortFunc(all, func(a, b Topic) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) })
	return all
}

func (f *fake) Topic(name string) (Topic, error) {
	if name == "" || name == ".." {
		return Topic{}, fmt.Errorf("topic %q: %w", name, kerr.InvalidTopicException)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.topics[name]; t != nil {
		return t.Topic, nil
	}
	return Topic{}, fmt.Errorf("topic %q: %w", name, kerr.UnknownTopicOrPartition)
}

func (f *fake) TopicByID(id [16]byte) (Topic, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.topics {
		if t.ID == id {
			return t.Topic, nil
		}
	}
	return Topic{}, fmt.Errorf("topic id %x: %w", id, kerr.UnknownTopicID)
}

func (f *fake) AutoCreate(name string) (bool, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.auto {
		return false, fmt.Errorf("topic %q: %w", name, kerr.UnknownTopicOrPartition)
	}
	f.created = append(f.created, name)
	f.addLocked(name, 1)
	return true, nil
}

func (f *fake) CreateTopics(_ context.Context, topics []NewTopic, validateOnly bool) (out []CreatedTopic) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range topics {
		if f.topics[n.Name] != nil {
			out = append(out, CreatedTopic{Err: fmt.Errorf("topic %q: %w", n.Name, kerr.TopicAlreadyExists)})
			continue
		}
		if n.Partitions > 100 {
			out = append(out, CreatedTopic{Err: fmt.Errorf("%d partitions: %w", n.Partitions, kerr.InvalidPartitions)})
			continue
		}
		t := f.addLocked(n.Name, max(int(n.Partitions), 1, len(n.Assignment)))
		if validateOnly {
			delete(f.topics, n.Name)
		}
		out = append(out, CreatedTopic{Topic: t.Topic, Configs: settingsOfFake()})
	}
	return out
}

func (f *fake) DeleteTopics(_ context.Context, names []string) (errs []error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range names {
		delete(f.topics, n)
		errs = append(errs, nil)
	}
	return errs
}

func (f *fake) CreatePartitions(_ context.Context, topic string, total int32, assignment [][]int32, _ bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.assigned = assignment
	t := f.topics[topic]
	if t == nil {
		return kerr.UnknownTopicOrPartition
	}
	if int(total) <= len(t.logs) || total > 100 {
		return fmt.Errorf("topic %q has %d partitions: %w", topic, len(t.logs), kerr.InvalidPartitions)
	}
	for len(t.logs) < int(total) {
		t.logs = append(t.logs, &fakeLog{})
		t.Partitions = append(slices.Clip(t.Partitions), t.Partitions[0])
	}
	return nil
}

func settingsOfFake() []ConfigEntry {
	two := "2"
	synonyms := []ConfigSynonym{{"a.number", "2", kmsg.ConfigSourceDynamicTopicConfig}, {"log.number", "1", kmsg.ConfigSourceDefaultConfig}}
	return []ConfigEntry{
		{Name: "a.number", Value: &two, Synonyms: synonyms, Source: kmsg.ConfigSourceDynamicTopicConfig, Type: kmsg.ConfigTypeInt, Doc: "How many."},
		{Name: "a.secret", Value: &two, Synonyms: synonyms[1:], Source: kmsg.ConfigSourceDefaultConfig, Sensitive: true},
	}
}

func (f *fake) Quorum(context.Context) (Quorum, error) {
	return Quorum{
		Leader: 1, Epoch: 7, HighWatermark: 12,
		Voters:    []QuorumReplica{{Node: 1, LogEnd: 13, HeardMs: 100, CaughtUpMs: 100}, {Node: 2, LogEnd: 12, HeardMs: -1, CaughtUpMs: -1}},
		Observers: []QuorumReplica{{Node: 3, LogEnd: 4, HeardMs: -1, CaughtUpMs: -1}},
	}, nil
}

func (f *fake) ConfiguredGroups() []string { return []string{"g"} }

func (f *fake) Configs(r ConfigResource) ([]ConfigEntry, error) {
	if r.Type == kmsg.ConfigResourceTypeTopic {
		if _, err := f.Topic(r.Name); err != nil {
			return nil, err
		}
	}
	if r.Name == "" {
		return nil, nil
	}
	return settingsOfFake(), nil
}

func (f *fake) AlterConfigs(_ context.Context, r ConfigResource, changes ConfigChanges) error {
	if r.Type == kmsg.ConfigResourceTypeTopic {
		if _, err := f.Topic(r.Name); err != nil {
			return err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	verb := "alter "
	if changes.Replace {
		verb = "replace "
	}
	note := verb + r.Name
	for _, c := range changes.Changes {
		value := "null"
		if c.Value != nil {
			value = *c.Value
		}
		note += fmt.Sprintf(" %s:%v=%s", c.Name, c.Op, value)
	}
	f.changes = append(f.changes, note)
	return nil
}

func (f *fake) log(topic string, p int32) (*fakeLog, error) {
	t := f.topics[topic]
	if t == nil || p < 0 || int(p) >= len(t.logs) {
		return nil, fmt.Errorf("topic %q partition %d: %w", topic, p, kerr.UnknownTopicOrPartition)
	}
	if err := t.Partitions[p].Err; err != nil {
		return nil, fmt.Errorf("topic %q partition %d: %w", topic, p, err)
	}
	return t.logs[p], nil
}

// Append stores a copy, so that nothing of the request is kept; under hold it
// checks afterwards that the request's memory was left alone.
func (f *fake) Append(req AppendRequest, done func(Appended)) {
	f.mu.Lock()
	f.last = req
	l, err := f.log(req.Topic, req.Partition)
	if f.refuse != nil || err != nil {
		f.mu.Unlock()
		if f.refuse != nil {
			done(*f.refuse)
			return
		}
		done(Appended{BaseOffset: -1, Err: err})
		return
	}
	b := slices.Clone(req.Batch)
	a := Appended{BaseOffset: l.end, LogAppendTime: -1, LogStart: l.start}
	b.SetBaseOffset(l.end)
	b.SetLeaderEpoch(5)
	l.batches = append(l.batches, b)
	l.end = b.NextOffset()
	for w, ps := range f.watchers {
		if slices.Contains(ps, TopicPartition{req.Topic, req.Partition}) {
			select {
			case w <- struct{}{}:
			default:
			}
		}
	}
	hold := f.hold
	f.mu.Unlock()
	if hold == nil {
		done(a)
		return
	}
	hold(func() {
		if err := req.Batch.Validate(); err != nil {
			f.changed = fmt.Errorf("the batch changed while it was the backend's: %w", err)
		}
		done(a)
	})
}

func (f *fake) Fetch(req FetchRequest, dst []byte) Fetched {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fetches++
	out := Fetched{Records: dst, DivergingEpoch: -1, DivergingEnd: -1, HighWatermark: -1, LastStable: -1, LogStart: -1}
	l, err := f.log(req.Topic, req.Partition)
	if err != nil {
		out.Err = err
		return out
	}
	out.HighWatermark, out.LastStable, out.LogStart = l.end, l.end, l.start
	if req.Offset < l.start || req.Offset > l.end {
		out.Err = fmt.Errorf("offset %d: %w", req.Offset, kerr.OffsetOutOfRange)
		return out
	}
	for _, b := range l.batches {
		if b.NextOffset() <= req.Offset {
			continue
		}
		if len(out.Records)+len(b) > req.MaxBytes && !(req.AtLeastOne && len(out.Records) == 0) {
			break
		}
		out.Records = append(out.Records, b...)
	}
	return out
}

func (f *fake) DeleteRecords(_ context.Context, topic string, partition int32, before int64) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, err := f.log(topic, partition)
	if err != nil {
		return -1, err
	}
	if before == -1 {
		before = l.end
	}
	if before < 0 || before > l.end {
		return -1, kerr.OffsetOutOfRange
	}
	l.start = max(l.start, before)
	return l.start, nil
}

func (f *fake) Watch(ps []TopicPartition, wake chan<- struct{}) func() {
	if f.watching != nil {
		f.watching()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.watchers[wake] = ps
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		delete(f.watchers, wake)
	}
}

func (f *fake) OffsetFor(topic string, p int32, ts int64, _ bool, _ int32) (int64, int64, int32, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, err := f.log(topic, p)
	switch {
	case err != nil:
		return -1, -1, -1, err
	case ts == timestampLatest:
		return l.end, -1, 5, nil
	case ts == timestampEarliest:
		return l.start, -1, 5, nil
	}
	if ts == timestampMax {
		offset, newest := int64(-1), int64(-1)
		for _, b := range l.batches {
			if o, at, ok, err := b.MaxTimestampOffset(1 << 20); ok && err == nil && at > newest {
				offset, newest = o, at
			}
		}
		return offset, newest, 5, nil
	}
	for _, b := range l.batches {
		if o, at, ok, err := b.OffsetForTime(ts, 1<<20); ok && err == nil {
			return o, at, 5, nil
		}
	}
	return -1, -1, -1, nil
}

func (f *fake) PartitionSize(_ context.Context, topic string, p int32) (size int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t, ok := f.topics[topic]
	if !ok || p < 0 || int(p) >= len(t.logs) {
		return 0, fmt.Errorf("topic %q partition %d: %w", topic, p, kerr.UnknownTopicOrPartition)
	}
	for _, b := range t.logs[p].batches {
		size += int64(len(b))
	}
	return size, nil
}

func (f *fake) LogDir() (string, int64, error) { return "/data", 1 << 30, nil }

func (f *fake) EpochEnd(topic string, p int32, _, epoch int32) (int32, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, err := f.log(topic, p)
	if err != nil {
		return -1, -1, err
	}
	return epoch, l.end, nil
}

func (f *fake) Coordinator(context.Context, string) (int32, error) { return f.coordinator, nil }

func (f *fake) JoinGroup(ctx context.Context, c Client, req *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	if f.wait != nil {
		select {
		case <-f.wait:
		case <-ctx.Done():
			resp.ErrorCode = kerr.NotCoordinator.Code
			return resp
		}
	}
	resp.MemberID, resp.LeaderID = c.ID+c.Host, c.ID+c.Host
	resp.Generation = 1
	for _, p := range req.Protocols {
		resp.Protocol = &p.Name
		m := kmsg.NewJoinGroupResponseMember()
		m.MemberID, m.ProtocolMetadata = resp.MemberID, p.Metadata
		resp.Members = append(resp.Members, m)
		break
	}
	return resp
}

func (f *fake) SyncGroup(_ context.Context, _ Client, req *kmsg.SyncGroupRequest) *kmsg.SyncGroupResponse {
	resp := kmsg.NewPtrSyncGroupResponse()
	for _, a := range req.GroupAssignment {
		resp.MemberAssignment = a.MemberAssignment
	}
	return resp
}

func (f *fake) Heartbeat(context.Context, Client, *kmsg.HeartbeatRequest) *kmsg.HeartbeatResponse {
	return kmsg.NewPtrHeartbeatResponse()
}

func (f *fake) LeaveGroup(_ context.Context, _ Client, req *kmsg.LeaveGroupRequest) *kmsg.LeaveGroupResponse {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.offsets, req.Group) // a sign that it was called
	return kmsg.NewPtrLeaveGroupResponse()
}

func (f *fake) OffsetCommit(_ context.Context, _ Client, req *kmsg.OffsetCommitRequest) *kmsg.OffsetCommitResponse {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := f.offsets[req.Group]
	if g == nil {
		g = make(map[TopicPartition]kmsg.OffsetCommitRequestTopicPartition)
		f.offsets[req.Group] = g
	}
	resp := kmsg.NewPtrOffsetCommitResponse()
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetCommitResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			g[TopicPartition{t.Topic, p.Partition}] = p
			rp := kmsg.NewOffsetCommitResponseTopicPartition()
			rp.Partition = p.Partition
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (f *fake) OffsetFetch(_ context.Context, _ Client, req *kmsg.OffsetFetchRequest) *kmsg.OffsetFetchResponse {
	f.mu.Lock()
	defer f.mu.Unlock()
	resp := kmsg.NewPtrOffsetFetchResponse()
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetFetchResponseTopic()
		rt.Topic = t.Topic
		for _, n := range t.Partitions {
			rp := kmsg.NewOffsetFetchResponseTopicPartition()
			rp.Partition, rp.Offset, rp.Metadata = n, -1, new(string)
			if o, ok := f.offsets[req.Group][TopicPartition{t.Topic, n}]; ok {
				rp.Offset = o.Offset
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	for _, g := range req.Groups {
		rg := kmsg.NewOffsetFetchResponseGroup()
		rg.Group = g.Group
		topics := g.Topics
		if topics == nil {
			for tp := range f.offsets[g.Group] {
				topics = append(topics, kmsg.OffsetFetchRequestGroupTopic{Topic: tp.Topic, Partitions: []int32{tp.Partition}})
			}
		}
		for _, t := range topics {
			rt := kmsg.NewOffsetFetchResponseGroupTopic()
			rt.Topic = t.Topic
			for _, n := range t.Partitions {
				rp := kmsg.NewOffsetFetchResponseGroupTopicPartition()
				rp.Partition, rp.Offset, rp.Metadata = n, -1, new(string)
				if o, ok := f.offsets[g.Group][TopicPartition{t.Topic, n}]; ok {
					rp.Offset = o.Offset
				}
				rt.Partitions = append(rt.Partitions, rp)
			}
			rg.Topics = append(rg.Topics, rt)
		}
		resp.Groups = append(resp.Groups, rg)
	}
	return resp
}

func (f *fake) ListGroups(context.Context, *kmsg.ListGroupsRequest) *kmsg.ListGroupsResponse {
	resp := kmsg.NewPtrListGroupsResponse()
	for _, g := range f.groups {
		resp.Groups = append(resp.Groups, kmsg.ListGroupsResponseGroup{Group: g})
	}
	return resp
}

func (f *fake) DescribeGroups(_ context.Context, req *kmsg.DescribeGroupsRequest) *kmsg.DescribeGroupsResponse {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, id := range req.Groups {
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group, g.State = id, "Dead"
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

func (f *fake) DeleteGroups(_ context.Context, req *kmsg.DeleteGroupsRequest) *kmsg.DeleteGroupsResponse {
	return kmsg.NewPtrDeleteGroupsResponse()
}

func (f *fake) Quotas() quota.Table {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.shares
}

func (f *fake) AlterQuotas(_ context.Context, e quota.Entity, changes []quota.Change, validateOnly bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := e.Check(); err != nil {
		return fmt.Errorf("%w: %w", err, kerr.InvalidRequest)
	}
	v, _ := f.shares.Find(e)
	for _, c := range changes {
		v[c.Key] = c.Value
	}
	if !validateOnly {
		f.shares = f.shares.With(e, v)
	}
	return nil
}

func (f *fake) Authorizer() acl.Authorizer {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.access
}

func (f *fake) AddACLs(_ context.Context, bs []acl.Binding) []error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range bs {
		f.access.List = f.access.List.Add(b)
	}
	return make([]error, len(bs))
}

func (f *fake) RemoveACLs(_ context.Context, bs []acl.Binding) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range bs {
		f.access.List = f.access.List.Remove(b)
	}
	return nil
}

func (f *fake) Users() (all []User) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.users)
}

func (f *fake) User(name string) (User, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.users, func(u User) bool { return u.Name == name })
	if i < 0 {
		return User{}, false
	}
	return f.users[i], true
}

// SetCredential knows one credential for each user.
func (f *fake) SetCredential(ctx context.Context, user string, c auth.Credential) error {
	_ = f.DeleteCredential(ctx, user, "")
	f.mu.Lock()
	defer f.mu.Unlock()
	f.users = append(f.users, User{user, []auth.Credential{c}})
	return nil
}

func (f *fake) DeleteCredential(_ context.Context, user, _ string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.users)
	f.users = slices.DeleteFunc(f.users, func(u User) bool { return u.Name == user })
	if len(f.users) == before {
		return kerr.ResourceNotFound
	}
	return nil
}

func (f *fake) InitProducerID(context.Context) (int64, int16, error) {
	if f.panics {
		panic("a bug in the fake")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.producers++
	return f.producers, 0, nil
}

func (f *fake) OffsetDelete(_ context.Context, req *kmsg.OffsetDeleteRequest) *kmsg.OffsetDeleteResponse {
	resp := kmsg.NewPtrOffsetDeleteResponse()
	for _, t := range req.Topics {
		rt := kmsg.NewOffsetDeleteResponseTopic()
		rt.Topic = t.Topic
		for _, p := range t.Partitions {
			rp := kmsg.NewOffsetDeleteResponseTopicPartition()
			rp.Partition = p.Partition
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp
}

func (f *fake) ConsumerGroupHeartbeat(_ context.Context, _ Client, req *kmsg.ConsumerGroupHeartbeatRequest) *kmsg.ConsumerGroupHeartbeatResponse {
	resp := kmsg.NewPtrConsumerGroupHeartbeatResponse()
	resp.MemberID, resp.MemberEpoch = &req.MemberID, req.MemberEpoch
	return resp
}

func (f *fake) ConsumerGroupDescribe(_ context.Context, req *kmsg.ConsumerGroupDescribeRequest) *kmsg.ConsumerGroupDescribeResponse {
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	for _, id := range req.Groups {
		g := kmsg.NewConsumerGroupDescribeResponseGroup()
		g.Group = id
		m := kmsg.NewConsumerGroupDescribeResponseGroupMember()
		m.Assignment.TopicPartitions = []kmsg.AssignmentTopicPartition{{Topic: "t", Partitions: []int32{0}}}
		g.Members = append(g.Members, m)
		resp.Groups = append(resp.Groups, g)
	}
	return resp
}

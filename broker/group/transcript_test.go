package group

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/transcript"
)

func TestTranscripts(t *testing.T) {
	transcript.Run(t, func(out *strings.Builder) func(transcript.Args) error {
		s := newStage()
		s.out = out
		return func(a transcript.Args) error { return s.do(args{a}) }
	})
}

// start is the time at which all transcripts begin, in ms.
const start = int64(1_000_000)

// stage is a coordinator with the shell that a transcript drives by hand.
type stage struct {
	cfg     Config
	state   *State
	c       *Coordinator
	now     int64
	token   Token
	ids     int
	waiting []Persist
	topics  *fakeTopics
	out     *strings.Builder
}

func newStage() *stage {
	s := &stage{cfg: DefaultConfig(), state: NewState(), now: start, topics: newFakeTopics()}
	s.cfg.Topics = func() Topics { return s.topics }
	s.cfg.NewID = func() string { s.ids++; return strconv.Itoa(s.ids) }
	s.c = Lead(s.state, s.cfg, s.now)
	return s
}

// args are a command's words.
type args struct{ transcript.Args }

// object is the one thing that a command may be about.
func (a args) object() string {
	if len(a.Objects) == 0 {
		return ""
	}
	return a.Objects[len(a.Objects)-1]
}

func (a args) millis(key string, otherwise time.Duration) int32 {
	return int32(a.Duration(key, otherwise).Milliseconds())
}

func (a args) pointer(key string) *string {
	if v, ok := a.Values[key]; ok {
		return &v
	}
	return nil
}

// list cuts "a:b,c:d" into pairs.
func (a args) list(key string) [][2]string {
	var out [][2]string
	if v := a.Values[key]; v != "" {
		for _, e := range strings.Split(v, ",") {
			k, v, _ := strings.Cut(e, ":")
			out = append(out, [2]string{k, v})
		}
	}
	return out
}

func (s *stage) do(a args) error {
	switch a.Verb {
	case "config":
		if v, ok := a.Values["max-size"]; ok {
			s.cfg.MaxSize, _ = strconv.Atoi(v)
		}
		if v, ok := a.Values["max-groups"]; ok {
			s.cfg.MaxGroups, _ = strconv.Atoi(v)
		}
		if v, ok := a.Values["max-group-bytes"]; ok {
			s.cfg.MaxGroupBytes, _ = strconv.Atoi(v)
		}
		if v, ok := a.Values["max-offsets"]; ok {
			s.cfg.MaxOffsets, _ = strconv.Atoi(v)
		}
		if v, ok := a.Values["max-metadata"]; ok {
			s.cfg.OffsetMetadataMaxBytes, _ = strconv.Atoi(v)
		}
		if v, ok := a.Values["consumer-max-size"]; ok {
			s.cfg.ConsumerMaxSize, _ = strconv.Atoi(v)
		}
		if v, ok := a.Values["assignment-interval"]; ok {
			pace := DefaultPace()
			pace.AssignmentInterval, _ = time.ParseDuration(v)
			s.cfg.ConsumerPace = func(string) Pace { return pace }
		}
		if v, ok := a.Values["migration"]; ok {
			s.cfg.MigrationPolicy = MigrationPolicy(v)
		}
		s.c = Lead(s.state, s.cfg, s.now)
	case "topic":
		s.topics.set(a.object(), int32(a.Int("partitions", 0)))
	case "hide":
		s.topics.hide(a.object(), a.Text("from", ""))
	case "beat":
		s.effects(s.c.ConsumerHeartbeat(s.now, s.next(), Client{a.Text("as", "c"), "/127.0.0.1", a.Text("by", "")}, s.beatRequest(a)))
	case "consumers":
		s.consumers(a.Text("group", "g"))
	case "delete-offsets":
		r := kmsg.NewPtrOffsetDeleteRequest()
		r.Group = a.Text("group", "g")
		for _, p := range a.list("offsets") {
			x := kmsg.NewOffsetDeleteRequestTopic()
			n, _ := strconv.Atoi(p[1])
			x.Topic, x.Partitions = p[0], []kmsg.OffsetDeleteRequestTopicPartition{{Partition: int32(n)}}
			r.Topics = append(r.Topics, x)
		}
		s.effects(s.c.DeleteOffsets(s.now, s.next(), r))
	case "at":
		d, err := time.ParseDuration(a.object())
		if err != nil {
			return err
		}
		// As the shell does: a tick at each time that the coordinator asks for.
		for end := start + d.Milliseconds(); s.now < end; {
			s.now = min(max(s.c.Next(), s.now+1), end)
			s.effects(s.c.Tick(s.now))
		}
	case "join":
		s.effects(s.c.Join(s.now, s.next(), Client{a.Text("as", "c"), "/127.0.0.1", a.Text("by", "")}, s.joinRequest(a)))
	case "sync":
		s.effects(s.c.Sync(s.now, s.next(), s.syncRequest(a)))
	case "heartbeat":
		r := kmsg.NewPtrHeartbeatRequest()
		r.Version, r.Group, r.MemberID, r.InstanceID, r.Generation = 4, a.Text("group", "g"), a.object(), a.pointer("instance"), int32(a.Int("gen", 1))
		s.effects(s.c.Heartbeat(s.now, s.next(), r))
	case "leave":
		s.effects(s.c.Leave(s.now, s.next(), s.leaveRequest(a)))
	case "commit":
		s.effects(s.c.Commit(s.now, s.next(), s.commitRequest(a)))
	case "fetch":
		q := kmsg.NewOffsetFetchRequestGroup()
		q.Group, q.MemberEpoch, q.MemberID = a.Text("group", "g"), int32(a.Int("epoch", -1)), a.pointer("member")
		for _, p := range a.list("offsets") {
			x := kmsg.NewOffsetFetchRequestGroupTopic()
			n, _ := strconv.Atoi(p[1])
			x.Topic, x.Partitions = p[0], []int32{int32(n)}
			q.Topics = append(q.Topics, x)
		}
		r := s.c.FetchGroup(&q, a.Text("stable", "") != "")
		s.printf("fetched %s", errorName(r.ErrorCode))
		for _, x := range r.Topics {
			for _, p := range x.Partitions {
				s.printf("  %s/%d = %d epoch %d metadata %q %s", x.Topic, p.Partition, p.Offset, p.LeaderEpoch, *p.Metadata, errorName(p.ErrorCode))
			}
		}
	case "list":
		r := kmsg.NewPtrListGroupsRequest()
		r.Version = 5
		if f, ok := a.Values["state"]; ok {
			r.StatesFilter = []string{f}
		}
		if f, ok := a.Values["type"]; ok {
			r.TypesFilter = []string{f}
		}
		for _, g := range s.c.List(r).Groups {
			s.printf("%s %q %s %s", g.Group, g.ProtocolType, g.GroupState, g.GroupType)
		}
	case "describe":
		d := s.c.Describe(a.Text("group", "g"), int16(a.Int("v", 6)))
		s.printf("%s %s type %q protocol %q", d.State, errorName(d.ErrorCode), d.ProtocolType, d.Protocol)
		for _, m := range d.Members {
			s.printf("  %s%s %s %s metadata %q assignment %q", m.MemberID, instance(m.InstanceID), m.ClientID, m.ClientHost, m.ProtocolMetadata, m.MemberAssignment)
		}
	case "delete":
		s.effects(s.c.Delete(s.now, s.next(), strings.Split(a.object(), ",")))
	case "topic-deleted":
		s.effects(s.c.TopicsDeleted(s.now, func(topic string) bool { return topic == a.object() }))
	case "forget":
		n, _ := strconv.Atoi(a.object())
		s.effects(s.c.Forget(s.now, Token(n)))
	case "apply":
		for range a.Int("n", len(s.waiting)) {
			p := s.waiting[0]
			s.waiting = s.waiting[1:]
			if err := s.state.Apply(p.Command, s.now); err != nil {
				return err
			}
			s.effects(s.c.Done(s.now, p.ID, nil))
		}
	case "replicate":
		// The log has it, but the leader is lost before it learns that.
		for _, p := range s.waiting {
			if err := s.state.Apply(p.Command, s.now); err != nil {
				return err
			}
		}
		s.waiting = nil
	case "keep":
		// The member sends heartbeats, and what is asked for is persisted.
		d, err := time.ParseDuration(a.Text("until", ""))
		if err != nil {
			return err
		}
		for end := start + d.Milliseconds(); s.now < end; {
			s.now = min(s.now+9*time.Minute.Milliseconds(), end)
			s.effects(s.c.Tick(s.now))
			r := kmsg.NewPtrHeartbeatRequest()
			r.Group, r.MemberID, r.Generation = "g", a.object(), int32(a.Int("gen", 1))
			e := s.c.Heartbeat(s.now, s.next(), r)
			if code := e[0].(Answer).Response.(*kmsg.HeartbeatResponse).ErrorCode; code != 0 {
				return fmt.Errorf("heartbeat: %s", errorName(code))
			}
			if err := s.do(args{transcript.Args{Verb: "apply"}}); err != nil {
				return err
			}
		}
	case "keep-beating":
		// The same of a member of the consumer protocol.
		d, err := time.ParseDuration(a.Text("until", ""))
		if err != nil {
			return err
		}
		epoch := a.Int("epoch", 1)
		for end := start + d.Milliseconds(); s.now < end; {
			s.now = min(s.now+40_000, end)
			s.effects(s.c.Tick(s.now))
			b := s.beatRequest(a)
			b.MemberEpoch = int32(epoch)
			e := s.c.ConsumerHeartbeat(s.now, s.next(), Client{"c", "/127.0.0.1", ""}, b)
			for len(e) == 1 {
				p, ok := e[0].(Persist)
				if !ok {
					break
				}
				if err := s.state.Apply(p.Command, s.now); err != nil {
					return err
				}
				e = s.c.Done(s.now, p.ID, nil)
			}
			if len(e) == 0 {
				return fmt.Errorf("no answer at %s", time.Duration(s.now-start)*time.Millisecond)
			}
			r := e[0].(Answer).Response.(*kmsg.ConsumerGroupHeartbeatResponse)
			if r.ErrorCode != 0 {
				return fmt.Errorf("heartbeat: %s", errorName(r.ErrorCode))
			}
			epoch = int(r.MemberEpoch)
			if err := s.do(args{transcript.Args{Verb: "apply"}}); err != nil {
				return err
			}
		}
	case "fail":
		p := s.waiting[0]
		s.waiting = s.waiting[1:]
		err := map[string]error{
			"not-leader": fmt.Errorf("proposing: %w", kerr.NotLeaderForPartition),
			"busy":       errors.New("too many proposals"),
		}[a.object()]
		s.effects(s.c.Done(s.now, p.ID, err))
	case "resign":
		s.effects(s.c.Resign(s.now))
		s.waiting = nil
	case "lead":
		// A new leader has nothing but the log: its state, and a snapshot of it.
		restored, err := Restore(s.state.View().Encode())
		if err != nil {
			return err
		}
		s.state = restored
		s.c = Lead(s.state, s.cfg, s.now)
	default:
		return fmt.Errorf("unknown verb")
	}
	return nil
}

func (s *stage) next() Token { s.token++; return s.token }

func (s *stage) joinRequest(a args) *kmsg.JoinGroupRequest {
	r := kmsg.NewPtrJoinGroupRequest()
	r.Version = int16(a.Int("v", 9))
	r.Group = a.Text("group", "g")
	r.MemberID = a.object()
	r.InstanceID = a.pointer("instance")
	r.ProtocolType = a.Text("type", "consumer")
	r.SessionTimeoutMillis = a.millis("session", 10*time.Second)
	r.RebalanceTimeoutMillis = a.millis("rebalance", time.Minute)
	ps := a.list("protocols")
	if _, ok := a.Values["protocols"]; !ok {
		ps = [][2]string{{"range", "t"}}
	}
	for _, p := range ps {
		x := kmsg.NewJoinGroupRequestProtocol()
		x.Name, x.Metadata = p[0], []byte(p[1])
		if v, ok := a.Values["owns"]; ok {
			x.Metadata = consumesAndOwns(strings.Split(p[1], "+"), v)
		} else if a.Text("type", "consumer") == "consumer" {
			x.Metadata = consumes(strings.Split(p[1], "+")...)
		}
		r.Protocols = append(r.Protocols, x)
	}
	return r
}

// consumesAndOwns is the metadata of a cooperative consumer that still owns
// partitions, "t:0,t:1".
func consumesAndOwns(topics []string, owns string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, topics
	for _, o := range strings.FieldsFunc(owns, func(c rune) bool { return c == ',' }) {
		topic, n, _ := strings.Cut(o, ":")
		number, _ := strconv.Atoi(n)
		m.OwnedPartitions = append(m.OwnedPartitions, kmsg.ConsumerMemberMetadataOwnedPartition{Topic: topic, Partitions: []int32{int32(number)}})
	}
	return m.AppendTo(nil)
}

// consumes is the metadata of a consumer of the topics.
func consumes(topics ...string) []byte {
	m := kmsg.NewConsumerMemberMetadata()
	m.Version, m.Topics = 1, topics
	return m.AppendTo(nil)
}

func (s *stage) syncRequest(a args) *kmsg.SyncGroupRequest {
	r := kmsg.NewPtrSyncGroupRequest()
	r.Version = 5
	r.Group, r.MemberID, r.InstanceID, r.Generation = a.Text("group", "g"), a.object(), a.pointer("instance"), int32(a.Int("gen", 1))
	r.ProtocolType, r.Protocol = kmsg.StringPtr(a.Text("type", "consumer")), kmsg.StringPtr(a.Text("protocol", "range"))
	for _, p := range a.list("assign") {
		x := kmsg.NewSyncGroupRequestGroupAssignment()
		x.MemberID, x.MemberAssignment = p[0], []byte(p[1])
		r.GroupAssignment = append(r.GroupAssignment, x)
	}
	for _, p := range a.list("assign-topics") { // member:topic/partition+...
		m := kmsg.NewConsumerMemberAssignment()
		for _, o := range strings.FieldsFunc(p[1], func(c rune) bool { return c == '+' }) {
			topic, n, _ := strings.Cut(o, "/")
			number, _ := strconv.Atoi(n)
			m.Topics = append(m.Topics, kmsg.ConsumerMemberAssignmentTopic{Topic: topic, Partitions: []int32{int32(number)}})
		}
		x := kmsg.NewSyncGroupRequestGroupAssignment()
		x.MemberID, x.MemberAssignment = p[0], m.AppendTo(nil)
		r.GroupAssignment = append(r.GroupAssignment, x)
	}
	return r
}

// beatRequest is a first request with epoch 0, else a short one.
func (s *stage) beatRequest(a args) *kmsg.ConsumerGroupHeartbeatRequest {
	r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	r.Version, r.Group, r.MemberID, r.MemberEpoch = int16(a.Int("v", 1)), a.Text("group", "g"), a.object(), int32(a.Int("epoch", 0))
	r.InstanceID, r.RackID, r.ServerAssignor, r.SubscribedTopicRegex = a.pointer("instance"), a.pointer("rack"), a.pointer("assignor"), a.pointer("regex")
	if r.MemberEpoch == 0 {
		r.RebalanceTimeoutMillis, r.Topics = 60_000, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
	}
	if _, ok := a.Values["rebalance"]; ok {
		r.RebalanceTimeoutMillis = a.millis("rebalance", 0)
	}
	if v, ok := a.Values["topics"]; ok {
		r.SubscribedTopicNames = strings.FieldsFunc(v, func(c rune) bool { return c == ',' })
	} else if r.MemberEpoch == 0 && r.SubscribedTopicRegex == nil {
		r.SubscribedTopicNames = []string{"t"}
	}
	if _, ok := a.Values["owns"]; ok {
		r.Topics = []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		for _, p := range a.list("owns") { // topic:partition
			x := kmsg.NewConsumerGroupHeartbeatRequestTopic()
			n, _ := strconv.Atoi(p[1])
			x.TopicID, x.Partitions = s.topics.id(p[0]), []int32{int32(n)}
			r.Topics = append(r.Topics, x)
		}
	}
	return r
}

// consumers prints what ConsumerGroupDescribe says.
func (s *stage) consumers(group string) {
	d := s.c.ConsumerDescribe(group)
	if d.ErrorCode != 0 {
		s.printf("%s: %s", errorName(d.ErrorCode), *d.ErrorMessage)
		return
	}
	s.printf("%s epoch %d assignment epoch %d by %q", d.State, d.Epoch, d.AssignmentEpoch, d.AssignorName)
	for _, m := range d.Members {
		line := fmt.Sprintf("  %s%s epoch %d subscribes %v", m.MemberID, instance(m.InstanceID), m.MemberEpoch, m.SubscribedTopics)
		if m.SubscribedTopicRegex != nil {
			line += fmt.Sprintf(" ~%q", *m.SubscribedTopicRegex)
		}
		if m.MemberType == 0 {
			line += " classic"
		}
		s.printf("%s has %s target %s", line, printPartitions(described(m.Assignment)), printPartitions(described(m.TargetAssignment)))
	}
}

func described(a kmsg.Assignment) partitions {
	var list []partition
	for _, t := range a.TopicPartitions {
		for _, n := range t.Partitions {
			list = append(list, partition{t.TopicID, n})
		}
	}
	return newPartitions(list)
}

func told(a *kmsg.ConsumerGroupHeartbeatResponseAssignment) partitions {
	var list []partition
	for _, t := range a.Topics {
		for _, n := range t.Partitions {
			list = append(list, partition{t.TopicID, n})
		}
	}
	return newPartitions(list)
}

func (s *stage) leaveRequest(a args) *kmsg.LeaveGroupRequest {
	r := kmsg.NewPtrLeaveGroupRequest()
	r.Version, r.Group, r.MemberID = int16(a.Int("v", 5)), a.Text("group", "g"), a.object()
	for _, id := range strings.Split(a.object(), ",") {
		m := kmsg.NewLeaveGroupRequestMember()
		m.MemberID, m.InstanceID = id, a.pointer("instance")
		r.Members = append(r.Members, m)
	}
	return r
}

func (s *stage) commitRequest(a args) *kmsg.OffsetCommitRequest {
	r := kmsg.NewPtrOffsetCommitRequest()
	r.Version = int16(a.Int("v", 9))
	r.Group, r.MemberID, r.InstanceID, r.Generation = a.Text("group", "g"), a.object(), a.pointer("instance"), int32(a.Int("gen", -1))
	r.RetentionTimeMillis = -1
	if _, ok := a.Values["retention"]; ok {
		r.RetentionTimeMillis = int64(a.millis("retention", 0))
	}
	for _, p := range a.list("offsets") { // topic:partition:offset[:metadata]
		f := strings.Split(p[1], ":")
		n, _ := strconv.Atoi(f[0])
		o, _ := strconv.Atoi(f[1])
		x := kmsg.NewOffsetCommitRequestTopic()
		x.Topic = p[0]
		y := kmsg.NewOffsetCommitRequestTopicPartition()
		y.Partition, y.Offset, y.LeaderEpoch = int32(n), int64(o), 7
		if len(f) > 2 {
			y.Metadata = &f[2]
		}
		x.Partitions = append(x.Partitions, y)
		r.Topics = append(r.Topics, x)
	}
	return r
}

func (s *stage) printf(format string, a ...any) {
	s.out.WriteString(strings.TrimRight(fmt.Sprintf("  "+format, a...), " ") + "\n")
}

// effects prints what a call wants done, and the groups' phases after it.
func (s *stage) effects(out []Effect) {
	for _, e := range out {
		switch e := e.(type) {
		case Answer:
			s.printf("#%d at %s: %s", e.Token, time.Duration(s.now-start)*time.Millisecond, printResponse(e.Response))
		case Persist:
			s.waiting = append(s.waiting, e)
			s.printf("persist at %s: %s", time.Duration(s.now-start)*time.Millisecond, printCommand(e.Command))
		}
	}
}

func errorName(code int16) string {
	if code == 0 {
		return "ok"
	}
	return kerr.TypedErrorForCode(code).Message
}

func instance(id *string) string {
	if id == nil {
		return ""
	}
	return "(" + *id + ")"
}

func printResponse(r kmsg.Response) string {
	switch r := r.(type) {
	case *kmsg.JoinGroupResponse:
		if r.ErrorCode != 0 {
			return fmt.Sprintf("join %s member %q", errorName(r.ErrorCode), r.MemberID)
		}
		s := fmt.Sprintf("join ok %s generation %d %s leader %s", r.MemberID, r.Generation, *r.Protocol, r.LeaderID)
		for _, m := range r.Members {
			s += fmt.Sprintf(" [%s%s]", m.MemberID, instance(m.InstanceID))
		}
		if r.SkipAssignment {
			s += " skip assignment"
		}
		return s
	case *kmsg.SyncGroupResponse:
		if r.ErrorCode != 0 {
			return "sync " + errorName(r.ErrorCode)
		}
		if a := kmsg.NewConsumerMemberAssignment(); len(r.MemberAssignment) > 1 && a.ReadFrom(r.MemberAssignment) == nil {
			s := "sync ok " + *r.Protocol
			for _, t := range a.Topics {
				s += fmt.Sprintf(" %s/%v", t.Topic, t.Partitions)
			}
			return s
		}
		return fmt.Sprintf("sync ok %s %q", *r.Protocol, r.MemberAssignment)
	case *kmsg.HeartbeatResponse:
		return "heartbeat " + errorName(r.ErrorCode)
	case *kmsg.ConsumerGroupHeartbeatResponse:
		if r.ErrorCode != 0 {
			return fmt.Sprintf("beat %s: %s", errorName(r.ErrorCode), *r.ErrorMessage)
		}
		s := fmt.Sprintf("beat ok %s epoch %d", *r.MemberID, r.MemberEpoch)
		if r.Assignment != nil {
			s += " has " + printPartitions(told(r.Assignment))
		}
		return s
	case *kmsg.OffsetDeleteResponse:
		s := "delete offsets " + errorName(r.ErrorCode)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				s += fmt.Sprintf(" [%s/%d %s]", t.Topic, p.Partition, errorName(p.ErrorCode))
			}
		}
		return s
	case *kmsg.LeaveGroupResponse:
		s := "leave " + errorName(r.ErrorCode)
		for _, m := range r.Members {
			s += fmt.Sprintf(" [%s%s %s]", m.MemberID, instance(m.InstanceID), errorName(m.ErrorCode))
		}
		return s
	case *kmsg.OffsetCommitResponse:
		s := "commit"
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				s += fmt.Sprintf(" [%s/%d %s]", t.Topic, p.Partition, errorName(p.ErrorCode))
			}
		}
		return s
	case *kmsg.DeleteGroupsResponse:
		s := "delete"
		for _, g := range r.Groups {
			s += fmt.Sprintf(" [%s %s]", g.Group, errorName(g.ErrorCode))
		}
		return s
	}
	return fmt.Sprintf("%T", r)
}

// printSince prints the partitions that were assigned to a member with another epoch than
// it has now.
func printSince(m *consumerMember) (line string) {
	for since := range m.epoch {
		if ps := m.owns().filter(func(p partition) bool { return m.since[p] == since }); len(ps) > 0 {
			line += fmt.Sprintf(" (%s since %d)", printPartitions(ps), since)
		}
	}
	return line
}

// printChange prints the members that are other, and those that are gone (-).
func printChange(r *kbin.Reader) string {
	e := readEpochs(r)
	line := fmt.Sprintf(" epoch %d assignment %d", e.group, e.assignment)
	for range count(r) {
		m := readMember(r)
		line += fmt.Sprintf(" [%s%s epoch %d has %s", m.id, instance(m.instance), m.epoch, printPartitions(m.assigned))
		if len(m.revoking) > 0 {
			line += " revoking " + printPartitions(m.revoking)
		}
		line += printSince(m) + " of " + printPartitions(m.target) + "]"
	}
	for range count(r) {
		line += fmt.Sprintf(" [-%s]", r.CompactString())
	}
	return line
}

// printCommand applies the command to an empty state and prints what it did.
func printCommand(c record.Command) string {
	s := NewState()
	if err := s.Apply(c, 0); err != nil {
		return err.Error()
	}
	r := kbin.Reader{Src: c.Payload()}
	line := map[uint8]string{
		offsetsCommitted: "commit", groupChanged: "group", groupDeleted: "deletion of group", offsetsDeleted: "deletion of offsets",
		consumerChanged: "consumers",
	}[c.Kind()] + " " + r.CompactString()
	if c.Kind() == offsetsDeleted {
		for range count(&r) {
			topic := r.CompactString()
			for range count(&r) {
				line += fmt.Sprintf(" %s/%d", topic, r.Int32())
			}
		}
	}
	if c.Kind() == consumerChanged {
		return line + printChange(&r)
	}
	for _, g := range s.groups {
		if m := g.meta; m != nil {
			line += fmt.Sprintf(" generation %d", m.generation)
			for _, x := range m.members {
				line += fmt.Sprintf(" [%s%s %q]", x.id, instance(x.instance), x.assignment)
			}
		}
		var offsets []string
		for topic, t := range g.topics {
			for p, o := range t.partitions {
				offsets = append(offsets, fmt.Sprintf(" %s/%d=%d", topic, p, o.Offset))
			}
		}
		slices.Sort(offsets)
		line += strings.Join(offsets, "")
	}
	return line
}

package kafka

import (
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// A fetch session (KIP-227) remembers which partitions a client reads and what
// it was last told of them. An incremental fetch names only what changes, and its
// answer holds only partitions that have news.
//
// A request says what it wants by session id and epoch:
//
//	id  epoch
//	 0     -1   no session
//	 *      0   a new session, in place of the one named
//	 *     -1   no session any more, in place of the one named
//	 x      n   the n-th incremental fetch of session x
type fetchSession struct {
	id      int32
	byID    bool // its partitions are named by topic id: Fetch 13 and later
	created time.Time

	// The fields below change under fetchSessions.mu.

	lastUsed   time.Time
	epoch      int32 // expected of the next request
	partitions map[sessionKey]*sessionPartition
	// order is the order in which partitions are read: those that had data go
	// to the end, so that none starves behind the size limit.
	order []*sessionPartition
	// size is what the session counts towards the limits.
	size int
}

// sessionKey names a partition as the client does. Either topic or id is set.
type sessionKey struct {
	topic     string
	id        [16]byte
	partition int32
}

// sessionPartition is what is asked of one partition, and what was last answered.
type sessionPartition struct {
	key              sessionKey
	offset           int64
	maxBytes         int32
	leaderEpoch      int32
	lastFetchedEpoch int32

	highWatermark int64 // -1 before the first answer, and after an error
	logStart      int64
}

// fetchSessions holds the sessions of all connections. It is bounded in sessions
// and in partitions; see tryEvict for what happens at the bounds.
type fetchSessions struct {
	limits Limits

	mu         sync.Mutex
	sessions   map[int32]*fetchSession
	partitions int // of all sessions
}

func newFetchSessions(l Limits) *fetchSessions {
	return &fetchSessions{limits: l, sessions: make(map[int32]*fetchSession)}
}

// fetchPlan is what one fetch reads, and how its answer is made.
type fetchPlan struct {
	partitions []sessionPartition // in reading order
	byID       bool
	session    *fetchSession // nil without one
	epoch      int32         // the session's, to see that nobody else has used it meanwhile
	// incremental leaves partitions without news out of the answer.
	incremental bool
}

// begin finds or makes the session of a request and what is to be read. It
// errors with the code for the whole answer.
func (s *fetchSessions) begin(req *kmsg.FetchRequest, now time.Time) (fetchPlan, *kerr.Error) {
	plan := fetchPlan{byID: req.Version >= 13}
	s.mu.Lock()
	defer s.mu.Unlock()
	if req.SessionEpoch == 0 || req.SessionEpoch == -1 { // a full fetch
		if old := s.sessions[req.SessionID]; old != nil {
			s.remove(old)
		}
		asked := partitionsOf(req)
		if req.Version >= 7 && req.SessionEpoch == 0 {
			plan.session = s.create(asked, plan.byID, now)
		}
		if plan.session != nil {
			plan.epoch = plan.session.epoch
			plan.partitions = plan.session.snapshot()
			return plan, nil
		}
		plan.partitions = asked
		return plan, nil
	}
	session := s.sessions[req.SessionID]
	switch {
	case session == nil:
		return plan, kerr.FetchSessionIDNotFound
	case session.epoch != req.SessionEpoch:
		return plan, kerr.InvalidFetchSessionEpoch
	case session.byID != plan.byID:
		return plan, kerr.FetchSessionTopicIDError
	}
	s.partitions -= session.size
	session.update(req)
	s.partitions += session.size
	if s.partitions > s.limits.MaxFetchSessionPartitions {
		s.remove(session)
		return plan, kerr.FetchSessionIDNotFound // the client begins anew
	}
	if len(session.partitions) == 0 { // as Kafka: nothing to remember, nothing to read
		s.remove(session)
		return plan, nil
	}
	session.epoch, session.lastUsed = nextEpoch(session.epoch), now
	plan.session, plan.epoch, plan.incremental = session, session.epoch, true
	plan.partitions = session.snapshot()
	return plan, nil
}

func nextEpoch(e int32) int32 {
	if e == math.MaxInt32 {
		return 1
	}
	return e + 1
}

// told is what an answer is about to say of a partition.
type told struct {
	code                    int16
	highWatermark, logStart int64
	data                    bool // records, or a diverging epoch
}

// finish decides which partitions go into the answer and notes what they say.
// answers has the order of the plan. It errors where the session was used by
// another request meanwhile.
func (s *fetchSessions) finish(plan fetchPlan, answers []told) (include []bool, session int32, err *kerr.Error) {
	include = make([]bool, len(answers))
	if plan.session == nil {
		for i := range include {
			include[i] = true
		}
		return include, 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	se := plan.session
	if se.epoch != plan.epoch {
		return nil, 0, kerr.InvalidFetchSessionEpoch
	}
	had := make(map[*sessionPartition]bool)
	for i, t := range answers {
		p := se.partitions[plan.partitions[i].key]
		news := t.data || t.code != 0 || p.highWatermark != t.highWatermark || p.logStart != t.logStart
		include[i] = news || !plan.incremental
		if !include[i] {
			continue
		}
		p.highWatermark, p.logStart = t.highWatermark, t.logStart
		if t.code != 0 {
			p.highWatermark = -1 // so that the end of the error is news
		}
		if t.data {
			had[p] = true
		}
	}
	se.rotate(had)
	return include, se.id, nil
}

// throttled is the answer to a fetch whose client has to wait: none of its partitions,
// which are news the next time. A session that it was to begin is not begun, as Kafka's
// clients expect.
func (s *fetchSessions) throttled(plan fetchPlan) *kmsg.FetchResponse {
	resp := kmsg.NewPtrFetchResponse()
	switch {
	case plan.session == nil:
	case plan.incremental:
		resp.SessionID = plan.session.id
	default:
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.sessions[plan.session.id] == plan.session {
			s.remove(plan.session)
		}
	}
	return resp
}

// create makes a session if there is room, else it returns nil.
func (s *fetchSessions) create(asked []sessionPartition, byID bool, now time.Time) *fetchSession {
	if len(asked) > s.limits.MaxFetchSessionPartitions {
		return nil
	}
	for len(s.sessions) >= s.limits.MaxFetchSessions || s.partitions+len(asked) > s.limits.MaxFetchSessionPartitions {
		if !s.tryEvict(len(asked), now) {
			return nil
		}
	}
	se := &fetchSession{
		byID: byID, epoch: 1, created: now, lastUsed: now,
		partitions: make(map[sessionKey]*sessionPartition, len(asked)),
	}
	for se.id == 0 || s.sessions[se.id] != nil {
		se.id = rand.Int32()
	}
	for i := range asked {
		se.add(asked[i])
	}
	s.sessions[se.id] = se
	s.partitions += se.size
	return se
}

func (s *fetchSessions) remove(se *fetchSession) {
	delete(s.sessions, se.id)
	s.partitions -= se.size
	se.epoch = -1 // what is still being answered finds out
}

// tryEvict makes room for a session of a size, as Kafka does: one that was not
// used for FetchSessionEviction goes; else the smallest of those that old, if it is
// smaller than the new one, which has more to gain from remembering.
func (s *fetchSessions) tryEvict(size int, now time.Time) bool {
	var stale, small *fetchSession
	for _, se := range s.sessions {
		if stale == nil || se.lastUsed.Before(stale.lastUsed) {
			stale = se
		}
		if old := now.Sub(se.created) > s.limits.FetchSessionEviction; old && (small == nil || se.size < small.size) {
			small = se
		}
	}
	switch {
	case stale == nil:
		return false
	case now.Sub(stale.lastUsed) > s.limits.FetchSessionEviction:
		s.remove(stale)
	case small != nil && small.size < size:
		s.remove(small)
	default:
		return false
	}
	return true
}

// update applies what an incremental request adds, changes and forgets.
func (se *fetchSession) update(req *kmsg.FetchRequest) {
	for _, p := range partitionsOf(req) {
		if have := se.partitions[p.key]; have != nil {
			have.offset, have.maxBytes = p.offset, p.maxBytes
			have.leaderEpoch, have.lastFetchedEpoch = p.leaderEpoch, p.lastFetchedEpoch
			continue
		}
		se.add(p)
	}
	forgotten := make(map[*sessionPartition]bool)
	for i := range req.ForgottenTopics {
		t := &req.ForgottenTopics[i]
		for _, n := range t.Partitions {
			key := sessionKey{topic: t.Topic, id: t.TopicID, partition: n}
			if p := se.partitions[key]; p != nil {
				delete(se.partitions, key)
				forgotten[p] = true
			}
		}
	}
	if len(forgotten) > 0 {
		kept := se.order[:0]
		for _, p := range se.order {
			if !forgotten[p] {
				kept = append(kept, p)
			}
		}
		clear(se.order[len(kept):])
		se.order = kept
	}
	se.size = len(se.order)
}

func (se *fetchSession) add(p sessionPartition) {
	if se.partitions[p.key] != nil {
		return // named twice in one request
	}
	se.partitions[p.key] = &p
	se.order = append(se.order, &p)
	se.size = len(se.order)
}

func (se *fetchSession) snapshot() []sessionPartition {
	ps := make([]sessionPartition, len(se.order))
	for i, p := range se.order {
		ps[i] = *p
	}
	return ps
}

func (se *fetchSession) rotate(had map[*sessionPartition]bool) {
	if len(had) == 0 || len(had) == len(se.order) {
		return
	}
	order := make([]*sessionPartition, 0, len(se.order))
	for _, p := range se.order {
		if !had[p] {
			order = append(order, p)
		}
	}
	for _, p := range se.order {
		if had[p] {
			order = append(order, p)
		}
	}
	se.order = order
}

// partitionsOf lists what a request names, in its order.
func partitionsOf(req *kmsg.FetchRequest) []sessionPartition {
	var ps []sessionPartition
	for i := range req.Topics {
		t := &req.Topics[i]
		for j := range t.Partitions {
			p := &t.Partitions[j]
			ps = append(ps, sessionPartition{
				key:    sessionKey{topic: t.Topic, id: t.TopicID, partition: p.Partition},
				offset: p.FetchOffset, maxBytes: p.PartitionMaxBytes,
				leaderEpoch: p.CurrentLeaderEpoch, lastFetchedEpoch: p.LastFetchedEpoch,
				highWatermark: -1, logStart: -1,
			})
		}
	}
	return ps
}

package kafka

import (
	"context"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Fetch reads stored batches of many partitions, and waits for them.
//
//	 4    isolation level and last stable offset (KIP-98); older formats are gone
//	 5    log start offset (KIP-107)
//	 6    KAFKA_STORAGE_ERROR may be answered
//	 7    fetch sessions (KIP-227)
//	 8    throttling happens after the answer (KIP-219)
//	 9    the leader epoch the client knows (KIP-320)
//	10    zstd (KIP-110)
//	11    rack, preferred read replica (KIP-392); it is always -1: the leader
//	12    flexible; last fetched epoch and diverging epoch (KIP-595)
//	13    topic ids (KIP-516)
//	14    OFFSET_MOVED_TO_TIERED_STORAGE may be answered (KIP-405)
//	15    the replica id moves to a tagged field (KIP-903); clients have none
//	16    the current leader beside NOT_LEADER_OR_FOLLOWER (KIP-951)
//	17    replica directory id (KIP-853), for Kafka's own replication
//	18    the follower's high watermark (KIP-1166), likewise
func fetchAPI() *api {
	return waiting(kmsg.Fetch, 4, 18,
		"4:0-14 4 4 4 1 4:7 4:7 [s:0-12 16:13 [4 4:9 8 4:12 8:5 4]] [s:7-12 16:13 (4)]:7 s:11 {1 4 8}", (*call).fetch)
}

// fetching is a fetch request being answered.
type fetching struct {
	*call
	req    *kmsg.FetchRequest
	plan   fetchPlan
	topics map[sessionKey]resolvedTopic // by key without partition

	results []Fetched // in the order of the plan
	chunks  [][]byte  // whose memory the records lie in
	bytes   int       // of records
	// lacking is how many partitions are none to the client. They do not keep it from
	// waiting for the others, else it would ask and ask.
	lacking int
	// decided is set once there is a reason to answer at once.
	decided bool
}

type resolvedTopic struct {
	Topic
	err error
}

// lacks says whether a partition is none to the client: not there, or not to be seen.
func (t *resolvedTopic) lacks(partition int32) bool {
	return t.err != nil || partition < 0 || int(partition) >= len(t.Partitions)
}

func (c *call) fetch(ctx context.Context, req *kmsg.FetchRequest) kmsg.Response {
	started := time.Now()
	plan, kind := c.sessions.begin(req, started)
	if kind != nil {
		return sessionError(kind)
	}
	f := &fetching{call: c, req: req, plan: plan, topics: make(map[sessionKey]resolvedTopic)}
	c.after = f.letGo
	room := max(maxAnswers-c.answers.Load(), readStep)
	most := c.fetchableBytes(min(int(req.MaxBytes), c.limits.MaxFetchBytes, maxAnswer, int(room)))
	req.MaxBytes, req.MinBytes = int32(most), min(req.MinBytes, int32(most))
	f.read()
	if !f.enough() && req.MaxWaitMillis > 0 {
		f.longPoll(wait(req.MaxWaitMillis, c.limits.MaxFetchWait) - time.Since(started))
	}
	if f.bytes > 0 && !c.fetched(f.bytes) {
		return c.sessions.throttled(plan)
	}
	return f.respond()
}

func sessionError(kind *kerr.Error) *kmsg.FetchResponse {
	resp := kmsg.NewPtrFetchResponse()
	resp.ErrorCode = kind.Code
	return resp
}

// read reads all partitions once, within the sizes the client gave (KIP-74): each
// has its own, all have one together, and the first batch comes in any case.
func (f *fetching) read() {
	if f.results == nil {
		f.results = make([]Fetched, len(f.plan.partitions))
		f.chunks = append(f.chunks, f.buffers.get(readStep))
	}
	f.reuse()
	free := f.chunks[0][:0]
	budget := int(f.req.MaxBytes)
	f.count(-f.bytes)
	f.decided, f.lacking = false, 0
	for i := range f.plan.partitions {
		p := &f.plan.partitions[i]
		r := &f.results[i]
		t := f.topic(p.key)
		if t.lacks(p.key.partition) {
			f.lacking++
		}
		if t.err != nil {
			*r = Fetched{HighWatermark: -1, LastStable: -1, LogStart: -1, DivergingEpoch: -1, DivergingEnd: -1, Err: t.err}
			continue
		}
		*r = f.backend.Fetch(FetchRequest{
			Topic: t.Name, Partition: p.key.partition, Offset: p.offset,
			MaxBytes:         max(0, min(int(p.maxBytes), budget)),
			ReadCommitted:    f.req.IsolationLevel == 1,
			LeaderEpoch:      p.leaderEpoch,
			LastFetchedEpoch: p.lastFetchedEpoch,
			AtLeastOne:       f.bytes == 0,
			Grow:             f.grow,
		}, free)
		if r.Err != nil || r.DivergingEpoch >= 0 {
			r.Records = nil
			f.decided = f.decided || !t.lacks(p.key.partition)
		}
		if n := len(r.Records); n > 0 {
			f.count(n)
			budget -= n
			free = r.Records[n:n:cap(r.Records)]
		}
	}
}

// grow moves what has been read of a partition to where there is room for more. What
// was read before lies where it is.
func (f *fetching) grow(b []byte, n int) []byte {
	chunk := f.buffers.get(max(len(b)+n, min(fetchChunk, int(f.req.MaxBytes))))
	f.chunks = append(f.chunks, chunk)
	return append(chunk, b...)
}

// reuse keeps the largest chunk for another read.
func (f *fetching) reuse() {
	slices.SortFunc(f.chunks, func(a, b []byte) int { return cap(b) - cap(a) })
	for _, chunk := range f.chunks[1:] {
		f.buffers.put(chunk)
	}
	f.chunks = f.chunks[:1]
}

// count keeps account of the bytes in all answers.
func (f *fetching) count(n int) {
	f.bytes += n
	f.answers.Add(int64(n))
}

// letGo gives back what the records lie in.
func (f *fetching) letGo() {
	for _, chunk := range f.chunks {
		f.buffers.put(chunk)
	}
	f.count(-f.bytes)
}

func (f *fetching) topic(k sessionKey) resolvedTopic {
	k.partition = 0
	t, ok := f.topics[k]
	if !ok {
		t.Topic, t.err = f.topicFor(kmsg.ACLOperationRead, k.topic, k.id, f.plan.byID)
		f.topics[k] = t
	}
	return t
}

func (f *fetching) enough() bool {
	return f.decided || f.bytes >= int(f.req.MinBytes) || f.lacking == len(f.plan.partitions)
}

// longPoll reads again whenever there may be more, until there is enough, the
// time is up, or the connection is leaving: the answer then has what there is.
func (f *fetching) longPoll(patience time.Duration) {
	wake := make(chan struct{}, 1)
	watched := make([]TopicPartition, len(f.plan.partitions))
	for i, p := range f.plan.partitions {
		watched[i] = TopicPartition{Topic: f.topic(p.key).Name, Partition: p.key.partition}
	}
	stop := f.backend.Watch(watched, wake)
	defer stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		// The first time around this is for what came before the watch began.
		if f.read(); f.enough() {
			return
		}
		waiting, more := time.Now(), true
		select {
		case <-wake:
		case <-late.C:
			more = false
		case <-f.conn.leaving.Done():
			more = false
		}
		if f.idle += time.Since(waiting); !more {
			return
		}
	}
}

func (f *fetching) respond() kmsg.Response {
	answers := make([]told, len(f.results))
	for i := range f.results {
		r := &f.results[i]
		if r.Err != nil && !isCode(r.Err, kerr.OffsetOutOfRange) {
			r.HighWatermark, r.LastStable, r.LogStart = -1, -1, -1
		}
		answers[i] = told{
			code: f.code(r.Err), highWatermark: r.HighWatermark, logStart: r.LogStart,
			data: len(r.Records) > 0 || r.DivergingEpoch >= 0,
		}
	}
	include, session, kind := f.sessions.finish(f.plan, answers)
	if kind != nil {
		return sessionError(kind)
	}
	resp := kmsg.NewPtrFetchResponse()
	resp.SessionID = session
	hints := leaderHints{call: f.call}
	at := make(map[sessionKey]int) // place of a topic in the answer
	for i, in := range include {
		if !in {
			continue
		}
		key := f.plan.partitions[i].key
		topicKey := sessionKey{topic: key.topic, id: key.id}
		n, ok := at[topicKey]
		if !ok {
			n = len(resp.Topics)
			at[topicKey] = n
			t := kmsg.NewFetchResponseTopic()
			t.Topic, t.TopicID = key.topic, key.id
			resp.Topics = append(resp.Topics, t)
		}
		t := &resp.Topics[n]
		t.Partitions = append(t.Partitions, f.answerFor(i, answers[i].code, &hints))
	}
	for _, node := range hints.named {
		b := kmsg.NewFetchResponseBroker()
		b.NodeID, b.Host, b.Port, b.Rack = node.ID, node.Host, node.Port, optional(node.Rack)
		resp.Brokers = append(resp.Brokers, b)
	}
	return resp
}

func (f *fetching) answerFor(i int, code int16, hints *leaderHints) kmsg.FetchResponseTopicPartition {
	r, key := &f.results[i], f.plan.partitions[i].key
	a := kmsg.NewFetchResponseTopicPartition()
	a.Partition, a.ErrorCode = key.partition, code
	a.HighWatermark, a.LastStableOffset, a.LogStartOffset = r.HighWatermark, r.LastStable, r.LogStart
	a.PreferredReadReplica = -1
	a.RecordBatches = r.Records
	if a.RecordBatches == nil {
		a.RecordBatches = []byte{} // Kafka never sends null
	}
	// As in Kafka not null where there is no such partition for the client, whoever reads.
	unknown := code == kerr.UnknownTopicOrPartition.Code || code == kerr.UnknownTopicID.Code || code == kerr.TopicAuthorizationFailed.Code
	if f.req.IsolationLevel == 1 || unknown {
		a.AbortedTransactions = make([]kmsg.FetchResponseTopicPartitionAbortedTransaction, len(r.Aborted))
		for i, t := range r.Aborted {
			a.AbortedTransactions[i].ProducerID, a.AbortedTransactions[i].FirstOffset = t.Producer, t.First
		}
	}
	if r.DivergingEpoch >= 0 {
		a.DivergingEpoch.Epoch, a.DivergingEpoch.EndOffset = r.DivergingEpoch, r.DivergingEnd
	}
	if f.req.Version >= 16 {
		a.CurrentLeader.LeaderID, a.CurrentLeader.LeaderEpoch = hints.hint(f.topic(key).Topic, key.partition, code)
	}
	return a
}

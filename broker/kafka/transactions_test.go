package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

func TestErrorsOfTransactionsAreThoseThatAVersionKnows(t *testing.T) {
	verified := func(err error) error { return fmt.Errorf("%w: %w", ErrVerification, err) }
	for _, test := range []struct {
		err     error
		version int16
		want    *kerr.Error
	}{
		{verified(kerr.ProducerFenced), 9, kerr.InvalidProducerEpoch},
		{verified(kerr.ProducerFenced), 13, kerr.InvalidProducerEpoch},
		{verified(kerr.InvalidTxnState), 10, kerr.InvalidTxnState},
		{verified(kerr.InvalidTxnState), 11, kerr.TransactionAbortable},
		{verified(kerr.ConcurrentTransactions), 11, kerr.NotEnoughReplicas},
		{verified(kerr.ConcurrentTransactions), 12, kerr.ConcurrentTransactions},
		{verified(kerr.NotCoordinator), 13, kerr.NotEnoughReplicas},
		{verified(kerr.InvalidProducerIDMapping), 13, kerr.InvalidProducerIDMapping},
		{kerr.InvalidTxnState, 13, kerr.InvalidTxnState},
	} {
		if got := Code(transactionalProduceError(test.err, test.version)); got != test.want.Code {
			t.Errorf("Produce %d, %v: %d, want %v", test.version, test.err, got, test.want)
		}
	}
	for _, test := range []struct {
		code, version, want int16
	}{
		{kerr.ProducerFenced.Code, 5, kerr.InvalidProducerEpoch.Code},
		{kerr.ConcurrentTransactions.Code, 4, kerr.CoordinatorLoadInProgress.Code},
		{kerr.ConcurrentTransactions.Code, 5, kerr.ConcurrentTransactions.Code},
		{kerr.InvalidTxnState.Code, 3, kerr.InvalidTxnState.Code},
		{kerr.InvalidTxnState.Code, 4, kerr.TransactionAbortable.Code},
		{kerr.IllegalGeneration.Code, 3, kerr.IllegalGeneration.Code},
		{0, 0, 0},
	} {
		if got := txnCommitCode(test.code, test.version); got != test.want {
			t.Errorf("TxnOffsetCommit %d, %d: %d, want %d", test.version, test.code, got, test.want)
		}
	}
}

func TestFencedProducersHearItInTheWordsOfTheirVersion(t *testing.T) {
	f := newFake()
	f.transactions.err = kerr.ProducerFenced
	f.add("t", 1)
	w := to(t, f)
	for v := int16(0); v <= 5; v++ {
		want := kerr.ProducerFenced.Code
		if v < 2 {
			want = kerr.InvalidProducerEpoch.Code
		}
		end := at(kmsg.NewPtrEndTxnRequest(), v)
		end.TransactionalID, end.ProducerID = "tx", 7
		if r := ask[*kmsg.EndTxnResponse](w, end); r.ErrorCode != want || v >= 5 && (r.ProducerID != -1 || r.ProducerEpoch != -1) {
			t.Errorf("EndTxn %d: %+v", v, r)
		}
		if v > 4 {
			continue
		}
		group := at(kmsg.NewPtrAddOffsetsToTxnRequest(), v)
		group.TransactionalID, group.Group = "tx", "g"
		if r := ask[*kmsg.AddOffsetsToTxnResponse](w, group); r.ErrorCode != want {
			t.Errorf("AddOffsetsToTxn %d: %+v", v, r)
		}
		if v > 3 {
			continue
		}
		add := at(kmsg.NewPtrAddPartitionsToTxnRequest(), v)
		add.TransactionalID = "tx"
		add.Topics = []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		if r := ask[*kmsg.AddPartitionsToTxnResponse](w, add); len(r.Topics) != 1 || r.Topics[0].Partitions[0].ErrorCode != want {
			t.Errorf("AddPartitionsToTxn %d: %+v", v, r)
		}
	}
}

func TestPartitionsAreAddedAllOrNone(t *testing.T) {
	f := newFake()
	f.add("t", 2)
	w := to(t, f)
	for v := int16(0); v <= 5; v++ {
		for _, unknown := range []bool{false, true} {
			topics := []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: []int32{0, 1}}}
			if unknown {
				topics = append(topics, kmsg.AddPartitionsToTxnRequestTopic{Topic: "t", Partitions: []int32{2}}, kmsg.AddPartitionsToTxnRequestTopic{Topic: "u", Partitions: []int32{0}})
			}
			req := at(kmsg.NewPtrAddPartitionsToTxnRequest(), v)
			if v < 4 {
				req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Topics = "tx", 7, 3, topics
			} else {
				x := kmsg.AddPartitionsToTxnRequestTransaction{TransactionalID: "tx", ProducerID: 7, ProducerEpoch: 3}
				for _, t := range topics {
					x.Topics = append(x.Topics, kmsg.AddPartitionsToTxnRequestTransactionTopic{Topic: t.Topic, Partitions: t.Partitions})
				}
				req.Transactions = append(req.Transactions, x)
			}
			f.transactions.asked = nil
			resp := ask[*kmsg.AddPartitionsToTxnResponse](w, req)
			var codes []int16
			for _, t := range resp.Topics {
				for _, p := range t.Partitions {
					codes = append(codes, p.ErrorCode)
				}
			}
			for _, x := range resp.Transactions {
				for _, t := range x.Topics {
					for _, p := range t.Partitions {
						codes = append(codes, p.ErrorCode)
					}
				}
			}
			want, asked := []int16{0, 0}, []string{"add tx 7/3 [{t 0} {t 1}] false"}
			if unknown {
				want, asked = []int16{kerr.OperationNotAttempted.Code, kerr.OperationNotAttempted.Code, kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicOrPartition.Code}, nil
			}
			if !slices.Equal(codes, want) || !slices.Equal(f.transactions.asked, asked) {
				t.Errorf("v%d, unknown %t: %v and %q, want %v and %q", v, unknown, codes, f.transactions.asked, want, asked)
			}
		}
	}
}

func TestOffsetsOfATransactionAreCommittedForTopicsThatExist(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	for v := int16(0); v <= 5; v++ {
		req := at(kmsg.NewPtrTxnOffsetCommitRequest(), v)
		req.TransactionalID, req.Group, req.ProducerID = "tx", "g", 7
		partition := func(n int32) kmsg.TxnOffsetCommitRequestTopicPartition {
			return kmsg.TxnOffsetCommitRequestTopicPartition{Partition: n, Offset: 5, LeaderEpoch: -1}
		}
		req.Topics = []kmsg.TxnOffsetCommitRequestTopic{
			{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{partition(0), partition(1)}},
			{Topic: "u", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{partition(0)}},
		}
		f.transactions.asked = nil
		resp := ask[*kmsg.TxnOffsetCommitResponse](w, req)
		got := map[TopicPartition]int16{}
		for _, x := range resp.Topics {
			for _, p := range x.Partitions {
				got[TopicPartition{x.Topic, p.Partition}] = p.ErrorCode
			}
		}
		if unknown := kerr.UnknownTopicOrPartition.Code; len(got) != 3 || got[TopicPartition{"t", 0}] != 0 || got[TopicPartition{"t", 1}] != unknown || got[TopicPartition{"u", 0}] != unknown {
			t.Errorf("v%d: %v", v, got)
		}
		if want := []string{"commit g t:0=5"}; !slices.Equal(f.transactions.asked, want) {
			t.Errorf("v%d: asked is %q, want %q", v, f.transactions.asked, want)
		}
	}
}

func TestABatchOfATransactionCarriesItsID(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	w := to(t, f)
	batch := func() []byte {
		return record.Build(record.BuildOptions{ProducerID: 7, ProducerEpoch: 3, Transactional: true}, []record.Record{{Value: []byte("v")}})
	}
	for v := int16(3); v <= 12; v++ {
		req := producing(v, -1, "t", 0, batch())
		if got := outcome(ask[*kmsg.ProduceResponse](w, req)); got.ErrorCode != kerr.TransactionalIDAuthorizationFailed.Code {
			t.Errorf("v%d without an id: %d", v, got.ErrorCode)
		}
		id := "tx"
		req = producing(v, -1, "t", 0, batch())
		req.TransactionID = &id
		if got := outcome(ask[*kmsg.ProduceResponse](w, req)); got.ErrorCode != 0 {
			t.Errorf("v%d: %d", v, got.ErrorCode)
		}
		if got := f.last; got.TransactionalID != "tx" || got.AddsPartition != (v >= 12) {
			t.Errorf("v%d: %+v", v, got)
		}
	}
}

func TestTransactionsAreListedByWhatIsAskedFor(t *testing.T) {
	f := newFake()
	f.transactions.known = []TransactionState{
		{ID: "a1", State: "Ongoing", Producer: 1, Started: 1000, TimeoutMs: 60_000, Epoch: 2, Partitions: []TopicPartition{{"t", 0}, {"u", 1}, {"t", 2}}},
		{ID: "a2", State: "CompleteCommit", Producer: 2, Started: -1},
		{ID: "b", State: "Empty", Producer: 3, Started: -1},
	}
	w := to(t, f)
	pattern, broken := "a.", "("
	for name, test := range map[string]struct {
		change func(*kmsg.ListTransactionsRequest)
		want   []string
		code   int16
	}{
		"all":           {func(r *kmsg.ListTransactionsRequest) {}, []string{"a1", "a2", "b"}, 0},
		"by state":      {func(r *kmsg.ListTransactionsRequest) { r.StateFilters = []string{"Empty", "Ongoing", "Odd"} }, []string{"a1", "b"}, 0},
		"by producer":   {func(r *kmsg.ListTransactionsRequest) { r.ProducerIDFilters = []int64{2} }, []string{"a2"}, 0},
		"by age":        {func(r *kmsg.ListTransactionsRequest) { r.DurationFilterMillis = 60_000 }, []string{"a1"}, 0},
		"by pattern":    {func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = &pattern }, []string{"a1", "a2"}, 0},
		"by no pattern": {func(r *kmsg.ListTransactionsRequest) { r.TransactionalIDPattern = &broken }, nil, kerr.InvalidRegularExpression.Code},
	} {
		req := at(kmsg.NewPtrListTransactionsRequest(), 2)
		test.change(req)
		resp := ask[*kmsg.ListTransactionsResponse](w, req)
		var got []string
		for _, x := range resp.TransactionStates {
			got = append(got, x.TransactionalID)
		}
		if !slices.Equal(got, test.want) || resp.ErrorCode != test.code {
			t.Errorf("%s: %q, error %d, want %q", name, got, resp.ErrorCode, test.want)
		}
	}
	req := at(kmsg.NewPtrDescribeTransactionsRequest(), 0)
	req.TransactionalIDs = []string{"a1", "none", ""}
	r := ask[*kmsg.DescribeTransactionsResponse](w, req).TransactionStates
	if len(r) != 3 || r[1].ErrorCode != kerr.TransactionalIDNotFound.Code || r[2].ErrorCode != kerr.InvalidRequest.Code {
		t.Fatalf("%+v", r)
	}
	if x := r[0]; x.State != "Ongoing" || x.StartTimestamp != 1000 || len(x.Topics) != 2 || !slices.Equal(x.Topics[0].Partitions, []int32{0, 2}) {
		t.Errorf("%+v", x)
	}
}

func TestWhatHangsIsSeenAndEnded(t *testing.T) {
	f := newFake()
	f.add("t", 2)
	w := to(t, f)
	req := at(kmsg.NewPtrDescribeProducersRequest(), 0)
	req.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{1}}}
	p := ask[*kmsg.DescribeProducersResponse](w, req).Topics[0].Partitions[0]
	if len(p.ActiveProducers) != 1 || p.ActiveProducers[0].CurrentTxnStartOffset != 40 || p.ActiveProducers[0].CoordinatorEpoch != 2 || p.ActiveProducers[0].LastSequence != 9 {
		t.Errorf("%+v", p)
	}
	for v := int16(1); v <= 2; v++ {
		f.transactions.asked = nil
		end := at(kmsg.NewPtrWriteTxnMarkersRequest(), v)
		end.Markers = []kmsg.WriteTxnMarkersRequestMarker{
			{ProducerID: 7, ProducerEpoch: 3, CoordinatorEpoch: 2, TransactionVersion: 2, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{1}}}},
			{ProducerID: -1, Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{1}}}},
		}
		r := ask[*kmsg.WriteTxnMarkersResponse](w, end)
		if len(r.Markers) != 2 || r.Markers[0].Topics[0].Partitions[0].ErrorCode != 0 || r.Markers[1].Topics[0].Partitions[0].ErrorCode != kerr.InvalidRequest.Code {
			t.Errorf("v%d: %+v", v, r)
		}
		want := fmt.Sprintf("marker t:1 {Producer:7 Epoch:3 Commit:false Coordinator:2 Bumped:%t}", v == 2)
		if !slices.Equal(f.transactions.asked, []string{want}) {
			t.Errorf("v%d: asked is %q", v, f.transactions.asked)
		}
	}
}

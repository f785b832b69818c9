package sdk

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func asked(change map[string]string) *Message {
	headers := map[string]string{
		headerTxnID: "txn-1", headerTxnTopic: "orders", headerTxnPartition: "5", headerTxnGroup: "g", headerCheckNumber: "2",
	}
	for k, v := range change {
		headers[k] = v
	}
	r := &kgo.Record{Topic: "g.check", Partition: 1, Offset: 9, Key: []byte("k"), Value: []byte("v"), Headers: []kgo.RecordHeader{text("color", "red")}}
	for k, v := range headers {
		if v != "" {
			r.Headers = append(r.Headers, text(k, v))
		}
	}
	return received(r)
}

func TestQuestionCarriesTheHeldMessage(t *testing.T) {
	q, err := question(asked(nil))
	if err != nil {
		t.Fatal(err)
	}
	if q.ID != "txn-1" || q.Topic != "orders" || q.Partition != 5 || q.Group != "g" || q.Number != 2 {
		t.Errorf("question %+v", q)
	}
	m := q.Message
	if color, _ := m.Header("color"); string(color) != "red" || m.ID != "txn-1" || m.Topic != "orders" || m.Partition != 5 || m.Offset != -1 || string(m.Key) != "k" || string(m.Value) != "v" {
		t.Errorf("its message %+v", m)
	}
}

func TestWhatIsNoQuestionIsNotAnswered(t *testing.T) {
	for _, change := range []map[string]string{
		{headerTxnID: ""}, {headerTxnTopic: ""}, {headerTxnGroup: ""}, {headerTxnPartition: ""}, {headerTxnPartition: "-1"},
		{headerTxnPartition: "4294967296"}, {headerCheckNumber: "0"}, {headerCheckNumber: "many"},
	} {
		if _, err := question(asked(change)); !errors.Is(err, errQuestion) {
			t.Errorf("%v: %v", change, err)
		}
	}
}

func TestTheZeroOutcomeIsUnknown(t *testing.T) {
	var o Outcome
	if o != Unknown || o.String() != "unknown" || Commit.String() != "commit" || Rollback.String() != "rollback" {
		t.Error("outcomes have the wrong words; commit and rollback are also the words on the wire")
	}
}

package sdk

import (
	"errors"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestBatchOfOneIsASoundRecordBatch(t *testing.T) {
	value := make([]byte, 300) // its length takes two bytes
	b := batchOfOne(&kgo.Record{Value: value, Timestamp: time.UnixMilli(1700000000123), Headers: []kgo.RecordHeader{text("sd-txn-id", "x")}})
	var batch kmsg.RecordBatch
	if err := batch.ReadFrom(b); err != nil {
		t.Fatal(err)
	}
	if int(batch.Length) != len(b)-12 || batch.Magic != 2 || batch.NumRecords != 1 || batch.ProducerID != -1 || batch.FirstTimestamp != 1700000000123 {
		t.Errorf("batch %+v", batch)
	}
	if want := crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)); uint32(batch.CRC) != want {
		t.Errorf("checksum %x, want %x", uint32(batch.CRC), want)
	}
	var r kmsg.Record
	if err := r.ReadFrom(batch.Records); err != nil {
		t.Fatal(err)
	}
	if r.Key != nil || len(r.Value) != 300 || len(r.Headers) != 1 || string(r.Headers[0].Value) != "x" {
		t.Errorf("record %+v", r)
	}
	if int(r.Length) != len(batch.Records)-2 {
		t.Errorf("record length %d of %d bytes", r.Length, len(batch.Records))
	}
}

func answered(code *kerr.Error, offset int64, said ...string) *kmsg.ProduceResponse {
	p := kmsg.NewProduceResponseTopicPartition()
	p.BaseOffset = offset
	if code != nil {
		p.ErrorCode = code.Code
	}
	for _, s := range said {
		r := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		r.ErrorMessage = kmsg.StringPtr(s)
		p.ErrorRecords = append(p.ErrorRecords, r)
	}
	resp := kmsg.NewPtrProduceResponse()
	topic := kmsg.NewProduceResponseTopic()
	topic.Partitions = append(topic.Partitions, p)
	resp.Topics = append(resp.Topics, topic)
	return resp
}

func TestWhatTheBrokerSaysAboutARecordReachesTheCaller(t *testing.T) {
	if offset, err := produced(answered(nil, 77)); err != nil || offset != 77 {
		t.Errorf("offset %d, %v", offset, err)
	}
	_, err := produced(answered(kerr.InvalidRecord, -1, `"txn-1" is rolled back: it was decided otherwise before`))
	if err := decisionError(err); !errors.Is(err, ErrDecided) || Retryable(err) || !errors.Is(err, kerr.InvalidRecord) || !strings.Contains(err.Error(), "is rolled back") {
		t.Errorf("%v", err)
	}
	_, err = produced(answered(kerr.InvalidRecord, -1, `"txn-1": no such half message in this partition`))
	if err := decisionError(err); !errors.Is(err, ErrNotHeld) || Retryable(err) {
		t.Errorf("%v", err)
	}
	if _, err := produced(kmsg.NewPtrProduceResponse()); err == nil {
		t.Error("an answer about nothing was taken")
	}
}

func TestErrorsSayWhetherToTryAgain(t *testing.T) {
	for _, c := range []struct {
		err               error
		retry, mayBeThere bool
	}{
		{&refusal{code: kerr.NotLeaderForPartition}, true, false},
		{&refusal{code: kerr.RequestTimedOut}, true, true},
		{&refusal{code: kerr.InvalidRecord, message: "no"}, false, false},
		{errors.New("connection reset"), true, true},
		{errors.Join(errNoRoute, errors.New("connection refused")), true, false},
		{errors.Join(errNoRoute, kerr.TopicAuthorizationFailed), false, false},
	} {
		if transient(c.err) != c.retry || lostAnswer(c.err) != c.mayBeThere {
			t.Errorf("%v: try again %v, may be stored %v", c.err, transient(c.err), lostAnswer(c.err))
		}
	}
}

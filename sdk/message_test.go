package sdk

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestMessagesThatCannotBeRightAreNotSent(t *testing.T) {
	for name, m := range map[string]*Message{
		"no topic":          {},
		"long topic":        {Topic: strings.Repeat("t", 250)},
		"long id":           {Topic: "t", ID: strings.Repeat("i", 256)},
		"an id as header":   {Topic: "t", Headers: []Header{{"sd-id", nil}}},
		"a state as header": {Topic: "t", Headers: []Header{{"sd-txn-state", []byte("commit")}}},
	} {
		if err := m.validate(); !errors.Is(err, ErrInvalidMessage) || Retryable(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := (&Message{Topic: strings.Repeat("t", 249), ID: strings.Repeat("i", 255), Headers: []Header{{"sd-pos", nil}}}).validate(); err != nil {
		t.Error(err)
	}
}

func TestReceivedMessagesCanBeSentOn(t *testing.T) {
	sent := &Message{Topic: "t", Key: []byte("k"), Value: []byte("v"), Headers: []Header{{"a", []byte("1")}, {"a", []byte("2")}}, Timestamp: time.UnixMilli(1700000000123)}
	r := sent.record(time.Now(), text(headerID, "id-1"))
	r.Offset, r.Partition, r.LeaderEpoch = 42, 3, 7
	got := received(r)
	if got.ID != "id-1" || len(got.Headers) != 2 || got.Place() != "t-3@42" || got.LeaderEpoch != 7 || !got.Timestamp.Equal(sent.Timestamp) {
		t.Errorf("received %+v", got)
	}
	if v, ok := got.Header("a"); !ok || string(v) != "1" {
		t.Errorf("header a is %q", v)
	}
	if err := got.validate(); err != nil {
		t.Errorf("sending it on: %v", err)
	}
}

func TestACommittedHalfMessageHasItsTransactionID(t *testing.T) {
	m := received(&kgo.Record{Headers: []kgo.RecordHeader{text(headerID, "other"), text(headerTxnID, "txn-1"), text(headerTxnGroup, "g")}})
	if m.ID != "txn-1" || len(m.Headers) != 0 {
		t.Errorf("received %+v", m)
	}
}

func TestIDsAreUUIDsOfVersion7InTheOrderOfTime(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	at := time.UnixMilli(0x0123456789ab)
	a, b, later := newID(at), newID(at), newID(at.Add(time.Millisecond))
	for _, id := range []string{a, b, later} {
		if !form.MatchString(id) {
			t.Errorf("%s is no UUID of version 7", id)
		}
	}
	if !strings.HasPrefix(a, "01234567-89ab-") {
		t.Errorf("%s does not begin with its time", a)
	}
	if a == b || later < a || later < b {
		t.Errorf("%s, %s, and later %s", a, b, later)
	}
}

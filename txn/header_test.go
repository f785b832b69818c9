package txn

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/splashdam/splashdam/broker/record"
)

func headers(kv ...string) []record.Header {
	var hs []record.Header
	for i := 0; i < len(kv); i += 2 {
		hs = append(hs, record.Header{Key: kv[i], Value: []byte(kv[i+1])})
	}
	return hs
}

func TestHeadersMakeARequest(t *testing.T) {
	longID, longGroup := strings.Repeat("i", 255), strings.Repeat("g", 240)
	for _, test := range []struct {
		headers []record.Header
		want    Request
	}{
		{headers(HeaderID, "a", HeaderState, "prepare", HeaderGroup, "g"), Request{Prepare, "a", "g"}},
		{headers("other", "x", HeaderGroup, "A.z_0-9", "other", "y", HeaderState, "prepare", HeaderID, "é ü"), Request{Prepare, "é ü", "A.z_0-9"}},
		{headers(HeaderID, longID, HeaderState, "prepare", HeaderGroup, longGroup), Request{Prepare, longID, longGroup}},
		{headers(HeaderID, "a", HeaderState, "commit"), Request{Commit, "a", ""}},
		{headers(HeaderID, "a", HeaderState, "rollback", HeaderGroup, "g"), Request{Rollback, "a", "g"}},
		// What the broker adds to questions says nothing here.
		{headers(HeaderID, "a", HeaderState, "commit", HeaderTopic, "t", HeaderTopic, "t", HeaderNumber, "1"), Request{Commit, "a", ""}},
	} {
		if got, err := ParseHeaders(test.headers); err != nil || got != test.want {
			t.Errorf("%q: %+v, %v; want %+v", test.headers, got, err, test.want)
		}
	}
}

func TestOtherHeadersAreRefusedByName(t *testing.T) {
	for _, test := range []struct {
		name    string
		headers []record.Header
		blames  string
	}{
		{"none", nil, HeaderState},
		{"no state", headers(HeaderID, "a", HeaderGroup, "g"), HeaderState},
		{"empty state", headers(HeaderID, "a", HeaderState, "", HeaderGroup, "g"), HeaderState},
		{"unknown state", headers(HeaderID, "a", HeaderState, "Commit", HeaderGroup, "g"), HeaderState},
		{"long state", headers(HeaderID, "a", HeaderState, strings.Repeat("x", 1<<20)), HeaderState},
		{"no id", headers(HeaderState, "commit"), HeaderID},
		{"empty id", headers(HeaderID, "", HeaderState, "commit"), HeaderID},
		{"long id", headers(HeaderID, strings.Repeat("i", 256), HeaderState, "commit"), HeaderID},
		{"no text as id", headers(HeaderID, "\xff", HeaderState, "commit"), HeaderID},
		{"no group", headers(HeaderID, "a", HeaderState, "prepare"), HeaderGroup},
		{"empty group", headers(HeaderID, "a", HeaderState, "prepare", HeaderGroup, ""), HeaderGroup},
		{"long group", headers(HeaderID, "a", HeaderState, "prepare", HeaderGroup, strings.Repeat("g", 241)), HeaderGroup},
		{"space in group", headers(HeaderID, "a", HeaderState, "prepare", HeaderGroup, "a b"), HeaderGroup},
		{"slash in group", headers(HeaderID, "a", HeaderState, "prepare", HeaderGroup, "a/b"), HeaderGroup},
		{"umlaut in group", headers(HeaderID, "a", HeaderState, "prepare", HeaderGroup, "ä"), HeaderGroup},
		{"id twice", headers(HeaderID, "a", HeaderID, "a", HeaderState, "commit"), HeaderID},
		{"state twice", headers(HeaderID, "a", HeaderState, "commit", HeaderState, "rollback"), HeaderState},
		{"group twice", headers(HeaderID, "a", HeaderState, "prepare", HeaderGroup, "g", HeaderGroup, "h"), HeaderGroup},
	} {
		_, err := ParseHeaders(test.headers)
		if !errors.Is(err, ErrHeaders) || !strings.Contains(err.Error(), test.blames) {
			t.Errorf("%s: %v", test.name, err)
		} else if len(err.Error()) > 300 {
			t.Errorf("%s: a text of %d bytes", test.name, len(err.Error()))
		}
	}
}

func TestKeyAndValueAreHashedApart(t *testing.T) {
	a, b, ab, none := []byte("a"), []byte("b"), []byte("ab"), []byte{}
	seen := map[Hash]int{}
	for i, body := range [][2][]byte{
		{nil, nil}, {none, nil}, {nil, none}, {none, none}, {a, b}, {b, a}, {ab, nil}, {ab, none}, {nil, ab}, {none, ab}, {a, nil},
	} {
		h := BodyHash(body[0], body[1])
		if other, ok := seen[h]; ok {
			t.Errorf("bodies %d and %d have the same hash", other, i)
		}
		seen[h] = i
		if h != BodyHash(body[0], body[1]) {
			t.Errorf("body %d has two hashes", i)
		}
	}
}

func TestEachQuestionGoesToTheNextPartition(t *testing.T) {
	first := map[int32]bool{}
	for _, id := range []string{"", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s"} {
		for n := 1; n <= 15; n++ {
			p, next := QuestionPartition(id, n), QuestionPartition(id, n+1)
			if p < 0 || p >= CheckPartitions || next != (p+1)%CheckPartitions {
				t.Errorf("%q: question %d goes to partition %d, the next one to %d", id, n, p, next)
			}
		}
		first[QuestionPartition(id, 1)] = true
	}
	if len(first) < CheckPartitions {
		t.Errorf("the first questions about 20 messages go to %d partitions", len(first))
	}
}

func FuzzParseHeaders(f *testing.F) {
	f.Add(HeaderID, []byte("a"), HeaderState, []byte("prepare"), HeaderGroup, []byte("g"))
	f.Add(HeaderID, []byte("a"), HeaderState, []byte("commit"), "x", []byte(nil))
	f.Add(HeaderState, []byte("rollback"), HeaderState, []byte("commit"), HeaderID, []byte{0xff})
	f.Fuzz(func(t *testing.T, k1 string, v1 []byte, k2 string, v2 []byte, k3 string, v3 []byte) {
		r, err := ParseHeaders([]record.Header{{Key: k1, Value: v1}, {Key: k2, Value: v2}, {Key: k3, Value: v3}})
		if err != nil {
			if !errors.Is(err, ErrHeaders) || len(err.Error()) > 1000 {
				t.Fatalf("another error: %v", err)
			}
			return
		}
		if r.Decision < Prepare || r.Decision > Rollback || r.ID == "" || len(r.ID) > 255 || !utf8.ValidString(r.ID) {
			t.Fatalf("%+v", r)
		}
		if r.Decision == Prepare && (r.Group == "" || len(CheckTopic(r.Group)) > 249) {
			t.Fatalf("%+v has no topic for its questions", r)
		}
	})
}

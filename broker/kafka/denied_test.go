package kafka

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
)

func TestWhatIsRefusedIsToldAndWhatIsLeftOutIsNot(t *testing.T) {
	f := newFake()
	id := f.add("secret", 1).ID
	policy, err := acl.NewPolicy("", false)
	if err != nil {
		t.Fatal(err)
	}
	f.access = acl.Authorizer{Policy: policy}
	var told []string
	srv := serverOf(t, f, Limits{}, Events{Denied: func(d Denial) {
		told = append(told, strings.Join([]string{d.Principal, d.Addr, d.ClientID, d.Key.Name(), d.Operation, d.Resource, d.Name}, " "))
	}})
	w := connect(t, context.Background(), srv)
	is := func(what string, want ...string) {
		t.Helper()
		if !slices.Equal(told, want) {
			t.Errorf("%s: told of %q, want %q", what, told, want)
		}
		told = nil
	}
	ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 9))
	is("all topics")
	ask[*kmsg.ListGroupsResponse](w, at(kmsg.NewPtrListGroupsRequest(), 4))
	is("all groups")
	ask[*kmsg.CreateTopicsResponse](w, newTopics(7, strings.Repeat("x", 300)))
	is("creating", "User:ANONYMOUS pipe wire CreateTopics CREATE TOPIC "+strings.Repeat("x", maxToldName))

	byID := producing(13, -1, "", 0, batchOf(1))
	byID.Topics[0].TopicID = id
	resp := ask[*kmsg.ProduceResponse](w, byID)
	is("producing", "User:ANONYMOUS pipe wire Produce WRITE TOPIC secret")
	if text := resp.Topics[0].Partitions[0].ErrorMessage; text == nil || strings.Contains(*text, "secret") {
		t.Errorf("who has only a topic's id is told %v", text)
	}
}

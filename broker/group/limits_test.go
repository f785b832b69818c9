package group

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func coordinatorOfNothing() *Coordinator {
	cfg, n := DefaultConfig(), 0
	cfg.NewID = func() string { n++; return fmt.Sprint(n) }
	return Lead(NewState(), cfg, 0)
}

// answerOf is the answer among effects.
func answerOf[R kmsg.Response](t *testing.T, effects []Effect) R {
	t.Helper()
	for _, e := range effects {
		if a, ok := e.(Answer); ok {
			return a.Response.(R)
		}
	}
	t.Fatalf("no answer among %d effects", len(effects))
	panic("unreachable")
}

// Each is compared with each, in the loop of the shard: 80,000 were seen to hold it for
// one and a half minutes.
func TestAJoinWithMoreProtocolsThanAClientHasIsRefused(t *testing.T) {
	c := coordinatorOfNothing()
	join := func(n int) *kmsg.JoinGroupRequest {
		r := kmsg.NewPtrJoinGroupRequest()
		r.Version, r.Group, r.ProtocolType = 4, "g", "consumer"
		r.SessionTimeoutMillis, r.RebalanceTimeoutMillis = 10_000, 10_000
		for i := range n {
			r.Protocols = append(r.Protocols, kmsg.JoinGroupRequestProtocol{Name: fmt.Sprint(i)})
		}
		return r
	}
	for n, want := range map[int]*kerr.Error{maxProtocols: kerr.MemberIDRequired, maxProtocols + 1: kerr.PolicyViolation} {
		r := answerOf[*kmsg.JoinGroupResponse](t, c.Join(1, Token(n), Client{}, join(n)))
		if r.ErrorCode != want.Code {
			t.Errorf("%d protocols: code %d, want %v", n, r.ErrorCode, want)
		}
	}
}

func TestTheExpressionsOfAGroupAreBoundedTogether(t *testing.T) {
	c := coordinatorOfNothing()
	beat := func(member, regex string) *kmsg.ConsumerGroupHeartbeatResponse {
		r := kmsg.NewPtrConsumerGroupHeartbeatRequest()
		r.Version, r.Group, r.MemberID, r.RebalanceTimeoutMillis = 1, "g", member, 1000
		r.SubscribedTopicRegex, r.Topics = &regex, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
		token := c.proposed + 1000
		effects := c.ConsumerHeartbeat(1, Token(token), Client{}, r)
		for _, e := range effects {
			if p, ok := e.(Persist); ok {
				if err := c.state.Apply(p.Command, 1); err != nil {
					t.Fatal(err)
				}
				effects = append(effects, c.Done(1, p.ID, nil)...)
			}
		}
		return answerOf[*kmsg.ConsumerGroupHeartbeatResponse](t, effects)
	}
	large := strings.Repeat("a{1000}", 2)
	for i, want := range []int16{0, 0, kerr.PolicyViolation.Code} {
		// Each costs as much as the others, and is another one.
		if r := beat(fmt.Sprint("m", i), large+fmt.Sprint(i)); r.ErrorCode != want {
			t.Errorf("member %d: code %d, want %d", i, r.ErrorCode, want)
		}
	}
	if r := beat("m3", large+"0"); r.ErrorCode != 0 {
		t.Errorf("an expression that another member has already: code %d", r.ErrorCode)
	}
	if r := beat("m0", "a.*"); r.ErrorCode != 0 {
		t.Errorf("a smaller one instead: code %d", r.ErrorCode)
	}
}

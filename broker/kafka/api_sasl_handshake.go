package kafka

import (
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslHandshake chooses the mechanism to log in by, and lists those that there are.
//
//	0    the tokens follow as they are, each behind its length
//	1    the tokens follow in SaslAuthenticate (KIP-152)
func saslHandshakeAPI() *api {
	a := inOrder(kmsg.SASLHandshake, 0, 1, "s", (*call).saslHandshake)
	a.greets = true
	return a
}

func (c *call) saslHandshake(req *kmsg.SASLHandshakeRequest) reply {
	now := time.Now()
	resp := kmsg.NewPtrSASLHandshakeResponse()
	login := &c.conn.login
	if login.sasl != nil {
		resp.SupportedMechanisms = login.sasl.Mechanisms
	}
	err, fatal := login.handshake(req.Version, req.Mechanism, now)
	resp.ErrorCode = c.code(err)
	if fatal {
		return c.refused(resp, err, now)
	}
	return given(resp)
}

package kafka

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// SaslAuthenticate carries the tokens of a login.
//
//	0
//	1    how long the login counts (KIP-368)
//	2    flexible
//
// A client that is refused is told nothing but that, and later than it takes to find
// out (connection.failed.authentication.delay.ms), counted from its request: so the
// time tells nothing either. Then the connection is closed.
func saslAuthenticateAPI() *api {
	return inOrder(kmsg.SASLAuthenticate, 0, 2, "b", (*call).saslAuthenticate)
}

func (c *call) saslAuthenticate(req *kmsg.SASLAuthenticateRequest) reply {
	resp := kmsg.NewPtrSASLAuthenticateResponse()
	login := &c.conn.login
	if login.stage != proving {
		err := errSASLState("there is no login under way: SaslHandshake begins one")
		resp.ErrorCode, resp.ErrorMessage = c.code(err), message(err)
		return given(resp)
	}
	now := time.Now()
	answer, lifetime, err := login.prove(req.SASLAuthBytes, now)
	if err != nil {
		text := fmt.Sprintf("Authentication failed: invalid credentials with SASL mechanism %s", login.mechanism)
		resp.ErrorCode, resp.ErrorMessage = kerr.SaslAuthenticationFailed.Code, &text
		return c.refused(resp, err, now)
	}
	if login.stage == open {
		c.conn.client.Principal = login.principal
		c.conn.known()
	}
	resp.SASLAuthBytes = answer
	if resp.SASLAuthBytes == nil {
		resp.SASLAuthBytes = []byte{}
	}
	resp.SessionLifetimeMillis = lifetime.Milliseconds()
	return given(resp)
}

// startToken runs a token that came without the header of a request, as one in
// SaslAuthenticate. A refusal has no answer there.
func (s *Server) startToken(c *conn, f *frame) (started *call, err error) {
	call := &call{Server: s, conn: c, client: c.client, frame: f, raw: true}
	call.header.key = int16(kmsg.SASLAuthenticate)
	defer call.recoverAs(&err)
	req := kmsg.NewPtrSASLAuthenticateRequest()
	req.SASLAuthBytes = f.buf
	call.reply = call.saslAuthenticate(req)
	return call, nil
}

// given is the reply of a request whose answer is there.
func given(resp kmsg.Response) reply {
	return func(context.Context) kmsg.Response { return resp }
}

// refused ends the connection behind an answer that goes out late.
func (c *call) refused(resp kmsg.Response, cause error, received time.Time) reply {
	c.last = fmt.Errorf("%w: %w", ErrAuthentication, cause)
	at := received.Add(c.limits.FailedLoginDelay)
	return func(ctx context.Context) kmsg.Response {
		late := time.NewTimer(time.Until(at))
		defer late.Stop()
		select {
		case <-late.C:
		case <-ctx.Done():
		}
		if c.raw {
			return nil
		}
		return resp
	}
}

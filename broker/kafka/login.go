package kafka

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/auth"
)

// Errors of connections whose clients have to log in.
var (
	// ErrAuthentication is a login that failed; auth.ErrRefused is in its chain if
	// the credentials are to blame.
	ErrAuthentication = errors.New("authentication failed")
	// ErrNotLoggedIn is a request that only a client may send that has logged in.
	ErrNotLoggedIn = errors.New("a request before authentication")
	// ErrSessionExpired is a request of a client that should have logged in again.
	ErrSessionExpired = errors.New("the session has expired")
	// ErrLoginTimeout is a client that took too long to log in.
	ErrLoginTimeout = errors.New("not logged in in time")
)

// login is how far the client of a connection has come to be somebody. It belongs
// to the connection's reader.
//
//	             SaslHandshake              last token is right
//	handshaking ──────────────▶ proving ───────────────────────▶ open
//	                               ▲                              │
//	                               └──────────────────────────────┘
//	                                SaslHandshake again (KIP-368)
//
// Where nobody has to log in it is open from the beginning. A step that fails ends
// the connection.
type login struct {
	sasl  *SASL // nil where nobody has to log in
	stage stage

	mechanism string
	exchange  auth.Exchange
	// raw: tokens come as they are, without the header of a request (SaslHandshake 0).
	raw bool

	principal string    // of the last login, "" before the first
	since     time.Time // of it
	expires   time.Time // of it; zero for never
}

type stage uint8

const (
	handshaking stage = iota
	proving
	open
)

// reauthPause is the least time between two logins of a connection, as in Kafka.
const reauthPause = time.Second

func newLogin(s *SASL) login {
	if s == nil {
		return login{stage: open}
	}
	return login{sasl: s}
}

// fresh reports whether the client has never logged in, and has to.
func (l *login) fresh() bool { return l.sasl != nil && l.principal == "" }

// admits says whether a request may be looked at. What is not allowed here is
// refused, whatever is added to the table of APIs.
func (l *login) admits(a *api, now time.Time) error {
	switch l.stage {
	case handshaking:
		if a.greets {
			return nil
		}
		return fmt.Errorf("%w: %s", ErrNotLoggedIn, a.key.Name())
	case proving:
		if a.key == kmsg.SASLAuthenticate && !l.raw {
			return nil
		}
		return fmt.Errorf("%w: %s in the middle of it", ErrNotLoggedIn, a.key.Name())
	}
	if !l.expires.IsZero() && !now.Before(l.expires) && a.key != kmsg.SASLHandshake {
		return fmt.Errorf("%w: %s of %s", ErrSessionExpired, a.key.Name(), l.principal)
	}
	return nil
}

// errSASLState is a request that has no place here; the connection goes on.
func errSASLState(why string) error { return fmt.Errorf("%s: %w", why, kerr.IllegalSaslState) }

// handshake chooses a mechanism. fatal is set where the connection must end.
func (l *login) handshake(version int16, mechanism string, now time.Time) (err error, fatal bool) {
	switch {
	case l.sasl == nil:
		return errSASLState("nobody has to log in on this listener"), false
	case l.stage == open && (version == 0 || now.Sub(l.since) < reauthPause):
		return errSASLState("logging in again needs version 1, and a second in between"), false
	case l.stage == open && mechanism != l.mechanism:
		return fmt.Errorf("%s instead of %s when logging in again: %w", safe(mechanism), l.mechanism, kerr.UnsupportedSaslMechanism), true
	case !slices.Contains(l.sasl.Mechanisms, mechanism):
		return fmt.Errorf("%s is not among %v: %w", safe(mechanism), l.sasl.Mechanisms, kerr.UnsupportedSaslMechanism), true
	}
	l.mechanism, l.raw = mechanism, version == 0
	l.exchange = l.sasl.Begin(mechanism)
	l.stage = proving
	return nil, false
}

// prove takes a token. The error is fatal if the client was proving who it is.
func (l *login) prove(token []byte, now time.Time) (answer []byte, lifetime time.Duration, err error) {
	answer, done, err := l.exchange.Step(token, now)
	if err != nil || !done {
		return answer, 0, err
	}
	id := l.exchange.Identity()
	if l.principal != "" && id.Principal != l.principal {
		return nil, 0, fmt.Errorf("%w: %s cannot become %s by logging in again", auth.ErrRefused, l.principal, id.Principal)
	}
	l.exchange, l.stage = nil, open
	l.principal, l.since, l.expires = id.Principal, now, id.Expires
	if most := now.Add(l.sasl.MaxReauth); l.sasl.MaxReauth > 0 && (l.expires.IsZero() || most.Before(l.expires)) {
		l.expires = most
	}
	if !l.expires.IsZero() {
		lifetime = max(l.expires.Sub(now), time.Millisecond)
	}
	return answer, lifetime, nil
}

// left is why a connection ends whose client sends no more: of one that has been told
// that it will be refused that is the reason.
func (l *login) left(err error) error {
	if l.stage == proving {
		if refused := l.exchange.Refused(); refused != nil {
			return fmt.Errorf("%w: %w; then %w", ErrAuthentication, refused, err)
		}
	}
	return err
}

// safe bounds what a stranger wrote.
func safe(s string) string { return fmt.Sprintf("%.64q", s) }

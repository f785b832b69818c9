package auth

import (
	"errors"
	"time"
)

// Names of SASL mechanisms, as clients send them.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
)

// Anonymous is the principal of clients that need not say who they are.
const Anonymous = "User:ANONYMOUS"

// UserPrincipal is the principal of a user.
func UserPrincipal(name string) string { return "User:" + name }

// ErrRefused is an attempt to authenticate that failed. The text around it says
// why, for the operator: a client that is told could find out who exists.
var ErrRefused = errors.New("authentication refused")

// Identity is who a client has proved to be.
type Identity struct {
	Principal string
	// Expires is when the proof ends, zero for never.
	Expires time.Time
}

// Exchange is one SASL exchange, of one client. It belongs to one goroutine.
type Exchange interface {
	// Step takes the client's next token and returns what to answer. The exchange
	// is over when done is true, or with an error, which wraps ErrRefused; a token
	// behind its end is refused. The token may be reused by the caller afterwards.
	Step(token []byte, now time.Time) (answer []byte, done bool, err error)
	// Identity is who the client is, once done.
	Identity() Identity
	// Refused is why the client, which waits to be asked once more for the sake of the
	// protocol, will be refused; nil in any other state.
	Refused() error
}

// Users finds the SCRAM credential of a user for a mechanism.
type Users func(user, mechanism string) (Credential, bool)

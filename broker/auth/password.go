package auth

import (
	"bytes"
	"fmt"
	"time"
)

// Passwords checks passwords, by PLAIN and SCRAM. Its methods may be called
// concurrently.
type Passwords struct {
	users  Users
	decoys decoys
}

// NewPasswords checks against the credentials of users.
func NewPasswords(users Users) *Passwords { return &Passwords{users: users, decoys: newDecoys()} }

// credential finds what to check against. known is false for a user who has none;
// what is returned then fits no password.
func (p *Passwords) credential(user, mechanism string) (c Credential, known bool) {
	if c, ok := p.users(user, mechanism); ok {
		return c, true
	}
	return p.decoys.credential(user, mechanism), false
}

// Begin begins an exchange by PLAIN or a SCRAM mechanism; nil for any other.
func (p *Passwords) Begin(mechanism string) Exchange {
	switch {
	case mechanism == Plain:
		return &plain{passwords: p}
	case IsScram(mechanism):
		return &scram{passwords: p, mechanism: mechanism}
	}
	return nil
}

// plain is SASL PLAIN (RFC 4616): [authzid] NUL user NUL password. The password is
// checked against the user's SCRAM credentials.
type plain struct {
	passwords *Passwords
	identity  Identity
	over      bool
}

func (p *plain) Identity() Identity { return p.identity }
func (p *plain) Refused() error     { return nil }

func (p *plain) Step(token []byte, _ time.Time) ([]byte, bool, error) {
	if p.over {
		return nil, false, fmt.Errorf("%w: %s: a message behind the end", ErrRefused, Plain)
	}
	p.over = true
	parts := bytes.Split(token, []byte{0})
	if len(parts) != 3 {
		return nil, false, fmt.Errorf("%w: %s: the message has %d parts, not 3", ErrRefused, Plain, len(parts))
	}
	authorize, user, password := string(parts[0]), string(parts[1]), string(parts[2])
	switch {
	case CheckUser(user) != nil || password == "" || len(password) > MaxPasswordBytes:
		return nil, false, fmt.Errorf("%w: %s: user or password is empty or too long", ErrRefused, Plain)
	case authorize != "" && authorize != user:
		return nil, false, fmt.Errorf("%w: %s: user %q asks to be %q", ErrRefused, Plain, user, authorize)
	}
	c, known := p.passwords.credential(user, ScramSHA512)
	if !known {
		if other, ok := p.passwords.users(user, ScramSHA256); ok {
			c, known = other, true
		}
	}
	if right := c.Matches(password); !right || !known {
		return nil, false, refusedUser(Plain, user, known)
	}
	p.identity = Identity{Principal: UserPrincipal(user)}
	return nil, true, nil
}

func refusedUser(mechanism, user string, known bool) error {
	if !known {
		return fmt.Errorf("%w: %s: there is no user %q with a credential for it", ErrRefused, mechanism, user)
	}
	return fmt.Errorf("%w: %s: wrong password of user %q", ErrRefused, mechanism, user)
}

package cluster

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/broker/record"
)

// User is somebody who can log in by a password. Who has no credential is no user.
// Like a View it never changes.
type User struct {
	Name        string
	Credentials []auth.Credential // by mechanism, at least one
}

// Credential finds the user's credential for a mechanism.
func (u User) Credential(mechanism string) (auth.Credential, bool) {
	i, ok := u.search(mechanism)
	if !ok {
		return auth.Credential{}, false
	}
	return u.Credentials[i], true
}

func (u User) search(mechanism string) (int, bool) {
	return slices.BinarySearchFunc(u.Credentials, mechanism, func(c auth.Credential, m string) int { return strings.Compare(c.Mechanism, m) })
}

// maxUsers bounds the users of a cluster: all are in memory on every node.
const maxUsers = 100_000

// Users lists the users by name.
func (v *View) Users() []User { return v.users }

// User finds a user.
func (v *View) User(name string) (User, bool) {
	i, ok := v.searchUser(name)
	if !ok {
		return User{}, false
	}
	return v.users[i], true
}

func (v *View) searchUser(name string) (int, bool) {
	return slices.BinarySearchFunc(v.users, name, func(u User, n string) int { return strings.Compare(u.Name, n) })
}

// SetCredential gives a user a credential, in place of the one for the same mechanism
// if there is one. It errors with kerr.UnacceptableCredential.
func (c *Controller) SetCredential(user string, credential auth.Credential) (record.Command, error) {
	ch := &setCredential{user: user, credential: credential}
	if err := ch.check(); err != nil {
		return nil, fmt.Errorf("user %q: %w: %w", shortened(user), err, kerr.UnacceptableCredential)
	}
	if _, known := c.view.searchUser(user); !known && len(c.view.users) >= maxUsers {
		return nil, fmt.Errorf("user %q: there are %d users already: %w", user, maxUsers, kerr.UnacceptableCredential)
	}
	return c.decide(ch), nil
}

// DeleteCredential takes a user's credential for a mechanism away, and with the last
// one the user. It errors with kerr.ResourceNotFound.
func (c *Controller) DeleteCredential(user, mechanism string) (record.Command, error) {
	u, _ := c.view.User(user)
	if _, ok := u.Credential(mechanism); !ok {
		return nil, fmt.Errorf("user %q has no credential for %s: %w", shortened(user), shortened(mechanism), kerr.ResourceNotFound)
	}
	return c.decide(&deleteCredential{user: user, mechanism: mechanism}), nil
}

// setCredential is SetCredential in the log.
type setCredential struct {
	user       string
	credential auth.Credential
}

func (*setCredential) kind() uint8 { return kindSetCredential }

func (c *setCredential) append(dst []byte) []byte {
	return appendCredential(kbin.AppendString(dst, c.user), c.credential)
}

func (c *setCredential) read(r *reader) { c.user, c.credential = r.String(), r.credential() }

func (c *setCredential) check() error {
	if err := auth.CheckUser(c.user); err != nil {
		return err
	}
	return c.credential.Check()
}

// String names no part of the credential: it is printed by tools.
func (c *setCredential) String() string {
	return fmt.Sprintf("set credential of user %q for %s", c.user, c.credential.Mechanism)
}

func (c *setCredential) apply(v *View) *View {
	i, known := v.searchUser(c.user)
	n := v.next()
	if !known {
		n.users = inserted(v.users, i, User{Name: c.user, Credentials: []auth.Credential{c.credential}})
		return n
	}
	u := v.users[i]
	if j, ok := u.search(c.credential.Mechanism); ok {
		u.Credentials = slices.Clone(u.Credentials)
		u.Credentials[j] = c.credential
	} else {
		u.Credentials = inserted(u.Credentials, j, c.credential)
	}
	n.users = slices.Clone(v.users)
	n.users[i] = u
	return n
}

// deleteCredential is DeleteCredential in the log.
type deleteCredential struct{ user, mechanism string }

func (*deleteCredential) kind() uint8 { return kindDeleteCredential }

func (c *deleteCredential) append(dst []byte) []byte {
	return kbin.AppendString(kbin.AppendString(dst, c.user), c.mechanism)
}

func (c *deleteCredential) read(r *reader) { c.user, c.mechanism = r.String(), r.String() }

func (c *deleteCredential) check() error {
	if !auth.IsScram(c.mechanism) {
		return fmt.Errorf("there are no credentials for %q", shortened(c.mechanism))
	}
	return auth.CheckUser(c.user)
}

func (c *deleteCredential) String() string {
	return fmt.Sprintf("delete credential of user %q for %s", c.user, c.mechanism)
}

func (c *deleteCredential) apply(v *View) *View {
	i, known := v.searchUser(c.user)
	if !known {
		return v
	}
	u := v.users[i]
	j, ok := u.search(c.mechanism)
	if !ok {
		return v
	}
	n := v.next()
	if len(u.Credentials) == 1 {
		if n.users = deleted(v.users, i); len(n.users) == 0 {
			n.users = nil // as Restore has it
		}
		return n
	}
	u.Credentials = deleted(u.Credentials, j)
	n.users = slices.Clone(v.users)
	n.users[i] = u
	return n
}

// Least encoded sizes, by which counts are checked before memory is taken.
const (
	minCredential = 4*minString + 4
	minUser       = minString + 4
)

// appendCredential writes string mechanism, i32 iterations, string salt, string
// stored key, string server key.
func appendCredential(dst []byte, c auth.Credential) []byte {
	dst = kbin.AppendString(dst, c.Mechanism)
	dst = kbin.AppendInt32(dst, int32(c.Iterations))
	for _, part := range [][]byte{c.Salt, c.StoredKey, c.ServerKey} {
		dst = kbin.AppendString(dst, string(part))
	}
	return dst
}

func (r *reader) credential() auth.Credential {
	return auth.Credential{
		Mechanism: r.String(), Iterations: int(r.Int32()),
		Salt: []byte(r.String()), StoredKey: []byte(r.String()), ServerKey: []byte(r.String()),
	}
}

func appendUser(dst []byte, u User) []byte {
	dst = kbin.AppendString(dst, u.Name)
	dst = kbin.AppendInt32(dst, int32(len(u.Credentials)))
	for _, c := range u.Credentials {
		dst = appendCredential(dst, c)
	}
	return dst
}

func (r *reader) user() User {
	return User{Name: r.String(), Credentials: list(r, minCredential, r.credential)}
}

// checkUsers holds users read from a snapshot to what Apply makes.
func checkUsers(users []User) error {
	if !rising(users, func(a, b User) int { return cmp.Compare(a.Name, b.Name) }) {
		return fmt.Errorf("%w: users are not in order", errMalformed)
	}
	for _, u := range users {
		byMechanism := func(a, b auth.Credential) int { return cmp.Compare(a.Mechanism, b.Mechanism) }
		if auth.CheckUser(u.Name) != nil || len(u.Credentials) == 0 || !rising(u.Credentials, byMechanism) {
			return fmt.Errorf("%w: user %q", errMalformed, shortened(u.Name))
		}
		for _, c := range u.Credentials {
			if err := c.Check(); err != nil {
				return fmt.Errorf("%w: user %q: %w", errMalformed, u.Name, err)
			}
		}
	}
	return nil
}

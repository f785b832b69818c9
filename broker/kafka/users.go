package kafka

import (
	"context"

	"github.com/splashdam/splashdam/broker/auth"
)

// User is somebody with SCRAM credentials. The credentials are by mechanism.
type User struct {
	Name        string
	Credentials []auth.Credential
}

// Users keeps who can log in by a password.
type Users interface {
	// Users lists all users, by name.
	Users() []User
	// User finds one; ok is false if there is none.
	User(name string) (u User, ok bool)
	// SetCredential gives a user a credential, in place of the one for the same
	// mechanism. It errors with kerr.UnacceptableCredential. DeleteCredential takes one
	// away, and errors with kerr.ResourceNotFound. Both return when it is committed.
	SetCredential(ctx context.Context, user string, c auth.Credential) error
	DeleteCredential(ctx context.Context, user, mechanism string) error
}

// mechanismNumbers are the mechanisms as the protocol numbers them (KIP-554).
var mechanismNumbers = map[int8]string{1: auth.ScramSHA256, 2: auth.ScramSHA512}

func mechanismNumber(name string) int8 {
	for n, m := range mechanismNumbers {
		if m == name {
			return n
		}
	}
	return 0
}

package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"errors"
	"fmt"
	"hash"
)

// Bounds of a SCRAM credential. The iterations are Kafka's bounds; RFC 7677 asks
// for at least 4,096.
const (
	MinIterations     = 4096
	MaxIterations     = 16384
	DefaultIterations = 4096

	MaxUserBytes     = 255
	MaxPasswordBytes = 1024
	// MaxSaltBytes bounds a salt that a client has chosen.
	MaxSaltBytes = 256
	ownSaltBytes = 16
)

// Credential is what the server keeps of a password (RFC 5802, section 3): enough
// to check it, not enough to log in with. It must not be changed.
type Credential struct {
	Mechanism  string // ScramSHA256 or ScramSHA512
	Iterations int
	Salt       []byte
	StoredKey  []byte
	ServerKey  []byte
}

// hashOf is the hash function of a SCRAM mechanism, nil of any other.
func hashOf(mechanism string) func() hash.Hash {
	switch mechanism {
	case ScramSHA256:
		return sha256.New
	case ScramSHA512:
		return sha512.New
	}
	return nil
}

// IsScram reports whether a mechanism has credentials of its own.
func IsScram(mechanism string) bool { return hashOf(mechanism) != nil }

// NewCredential makes a credential with a random salt. It errors where Check would,
// or for a password of an impossible length.
func NewCredential(mechanism, password string, iterations int) (Credential, error) {
	if password == "" || len(password) > MaxPasswordBytes {
		return Credential{}, fmt.Errorf("a password has 1 to %d bytes", MaxPasswordBytes)
	}
	salt := make([]byte, ownSaltBytes)
	rand.Read(salt)
	c := Credential{Mechanism: mechanism, Iterations: iterations, Salt: salt}
	if err := c.checkParameters(); err != nil {
		return Credential{}, err
	}
	salted := c.salted(password)
	if salted == nil {
		return Credential{}, fmt.Errorf("%s with %d iterations is not allowed on this system", mechanism, iterations)
	}
	return fromSalted(c, salted), nil
}

// CredentialFromSalted makes a credential of a salted password, as
// AlterUserScramCredentials sends it (KIP-554). It errors where Check would. A salted
// password of another length than the hash's, which no client could log in with, is
// accepted as Kafka accepts it.
func CredentialFromSalted(mechanism string, salt, saltedPassword []byte, iterations int) (Credential, error) {
	c := Credential{Mechanism: mechanism, Iterations: iterations, Salt: salt}
	if err := c.checkParameters(); err != nil {
		return Credential{}, err
	}
	if len(saltedPassword) == 0 || len(saltedPassword) > MaxPasswordBytes {
		return Credential{}, fmt.Errorf("a salted password has 1 to %d bytes", MaxPasswordBytes)
	}
	return fromSalted(c, saltedPassword), nil
}

func fromSalted(c Credential, salted []byte) Credential {
	clientKey := c.mac(salted, "Client Key")
	c.StoredKey = c.digest(clientKey)
	c.ServerKey = c.mac(salted, "Server Key")
	return c
}

// Check says what is wrong with a credential that came from elsewhere.
func (c Credential) Check() error {
	if err := c.checkParameters(); err != nil {
		return err
	}
	if n := hashOf(c.Mechanism)().Size(); len(c.StoredKey) != n || len(c.ServerKey) != n {
		return fmt.Errorf("the keys of a credential for %s have %d bytes", c.Mechanism, n)
	}
	return nil
}

func (c Credential) checkParameters() error {
	switch {
	case hashOf(c.Mechanism) == nil:
		return fmt.Errorf("there are no credentials for %q, only for %s and %s", c.Mechanism, ScramSHA256, ScramSHA512)
	case c.Iterations < MinIterations || c.Iterations > MaxIterations:
		return fmt.Errorf("%d iterations: between %d and %d", c.Iterations, MinIterations, MaxIterations)
	case len(c.Salt) == 0 || len(c.Salt) > MaxSaltBytes:
		return fmt.Errorf("a salt of %d bytes: between 1 and %d", len(c.Salt), MaxSaltBytes)
	}
	return nil
}

// CheckUser says what is wrong with a user's name.
func CheckUser(name string) error {
	if name == "" {
		return errors.New("a user's name is not empty")
	}
	if len(name) > MaxUserBytes {
		return fmt.Errorf("a user's name has at most %d bytes", MaxUserBytes)
	}
	return nil
}

// Matches says whether the credential is of this password. It takes as long as its
// iterations, some milliseconds, whatever the outcome.
func (c Credential) Matches(password string) bool {
	salted := c.salted(password)
	if salted == nil {
		return false
	}
	clientKey := c.mac(salted, "Client Key")
	return subtle.ConstantTimeCompare(c.digest(clientKey), c.StoredKey) == 1
}

// salted is SaltedPassword of RFC 5802. As in Kafka, the password is taken as it
// is, without SASLprep.
func (c Credential) salted(password string) []byte {
	h := hashOf(c.Mechanism)
	key, err := pbkdf2.Key(h, password, c.Salt, c.Iterations, h().Size())
	if err != nil {
		return nil // under FIPS 140 alone, for a salt under its bounds: it fits no password
	}
	return key
}

func (c Credential) mac(key []byte, text string) []byte {
	m := hmac.New(hashOf(c.Mechanism), key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func (c Credential) digest(b []byte) []byte {
	h := hashOf(c.Mechanism)()
	h.Write(b)
	return h.Sum(nil)
}

// decoys makes credentials for users who do not exist: always the same for one
// name, and for no password.
type decoys [32]byte

func newDecoys() (d decoys) {
	rand.Read(d[:])
	return d
}

func (d *decoys) credential(user, mechanism string) Credential {
	m := hmac.New(sha256.New, d[:])
	m.Write([]byte(mechanism + "\x00" + user))
	c := Credential{Mechanism: mechanism, Iterations: DefaultIterations, Salt: m.Sum(nil)[:ownSaltBytes]}
	// No password has these keys.
	c.StoredKey = make([]byte, hashOf(mechanism)().Size())
	c.ServerKey = make([]byte, len(c.StoredKey))
	rand.Read(c.StoredKey)
	rand.Read(c.ServerKey)
	return c
}

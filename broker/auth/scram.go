package auth

import (
	"bytes"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strings"
	"time"
)

// scram is the server's side of SCRAM (RFC 5802, RFC 7677), without channel
// binding, as Kafka has it.
//
//	client   n,,n=user,r=<nonce>
//	server   r=<nonce><more>,s=<salt>,i=<iterations>
//	client   c=biws,r=<nonce><more>,p=<proof>
//	server   v=<signature>
//
// The cost to the server is the same for every user: two HMACs. The salt of a user
// who does not exist is always the same while the process lives.
type scram struct {
	passwords *Passwords
	mechanism string

	stage      int // messages seen
	user       string
	known      bool
	credential Credential
	gs2        string // the client's header, which it repeats
	// nonce is clientNonce with the server's behind it.
	clientNonce, nonce string
	signed             string // client-first-bare , server-first
	identity           Identity
}

// maxNonce bounds a client's nonce, in bytes.
const maxNonce = 1024

func (s *scram) Identity() Identity { return s.identity }
func (s *scram) Refused() error     { return nil }

func (s *scram) refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", ErrRefused, s.mechanism, fmt.Sprintf(format, args...))
}

func (s *scram) Step(token []byte, _ time.Time) ([]byte, bool, error) {
	s.stage++
	switch s.stage {
	case 1:
		answer, err := s.first(string(token))
		return answer, false, err
	case 2:
		answer, err := s.final(string(token))
		return answer, err == nil, err
	}
	return nil, false, s.refuse("a message behind the end")
}

func (s *scram) first(message string) ([]byte, error) {
	fail := func(why string) ([]byte, error) { s.stage = 2; return nil, s.refuse("first message: %s", why) }
	parts := strings.SplitN(message, ",", 3)
	if len(parts) != 3 {
		return fail("it is cut off")
	}
	binding, authorize, bare := parts[0], parts[1], parts[2]
	if binding != "n" && binding != "y" {
		return fail("channel binding is not offered")
	}
	s.gs2 = binding + "," + authorize + ","
	fields := strings.Split(bare, ",")
	if len(fields) < 2 || !strings.HasPrefix(fields[0], "n=") || !strings.HasPrefix(fields[1], "r=") {
		return fail("it is not n=,r=")
	}
	user, ok := saslName(fields[0][2:])
	if !ok || CheckUser(user) != nil {
		return fail("not a user's name")
	}
	if authorize != "" {
		if other, ok := saslName(strings.TrimPrefix(authorize, "a=")); !ok || !strings.HasPrefix(authorize, "a=") || other != user {
			return fail("it asks to be another user")
		}
	}
	nonce := fields[1][2:]
	if nonce == "" || len(nonce) > maxNonce || strings.ContainsFunc(nonce, func(r rune) bool { return r < 0x21 || r > 0x7e }) {
		return fail("a bad nonce")
	}
	for _, extension := range fields[2:] {
		// tokenauth=true would be a delegation token (KIP-48).
		if strings.HasPrefix(extension, "tokenauth=") && extension != "tokenauth=false" {
			return fail("delegation tokens are not offered")
		}
		if len(extension) < 2 {
			return fail("a bad extension")
		}
	}
	s.user = user
	s.credential, s.known = s.passwords.credential(user, s.mechanism)
	s.clientNonce, s.nonce = nonce, nonce+rand.Text()
	answer := fmt.Sprintf("r=%s,s=%s,i=%d", s.nonce, base64.StdEncoding.EncodeToString(s.credential.Salt), s.credential.Iterations)
	s.signed = bare + "," + answer
	return []byte(answer), nil
}

func (s *scram) final(message string) ([]byte, error) {
	at := strings.LastIndex(message, ",p=")
	if at < 0 {
		return nil, s.refuse("final message: there is no proof")
	}
	without := message[:at]
	proof, err := base64.StdEncoding.DecodeString(message[at+3:])
	if err != nil || len(proof) != len(s.credential.StoredKey) {
		return nil, s.refuse("final message: not a proof")
	}
	fields := strings.Split(without, ",")
	if len(fields) < 2 || fields[0] != "c="+base64.StdEncoding.EncodeToString([]byte(s.gs2)) {
		return nil, s.refuse("final message: the channel binding differs")
	}
	// librdkafka before 2.6 repeats its own nonce before the whole one; the proof covers
	// what it sends, and what must be fresh is ours.
	if nonce, ok := strings.CutPrefix(fields[1], "r="); !ok || nonce != s.nonce && nonce != s.clientNonce+s.nonce {
		return nil, s.refuse("final message: the nonce differs")
	}
	signed := s.signed + "," + without
	clientKey := s.credential.mac(s.credential.StoredKey, signed) // the client's signature, for now
	subtle.XORBytes(clientKey, clientKey, proof)
	right := subtle.ConstantTimeCompare(s.credential.digest(clientKey), s.credential.StoredKey) == 1
	signature := s.credential.mac(s.credential.ServerKey, signed)
	if !right || !s.known {
		return nil, refusedUser(s.mechanism, s.user, s.known)
	}
	s.identity = Identity{Principal: UserPrincipal(s.user)}
	return append([]byte("v="), base64.StdEncoding.AppendEncode(nil, signature)...), nil
}

// saslName reads a name in which , and = are written =2C and =3D.
func saslName(s string) (string, bool) {
	var b bytes.Buffer
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '=':
			b.WriteByte(s[i])
		case strings.HasPrefix(s[i:], "=2C"):
			b.WriteByte(',')
			i += 2
		case strings.HasPrefix(s[i:], "=3D"):
			b.WriteByte('=')
			i += 2
		default:
			return "", false
		}
	}
	return b.String(), true
}

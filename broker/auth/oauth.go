package auth

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// TokenAlgorithms are the algorithms by which a token may be signed. All are
// asymmetric: with HMAC a public key would do as the secret.
var TokenAlgorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// TokenRules say which tokens are accepted. Issuer, Audiences and Algorithms are
// required.
type TokenRules struct {
	Issuer     string
	Audiences  []string // one of them must be among the token's
	Algorithms []string // out of TokenAlgorithms
	// Claim is the claim that names the principal, "sub" as a rule.
	Claim string
	// Skew is by how much the clocks of issuer and server may differ.
	Skew time.Duration
}

// Check says what is missing: a rule that is not set would let everyone in.
func (r TokenRules) Check() error {
	switch {
	case r.Issuer == "":
		return errors.New("the expected issuer of tokens is not set")
	case len(r.Audiences) == 0:
		return errors.New("the expected audience of tokens is not set")
	case len(r.Algorithms) == 0:
		return errors.New("the algorithms of tokens are not set")
	case r.Claim == "":
		return errors.New("the claim that names the principal is not set")
	}
	return nil
}

// TokenVerifier checks bearer tokens: JWTs (RFC 7519) in compact form, signed with a
// key of a KeySet. Its methods may be called concurrently.
type TokenVerifier struct {
	rules TokenRules
	keys  *KeySet
	algs  []jose.SignatureAlgorithm
}

// NewTokenVerifier makes a verifier. It errors where Check does.
func NewTokenVerifier(rules TokenRules, keys *KeySet) (*TokenVerifier, error) {
	if err := rules.Check(); err != nil {
		return nil, err
	}
	v := &TokenVerifier{rules: rules, keys: keys}
	for _, a := range rules.Algorithms {
		v.algs = append(v.algs, jose.SignatureAlgorithm(a))
	}
	return v, nil
}

// Verify says whose token it is. The error wraps ErrRefused and never holds the
// token.
func (v *TokenVerifier) Verify(token string, now time.Time) (Identity, error) {
	refuse := func(format string, args ...any) (Identity, error) {
		return Identity{}, fmt.Errorf("%w: %s: %s", ErrRefused, OAuthBearer, fmt.Sprintf(format, args...))
	}
	parsed, err := jwt.ParseSigned(token, v.algs)
	if err != nil || len(parsed.Headers) != 1 {
		return refuse("not a JWT signed by one of %s", strings.Join(v.rules.Algorithms, ", "))
	}
	header := parsed.Headers[0]
	key, ok := v.keys.find(header.KeyID, header.Algorithm, now)
	if !ok {
		return refuse("no key %.64q for %s is in the key set", header.KeyID, header.Algorithm)
	}
	var claims jwt.Claims
	all := make(map[string]any)
	if err := parsed.Claims(key, &claims, &all); err != nil {
		return refuse("the signature is wrong")
	}
	if claims.Expiry == nil {
		return refuse("the token never expires")
	}
	expected := jwt.Expected{Issuer: v.rules.Issuer, AnyAudience: v.rules.Audiences, Time: now}
	if err := claims.ValidateWithLeeway(expected, v.rules.Skew); err != nil {
		return refuse("%v", err)
	}
	name, _ := all[v.rules.Claim].(string)
	if CheckUser(name) != nil {
		return refuse("the claim %q names nobody", v.rules.Claim)
	}
	return Identity{Principal: UserPrincipal(name), Expires: claims.Expiry.Time()}, nil
}

// Begin begins an exchange by OAUTHBEARER.
func (v *TokenVerifier) Begin() Exchange { return &oauth{verifier: v} }

// oauth is the server's side of OAUTHBEARER (RFC 7628).
//
//	client   n,[a=user],^Aauth=Bearer <token>^A[key=value^A]...^A
//	server   nothing; or, refusing, {"status":"invalid_token"}
//	client   ^A, upon which the refusal is final
type oauth struct {
	verifier *TokenVerifier
	stage    int
	refused  error
	identity Identity
}

func (o *oauth) Identity() Identity { return o.identity }
func (o *oauth) Refused() error     { return o.refused }

func (o *oauth) Step(token []byte, now time.Time) ([]byte, bool, error) {
	o.stage++
	switch {
	case o.stage == 1:
		id, err := o.first(token, now)
		if err != nil {
			o.refused = err
			return []byte(`{"status":"invalid_token"}`), false, nil
		}
		o.identity = id
		return nil, true, nil
	case o.stage == 2 && o.refused != nil:
		return nil, false, o.refused
	}
	return nil, false, fmt.Errorf("%w: %s: a message behind the end", ErrRefused, OAuthBearer)
}

func (o *oauth) first(message []byte, now time.Time) (Identity, error) {
	refuse := func(why string) (Identity, error) {
		return Identity{}, fmt.Errorf("%w: %s: %s", ErrRefused, OAuthBearer, why)
	}
	header, rest, ok := bytes.Cut(message, []byte{1})
	if !ok || !bytes.HasSuffix(rest, []byte{1}) {
		return refuse("the message is cut off")
	}
	parts := strings.SplitN(string(header), ",", 3)
	if len(parts) != 3 || parts[0] != "n" && parts[0] != "y" || parts[2] != "" {
		return refuse("the message has a bad header")
	}
	bearer := ""
	for pair := range strings.SplitSeq(string(rest), "\x01") {
		name, value, _ := strings.Cut(pair, "=")
		if name != "auth" {
			continue // extensions (KIP-342) are for plug-ins that are not there
		}
		kind, token, ok := strings.Cut(value, " ")
		if bearer != "" || !ok || !strings.EqualFold(kind, "bearer") {
			return refuse("there is not one bearer token in the message")
		}
		bearer = strings.TrimSpace(token)
	}
	if bearer == "" {
		return refuse("there is no bearer token in the message")
	}
	id, err := o.verifier.Verify(bearer, now)
	if err != nil {
		return Identity{}, err
	}
	if parts[1] != "" {
		user, ok := saslName(strings.TrimPrefix(parts[1], "a="))
		if !ok || !strings.HasPrefix(parts[1], "a=") || UserPrincipal(user) != id.Principal {
			return refuse("the client asks to be another user than the token's")
		}
	}
	return id, nil
}

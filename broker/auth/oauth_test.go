package auth

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	clientoauth "github.com/twmb/franz-go/pkg/sasl/oauth"

	"github.com/splashdam/splashdam/internal/vfs"
)

// issuer signs tokens with an elliptic and an RSA key.
type issuer struct {
	ec  *ecdsa.PrivateKey
	rsa *rsa.PrivateKey
}

func newIssuer(t testing.TB) issuer {
	t.Helper()
	ec, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return issuer{ec, r}
}

// jwks has the elliptic key bound to its algorithm and the RSA key free, and what a
// reader must skip.
func (i issuer) jwks(t testing.TB) []byte {
	t.Helper()
	set := map[string]any{"keys": []any{
		jose.JSONWebKey{KeyID: "ec", Key: &i.ec.PublicKey, Algorithm: "ES256", Use: "sig"},
		jose.JSONWebKey{KeyID: "rsa", Key: &i.rsa.PublicKey},
		jose.JSONWebKey{KeyID: "rsa512", Key: &i.rsa.PublicKey, Algorithm: "RS512"},
		jose.JSONWebKey{KeyID: "enc", Key: &i.rsa.PublicKey, Use: "enc"},
		jose.JSONWebKey{KeyID: "secret", Key: []byte("0123456789abcdef0123456789abcdef")},
		map[string]string{"kty": "of the future", "kid": "new"},
	}}
	text, err := json.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

var tokenTime = time.Unix(1_800_000_000, 0)

func goodClaims() map[string]any {
	return map[string]any{"iss": "https://issuer", "aud": []string{"other", "kafka"}, "sub": "alice", "exp": tokenTime.Unix() + 300, "nbf": tokenTime.Unix() - 5}
}

func sign(t testing.TB, alg string, key any, kid string, claims map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("kid", kid)
	if kid == "" {
		options = &jose.SignerOptions{}
	}
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign(text)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// writeFile puts a file in the place of the one that is there, if any.
func writeFile(t testing.TB, fs vfs.FS, name string, content []byte) {
	t.Helper()
	f, err := fs.Create(name + ".new")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(content, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := fs.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func verifierOf(t testing.TB, i issuer) *TokenVerifier {
	t.Helper()
	fs := vfs.NewMem()
	writeFile(t, fs, "/keys.json", i.jwks(t))
	keys, err := OpenKeySet(fs, "file:///keys.json", time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	rules := TokenRules{Issuer: "https://issuer", Audiences: []string{"kafka"}, Algorithms: []string{"ES256", "RS256", "RS512"}, Claim: "sub", Skew: 30 * time.Second}
	v, err := NewTokenVerifier(rules, keys)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestATokenIsAcceptedOnlyIfEverythingAboutItIsRight(t *testing.T) {
	i := newIssuer(t)
	v := verifierOf(t, i)
	with := func(name string, value any) map[string]any {
		c := goodClaims()
		if c[name] = value; value == nil {
			delete(c, name)
		}
		return c
	}
	public, err := x509.MarshalPKIXPublicKey(&i.rsa.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	publicPEM := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public})
	encoded := base64.RawURLEncoding.EncodeToString
	claims, _ := json.Marshal(goodClaims())
	none := encoded([]byte(`{"alg":"none","kid":"rsa"}`)) + "." + encoded(claims) + "."
	good := sign(t, "ES256", i.ec, "ec", goodClaims())
	parts := strings.Split(good, ".")
	forged, _ := json.Marshal(with("sub", "root"))
	for name, c := range map[string]struct {
		token string
		want  string // the principal
	}{
		"elliptic":                        {good, "User:alice"},
		"RSA":                             {sign(t, "RS256", i.rsa, "rsa", goodClaims()), "User:alice"},
		"one audience":                    {sign(t, "ES256", i.ec, "ec", with("aud", "kafka")), "User:alice"},
		"expired within the skew":         {sign(t, "ES256", i.ec, "ec", with("exp", tokenTime.Unix()-20)), "User:alice"},
		"expired":                         {sign(t, "ES256", i.ec, "ec", with("exp", tokenTime.Unix()-40)), ""},
		"without an end":                  {sign(t, "ES256", i.ec, "ec", with("exp", nil)), ""},
		"not valid yet":                   {sign(t, "ES256", i.ec, "ec", with("nbf", tokenTime.Unix()+60)), ""},
		"of the future":                   {sign(t, "ES256", i.ec, "ec", with("iat", tokenTime.Unix()+60)), ""},
		"another issuer":                  {sign(t, "ES256", i.ec, "ec", with("iss", "https://issuer/")), ""},
		"no issuer":                       {sign(t, "ES256", i.ec, "ec", with("iss", nil)), ""},
		"another audience":                {sign(t, "ES256", i.ec, "ec", with("aud", "kafka2")), ""},
		"no audience":                     {sign(t, "ES256", i.ec, "ec", with("aud", nil)), ""},
		"nobody":                          {sign(t, "ES256", i.ec, "ec", with("sub", nil)), ""},
		"a number for a name":             {sign(t, "ES256", i.ec, "ec", with("sub", 7)), ""},
		"an algorithm that is not pinned": {sign(t, "PS256", i.rsa, "rsa", goodClaims()), ""},
		"a key of another algorithm":      {sign(t, "RS256", i.rsa, "ec", goodClaims()), ""},
		"a key that says its algorithm":   {sign(t, "RS512", i.rsa, "rsa512", goodClaims()), "User:alice"},
		"and is used for another one":     {sign(t, "RS256", i.rsa, "rsa512", goodClaims()), ""},
		"an unknown key":                  {sign(t, "ES256", i.ec, "who", goodClaims()), ""},
		"no key id, several keys":         {sign(t, "ES256", i.ec, "", goodClaims()), ""},
		"a key for encryption":            {sign(t, "RS256", i.rsa, "enc", goodClaims()), ""},
		"alg none":                        {none, ""},
		"HMAC with the public key":        {sign(t, "HS256", publicPEM, "rsa", goodClaims()), ""},
		"HMAC with the key in the set":    {sign(t, "HS256", []byte("0123456789abcdef0123456789abcdef"), "secret", goodClaims()), ""},
		"another's signature":             {sign(t, "ES256", newIssuer(t).ec, "ec", goodClaims()), ""},
		"changed claims":                  {parts[0] + "." + encoded(forged) + "." + parts[2], ""},
		"no signature":                    {parts[0] + "." + parts[1] + ".", ""},
		"nothing":                         {"", ""},
		"noise":                           {"a.b.c", ""},
	} {
		id, err := v.Verify(c.token, tokenTime)
		if id.Principal != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s: %q, %v", name, id.Principal, err)
		}
		if err != nil && (!errors.Is(err, ErrRefused) || len(c.token) > 5 && strings.Contains(err.Error(), c.token)) {
			t.Errorf("%s: %v", name, err)
		}
		if c.want != "" && id.Expires.IsZero() {
			t.Errorf("%s: it never expires", name)
		}
	}
}

func TestRulesThatLeaveSomethingOpenAreRefused(t *testing.T) {
	whole := TokenRules{Issuer: "i", Audiences: []string{"a"}, Algorithms: []string{"RS256"}, Claim: "sub"}
	for name, change := range map[string]func(*TokenRules){
		"issuer": func(r *TokenRules) { r.Issuer = "" }, "audience": func(r *TokenRules) { r.Audiences = nil },
		"algorithms": func(r *TokenRules) { r.Algorithms = nil }, "claim": func(r *TokenRules) { r.Claim = "" },
	} {
		r := whole
		change(&r)
		if _, err := NewTokenVerifier(r, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestABearerTokenLogsIn(t *testing.T) {
	i := newIssuer(t)
	v := verifierOf(t, i)
	claims := goodClaims()
	claims["exp"], claims["nbf"] = time.Now().Unix()+300, time.Now().Unix()-5
	token := sign(t, "ES256", i.ec, "ec", claims)
	e := v.Begin()
	if err := converse(t, clientoauth.Auth{Token: token, Extensions: map[string]string{"a": "b"}}.AsMechanism(), e); err != nil || e.Identity().Principal != "User:alice" {
		t.Errorf("%+v, %v", e.Identity(), err)
	}
	for name, message := range map[string]string{
		"nothing": "", "no header": "\x01auth=Bearer " + token + "\x01\x01", "no token": "n,,\x01\x01", "two tokens": "n,,\x01auth=Bearer " + token + "\x01auth=Bearer " + token + "\x01\x01",
		"another scheme": "n,,\x01auth=Basic " + token + "\x01\x01", "as somebody else": "n,a=root,\x01auth=Bearer " + token + "\x01\x01", "cut off": "n,,\x01auth=Bearer " + token,
	} {
		e := v.Begin()
		answer, done, err := e.Step([]byte(message), time.Now())
		if err != nil || done || string(answer) != `{"status":"invalid_token"}` {
			t.Errorf("%s: %q, %v, %v", name, answer, done, err)
		}
		if _, done, err := e.Step([]byte{1}, time.Now()); done || !errors.Is(err, ErrRefused) {
			t.Errorf("%s, and on: %v, %v", name, done, err)
		}
	}
	e = v.Begin()
	if _, done, err := e.Step([]byte("n,a=alice,\x01auth=bearer "+token+"\x01\x01"), time.Now()); !done || err != nil {
		t.Errorf("as oneself: %v", err)
	}
}

func TestAKeySetComesFromASafePlace(t *testing.T) {
	for _, location := range []string{"", "keys.json", "http://example.org/keys", "ftp://127.0.0.1/keys", "https:///keys", "file://host/keys"} {
		if _, err := OpenKeySet(vfs.NewMem(), location, time.Hour, nil); err == nil {
			t.Errorf("%q is accepted", location)
		}
	}
	if _, err := OpenKeySet(vfs.NewMem(), "file:///missing.json", time.Hour, nil); err == nil || !strings.Contains(err.Error(), "missing.json") {
		t.Errorf("a file that is not there: %v", err)
	}
	for name, content := range map[string]string{
		"no JSON": "x", "no keys": `{"keys":[]}`, "secrets only": `{"keys":[{"kty":"oct","k":"AAAA"}]}`,
		"too many": `{"keys":[` + strings.Repeat(`{},`, maxKeys) + `{}]}`, "too long": strings.Repeat(" ", maxKeySetBytes+1),
	} {
		fs := vfs.NewMem()
		writeFile(t, fs, "/k", []byte(content))
		if _, err := OpenKeySet(fs, "file:///k", time.Hour, nil); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestAKeySetIsFetchedAgainForANewKeyAndKeptWhenItIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := newIssuer(t), newIssuer(t)
		var mu sync.Mutex // over what follows: sleeping puts nothing in order
		var fetches int
		content, failure := one.jwks(t), error(nil)
		var told []error
		k := &KeySet{location: "test", refresh: time.Hour, hurry: make(chan struct{}, 1), told: func(err error) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, err)
		}}
		k.fetch = func(context.Context) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			fetches++
			return content, failure
		}
		set := func(b []byte, err error) {
			mu.Lock()
			defer mu.Unlock()
			content, failure = b, err
		}
		noNetwork := errors.New("no network")
		if _, ok := k.find("ec", "ES256", time.Now()); ok {
			t.Error("a set that was never loaded has a key")
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { k.Run(ctx); close(ended) }()
		synctest.Wait()
		if _, ok := k.find("ec", "ES256", time.Now()); !ok || fetches < 1 {
			t.Fatalf("no key after %d fetches", fetches)
		}
		before := fetches
		k.find("new", "ES256", time.Now()) // too soon to look again
		synctest.Wait()
		if fetches != before {
			t.Error("it is fetched for every token")
		}
		set(two.jwks(t), nil)
		time.Sleep(refreshPause)
		k.find("new", "ES256", time.Now())
		synctest.Wait()
		if key, _ := k.find("ec", "ES256", time.Now()); fetches != before+1 || !key.Key.(*ecdsa.PublicKey).Equal(&two.ec.PublicKey) {
			t.Errorf("%d fetches, and the old key", fetches-before)
		}
		set(nil, noNetwork)
		time.Sleep(time.Hour + 5*time.Second)
		synctest.Wait()
		if _, ok := k.find("ec", "ES256", time.Now()); !ok || len(told) != 1 || !errors.Is(told[0], noNetwork) {
			t.Errorf("key kept: %v; told %v", ok, told)
		}
		set(two.jwks(t), nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(told) != 2 || told[1] != nil {
			t.Errorf("told %v", told)
		}
		stop()
		<-ended
	})
}

func TestAKeySetIsFetchedOverHTTPWithinItsBounds(t *testing.T) {
	i := newIssuer(t)
	var mode atomic.Value
	mode.Store("good")
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mode.Load() {
		case "good":
			w.Write(i.jwks(t))
		case "long":
			w.Write(make([]byte, maxKeySetBytes+1))
		case "redirect":
			http.Redirect(w, r, "/elsewhere", http.StatusFound)
		case "missing":
			http.NotFound(w, r)
		}
	}))
	defer s.Close()
	get := func() error { _, err := download(t.Context(), s.Client().Transport, s.URL); return err }
	if err := get(); err != nil {
		t.Error(err)
	}
	for _, m := range []string{"long", "redirect", "missing"} {
		mode.Store(m)
		if err := get(); err == nil {
			t.Errorf("%s: accepted", m)
		}
	}
}

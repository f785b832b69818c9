package auth

import (
	"encoding/base64"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sasl"
	clientplain "github.com/twmb/franz-go/pkg/sasl/plain"
	clientscram "github.com/twmb/franz-go/pkg/sasl/scram"
)

func usersOf(t testing.TB, all map[string]string, mechanisms ...string) Users {
	t.Helper()
	have := make(map[string]Credential)
	for name, password := range all {
		for _, m := range mechanisms {
			c, err := NewCredential(m, password, MinIterations)
			if err != nil {
				t.Fatal(err)
			}
			have[m+" "+name] = c
		}
	}
	return func(user, mechanism string) (Credential, bool) { c, ok := have[mechanism+" "+user]; return c, ok }
}

// converse runs a client of franz-go against an exchange.
func converse(t testing.TB, m sasl.Mechanism, e Exchange) error {
	t.Helper()
	session, token, err := m.Authenticate(t.Context(), "localhost")
	if err != nil {
		t.Fatal(err)
	}
	for {
		answer, done, err := e.Step(token, time.Now())
		if err != nil {
			return err
		}
		ended, next, err := session.Challenge(answer)
		if err != nil {
			t.Fatalf("the client: %v", err)
		}
		if done {
			if !ended {
				t.Fatal("the server is done, the client is not")
			}
			return nil
		}
		token = next
	}
}

func TestEachMechanismLetsInWhoKnowsThePassword(t *testing.T) {
	const name, password = "al=ice,", "päss,word="
	p := NewPasswords(usersOf(t, map[string]string{name: password}, ScramSHA256, ScramSHA512))
	login := clientscram.Auth{User: name, Pass: password}
	wrong := clientscram.Auth{User: name, Pass: password + "x"}
	nobody := clientscram.Auth{User: "bob", Pass: password}
	for mechanism, clients := range map[string][3]sasl.Mechanism{
		Plain:       {clientplain.Auth{User: name, Pass: password}.AsMechanism(), clientplain.Auth{User: name, Pass: "x"}.AsMechanism(), clientplain.Auth{User: "bob", Pass: password}.AsMechanism()},
		ScramSHA256: {login.AsSha256Mechanism(), wrong.AsSha256Mechanism(), nobody.AsSha256Mechanism()},
		ScramSHA512: {login.AsSha512Mechanism(), wrong.AsSha512Mechanism(), nobody.AsSha512Mechanism()},
	} {
		e := p.Begin(mechanism)
		if err := converse(t, clients[0], e); err != nil {
			t.Errorf("%s: %v", mechanism, err)
		}
		if got := e.Identity(); got.Principal != "User:"+name || !got.Expires.IsZero() {
			t.Errorf("%s: %+v", mechanism, got)
		}
		if _, _, err := e.Step([]byte("again"), time.Now()); !errors.Is(err, ErrRefused) {
			t.Errorf("%s: behind its end: %v", mechanism, err)
		}
		for i, why := range map[int]string{1: "wrong password", 2: "there is no user"} {
			e := p.Begin(mechanism)
			err := converse(t, clients[i], e)
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), why) || strings.Contains(err.Error(), password) {
				t.Errorf("%s: %v", mechanism, err)
			}
			if e.Identity().Principal != "" {
				t.Errorf("%s: %+v is refused and somebody", mechanism, e.Identity())
			}
		}
	}
	if p.Begin("GSSAPI") != nil || p.Begin(OAuthBearer) != nil {
		t.Error("a mechanism without passwords has begun")
	}
}

func TestPlainChecksEitherCredential(t *testing.T) {
	for _, m := range []string{ScramSHA256, ScramSHA512} {
		p := NewPasswords(usersOf(t, map[string]string{"a": "b"}, m))
		if err := converse(t, clientplain.Auth{User: "a", Pass: "b"}.AsMechanism(), p.Begin(Plain)); err != nil {
			t.Errorf("%s: %v", m, err)
		}
	}
}

func TestPlainRefusesEveryOtherMessage(t *testing.T) {
	p := NewPasswords(usersOf(t, map[string]string{"a": "b"}, ScramSHA256))
	for _, message := range []string{"", "a", "a\x00b", "\x00a\x00b\x00", "\x00a\x00", "\x00\x00b", "root\x00a\x00b", "\x00a\x00" + strings.Repeat("b", 2000), "\x00a\x00c"} {
		if _, _, err := p.Begin(Plain).Step([]byte(message), time.Now()); !errors.Is(err, ErrRefused) {
			t.Errorf("%.20q: %v", message, err)
		}
	}
	if _, done, err := p.Begin(Plain).Step([]byte("a\x00a\x00b"), time.Now()); !done || err != nil {
		t.Errorf("a user who asks to be himself: %v", err)
	}
}

// The numbers are the example of RFC 7677, section 3.
func TestScramAgreesWithTheExampleOfTheRFC(t *testing.T) {
	salt, _ := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	c := Credential{Mechanism: ScramSHA256, Iterations: 4096, Salt: salt}
	c, err := CredentialFromSalted(ScramSHA256, salt, c.salted("pencil"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	s := &scram{
		mechanism: ScramSHA256, stage: 1, user: "user", known: true, credential: c, gs2: "n,,",
		nonce:  "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0",
		signed: "n=user,r=rOprNGfwEbeRWgbNEkqO,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
	}
	answer, done, err := s.Step([]byte("c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="), time.Now())
	if err != nil || !done || string(answer) != "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=" {
		t.Errorf("%q, %v, %v", answer, done, err)
	}
}

// As librdkafka does before 2.6, and Kafka lets it.
func TestScramAcceptsANonceWithTheClientsOwnTwice(t *testing.T) {
	p := NewPasswords(usersOf(t, map[string]string{"a": "b"}, ScramSHA256))
	c, _ := p.credential("a", ScramSHA256)
	for repeat, ok := range map[string]bool{"": true, "x": true, "y": false, "xx": false} {
		e := p.Begin(ScramSHA256)
		first, err := func() (string, error) { a, _, err := e.Step([]byte("n,,n=a,r=x"), time.Now()); return string(a), err }()
		if err != nil {
			t.Fatal(err)
		}
		nonce, _, _ := strings.Cut(strings.TrimPrefix(first, "r="), ",")
		without := "c=biws,r=" + repeat + nonce
		clientKey := c.mac(c.salted("b"), "Client Key")
		proof := c.mac(c.StoredKey, "n=a,r=x,"+first+","+without)
		for i := range proof {
			proof[i] ^= clientKey[i]
		}
		_, done, err := e.Step([]byte(without+",p="+base64.StdEncoding.EncodeToString(proof)), time.Now())
		if done != ok || (err == nil) != ok {
			t.Errorf("%q before the nonce: %v, %v", repeat, done, err)
		}
	}
}

func TestScramRefusesEveryOtherMessage(t *testing.T) {
	p := NewPasswords(usersOf(t, map[string]string{"a": "b"}, ScramSHA256))
	for _, first := range []string{
		"", "n", "n,,", "n,,n=a", "p=tls-unique,,n=a,r=x", "n,,r=x,n=a", "n,a=b,n=a,r=x", "n,x,n=a,r=x", "n,,n=,r=x", "n,,n=a,r=",
		"n,,n=a=,r=x", "n,,n=a,r=x y", "n,,n=a,r=x,tokenauth=true", "n,,n=a,r=x,", "n,,m=1,n=a,r=x", "n,,n=a,r=" + strings.Repeat("x", 2000),
	} {
		e := p.Begin(ScramSHA256)
		if _, _, err := e.Step([]byte(first), time.Now()); !errors.Is(err, ErrRefused) {
			t.Errorf("%.40q: %v", first, err)
		}
		if _, _, err := e.Step([]byte("c=biws,r=,p="), time.Now()); !errors.Is(err, ErrRefused) {
			t.Errorf("%.40q, and on: %v", first, err)
		}
	}
	for _, final := range []string{"", "c=biws,r=NONCE", "c=eSws,r=NONCE,p=AAAA", "c=biws,r=other,p=" + strings.Repeat("A", 43) + "=", "c=biws,p=" + strings.Repeat("A", 43) + "=", "c=biws,r=NONCE,p=!", "c=biws,r=NONCE,p=" + strings.Repeat("A", 43) + "="} {
		e := p.Begin(ScramSHA256)
		answer, _, err := e.Step([]byte("n,,n=a,r=x"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		nonce, _, _ := strings.Cut(strings.TrimPrefix(string(answer), "r="), ",")
		if _, done, err := e.Step([]byte(strings.Replace(final, "NONCE", nonce, 1)), time.Now()); done || !errors.Is(err, ErrRefused) {
			t.Errorf("%q: %v", final, err)
		}
	}
}

// Otherwise a second look would tell who exists.
func TestAUserWhoDoesNotExistHasTheSameSaltEachTime(t *testing.T) {
	p := NewPasswords(usersOf(t, nil))
	saltOf := func(user string) string {
		answer, _, err := p.Begin(ScramSHA256).Step([]byte("n,,n="+user+",r=x"), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(answer), ",")
		return rest
	}
	if saltOf("a") != saltOf("a") || saltOf("a") == saltOf("b") || !strings.HasSuffix(saltOf("a"), ",i=4096") {
		t.Errorf("%s, %s, %s", saltOf("a"), saltOf("a"), saltOf("b"))
	}
}

func TestACredentialIsHeldToItsBounds(t *testing.T) {
	good, err := NewCredential(ScramSHA512, "x", MaxIterations)
	if err != nil || good.Check() != nil || !good.Matches("x") || good.Matches("y") {
		t.Fatalf("%v, %v", err, good.Check())
	}
	for name, change := range map[string]func(*Credential){
		"few iterations":    func(c *Credential) { c.Iterations = MinIterations - 1 },
		"many iterations":   func(c *Credential) { c.Iterations = MaxIterations + 1 },
		"no salt":           func(c *Credential) { c.Salt = nil },
		"a long salt":       func(c *Credential) { c.Salt = make([]byte, MaxSaltBytes+1) },
		"a short key":       func(c *Credential) { c.StoredKey = c.StoredKey[1:] },
		"another mechanism": func(c *Credential) { c.Mechanism = Plain },
		"another hash":      func(c *Credential) { c.Mechanism = ScramSHA256 },
	} {
		c := good
		change(&c)
		if c.Check() == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for n, ok := range map[int]bool{0: false, 1: true, 31: true, MaxPasswordBytes: true, MaxPasswordBytes + 1: false} {
		c, err := CredentialFromSalted(ScramSHA256, []byte("salt"), make([]byte, n), MinIterations)
		if (err == nil) != ok || ok && c.Check() != nil {
			t.Errorf("a salted password of %d bytes: %v", n, err)
		}
	}
}

func FuzzExchanges(f *testing.F) {
	f.Add("n,,n=a,r=x", "c=biws,r=x,p=AAAA")
	f.Add("\x00a\x00b", "")
	p := NewPasswords(usersOf(f, map[string]string{"a": "b"}, ScramSHA256))
	f.Fuzz(func(t *testing.T, first, second string) {
		for _, m := range []string{ScramSHA256, Plain} {
			e := p.Begin(m)
			for _, token := range []string{first, second, second} {
				_, done, err := e.Step([]byte(token), time.Now())
				if err != nil && !errors.Is(err, ErrRefused) {
					t.Fatalf("%s: %v", m, err)
				}
				if done != (e.Identity().Principal != "") {
					t.Fatalf("%s: done %v as %+v", m, done, e.Identity())
				}
				if done && first != "\x00a\x00b" && first != "a\x00a\x00b" {
					t.Fatalf("%s: %q, %q let in", m, first, second)
				}
				if done {
					break
				}
			}
		}
	})
}

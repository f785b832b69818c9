package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/internal/pki"
)

// saslOf lets alice and bob in, both by the password "secret", and a token called by
// its user's name for ten minutes.
func saslOf(t testing.TB, maxReauth time.Duration) *SASL {
	t.Helper()
	c, err := auth.NewCredential(auth.ScramSHA256, "secret", auth.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	passwords := auth.NewPasswords(func(user, mechanism string) (auth.Credential, bool) {
		return c, mechanism == auth.ScramSHA256 && (user == "alice" || user == "bob")
	})
	return &SASL{
		Mechanisms: []string{auth.ScramSHA256, auth.Plain, auth.OAuthBearer},
		MaxReauth:  maxReauth,
		Begin: func(mechanism string) auth.Exchange {
			if mechanism == auth.OAuthBearer {
				return &token{}
			}
			return passwords.Begin(mechanism)
		},
	}
}

type token struct{ id auth.Identity }

func (e *token) Step(t []byte, now time.Time) ([]byte, bool, error) {
	if len(t) == 0 {
		return []byte("no"), false, nil
	}
	e.id = auth.Identity{Principal: auth.UserPrincipal(string(t)), Expires: now.Add(10 * time.Minute)}
	return nil, true, nil
}
func (e *token) Identity() auth.Identity { return e.id }
func (e *token) Refused() error {
	if e.id.Principal == "" {
		return errNoToken
	}
	return nil
}

var errNoToken = errors.New("no token")

func loginListener(t testing.TB, maxReauth time.Duration) ListenerConfig {
	return ListenerConfig{Name: "PLAIN", Protocol: SASLPlaintext, SASL: saslOf(t, maxReauth)}
}

// principals is a Backend that says who asked: JoinGroup answers with it.
type principals struct{ *fake }

func (p principals) JoinGroup(_ context.Context, c Client, _ *kmsg.JoinGroupRequest) *kmsg.JoinGroupResponse {
	resp := kmsg.NewPtrJoinGroupResponse()
	resp.MemberID = c.Principal
	return resp
}

func (w *wire) whoAmI() string {
	w.t.Helper()
	return ask[*kmsg.JoinGroupResponse](w, at(kmsg.NewPtrJoinGroupRequest(), 5)).MemberID
}

func (w *wire) handshake(version int16, mechanism string) *kmsg.SASLHandshakeResponse {
	w.t.Helper()
	req := at(kmsg.NewPtrSASLHandshakeRequest(), version)
	req.Mechanism = mechanism
	return ask[*kmsg.SASLHandshakeResponse](w, req)
}

func (w *wire) prove(token string) *kmsg.SASLAuthenticateResponse {
	w.t.Helper()
	req := at(kmsg.NewPtrSASLAuthenticateRequest(), 2)
	req.SASLAuthBytes = []byte(token)
	return ask[*kmsg.SASLAuthenticateResponse](w, req)
}

// logIn logs in by PLAIN and checks the outcome.
func (w *wire) logIn(user string) *kmsg.SASLAuthenticateResponse {
	w.t.Helper()
	if r := w.handshake(1, auth.Plain); r.ErrorCode != 0 {
		w.t.Fatalf("SaslHandshake: error %d", r.ErrorCode)
	}
	r := w.prove("\x00" + user + "\x00secret")
	if r.ErrorCode != 0 {
		w.t.Fatalf("SaslAuthenticate: error %d", r.ErrorCode)
	}
	return r
}

func TestOnlyWhoHasLoggedInIsServed(t *testing.T) {
	s := serverOn(t, principals{newFake()}, Limits{}, Events{}, loginListener(t, 0))
	w := connect(t, context.Background(), s)
	if r := ask[*kmsg.ApiVersionsResponse](w, at(kmsg.NewPtrApiVersionsRequest(), 0)); r.ErrorCode != 0 || len(r.ApiKeys) != len(newAPITable()) {
		t.Errorf("ApiVersions: error %d, %d keys", r.ErrorCode, len(r.ApiKeys))
	}
	r := w.handshake(1, auth.Plain)
	if r.ErrorCode != 0 || !slices.Equal(r.SupportedMechanisms, s.listeners[0].SASL.Mechanisms) {
		t.Errorf("SaslHandshake: %+v", r)
	}
	if a := w.prove("\x00alice\x00secret"); a.ErrorCode != 0 || a.ErrorMessage != nil || a.SessionLifetimeMillis != 0 {
		t.Errorf("SaslAuthenticate: %+v", a)
	}
	if got := w.whoAmI(); got != "User:alice" {
		t.Errorf("it is %s", got)
	}
	if a := w.prove("again"); a.ErrorCode != kerr.IllegalSaslState.Code {
		t.Errorf("SaslAuthenticate without SaslHandshake: error %d", a.ErrorCode)
	}
	if got := w.whoAmI(); got != "User:alice" {
		t.Errorf("then it is %s", got)
	}
}

// The matrix is made from the table of APIs: what is added to it is refused here
// until somebody has logged in.
func TestEveryAPIIsRefusedBeforeALoginButForThreeInTheirPlaces(t *testing.T) {
	type state struct {
		name    string
		reach   func(w *wire)
		allowed []kmsg.Key
		reason  error
	}
	states := []state{
		{"at the beginning", func(*wire) {}, []kmsg.Key{kmsg.ApiVersions, kmsg.SASLHandshake}, ErrNotLoggedIn},
		{"behind SaslHandshake", func(w *wire) { w.handshake(1, auth.ScramSHA256) }, []kmsg.Key{kmsg.SASLAuthenticate}, ErrNotLoggedIn},
		{"between two tokens", func(w *wire) { w.handshake(1, auth.ScramSHA256); w.prove("n,,n=alice,r=x") }, []kmsg.Key{kmsg.SASLAuthenticate}, ErrNotLoggedIn},
		{"behind a login", func(w *wire) { w.logIn("alice") }, nil, nil},
		{"logging in again", func(w *wire) {
			w.logIn("alice")
			time.Sleep(reauthPause)
			w.handshake(1, auth.Plain)
		}, []kmsg.Key{kmsg.SASLAuthenticate}, ErrNotLoggedIn},
		{"behind the end of a session", func(w *wire) {
			w.logIn("alice")
			time.Sleep(time.Hour)
		}, []kmsg.Key{kmsg.SASLHandshake}, ErrSessionExpired},
	}
	for _, st := range states {
		refused := 0
		for _, a := range newAPITable().sorted() {
			inBubble(t, func(t *testing.T) {
				f := newFake()
				w := dialer(t, serverOn(t, f, Limits{IdleTimeout: 2 * time.Hour, MaxFetchWait: time.Millisecond}, Events{}, loginListener(t, 30*time.Minute)))()
				st.reach(w)
				req := a.key.Request()
				if d, ok := req.(interface{ Default() }); ok {
					d.Default()
				}
				if p, ok := req.(*kmsg.ProduceRequest); ok {
					p.Acks = -1
				}
				id := w.send(at(req, a.max))
				if st.reason == nil || slices.Contains(st.allowed, a.key) {
					w.receive(req, id)
					w.leave()
					return
				}
				refused++
				if err := <-w.ended; !errors.Is(err, st.reason) {
					t.Errorf("%s: %s: %v, want %v", st.name, a.key.Name(), err, st.reason)
				}
				if _, _, err := w.frame(); err == nil {
					t.Errorf("%s: %s is answered", st.name, a.key.Name())
				}
			})
		}
		if want := len(newAPITable()) - len(st.allowed); st.reason != nil && refused != want {
			t.Errorf("%s: %d APIs are refused, want %d", st.name, refused, want)
		}
	}
}

func TestWhereNobodyLogsInALoginIsAnError(t *testing.T) {
	w := to(t, principals{newFake()})
	if r := w.handshake(1, auth.Plain); r.ErrorCode != kerr.IllegalSaslState.Code || len(r.SupportedMechanisms) != 0 {
		t.Errorf("SaslHandshake: %+v", r)
	}
	if r := w.prove("\x00alice\x00secret"); r.ErrorCode != kerr.IllegalSaslState.Code || r.ErrorMessage == nil {
		t.Errorf("SaslAuthenticate: %+v", r)
	}
	if got := w.whoAmI(); got != auth.Anonymous {
		t.Errorf("it is %s", got)
	}
}

func TestAFailedLoginIsAnsweredLateAndClosesTheConnection(t *testing.T) {
	for name, c := range map[string]struct {
		fail func(w *wire) (code int16, text *string)
		want *kerr.Error
	}{
		"a wrong password": {func(w *wire) (int16, *string) {
			w.handshake(1, auth.Plain)
			r := w.prove("\x00alice\x00wrong")
			return r.ErrorCode, r.ErrorMessage
		}, kerr.SaslAuthenticationFailed},
		"an unknown user": {func(w *wire) (int16, *string) {
			w.handshake(1, auth.Plain)
			r := w.prove("\x00nobody\x00secret")
			return r.ErrorCode, r.ErrorMessage
		}, kerr.SaslAuthenticationFailed},
		"a mechanism that is not": {func(w *wire) (int16, *string) {
			return w.handshake(1, "GSSAPI").ErrorCode, nil
		}, kerr.UnsupportedSaslMechanism},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := dialer(t, serverOn(t, newFake(), Limits{FailedLoginDelay: 3 * time.Second}, Events{}, loginListener(t, 0)))()
				began := time.Now()
				code, text := c.fail(w)
				if d := time.Since(began); d != 3*time.Second {
					t.Errorf("answered after %v", d)
				}
				if code != c.want.Code {
					t.Errorf("error %d", code)
				}
				if text != nil && *text != "Authentication failed: invalid credentials with SASL mechanism PLAIN" {
					t.Errorf("the client is told %q", *text)
				}
				w.mustBeCut(ErrAuthentication)
				if _, _, err := w.frame(); err == nil {
					t.Error("the connection is open")
				}
			})
		})
	}
}

func TestTokensWithoutHeadersLogInTooAsOldClientsSendThem(t *testing.T) {
	raw := func(w *wire, token string) []byte {
		w.write(append(binary.BigEndian.AppendUint32(nil, uint32(len(token))), token...))
		var head [4]byte
		if _, err := io.ReadFull(w.nc, head[:]); err != nil {
			return nil
		}
		answer := make([]byte, binary.BigEndian.Uint32(head[:]))
		if _, err := io.ReadFull(w.nc, answer); err != nil {
			w.t.Fatal(err)
		}
		return answer
	}
	inBubble(t, func(t *testing.T) {
		s := serverOn(t, principals{newFake()}, Limits{}, Events{}, loginListener(t, 0))
		w := dialer(t, s)()
		w.handshake(0, auth.Plain)
		if answer := raw(w, "\x00bob\x00secret"); answer == nil || len(answer) > 0 {
			t.Errorf("answer %q", answer)
		}
		if got := w.whoAmI(); got != "User:bob" {
			t.Errorf("it is %s", got)
		}
		w.leave()

		w = dialer(t, s)()
		w.handshake(0, auth.ScramSHA256)
		if answer := raw(w, "n,,n=alice,r=x"); !strings.HasPrefix(string(answer), "r=x") {
			t.Errorf("answer %q", answer)
		}
		if answer := raw(w, "c=biws,r=x,p=AAAA"); answer != nil {
			t.Errorf("a refusal is answered %q", answer)
		}
		w.mustBeCut(ErrAuthentication)

		w = dialer(t, s)() // short tokens are tokens
		w.handshake(0, auth.Plain)
		if answer := raw(w, ""); answer != nil {
			t.Errorf("no token is answered %q", answer)
		}
		w.mustBeCut(ErrAuthentication)
	})
}

func TestALoginCountsForItsTimeAndCanBeRenewedByItsUserOnly(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		s := serverOn(t, principals{newFake()}, Limits{}, Events{}, loginListener(t, 8*time.Minute))
		dial := dialer(t, s)
		w := dial()
		if r := w.logIn("alice"); r.SessionLifetimeMillis != 8*60_000 {
			t.Errorf("a lifetime of %d ms", r.SessionLifetimeMillis)
		}
		if r := w.handshake(1, auth.Plain); r.ErrorCode != kerr.IllegalSaslState.Code {
			t.Errorf("again at once: error %d", r.ErrorCode)
		}
		for range 3 { // also behind the end of the session
			time.Sleep(5 * time.Minute)
			w.whoAmI()
			time.Sleep(4 * time.Minute)
			w.logIn("alice")
			if got := w.whoAmI(); got != "User:alice" {
				t.Errorf("it is %s", got)
			}
		}
		time.Sleep(time.Second)
		w.handshake(1, auth.Plain)
		if r := w.prove("\x00bob\x00secret"); r.ErrorCode != kerr.SaslAuthenticationFailed.Code {
			t.Errorf("as another user: error %d", r.ErrorCode)
		}
		w.mustBeCut(ErrAuthentication)

		w = dial()
		w.logIn("alice")
		time.Sleep(time.Second)
		if r := w.handshake(1, auth.ScramSHA256); r.ErrorCode != kerr.UnsupportedSaslMechanism.Code {
			t.Errorf("by another mechanism: error %d", r.ErrorCode)
		}
		w.mustBeCut(ErrAuthentication)

		w = dial()
		w.logIn("alice")
		time.Sleep(8 * time.Minute)
		w.send(at(kmsg.NewPtrMetadataRequest(), 12))
		w.mustBeCut(ErrSessionExpired)
	})
}

func TestATokenEndsASessionEarlierThanTheListenerDoes(t *testing.T) {
	for max, want := range map[time.Duration]time.Duration{0: 10 * time.Minute, time.Hour: 10 * time.Minute, time.Minute: time.Minute} {
		inBubble(t, func(t *testing.T) {
			w := dialer(t, serverOn(t, newFake(), Limits{}, Events{}, loginListener(t, max)))()
			w.handshake(1, auth.OAuthBearer)
			if r := w.prove("alice"); r.SessionLifetimeMillis != want.Milliseconds() {
				t.Errorf("at most %v: %d ms", max, r.SessionLifetimeMillis)
			}
			w.leave()
		})
	}
}

func TestWhoGivesUpWhenToldOfARefusalIsRefused(t *testing.T) {
	w := connectTCP(t, context.Background(), serverOn(t, newFake(), Limits{}, Events{}, loginListener(t, 0)))
	w.handshake(1, auth.OAuthBearer)
	w.prove("")
	w.nc.Close()
	if err := w.end(); !errors.Is(err, ErrAuthentication) || !errors.Is(err, errNoToken) {
		t.Errorf("it ended with %v", err)
	}
}

func TestALoginHasItsTimeAndNoMore(t *testing.T) {
	for name, begin := range map[string]func(w *wire){
		"silence":          func(*wire) {},
		"behind handshake": func(w *wire) { w.handshake(1, auth.Plain) },
		"half a request":   func(w *wire) { w.write([]byte{0, 0, 1, 0, 0}) },
		"busy": func(w *wire) {
			for range 20 {
				time.Sleep(time.Second)
				ask[*kmsg.ApiVersionsResponse](w, at(kmsg.NewPtrApiVersionsRequest(), 0))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := dialer(t, serverOn(t, newFake(), Limits{}, Events{}, loginListener(t, 0)))()
				began := time.Now()
				begin(w)
				w.mustBeCut(ErrLoginTimeout)
				if d := time.Since(began); d != 30*time.Second {
					t.Errorf("after %v", d)
				}
			})
		})
	}
	inBubble(t, func(t *testing.T) {
		w := dialer(t, serverOn(t, newFake(), Limits{}, Events{}, loginListener(t, 0)))()
		w.logIn("alice")
		time.Sleep(5 * time.Minute)
		ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 12))
		w.leave()
	})
}

func TestARequestBeforeALoginIsSmall(t *testing.T) {
	limits := Limits{MaxLoginBytes: 500}
	padded := func(size int) []byte { // ApiVersions v0 with a long client id
		id := size - 10
		b := []byte{0, 18, 0, 0, 0, 0, 0, 7, byte(id >> 8), byte(id)}
		return append(binary.BigEndian.AppendUint32(nil, uint32(size)), append(b, make([]byte, id)...)...)
	}
	dial := func() *wire {
		return connect(t, context.Background(), serverOn(t, newFake(), limits, Events{}, loginListener(t, 0)))
	}
	w := dial()
	w.write(padded(500))
	if _, _, err := w.frame(); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	w = dial()
	w.write(padded(501)[:4])
	if err := w.end(); !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), "sasl.server.max.receive.size=500") {
		t.Errorf("beyond it: %v", err)
	}
	w = dial()
	w.logIn("alice")
	w.write(padded(501))
	if _, _, err := w.frame(); err != nil {
		t.Errorf("behind a login: %v", err)
	}
	w = dial()
	w.handshake(0, auth.Plain)
	w.write([]byte{0, 0, 1, 245})
	w.mustEnd(ErrFrame)
}

func TestAListenerHasWhatItsProtocolNeeds(t *testing.T) {
	names := func([]byte) (string, error) { return "", nil }
	s := &SASL{Mechanisms: []string{auth.Plain}}
	for i, l := range []ListenerConfig{
		{Protocol: ""}, {Protocol: "plaintext"}, {Protocol: SSL}, {Protocol: SSL, TLS: &tls.Config{}}, {Protocol: SSL, Certified: names},
		{Protocol: SASLPlaintext}, {Protocol: SASLPlaintext, SASL: &SASL{}}, {Protocol: SASLSSL, SASL: s}, {Protocol: SASLSSL, TLS: &tls.Config{}},
		{Protocol: Plaintext, TLS: &tls.Config{}}, {Protocol: Plaintext, SASL: s}, {Protocol: SASLPlaintext, SASL: s, TLS: &tls.Config{}},
	} {
		l.Name = "L"
		if _, err := New(Config{Listeners: []ListenerConfig{l}}, newFake()); err == nil || !strings.Contains(err.Error(), "listener L") {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// tlsListener encrypts, by a certificate of an authority, and demands one of it.
func tlsListener(t testing.TB, ca *pki.Authority, protocol string, clients tls.ClientAuthType) ListenerConfig {
	t.Helper()
	l := ListenerConfig{Name: "PLAIN", Protocol: protocol, TLS: &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, pkix.Name{CommonName: "server"}).TLS(t)},
		ClientAuth:   clients, ClientCAs: ca.Pool(),
	}}
	if protocol == SASLSSL {
		l.SASL = saslOf(t, 0)
		return l
	}
	rules, err := auth.ParsePrincipalRules(`RULE:^CN=([a-z]+)$/$1/`)
	if err != nil {
		t.Fatal(err)
	}
	l.Certified = rules.Principal
	return l
}

// secured is a client's side of TLS on a wire.
func secured(w *wire, cfg *tls.Config) (*wire, error) {
	c := tls.Client(w.nc, cfg)
	w.nc = c
	return w, c.Handshake()
}

func TestACertificateSaysWhoTheClientIs(t *testing.T) {
	ca, stranger := pki.New(t, "ca"), pki.New(t, "other")
	client := func(pairs ...pki.Pair) *tls.Config {
		cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
		for _, p := range pairs { // shown whatever the server asks for
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { pair := p.TLS(t); return &pair, nil }
		}
		return cfg
	}
	alice := ca.Issue(t, pkix.Name{CommonName: "alice"})
	for name, c := range map[string]struct {
		demand tls.ClientAuthType
		client *tls.Config
		want   string // the principal
		reason error
	}{
		"required":                   {tls.RequireAndVerifyClientCert, client(alice), "User:alice", nil},
		"required and missing":       {tls.RequireAndVerifyClientCert, client(), "", ErrHandshake},
		"requested":                  {tls.VerifyClientCertIfGiven, client(alice), "User:alice", nil},
		"requested and missing":      {tls.VerifyClientCertIfGiven, client(), auth.Anonymous, nil},
		"not asked for":              {tls.NoClientCert, client(alice), auth.Anonymous, nil},
		"of a stranger":              {tls.VerifyClientCertIfGiven, client(stranger.Issue(t, pkix.Name{CommonName: "alice"})), "", ErrHandshake},
		"of nobody, by the rules":    {tls.RequireAndVerifyClientCert, client(ca.Issue(t, pkix.Name{CommonName: "NOBODY"})), "", ErrAuthentication},
		"of an injector, by theirs":  {tls.RequireAndVerifyClientCert, client(ca.Issue(t, pkix.Name{CommonName: "alice,OU=x"})), "", ErrAuthentication},
		"a client without any trust": {tls.NoClientCert, &tls.Config{ServerName: "localhost"}, "", ErrHandshake},
	} {
		t.Run(name, func(t *testing.T) {
			s := serverOn(t, principals{newFake()}, Limits{}, Events{}, tlsListener(t, ca, SSL, c.demand))
			w, err := secured(connectTCP(t, context.Background(), s), c.client)
			if c.reason != nil {
				if got := w.end(); !errors.Is(got, c.reason) {
					t.Errorf("%v, want %v", got, c.reason)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := w.whoAmI(); got != c.want {
				t.Errorf("it is %s, want %s", got, c.want)
			}
		})
	}
}

func TestALoginInsideTLSCountsAndNotTheCertificate(t *testing.T) {
	ca := pki.New(t, "ca")
	s := serverOn(t, principals{newFake()}, Limits{}, Events{}, tlsListener(t, ca, SASLSSL, tls.RequireAndVerifyClientCert))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", MinVersion: version, MaxVersion: version}
		cfg.Certificates = []tls.Certificate{ca.Issue(t, pkix.Name{CommonName: "machine"}).TLS(t)}
		w, err := secured(connectTCP(t, context.Background(), s), cfg)
		if err != nil {
			t.Fatal(err)
		}
		w.logIn("alice")
		if got := w.whoAmI(); got != "User:alice" {
			t.Errorf("it is %s", got)
		}
	}
}

func TestATLSHandshakeHasItsTimeAndNoMore(t *testing.T) {
	for name, begin := range map[string]func(w *wire){
		"silence":          func(*wire) {},
		"a record's begin": func(w *wire) { w.write([]byte{22, 3, 1, 0}) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				w := dialer(t, serverOn(t, newFake(), Limits{}, Events{}, tlsListener(t, pki.New(t, "ca"), SSL, tls.NoClientCert)))()
				began := time.Now()
				begin(w)
				w.mustBeCut(ErrHandshake)
				if d := time.Since(began); d != 30*time.Second {
					t.Errorf("after %v", d)
				}
			})
		})
	}
	w := connectTCP(t, context.Background(), serverOn(t, newFake(), Limits{}, Events{}, tlsListener(t, pki.New(t, "ca"), SSL, tls.NoClientCert)))
	w.send(at(kmsg.NewPtrApiVersionsRequest(), 0)) // a client that does not encrypt
	if err := w.end(); !errors.Is(err, ErrHandshake) || !strings.Contains(err.Error(), "first record does not look like a TLS handshake") {
		t.Errorf("%v", err)
	}
}

func TestAServerThatEndsDoesNotWaitForALogin(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		for name, l := range map[string]ListenerConfig{"sasl": loginListener(t, 0), "tls": tlsListener(t, pki.New(t, "ca"), SSL, tls.NoClientCert)} {
			ctx, stop := context.WithCancel(t.Context())
			w := connect(t, ctx, serverOn(t, newFake(), Limits{}, Events{}, l))
			synctest.Wait()
			began := time.Now()
			stop()
			<-w.ended
			if d := time.Since(began); d > 0 {
				t.Errorf("%s: it waited %v", name, d)
			}
		}
	})
}

func TestConnectionsAreLimitedByListenerAndByAddress(t *testing.T) {
	limits := ConnectionLimits{All: 6, OfListener: map[string]int{"FEW": 3}, OfAddress: 2}
	a := newAdmission(limits.withDefaults())
	few, many := &ListenerConfig{Name: "FEW"}, &ListenerConfig{Name: "MANY"}
	var leave []func()
	admit := func(l *ListenerConfig, addr, why string) {
		t.Helper()
		out, err := a.admit(l, addr)
		if why == "" && err == nil {
			leave = append(leave, out)
			return
		}
		if why == "" || !errors.Is(err, ErrTooManyConnections) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s on %s: %v, want %q", addr, l.Name, err, why)
		}
	}
	admit(few, "10.0.0.1:1", "")
	admit(few, "10.0.0.1:2", "")
	admit(many, "[::ffff:10.0.0.1]:3", "from 10.0.0.1") // the same host
	admit(few, "[::1]:1", "")
	admit(few, "10.0.0.2:1", "listener FEW")
	admit(many, "10.0.0.2:1", "")
	admit(many, "10.0.0.2:2", "")
	admit(many, "10.0.0.3:1", "")
	admit(many, "10.0.0.4:1", "6 are open")
	leave[0]()
	admit(many, "10.0.0.1:4", "")
	a.limit(ConnectionLimits{All: 7, OfListener: map[string]int{"MANY": 4}})
	admit(many, "10.0.0.1:5", "listener MANY")
	admit(few, "10.0.0.1:5", "")
	admit(few, "10.0.0.1:6", "7 are open")
	a.limit(ConnectionLimits{All: 3})
	admit(few, "10.0.0.9:1", "7 are open") // who is there stays
	for _, out := range leave[1:] {
		out()
	}
	if a.all != 0 || len(a.addresses) != 0 {
		t.Errorf("%d are left, %v", a.all, a.addresses)
	}
}

func TestTwoThousandSlowConnectionsDoNotHurtTheOthers(t *testing.T) {
	for name, memory := range map[string]int{"memory for all": 0, "memory is short": 8 << 20} {
		t.Run(name, func(t *testing.T) { inBubble(t, func(t *testing.T) { amongSlowOnes(t, 2000, memory) }) })
	}
}

func amongSlowOnes(t *testing.T, slow, memory int) {
	f := newFake()
	f.add("t", 1)
	login := loginListener(t, 0)
	login.Name = "LOGIN"
	s := serverOn(t, f, Limits{MaxRequestMemory: memory}, Events{}, ListenerConfig{Name: "PLAIN", Protocol: Plaintext}, login)
	large := binary.BigEndian.AppendUint32(nil, 90<<20)
	begun := append(slices.Clone(large), make([]byte, readStep+1)...)
	kinds := []struct {
		listener string
		begin    []byte
	}{{"LOGIN", nil}, {"LOGIN", []byte{0, 0, 200, 0, 0}}, {"PLAIN", large}, {"PLAIN", begun}}
	var ends []chan error
	for i := range slow {
		k := kinds[i%len(kinds)]
		here, there := net.Pipe()
		ended := make(chan error, 1)
		ends = append(ends, ended)
		go func() { ended <- s.ServeConn(context.Background(), there, k.listener) }()
		go func() { _, _ = here.Write(k.begin) }() // some are cut before they are through
		defer here.Close()
	}
	synctest.Wait()
	w := dialer(t, s)()
	began := time.Now()
	for range 20 {
		if got := outcome(ask[*kmsg.ProduceResponse](w, producing(9, -1, "t", 0, batchOf(100)))); got.ErrorCode != 0 {
			t.Fatalf("error %d", got.ErrorCode)
		}
		ask[*kmsg.FetchResponse](w, reading(12, "t", 0))
	}
	if took := time.Since(began); took > 0 {
		t.Errorf("a client among them waited %v", took)
	}
	w.leave()
	for _, ended := range ends {
		<-ended // all are cut in the end
	}
	if s.memory.used.Load() != 0 || s.admission.all != 0 {
		t.Errorf("%d bytes and %d connections are left", s.memory.used.Load(), s.admission.all)
	}
}

// A byte now and then is no progress.
func TestAClientThatTricklesIsCutWhereOthersWait(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1, func(t *Topic) { t.Config.MaxMessageBytes = 1 << 30 })
		s := serverOf(t, f, Limits{MaxRequestMemory: 1 << 10}, Events{})
		trickle, w := dialer(t, s)(), dialer(t, s)()
		trickle.write(binary.BigEndian.AppendUint32(nil, 1<<20))
		trickle.write(make([]byte, readStep))
		through := make(chan struct{})
		go func() {
			defer close(through)
			for {
				time.Sleep(9 * time.Second)
				if _, err := trickle.nc.Write([]byte{0}); err != nil {
					return
				}
			}
		}()
		time.Sleep(5 * time.Minute) // nobody else wants anything
		began := time.Now()
		ask[*kmsg.ProduceResponse](w, producing(9, -1, "t", 0, batchOf(20_000)))
		if d := time.Since(began); d > stallTimeout {
			t.Errorf("the other one waited %v", d)
		}
		trickle.mustBeCut(ErrStalled)
		w.leave()
		<-through
	})
}

func TestRequestsAreReadOneByOneWhereMemoryIsShort(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		f := newFake()
		f.add("t", 1, func(t *Topic) { t.Config.MaxMessageBytes = 1 << 30 })
		s := serverOf(t, f, Limits{MaxRequestMemory: 1 << 10}, Events{}) // no request fits
		var all []*wire
		req := producing(9, -1, "t", 0, batchOf(20_000))
		for range 20 {
			w := dialer(t, s)()
			all = append(all, w)
			go w.send(req)
		}
		for _, w := range all {
			if got := outcome(w.receive(req, 1).(*kmsg.ProduceResponse)); got.ErrorCode != 0 {
				t.Errorf("error %d", got.ErrorCode)
			}
		}
		for _, w := range all {
			w.leave()
		}
		if s.memory.used.Load() != 0 || s.memory.owner.Load() != nil {
			t.Errorf("%d bytes are still taken", s.memory.used.Load())
		}
	})
}

package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/internal/pki"
)

// door is a way to a broker, as far as a client has come through it.
type door struct {
	name     string
	listener ListenerConfig
	// enter opens a connection; it does what there is to do before requests.
	enter func(t *testing.T, s *Server) *wire
	// principal is who the client is then, "" for one who still has to log in.
	principal string
	// proving is set where it is in the middle of that.
	proving bool
}

// doors are all kinds of listeners: with TLS and without, with certificates of clients
// and without, with logins that have not begun, are under way, and are done.
func doors(t *testing.T) []door {
	ca := pki.New(t, "ca")
	alice := ca.Issue(t, pkix.Name{CommonName: "alice"}).TLS(t)
	socket := func(t *testing.T, s *Server) *wire {
		w := connectTCP(t, context.Background(), s)
		t.Cleanup(func() { w.nc.Close() })
		return w
	}
	encrypted := func(certificates ...tls.Certificate) func(*testing.T, *Server) *wire {
		return func(t *testing.T, s *Server) *wire {
			w, err := secured(socket(t, s), &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost", Certificates: certificates})
			if err != nil {
				t.Fatal(err)
			}
			return w
		}
	}
	loggedIn := func(enter func(*testing.T, *Server) *wire) func(*testing.T, *Server) *wire {
		return func(t *testing.T, s *Server) *wire {
			w := enter(t, s)
			w.logIn("alice")
			return w
		}
	}
	begun := func(enter func(*testing.T, *Server) *wire) func(*testing.T, *Server) *wire {
		return func(t *testing.T, s *Server) *wire {
			w := enter(t, s)
			w.handshake(1, auth.Plain)
			return w
		}
	}
	asked := tlsListener(t, ca, SSL, tls.VerifyClientCertIfGiven)
	login, both := loginListener(t, 0), tlsListener(t, ca, SASLSSL, tls.NoClientCert)
	plain := ListenerConfig{Name: "PLAIN", Protocol: Plaintext}
	return []door{
		{"PLAINTEXT", plain, socket, auth.Anonymous, false},
		{"SSL without a certificate", asked, encrypted(), auth.Anonymous, false},
		{"SSL with a certificate", asked, encrypted(alice), "User:alice", false},
		{"SASL_PLAINTEXT before a login", login, socket, "", false},
		{"SASL_PLAINTEXT in the middle of it", login, begun(socket), "", true},
		{"SASL_PLAINTEXT behind it", login, loggedIn(socket), "User:alice", false},
		{"SASL_SSL before a login", both, encrypted(), "", false},
		{"SASL_SSL with a certificate before a login", both, encrypted(alice), "", false},
		{"SASL_SSL in the middle of it", both, begun(encrypted()), "", true},
		{"SASL_SSL behind it", both, loggedIn(encrypted()), "User:alice", false},
	}
}

// beforeLogin are the APIs that are answered to somebody who is nobody yet.
var beforeLogin = []kmsg.Key{kmsg.ApiVersions, kmsg.SASLHandshake}

// grantingTo is granting to somebody else than the anonymous user, or to all.
func grantingTo(principal string, needs []need) acl.Authorizer {
	a := granting(nil)
	granting(needs).List.All(func(b acl.Binding) bool {
		b.Principal = principal
		a.List = a.List.Add(b)
		return true
	})
	return a
}

// The matrix: every API, through every door, with permissions of the one who comes, of
// somebody else, and of everybody. It is made from the table of APIs; an API without a
// sample fails.
func TestTheMatrixOfListenersAPIsAndPrincipals(t *testing.T) {
	all := doors(t)
	for _, a := range newAPITable().sorted() {
		if len(samples[a.key]) == 0 {
			t.Errorf("%s has no sample: the matrix cannot be tested", a.key.Name())
			continue
		}
		smp := samples[a.key][0]
		version := a.max
		for version > a.min && smp.request(version, Topic{}) == nil {
			version--
		}
		var enough []need
		if len(smp.enough) > 0 {
			enough = smp.enough[0]
		}
		for _, d := range all {
			for _, who := range []struct {
				principal string
				allowed   bool // where the client is somebody
			}{
				{d.principal, true},
				{"User:*", true},
				{"User:bob", len(enough) == 0},
				{"User:alice", len(enough) == 0 || d.principal == "User:alice"},
				{auth.Anonymous, len(enough) == 0 || d.principal == auth.Anonymous},
			} {
				if who.principal == "" {
					continue
				}
				t.Run(fmt.Sprintf("%s/%s/%s may", a.key.Name(), d.name, who.principal), func(t *testing.T) {
					f, topic := sampled(grantingTo(who.principal, enough))
					w := d.enter(t, serverOn(t, f, impatient, Events{}, d.listener))
					r := smp.request(version, topic)
					id := w.send(r)
					if d.principal == "" {
						if d.proving && a.key == kmsg.SASLAuthenticate || !d.proving && slices.Contains(beforeLogin, a.key) {
							w.receive(r, id)
							return
						}
						if _, _, err := w.frame(); err == nil {
							t.Fatal("it is answered")
						}
						if err := <-w.ended; !errors.Is(err, ErrNotLoggedIn) {
							t.Errorf("the connection ends with %v", err)
						}
						return
					}
					resp := w.receive(r, id)
					refused := refusedBy(reflect.ValueOf(resp)) || smp.hidden != nil && smp.hidden(resp)
					if refused == who.allowed {
						t.Errorf("refused is %v: %+v", refused, resp)
					}
				})
			}
		}
	}
}

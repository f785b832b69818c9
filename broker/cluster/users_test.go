package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/auth"
)

func credentialFor(t testing.TB, mechanism, password string) auth.Credential {
	t.Helper()
	c, err := auth.NewCredential(mechanism, password, auth.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

var (
	small, _ = auth.NewCredential(auth.ScramSHA256, "x", auth.MinIterations)
	large, _ = auth.NewCredential(auth.ScramSHA512, "y", auth.MinIterations)
)

func (m *model) setCredential(t *rapid.T) {
	user := rapid.SampledFrom([]string{"a", "b", "c", "é,="}).Draw(t, "user")
	c := rapid.SampledFrom([]auth.Credential{small, large}).Draw(t, "credential")
	cmd, err := m.ctl.SetCredential(user, c)
	if err != nil {
		t.Fatal(err)
	}
	m.users[user+" "+c.Mechanism] = true
	m.commit(cmd)
}

func (m *model) deleteCredential(t *rapid.T) {
	user := rapid.SampledFrom([]string{"a", "b", "c", "é,="}).Draw(t, "user")
	mechanism := rapid.SampledFrom([]string{auth.ScramSHA256, auth.ScramSHA512}).Draw(t, "mechanism")
	cmd, err := m.ctl.DeleteCredential(user, mechanism)
	if there := m.users[user+" "+mechanism]; there != (err == nil) {
		t.Fatalf("deleting %s of %s: %v", mechanism, user, err)
	}
	if err != nil {
		return
	}
	delete(m.users, user+" "+mechanism)
	m.commit(cmd)
}

func (m *model) checkUsers(t *rapid.T) {
	seen := 0
	for _, u := range m.applied.Users() {
		for _, c := range u.Credentials {
			seen++
			if !m.users[u.Name+" "+c.Mechanism] {
				t.Fatalf("%s has a credential for %s", u.Name, c.Mechanism)
			}
			found, ok := m.applied.User(u.Name)
			if got, there := found.Credential(c.Mechanism); !ok || !there || !slices.Equal(got.StoredKey, c.StoredKey) {
				t.Fatalf("%s is not found", u.Name)
			}
		}
	}
	if seen != len(m.users) {
		t.Fatalf("%d credentials, want %d", seen, len(m.users))
	}
}

func TestCredentialsThatCannotBeAreRefused(t *testing.T) {
	c := lead(t, 1, 1)
	weak := credentialFor(t, auth.ScramSHA256, "x")
	weak.Iterations = 100
	for name, f := range map[string]func() error{
		"weak":        func() error { _, err := c.SetCredential("a", weak); return err },
		"nobody":      func() error { _, err := c.SetCredential("", small); return err },
		"a long name": func() error { _, err := c.SetCredential(strings.Repeat("x", 256), small); return err },
	} {
		if err := f(); !errors.Is(err, kerr.UnacceptableCredential) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.DeleteCredential("a", auth.ScramSHA256); !errors.Is(err, kerr.ResourceNotFound) {
		t.Errorf("deleting what is not there: %v", err)
	}
}

func TestNoToolPrintsACredential(t *testing.T) {
	c := lead(t, 1, 1)
	cmd, err := c.SetCredential("alice", small)
	if err != nil {
		t.Fatal(err)
	}
	if got := Describe(cmd); got != `set credential of user "alice" for SCRAM-SHA-256` {
		t.Error(got)
	}
}

func TestASettingOfAListenerWinsOverThatOfAll(t *testing.T) {
	s := brokerSettingsOf(t, map[string]string{
		"ssl.client.auth": "required", "sasl.enabled.mechanisms": "PLAIN", "max.connections": "500",
		"listener.name.outside.ssl.client.auth": "requested", "listener.name.outside.max.connections": "7",
		"listener.name.outside.sasl.enabled.mechanisms": "SCRAM-SHA-512, OAUTHBEARER",
		"ssl.keystore.key": "-----BEGIN PRIVATE KEY-----\nAAAA",
	})
	out, in := s.Listener("OUTSIDE"), s.Listener("INSIDE")
	if out.ClientAuth != "requested" || !out.ClientAuthHere || out.MaxConnections != 7 || !slices.Equal(out.Mechanisms, []string{"SCRAM-SHA-512", "OAUTHBEARER"}) {
		t.Errorf("%+v", out)
	}
	if in.ClientAuth != "required" || in.ClientAuthHere || in.MaxConnections != 0 || !slices.Equal(in.Mechanisms, []string{"PLAIN"}) || s.MaxConnections != 500 {
		t.Errorf("%+v", in)
	}
	if got := s.ListenersNamed(); !slices.Equal(got, []string{"outside"}) {
		t.Errorf("%v", got)
	}
	if e := entryNamed(t, s.Entries(), "ssl.keystore.key"); !e.Sensitive {
		t.Error("the private key is shown")
	}
	if e := entryNamed(t, s.Entries(), "listener.name.outside.max.connections"); *e.Value != "7" || e.ReadOnly {
		t.Errorf("%+v", e)
	}
	if e := entryNamed(t, s.Entries(), "listener.name.outside.ssl.client.auth"); *e.Value != "requested" || !e.ReadOnly || len(e.Synonyms) != 3 {
		t.Errorf("%+v", e)
	}
	d := DefaultBrokerSettings().Listener("X")
	if !slices.Equal(d.Mechanisms, []string{auth.ScramSHA256, auth.ScramSHA512}) || d.ClientAuth != "none" || len(d.PrincipalRules) != 1 || d.TokenClaim != "sub" || d.MaxReauthMs != 0 {
		t.Errorf("%+v", d)
	}
}

func TestSecuritySettingsAreChecked(t *testing.T) {
	for _, pair := range [][2]string{
		{"ssl.keystore.type", "JKS"}, {"ssl.client.auth", "maybe"}, {"ssl.enabled.protocols", "TLSv1.1"}, {"sasl.enabled.mechanisms", "GSSAPI"},
		{"sasl.oauthbearer.algorithms", "HS256"}, {"sasl.oauthbearer.algorithms", "none"}, {"ssl.principal.mapping.rules", "RULE:x"},
		{"listener.name.a.num.partitions", "3"}, {"listener.name..ssl.client.auth", "none"}, {"listener.name.a", "x"}, {"listener.name.a.max.connections", "0"},
		{"max.connections.per.ip.overrides", "host:3"}, {"max.connections.per.ip.overrides", "10.0.0.1"}, {"max.connections.per.ip.overrides", "10.0.0.1:-1"},
		{"ssl.keystore.key", "geheim"},
	} {
		_, err := ParseBrokerSettings(map[string]string{pair[0]: pair[1]})
		if err == nil {
			t.Errorf("%s=%s is accepted", pair[0], pair[1])
		} else if strings.Contains(err.Error(), "geheim") {
			t.Errorf("a secret is shown: %v", err)
		}
	}
	s := brokerSettingsOf(t, map[string]string{"max.connections.per.ip.overrides": "10.0.0.1:3, [::1]:4,::ffff:10.0.0.2:5"})
	if len(s.ConnectionsPerIP) != 3 {
		t.Errorf("%v", s.ConnectionsPerIP)
	}
}

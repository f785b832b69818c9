package integration

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/segmentio/kafka-go"
	kafkaplain "github.com/segmentio/kafka-go/sasl/plain"
	kafkascram "github.com/segmentio/kafka-go/sasl/scram"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/splashdam/splashdam/internal/pki"
	"github.com/splashdam/splashdam/sdk"
)

// fortress is a node with a listener of each kind, and what its clients need.
type fortress struct {
	*Node
	ca       *pki.Authority
	listener map[string]string // address by name
	keystore string            // file of the node
	trust    string            // file of the authority
	client   pki.Pair          // of alice
	key      *ecdsa.PrivateKey // of the tokens' issuer
}

// openFortress starts it with more arguments. Users are alice and bob, by the
// password "se:cret,1" or, of bob, by SCRAM-SHA-512 only.
func openFortress(t *testing.T, args ...string) *fortress {
	t.Helper()
	dir := t.TempDir()
	f := &fortress{ca: pki.New(t, "ca"), keystore: filepath.Join(dir, "node.pem"), trust: filepath.Join(dir, "ca.pem")}
	f.client = f.ca.Issue(t, pkix.Name{CommonName: "alice", Organization: []string{"Example"}})
	var err error
	if f.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	keys, err := json.Marshal(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{KeyID: "k", Key: &f.key.PublicKey, Algorithm: "ES256"}}})
	if err != nil {
		t.Fatal(err)
	}
	write(t, f.trust, f.ca.Truststore())
	write(t, f.keystore, f.ca.Issue(t, pkix.Name{CommonName: "node"}).Keystore())
	write(t, filepath.Join(dir, "keys.json"), string(keys))
	write(t, filepath.Join(dir, "alice.key"), f.client.Key)
	write(t, filepath.Join(dir, "alice.crt"), f.client.Chain)
	all := []string{
		"--listeners", "SASL_PLAINTEXT://127.0.0.1:0", "--listeners", "SASL_SSL://127.0.0.1:0", "--listeners", "SSL://127.0.0.1:0",
		"--user", "alice:se:cret,1", "--user", "bob:se:cret,1:SCRAM-SHA-512",
	}
	for _, set := range []string{
		"ssl.keystore.location=" + f.keystore, "ssl.truststore.location=" + f.trust, "ssl.client.auth=required",
		`ssl.principal.mapping.rules=RULE:^CN=([^,]*),O=Example$/$1/,DEFAULT`,
		"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
		"sasl.oauthbearer.jwks.endpoint.url=file://" + filepath.Join(dir, "keys.json"),
		"sasl.oauthbearer.expected.issuer=me", "sasl.oauthbearer.expected.audience=kafka",
		"group.initial.rebalance.delay.ms=0",
	} {
		all = append(all, "--set", set)
	}
	f.Node = Start(t, append(all, args...)...)
	f.listener = make(map[string]string)
	for _, l := range f.Listeners() {
		f.listener[l.Name] = fmt.Sprintf("%s:%d", l.Host, l.Port)
	}
	return f
}

// write puts a file in the place of another in one step.
func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name+".new", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

func (f *fortress) tls() *tls.Config { return &tls.Config{RootCAs: f.ca.Pool()} }

func (f *fortress) mutual(t *testing.T) *tls.Config {
	cfg := f.tls()
	cfg.Certificates = []tls.Certificate{f.client.TLS(t)}
	return cfg
}

// token is a bearer token for as long as it says.
func (f *fortress) token(t *testing.T, user string, valid time.Duration) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: f.key}, (&jose.SignerOptions{}).WithHeader("kid", "k"))
	if err != nil {
		t.Fatal(err)
	}
	claims, err := json.Marshal(map[string]any{"iss": "me", "aud": "kafka", "sub": user, "exp": time.Now().Add(valid).Unix()})
	if err != nil {
		t.Fatal(err)
	}
	o, err := s.Sign(claims)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := o.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

const password = "se:cret,1"

func TestFranzGoLogsInByEveryMechanism(t *testing.T) {
	f := openFortress(t)
	alice, bob := scram.Auth{User: "alice", Pass: password}, scram.Auth{User: "bob", Pass: password}
	bearer := func(ctx context.Context) (oauth.Auth, error) {
		return oauth.Auth{Token: f.token(t, "alice", time.Hour)}, nil
	}
	expired := func(ctx context.Context) (oauth.Auth, error) {
		return oauth.Auth{Token: f.token(t, "alice", -time.Hour)}, nil
	}
	for _, c := range []struct {
		name, listener string
		opts           []kgo.Opt
		want           error // nil: it works
	}{
		{"plaintext", "PLAINTEXT", nil, nil},
		{"PLAIN", "SASL_SSL", []kgo.Opt{kgo.DialTLSConfig(f.tls()), kgo.SASL(plain.Auth{User: "alice", Pass: password}.AsMechanism())}, nil},
		{"PLAIN of who has SCRAM-SHA-512 only", "SASL_PLAINTEXT", []kgo.Opt{kgo.SASL(plain.Auth{User: "bob", Pass: password}.AsMechanism())}, nil},
		{"SCRAM-SHA-256", "SASL_SSL", []kgo.Opt{kgo.DialTLSConfig(f.tls()), kgo.SASL(alice.AsSha256Mechanism())}, nil},
		{"SCRAM-SHA-512", "SASL_PLAINTEXT", []kgo.Opt{kgo.SASL(bob.AsSha512Mechanism())}, nil},
		{"SCRAM with tokens as they are", "SASL_PLAINTEXT", []kgo.Opt{kgo.SASL(alice.AsSha256Mechanism()), kgo.MaxVersions(kversion.V0_11_0())}, nil},
		{"OAUTHBEARER", "SASL_SSL", []kgo.Opt{kgo.DialTLSConfig(f.tls()), kgo.SASL(oauth.Oauth(bearer))}, nil},
		{"certificate", "SSL", []kgo.Opt{kgo.DialTLSConfig(f.mutual(t))}, nil},
		{"a wrong password", "SASL_PLAINTEXT", []kgo.Opt{kgo.SASL(plain.Auth{User: "alice", Pass: "x"}.AsMechanism())}, kerr.SaslAuthenticationFailed},
		{"a mechanism that the user has not", "SASL_PLAINTEXT", []kgo.Opt{kgo.SASL(bob.AsSha256Mechanism())}, kerr.SaslAuthenticationFailed},
		{"an expired token", "SASL_PLAINTEXT", []kgo.Opt{kgo.SASL(oauth.Oauth(expired))}, errAny}, // the client gives up at the first answer
		{"nothing, where one logs in", "SASL_PLAINTEXT", nil, errAny},
		{"no certificate", "SSL", []kgo.Opt{kgo.DialTLSConfig(f.tls())}, errAny},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := testContext(t, 30*time.Second)
			topic := "t-" + strings.Map(func(r rune) rune {
				if r == ' ' || r == ',' {
					return '-'
				}
				return r
			}, c.name)
			cl, err := kgo.NewClient(append(c.opts, kgo.SeedBrokers(f.listener[c.listener]), kgo.AllowAutoTopicCreation(), kgo.RequestRetries(2),
				kgo.RetryTimeout(5*time.Second), kgo.DisableClientMetrics(), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
			if err != nil {
				t.Fatal(err)
			}
			defer cl.Close()
			err = cl.Ping(ctx)
			if c.want != nil {
				if err == nil || c.want != errAny && !errors.Is(err, c.want) {
					t.Errorf("got %v, want %v", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr(); err != nil {
				t.Fatal(err)
			}
			if n := cl.PollFetches(ctx).NumRecords(); n != 1 {
				t.Errorf("%d records come back", n)
			}
			nodes, err := kadm.NewClient(cl).ListBrokers(ctx)
			if err != nil || nodes[0].Host+":"+strconv.Itoa(int(nodes[0].Port)) != f.listener[c.listener] {
				t.Errorf("sent to %v, %v, want %s", nodes, err, f.listener[c.listener])
			}
		})
	}
}

var errAny = errors.New("any error")

func TestKafkaGoLogsIn(t *testing.T) {
	f := openFortress(t)
	ctx := testContext(t, time.Minute)
	s256, err := kafkascram.Mechanism(kafkascram.SHA256, "alice", password)
	if err != nil {
		t.Fatal(err)
	}
	s512, err := kafkascram.Mechanism(kafkascram.SHA512, "bob", password)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		listener  string
		transport *kafka.Transport
		ok        bool
	}{
		"PLAIN":            {"SASL_SSL", &kafka.Transport{TLS: f.tls(), SASL: kafkaplain.Mechanism{Username: "alice", Password: password}}, true},
		"SCRAM-SHA-256":    {"SASL_PLAINTEXT", &kafka.Transport{SASL: s256}, true},
		"SCRAM-SHA-512":    {"SASL_SSL", &kafka.Transport{TLS: f.tls(), SASL: s512}, true},
		"certificate":      {"SSL", &kafka.Transport{TLS: f.mutual(t)}, true},
		"a wrong password": {"SASL_PLAINTEXT", &kafka.Transport{SASL: kafkaplain.Mechanism{Username: "alice", Password: "x"}}, false},
	} {
		cl := &kafka.Client{Addr: kafka.TCP(f.listener[c.listener]), Transport: c.transport}
		_, err := cl.Metadata(ctx, &kafka.MetadataRequest{})
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		c.transport.CloseIdleConnections()
	}
	// Its connections send tokens as they are where the broker's versions do not say
	// otherwise.
	d := &kafka.Dialer{SASLMechanism: s256, Timeout: 10 * time.Second}
	conn, err := d.DialContext(ctx, "tcp", f.listener["SASL_PLAINTEXT"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Brokers(); err != nil {
		t.Error(err)
	}
}

func TestKcatLogsIn(t *testing.T) {
	kcat := NeedProgram(t, "kcat")
	f := openFortress(t)
	ctx := testContext(t, time.Minute)
	dir := filepath.Dir(f.keystore)
	for i, c := range []string{
		"SASL_PLAINTEXT sasl.mechanisms=PLAIN sasl.username=alice sasl.password=" + password,
		"SASL_SSL sasl.mechanisms=SCRAM-SHA-256 sasl.username=alice sasl.password=" + password + " ssl.ca.location=" + f.trust,
		"SASL_PLAINTEXT sasl.mechanisms=SCRAM-SHA-512 sasl.username=bob sasl.password=" + password,
		"SSL ssl.ca.location=" + f.trust + " ssl.certificate.location=" + filepath.Join(dir, "alice.crt") + " ssl.key.location=" + filepath.Join(dir, "alice.key"),
	} {
		words := strings.Fields(c)
		args := []string{"-b", f.listener[words[0]], "-X", "security.protocol=" + words[0]}
		for _, p := range words[1:] {
			args = append(args, "-X", p)
		}
		topic := "kcat-" + strconv.Itoa(i)
		run(ctx, t, strings.NewReader("hello\n"), kcat, append(slices.Clone(args), "-P", "-t", topic)...)
		if out := run(ctx, t, nil, kcat, append(args, "-C", "-t", topic, "-o", "beginning", "-c", "1", "-q")...); string(out) != "hello\n" {
			t.Errorf("%s: %q", words[:2], out)
		}
	}
}

func TestTheJavaClientLogsIn(t *testing.T) {
	j := needJava(t)
	f := openFortress(t)
	ctx := testContext(t, 2*time.Minute)
	trust := "ssl.truststore.type=PEM\nssl.truststore.location=" + f.trust + "\n"
	mine := filepath.Join(t.TempDir(), "alice.pem")
	write(t, mine, f.client.Keystore())
	login := func(module, user string) string {
		return fmt.Sprintf("sasl.jaas.config=org.apache.kafka.common.security.%s required username=\"%s\" password=\"%s\";\n", module, user, password)
	}
	for name, c := range map[string]string{
		"PLAIN":         "SASL_SSL sasl.mechanism=PLAIN\n" + trust + login("plain.PlainLoginModule", "alice"),
		"SCRAM-SHA-256": "SASL_SSL sasl.mechanism=SCRAM-SHA-256\n" + trust + login("scram.ScramLoginModule", "alice"),
		"SCRAM-SHA-512": "SASL_PLAINTEXT sasl.mechanism=SCRAM-SHA-512\n" + login("scram.ScramLoginModule", "bob"),
		"certificate":   "SSL ssl.keystore.type=PEM\nssl.keystore.location=" + mine + "\n" + trust,
	} {
		protocol, rest, _ := strings.Cut(c, " ")
		file := filepath.Join(t.TempDir(), "client.properties")
		write(t, file, "security.protocol="+protocol+"\n"+rest)
		out := j.run(ctx, t, "RoundTrip", f.listener[protocol], "1000", file)
		if !strings.Contains(out, "ok 1000") {
			t.Errorf("%s: the Java client said:\n%s", name, out)
		}
	}
}

func TestACertificateIsReplacedWhileClientsStay(t *testing.T) {
	f := openFortress(t)
	ctx := testContext(t, time.Minute)
	shown := func() string {
		c, err := (&tls.Dialer{Config: f.tls()}).DialContext(ctx, "tcp", f.listener["SASL_SSL"])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		return c.(*tls.Conn).ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	dials := 0
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.listener["SASL_SSL"]), kgo.AllowAutoTopicCreation(), kgo.SASL(plain.Auth{User: "alice", Pass: password}.AsMechanism()),
		kgo.Dialer(func(ctx context.Context, network, host string) (net.Conn, error) {
			dials++
			return (&tls.Dialer{Config: f.tls()}).DialContext(ctx, network, host)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	rec := func() *kgo.Record { return &kgo.Record{Topic: "t", Value: []byte("x")} }
	if err := cl.ProduceSync(ctx, rec()).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if got := shown(); got != "node" {
		t.Fatalf("%s is shown", got)
	}
	before := dials
	write(t, f.keystore, f.ca.Issue(t, pkix.Name{CommonName: "renewed"}).Keystore())
	for shown() != "renewed" {
		if ctx.Err() != nil {
			t.Fatal("the new certificate is not shown")
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := cl.ProduceSync(ctx, rec()).FirstErr(); err != nil {
		t.Fatal(err)
	}
	if dials != before {
		t.Errorf("the client has had to connect %d times more", dials-before)
	}
}

func TestUsersOutliveTheNodeAndLogInAgainInTime(t *testing.T) {
	f := openFortress(t, "--set", "connections.max.reauth.ms=3000")
	ctx := testContext(t, time.Minute)
	splashdam := Binary(t)
	properties := filepath.Join(t.TempDir(), "client.properties")
	write(t, properties, "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\nsasl.username=carol\nsasl.password=first\nssl.truststore.location="+f.trust+"\n")
	as := func(password string, args ...string) (string, error) {
		out, err := output(ctx, splashdam, append(args, "-b", f.listener["SASL_SSL"], "--command-config", properties, "-X", "sasl.password="+password)...)
		return out, err
	}
	run(ctx, t, strings.NewReader("first\n"), splashdam, "user", "add", "carol", "-b", f.Addr)
	if out, err := as("first", "user", "list", "-o", "json"); err != nil || !strings.Contains(out, `"carol"`) {
		t.Fatalf("%s, %v", out, err)
	}
	run(ctx, t, strings.NewReader("second\n"), splashdam, "user", "add", "carol", "-b", f.Addr)
	f.Kill()
	f.Restart()
	for _, l := range f.Listeners() {
		f.listener[l.Name] = fmt.Sprintf("%s:%d", l.Host, l.Port)
	}
	if out, err := as("first", "topic", "list"); err == nil || !strings.Contains(out, "does not know this user with this password") {
		t.Errorf("the old password: %s, %v", out, err)
	}
	if out, err := as("second", "topic", "list"); err != nil {
		t.Errorf("the new password: %s, %v", out, err)
	}

	// A client that works for longer than a login counts logs in again by itself; one
	// that may no more is cut then.
	security, err := sdk.ParseSecurity(map[string]string{
		"security.protocol": "SASL_SSL", "ssl.truststore.location": f.trust,
		"sasl.mechanism": "SCRAM-SHA-256", "sasl.username": "carol", "sasl.password": "second",
	})
	if err != nil {
		t.Fatal(err)
	}
	cl, err := kgo.NewClient(slices.Concat(security.Options(), []kgo.Opt{kgo.SeedBrokers(f.listener["SASL_SSL"]), kgo.AllowAutoTopicCreation(), kgo.RecordDeliveryTimeout(10 * time.Second)})...)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for end := time.Now().Add(7 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "reauth", Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	run(ctx, t, nil, splashdam, "user", "delete", "carol", "-b", f.Addr)
	for {
		err := cl.ProduceSync(ctx, &kgo.Record{Topic: "reauth", Value: []byte("x")}).FirstErr()
		if err != nil {
			break
		}
		if ctx.Err() != nil {
			t.Fatal("a deleted user goes on")
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// output runs a program and returns all that it printed.
func output(ctx context.Context, program string, args ...string) (string, error) {
	var b bytes.Buffer
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stdout, cmd.Stderr = &b, &b
	err := cmd.Run()
	return b.String(), err
}

func TestANodeThatCannotBeSafeDoesNotStart(t *testing.T) {
	dir := t.TempDir()
	ca := pki.New(t, "ca")
	pair := ca.Issue(t, pkix.Name{CommonName: "node"})
	good := filepath.Join(dir, "good.pem")
	write(t, good, pair.Keystore())
	write(t, filepath.Join(dir, "chain.pem"), pair.Chain)
	for _, c := range []struct {
		listener string
		set      []string
		want     string
	}{
		{"PLAINTEXT://0.0.0.0:0", nil, "would serve everyone who can reach it"},
		{"SASL_PLAINTEXT://0.0.0.0:0", nil, "nothing is encrypted"},
		{"SSL://0.0.0.0:0", nil, "nobody has to log in"},
		{"SSL://127.0.0.1:0", nil, "set ssl.keystore.location to a PEM file"},
		{"SSL://127.0.0.1:0", []string{"ssl.keystore.location=" + filepath.Join(dir, "none.pem")}, "none.pem: no such file"},
		{"SSL://127.0.0.1:0", []string{"ssl.keystore.location=" + filepath.Join(dir, "chain.pem")}, "chain.pem"},
		{"SSL://127.0.0.1:0", []string{"ssl.keystore.location=" + good, "ssl.client.auth=required"}, "ssl.truststore.location"},
		{"SSL://127.0.0.1:0", []string{"ssl.keystore.location=" + good, "listener.name.sll.ssl.client.auth=required"}, "no such listener"},
		{"SASL_PLAINTEXT://127.0.0.1:0", []string{"sasl.enabled.mechanisms="}, "nobody could log in"},
		{"SASL_PLAINTEXT://127.0.0.1:0", []string{"sasl.enabled.mechanisms=GSSAPI"}, "sasl.enabled.mechanisms"},
		{"SASL_PLAINTEXT://127.0.0.1:0", []string{"sasl.enabled.mechanisms=OAUTHBEARER"}, "sasl.oauthbearer.expected.issuer"},
		{"SASL_PLAINTEXT://127.0.0.1:0", []string{"sasl.enabled.mechanisms=OAUTHBEARER", "sasl.oauthbearer.expected.issuer=i", "sasl.oauthbearer.expected.audience=a", "sasl.oauthbearer.jwks.endpoint.url=http://example.org/keys"}, "not an https:// or file:/// URL"},
	} {
		args := []string{"serve", "--data", filepath.Join(dir, "data"), "--listeners", c.listener}
		for _, s := range c.set {
			args = append(args, "--set", s)
		}
		ctx := testContext(t, 20*time.Second)
		out, err := output(ctx, Binary(t), args...)
		if err == nil || ctx.Err() != nil || !strings.Contains(out, c.want) || strings.Contains(out, "ready in") {
			t.Errorf("%s %v: %v\n%swant %s", c.listener, c.set, err, out, c.want)
		}
	}
}

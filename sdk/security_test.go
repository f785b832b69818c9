package sdk

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"net"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/internal/pki"
	"github.com/splashdam/splashdam/internal/vfs"
)

func TestPropertiesSayHowToLogIn(t *testing.T) {
	fs := vfs.NewMem()
	f, err := fs.Create("/token")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte("a.b.c\n"), 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		properties string
		first      string // of the client's tokens
	}{
		{"sasl.mechanism=PLAIN sasl.username=alice sasl.password=se,cret", "\x00alice\x00se,cret"},
		{`sasl.mechanism=PLAIN sasl.jaas.config=o.a.k.PlainLoginModule#required#username="al\"ice"#password="s\\e";`, "\x00al\"ice\x00s\\e"},
		{"sasl.mechanism=SCRAM-SHA-512 sasl.username=alice sasl.password=x", "n,,n=alice,r="},
		{"sasl.mechanism=SCRAM-SHA-256 sasl.username=alice sasl.password=x", "n,,n=alice,r="},
		{"sasl.mechanism=OAUTHBEARER sasl.oauthbearer.token.endpoint.url=file:///token", "n,,\x01auth=Bearer a.b.c\x01\x01"},
	} {
		p := properties("security.protocol=SASL_PLAINTEXT " + c.properties)
		s, err := parseSecurity(fs, p)
		if err != nil || s.TLS != nil {
			t.Errorf("%s: %v", c.properties, err)
			continue
		}
		_, first, err := s.SASL.Authenticate(t.Context(), "h")
		if err != nil || !strings.HasPrefix(string(first), c.first) || s.SASL.Name() != p["sasl.mechanism"] {
			t.Errorf("%s: %s, %q, %v", c.properties, s.SASL.Name(), first, err)
		}
	}
}

func properties(text string) map[string]string {
	p := make(map[string]string)
	for _, pair := range strings.Fields(text) {
		name, value, _ := strings.Cut(pair, "=")
		p[name] = strings.ReplaceAll(value, "#", " ")
	}
	return p
}

func TestPropertiesThatMakeNoSenseAreRefused(t *testing.T) {
	for text, want := range map[string]string{
		"acks=all":                   "unknown property",
		"security.protocol=TLS":      "is none of",
		"ssl.truststore.location=/x": "has no effect",
		"sasl.username=a":            "has no effect",
		"security.protocol=SSL ssl.truststore.location=/none":                            "ssl.truststore.location: open /none",
		"security.protocol=SSL ssl.truststore.certificates=x":                            "no certificate",
		"security.protocol=SSL ssl.keystore.type=JKS":                                    "only PEM",
		"security.protocol=SSL ssl.keystore.key=geheim":                                  "ssl.keystore",
		"security.protocol=SSL ssl.endpoint.identification.algorithm=x":                  "neither",
		"security.protocol=SASL_SSL sasl.mechanism=PLAIN sasl.username=a":                "are needed",
		"security.protocol=SASL_SSL sasl.username=a sasl.password=geheim":                "is none of PLAIN",
		"security.protocol=SASL_SSL sasl.mechanism=GSSAPI":                               "are needed",
		"security.protocol=SASL_SSL sasl.mechanism=OAUTHBEARER":                          "file:///",
		"security.protocol=SASL_SSL sasl.jaas.config=x sasl.username=a":                  "exclude each other",
		"security.protocol=SSL ssl.truststore.location=/x ssl.truststore.certificates=y": "exclude each other",
	} {
		_, err := parseSecurity(vfs.NewMem(), properties(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "geheim") {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestPropertiesSayWhomToTrust(t *testing.T) {
	ca, other := pki.New(t, "ca"), pki.New(t, "other")
	mine := ca.Issue(t, pkix.Name{CommonName: "client"})
	server := &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, pkix.Name{CommonName: "s"}).TLS(t)}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool()}
	base := map[string]string{"security.protocol": "SSL", "ssl.truststore.certificates": ca.Truststore(), "ssl.keystore.key": mine.Key, "ssl.keystore.certificate.chain": mine.Chain}
	for _, c := range []struct {
		name, host string
		change     map[string]string
		ok         bool
	}{
		{"all is right", "localhost", nil, true},
		{"another name", "elsewhere", nil, false},
		{"another name, and any will do", "elsewhere", map[string]string{"ssl.endpoint.identification.algorithm": ""}, true},
		{"another authority", "localhost", map[string]string{"ssl.truststore.certificates": other.Truststore()}, false},
		{"another authority, any name", "localhost", map[string]string{"ssl.truststore.certificates": other.Truststore(), "ssl.endpoint.identification.algorithm": ""}, false},
	} {
		p := make(map[string]string)
		for _, m := range []map[string]string{base, c.change} {
			for k, v := range m {
				p[k] = v
			}
		}
		s, err := ParseSecurity(p)
		if err != nil {
			t.Fatal(err)
		}
		here, there := net.Pipe()
		go func() { _ = tls.Server(there, server).Handshake(); there.Close() }()
		cfg := s.TLS.Clone()
		cfg.ServerName = c.host
		if err := tls.Client(here, cfg).Handshake(); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		here.Close()
	}
}

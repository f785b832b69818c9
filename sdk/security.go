package sdk

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/splashdam/splashdam/internal/vfs"
)

// Security is how a client encrypts its connections and logs in. The zero value does
// neither.
type Security struct {
	TLS  *tls.Config
	SASL sasl.Mechanism
}

// WithSecurity encrypts and logs in as ParseSecurity says.
func WithSecurity(s Security) Option {
	return option(func(c *clientConfig) {
		if c.sasl = s.SASL; s.TLS != nil {
			c.tls = s.TLS
		}
	})
}

// Options are the same for franz-go.
func (s Security) Options() []kgo.Opt {
	var opts []kgo.Opt
	if s.TLS != nil {
		opts = append(opts, kgo.DialTLSConfig(s.TLS))
	}
	if s.SASL != nil {
		opts = append(opts, kgo.SASL(s.SASL))
	}
	return opts
}

// securityProperties are the names that ParseSecurity knows, of Kafka's Java clients
// but for the two that are librdkafka's.
var securityProperties = []string{
	"sasl.jaas.config", "sasl.mechanism", "sasl.oauthbearer.token.endpoint.url", "sasl.password", "sasl.username", "security.protocol",
	"ssl.endpoint.identification.algorithm", "ssl.keystore.certificate.chain", "ssl.keystore.key", "ssl.keystore.location", "ssl.keystore.type",
	"ssl.truststore.certificates", "ssl.truststore.location", "ssl.truststore.type",
}

// maxSecurityFile bounds a file that a property names, in bytes.
const maxSecurityFile = 1 << 20

// ParseSecurity reads the properties by which Kafka's clients are told how to
// encrypt and log in:
//
//	security.protocol                      PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL
//	ssl.truststore.location                a PEM file with the brokers' authorities, or
//	ssl.truststore.certificates            the text; the system's authorities else
//	ssl.keystore.location                  a PEM file with the client's key and certificate, or
//	ssl.keystore.key, .certificate.chain   the texts
//	ssl.endpoint.identification.algorithm  empty: a broker may have any name
//	sasl.mechanism                         PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER
//	sasl.username, sasl.password           or in sasl.jaas.config
//	sasl.oauthbearer.token.endpoint.url    file:///, read at every login
//
// Any other property is an error, as is one that has no effect. No error shows a
// password or a key.
func ParseSecurity(properties map[string]string) (Security, error) {
	return parseSecurity(vfs.OS(), properties)
}

func parseSecurity(fs vfs.FS, properties map[string]string) (Security, error) {
	p := properties
	for _, name := range slices.Sorted(maps.Keys(p)) {
		if !slices.Contains(securityProperties, name) {
			return Security{}, fmt.Errorf("unknown property %q; there are %s", name, strings.Join(securityProperties, ", "))
		}
	}
	protocol := p["security.protocol"]
	if protocol == "" {
		protocol = "PLAINTEXT"
	}
	var s Security
	var err error
	encrypts, logsIn := strings.HasSuffix(protocol, "SSL"), strings.HasPrefix(protocol, "SASL_")
	if !slices.Contains([]string{"PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"}, protocol) {
		return s, fmt.Errorf("security.protocol: %q is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL", protocol)
	}
	for name := range p {
		if strings.HasPrefix(name, "ssl.") && !encrypts || strings.HasPrefix(name, "sasl.") && !logsIn {
			return s, fmt.Errorf("%s has no effect with security.protocol=%s", name, protocol)
		}
	}
	if encrypts {
		if s.TLS, err = clientTLS(fs, p); err != nil {
			return s, err
		}
	}
	if logsIn {
		s.SASL, err = clientSASL(fs, p)
	}
	return s, err
}

func clientTLS(fs vfs.FS, p map[string]string) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, name := range []string{"ssl.truststore.type", "ssl.keystore.type"} {
		if t, set := p[name]; set && t != "PEM" {
			return nil, fmt.Errorf("%s: %q is not offered, only PEM; openssl pkcs12 -in FILE.p12 -nodes -out FILE.pem makes one", name, t)
		}
	}
	trust, err := textOrFile(fs, p, "ssl.truststore.certificates", "ssl.truststore.location")
	if err != nil {
		return nil, err
	}
	if trust != "" {
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM([]byte(trust)) {
			return nil, errors.New("ssl.truststore: there is no certificate in PEM in it")
		}
	}
	key, chain := p["ssl.keystore.key"], p["ssl.keystore.certificate.chain"]
	if location := p["ssl.keystore.location"]; location != "" {
		if key, err = readWhole(fs, location); err != nil {
			return nil, fmt.Errorf("ssl.keystore.location: %w", err)
		}
		chain = key
	}
	if key != "" || chain != "" {
		pair, err := tls.X509KeyPair([]byte(chain), []byte(key))
		if err != nil {
			return nil, fmt.Errorf("ssl.keystore: %w", err)
		}
		// Shown whatever authorities the broker names: it may know this one.
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	algorithm, set := p["ssl.endpoint.identification.algorithm"]
	switch {
	case set && algorithm == "":
		trustAnyName(cfg)
	case set && algorithm != "https":
		return nil, fmt.Errorf("ssl.endpoint.identification.algorithm: %q is neither https nor empty", algorithm)
	}
	return cfg, nil
}

// trustAnyName checks who has signed a broker's certificate, and not which name is
// in it.
func trustAnyName(cfg *tls.Config) {
	roots := cfg.RootCAs
	cfg.InsecureSkipVerify = true // VerifyConnection does the rest
	cfg.VerifyConnection = func(s tls.ConnectionState) error {
		if len(s.PeerCertificates) == 0 {
			return errors.New("the broker has shown no certificate")
		}
		between := x509.NewCertPool()
		for _, c := range s.PeerCertificates[1:] {
			between.AddCert(c)
		}
		_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
}

// jaasOption finds name="value" in sasl.jaas.config; \" and \\ stand for themselves.
var jaasOption = regexp.MustCompile(`(\w+)\s*=\s*"((?:[^"\\]|\\.)*)"`)

func clientSASL(fs vfs.FS, p map[string]string) (sasl.Mechanism, error) {
	user, password := p["sasl.username"], p["sasl.password"]
	if jaas := p["sasl.jaas.config"]; jaas != "" {
		if user != "" || password != "" {
			return nil, errors.New("sasl.jaas.config and sasl.username exclude each other")
		}
		for _, m := range jaasOption.FindAllStringSubmatch(jaas, -1) {
			value := regexp.MustCompile(`\\(.)`).ReplaceAllString(m[2], "$1")
			switch m[1] {
			case "username":
				user = value
			case "password":
				password = value
			}
		}
	}
	mechanism := p["sasl.mechanism"]
	if mechanism == "OAUTHBEARER" {
		return bearer(fs, p["sasl.oauthbearer.token.endpoint.url"])
	}
	if user == "" || password == "" {
		return nil, errors.New("sasl.username and sasl.password are needed to log in, or both in sasl.jaas.config")
	}
	switch mechanism {
	case "PLAIN":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("sasl.mechanism: %q is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER", mechanism)
}

func bearer(fs vfs.FS, from string) (sasl.Mechanism, error) {
	u, err := url.Parse(from)
	if err != nil || u.Scheme != "file" || u.Host != "" || u.Path == "" {
		return nil, errors.New("sasl.oauthbearer.token.endpoint.url: not a file:/// URL, which OAUTHBEARER needs; who fetches tokens by other means gives WithSASL an oauth.Oauth")
	}
	return oauth.Oauth(func(context.Context) (oauth.Auth, error) {
		token, err := readWhole(fs, u.Path)
		if err != nil {
			return oauth.Auth{}, fmt.Errorf("the bearer token: %w", err)
		}
		return oauth.Auth{Token: strings.TrimSpace(token)}, nil
	}), nil
}

func textOrFile(fs vfs.FS, p map[string]string, text, file string) (string, error) {
	if p[file] == "" {
		return p[text], nil
	}
	if p[text] != "" {
		return "", fmt.Errorf("%s and %s exclude each other", text, file)
	}
	content, err := readWhole(fs, p[file])
	if err != nil {
		return "", fmt.Errorf("%s: %w", file, err)
	}
	return content, nil
}

func readWhole(fs vfs.FS, name string) (content string, err error) {
	f, err := fs.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	switch {
	case err != nil:
		return "", err
	case size > maxSecurityFile:
		return "", fmt.Errorf("%s has %d bytes, more than %d", name, size, maxSecurityFile)
	}
	b := make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), b); err != nil {
		return "", fmt.Errorf("reading %s: %w", name, err)
	}
	return string(b), nil
}

package auth

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/splashdam/splashdam/internal/vfs"
)

// CertificateConfig is a listener's TLS, in PEM: each thing either in a file, read
// anew when it changes, or as text.
type CertificateConfig struct {
	FS vfs.FS

	KeystoreFile   string // a private key and its certificate chain
	Key            string // the key, or
	Chain          string // the chain, where there is no file
	TruststoreFile string // authorities of clients' certificates
	Truststore     string

	ClientAuth tls.ClientAuthType
	MinVersion uint16
	MaxVersion uint16

	// Told hears of a change that could not be taken over, once, and of nil when one
	// was. It may be nil, and is called from within a handshake.
	Told func(error)
}

const (
	// maxPEMBytes bounds a keystore or truststore.
	maxPEMBytes = 1 << 20
	// certificateCheck is the least time between two looks at the files. They are
	// looked at when a client connects.
	certificateCheck = time.Second
)

// Certificates serve TLS by a configuration whose files may change while
// connections are open: those stay, and new ones get what is there now. A change
// that makes no sense (a key without its certificate, half a file) leaves things as
// they were. Its methods may be called concurrently.
type Certificates struct {
	cfg CertificateConfig

	mu      sync.Mutex
	looked  time.Time
	seen    [sha256.Size]byte // of what current was made of, or of what was refused
	current *tls.Config
}

// OpenCertificates reads everything once. The error says which setting to look at.
func OpenCertificates(cfg CertificateConfig) (*Certificates, error) {
	c := &Certificates{cfg: cfg}
	stores, err := c.read()
	if err != nil {
		return nil, err
	}
	if c.current, err = c.parse(stores); err != nil {
		return nil, err
	}
	c.seen, c.looked = stores.digest(), time.Now()
	return c, nil
}

// TLS is the configuration for a server.
func (c *Certificates) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: c.cfg.MinVersion,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return c.latest(time.Now()), nil
		},
	}
}

// latest is the newest configuration that makes sense.
func (c *Certificates) latest(now time.Time) *tls.Config {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.looked) < certificateCheck {
		return c.current
	}
	c.looked = now
	stores, err := c.read()
	digest := stores.digest()
	if err != nil {
		digest = sha256.Sum256([]byte(err.Error()))
	}
	if digest == c.seen {
		return c.current
	}
	c.seen = digest
	if err == nil {
		var next *tls.Config
		if next, err = c.parse(stores); err == nil {
			c.current = next
		}
	}
	if c.cfg.Told != nil {
		c.cfg.Told(err)
	}
	return c.current
}

// stores are the PEM texts that a configuration is made of.
type stores struct{ key, chain, trust []byte }

func (s stores) digest() [sha256.Size]byte {
	h := sha256.New()
	for _, part := range [][]byte{s.key, s.chain, s.trust} {
		fmt.Fprintf(h, "%d:", len(part))
		h.Write(part)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

func (c *Certificates) read() (s stores, err error) {
	s = stores{[]byte(c.cfg.Key), []byte(c.cfg.Chain), []byte(c.cfg.Truststore)}
	if c.cfg.KeystoreFile != "" {
		if s.key, err = readFile(c.cfg.FS, c.cfg.KeystoreFile, maxPEMBytes); err != nil {
			return stores{}, fmt.Errorf("ssl.keystore.location: %w", err)
		}
		s.chain = s.key
	}
	if c.cfg.TruststoreFile != "" {
		if s.trust, err = readFile(c.cfg.FS, c.cfg.TruststoreFile, maxPEMBytes); err != nil {
			return stores{}, fmt.Errorf("ssl.truststore.location: %w", err)
		}
	}
	return s, nil
}

func (c *Certificates) parse(s stores) (*tls.Config, error) {
	where := "ssl.keystore.certificate.chain and ssl.keystore.key"
	if c.cfg.KeystoreFile != "" {
		where = "ssl.keystore.location: " + c.cfg.KeystoreFile
	}
	switch {
	case len(s.chain) == 0 || len(s.key) == 0:
		return nil, errors.New("there is no certificate: set ssl.keystore.location to a PEM file with a private key and its certificate chain, or ssl.keystore.key and ssl.keystore.certificate.chain to their text")
	case !bytes.Contains(s.chain, []byte("-----BEGIN ")):
		return nil, fmt.Errorf("%s: it is not PEM; a JKS or PKCS#12 file becomes PEM by: openssl pkcs12 -in FILE.p12 -nodes -out FILE.pem", where)
	case bytes.Contains(s.key, []byte("-----BEGIN ENCRYPTED PRIVATE KEY")) || bytes.Contains(s.key, []byte("Proc-Type: 4,ENCRYPTED")):
		return nil, fmt.Errorf("%s: the private key is encrypted, which cannot be read; decrypt it by: openssl pkey -in FILE -out PLAIN, and let nobody else read that file", where)
	}
	pair, err := tls.X509KeyPair(s.chain, s.key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	cfg := &tls.Config{
		Certificates: []tls.Certificate{pair},
		ClientAuth:   c.cfg.ClientAuth,
		MinVersion:   c.cfg.MinVersion,
		MaxVersion:   c.cfg.MaxVersion,
		// A session that is resumed would bring a client's certificate along that the
		// truststore may not hold any more.
		SessionTicketsDisabled: c.cfg.ClientAuth != tls.NoClientCert,
	}
	if c.cfg.ClientAuth == tls.NoClientCert {
		return cfg, nil
	}
	if cfg.ClientCAs, err = pool(s.trust); err != nil {
		return nil, fmt.Errorf("ssl.truststore.location or ssl.truststore.certificates: %w", err)
	}
	return cfg, nil
}

// pool reads the authorities of a truststore, all of which must be readable.
func pool(trust []byte) (*x509.CertPool, error) {
	p := x509.NewCertPool()
	found := false
	for block, rest := pem.Decode(trust); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		p.AddCert(cert)
		found = true
	}
	if !found {
		return nil, errors.New("there is no certificate in PEM in it, so no client's could be checked")
	}
	return p, nil
}

// ClientAuth is Kafka's ssl.client.auth as crypto/tls has it. What a client shows is
// always checked.
func ClientAuth(setting string) (tls.ClientAuthType, bool) {
	switch setting {
	case "none":
		return tls.NoClientCert, true
	case "requested":
		return tls.VerifyClientCertIfGiven, true
	case "required":
		return tls.RequireAndVerifyClientCert, true
	}
	return 0, false
}

// TLSProtocols are Kafka's names of the versions that are offered, the older first.
var TLSProtocols = []string{"TLSv1.2", "TLSv1.3"}

// TLSVersions are the lowest and highest version of some of TLSProtocols.
func TLSVersions(protocols []string) (lowest, highest uint16, err error) {
	versions := []uint16{tls.VersionTLS12, tls.VersionTLS13}
	for i, name := range TLSProtocols {
		if !slices.Contains(protocols, name) {
			continue
		}
		if lowest == 0 {
			lowest = versions[i]
		}
		highest = versions[i]
	}
	if lowest == 0 {
		return 0, 0, errors.New("ssl.enabled.protocols: there is none")
	}
	return lowest, highest, nil
}

package auth

import (
	"crypto/tls"
	"crypto/x509/pkix"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/splashdam/splashdam/internal/pki"
	"github.com/splashdam/splashdam/internal/vfs"
)

func TestATLSConfigurationThatMakesNoSenseIsExplained(t *testing.T) {
	ca := pki.New(t, "ca")
	good, other := ca.Issue(t, pkix.Name{CommonName: "a"}), ca.Issue(t, pkix.Name{CommonName: "b"})
	fs := vfs.NewMem()
	writeFile(t, fs, "/jks", []byte{0xfe, 0xed, 0xfe, 0xed})
	writeFile(t, fs, "/encrypted", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"+good.Chain))
	writeFile(t, fs, "/good", []byte(good.Keystore()))
	for want, cfg := range map[string]CertificateConfig{
		"set ssl.keystore.location":                            {},
		"ssl.keystore.location: open /missing":                 {KeystoreFile: "/missing"},
		"/jks: it is not PEM":                                  {KeystoreFile: "/jks"},
		"/encrypted: the private key is encrypted":             {KeystoreFile: "/encrypted"},
		"private key does not match":                           {Key: good.Key, Chain: other.Chain},
		"ssl.truststore.certificates: there is no certificate": {KeystoreFile: "/good", ClientAuth: tls.RequireAndVerifyClientCert},
		"ssl.truststore.location: open /none":                  {KeystoreFile: "/good", TruststoreFile: "/none"},
	} {
		cfg.FS = fs
		if _, err := OpenCertificates(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		} else if strings.Contains(err.Error(), "PRIVATE KEY-----") {
			t.Errorf("a key is in the error: %v", err)
		}
	}
	if _, err := OpenCertificates(CertificateConfig{FS: fs, KeystoreFile: "/good", TruststoreFile: "/good", ClientAuth: tls.VerifyClientCertIfGiven}); err != nil {
		t.Error(err)
	}
}

// subjectOf connects and says whose certificate the server showed.
func subjectOf(t *testing.T, c *Certificates, client *tls.Config) (string, *tls.Conn, error) {
	here, there := net.Pipe()
	server := tls.Server(there, c.TLS())
	ended := make(chan error, 1)
	go func() { ended <- server.Handshake() }()
	conn := tls.Client(here, client)
	if err := conn.Handshake(); err != nil {
		return "", nil, err
	}
	if err := <-ended; err != nil {
		return "", nil, err
	}
	go io.Copy(server, server) // an echo, until the client leaves
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName, conn, nil
}

func TestCertificatesAreReadAnewWhenTheFilesChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := pki.New(t, "ca")
		fs := vfs.NewMem()
		one, two := ca.Issue(t, pkix.Name{CommonName: "one"}), ca.Issue(t, pkix.Name{CommonName: "two"})
		writeFile(t, fs, "/pem", []byte(one.Keystore()))
		var told []error
		c, err := OpenCertificates(CertificateConfig{FS: fs, KeystoreFile: "/pem", Told: func(err error) { told = append(told, err) }})
		if err != nil {
			t.Fatal(err)
		}
		client := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
		expect := func(want string) *tls.Conn {
			t.Helper()
			got, conn, err := subjectOf(t, c, client)
			if err != nil || got != want {
				t.Fatalf("%s, %v, want %s", got, err, want)
			}
			return conn
		}
		old := expect("one")
		writeFile(t, fs, "/pem", []byte(two.Key)) // half of it
		time.Sleep(2 * certificateCheck)
		expect("one").Close()
		time.Sleep(2 * certificateCheck)
		expect("one").Close()
		if len(told) != 1 || told[0] == nil {
			t.Errorf("told of half a file: %v", told)
		}
		if err := fs.Remove("/pem"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * certificateCheck)
		expect("one").Close()
		writeFile(t, fs, "/pem", []byte(two.Keystore()))
		time.Sleep(2 * certificateCheck)
		expect("two").Close()
		if len(told) != 3 || told[1] == nil || told[2] != nil {
			t.Errorf("told %v", told)
		}
		if _, err := old.Write([]byte("x")); err != nil {
			t.Errorf("the old connection: %v", err)
		}
		if _, err := io.ReadFull(old, make([]byte, 1)); err != nil {
			t.Errorf("the old connection: %v", err)
		}
		old.Close()
	})
}

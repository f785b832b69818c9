package kafka

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/splashdam/splashdam/broker/auth"
)

// Security protocols, by Kafka's names: whether a listener encrypts, and whether
// clients log in.
const (
	Plaintext     = "PLAINTEXT"
	SSL           = "SSL"
	SASLPlaintext = "SASL_PLAINTEXT"
	SASLSSL       = "SASL_SSL"
)

// ListenerConfig is one address the server accepts connections on.
type ListenerConfig struct {
	// Name chooses the addresses that clients of this listener are told (Cluster.Nodes).
	Name string
	// Protocol is the security protocol. What it needs of the fields below must be
	// set, and what it does not need must not be.
	Protocol string
	// Listener is bound already. The server closes it.
	Listener net.Listener
	// TLS is for SSL and SASL_SSL. Clients whose certificates it demands have passed
	// its check.
	TLS *tls.Config
	// Certified is for SSL: the principal of the subject, in DER, of a client's
	// certificate. Its error closes the connection. It may be called concurrently.
	Certified func(subject []byte) (principal string, err error)
	// SASL is for SASL_PLAINTEXT and SASL_SSL.
	SASL *SASL
}

// SASL is how clients of a listener log in.
type SASL struct {
	// Mechanisms are offered, in this order.
	Mechanisms []string
	// Begin begins an exchange by one of them. It may be called concurrently.
	Begin func(mechanism string) auth.Exchange
	// MaxReauth bounds how long a login counts (connections.max.reauth.ms, KIP-368):
	// behind it only a client that logs in again is served. 0 is no bound but the
	// credential's own.
	MaxReauth time.Duration
}

// check holds a listener to what its protocol needs.
func (l *ListenerConfig) check() error {
	encrypts := l.Protocol == SSL || l.Protocol == SASLSSL
	logsIn := l.Protocol == SASLPlaintext || l.Protocol == SASLSSL
	switch {
	case !encrypts && !logsIn && l.Protocol != Plaintext:
		return fmt.Errorf("listener %s: there is no security protocol %q", l.Name, l.Protocol)
	case encrypts != (l.TLS != nil):
		return fmt.Errorf("listener %s: %s and a TLS configuration: %v", l.Name, l.Protocol, l.TLS != nil)
	case logsIn != (l.SASL != nil && len(l.SASL.Mechanisms) > 0):
		return fmt.Errorf("listener %s: %s and SASL mechanisms: %v", l.Name, l.Protocol, l.SASL != nil)
	case (l.Protocol == SSL) != (l.Certified != nil):
		return fmt.Errorf("listener %s: %s and principals of certificates: %v", l.Name, l.Protocol, l.Certified != nil)
	}
	return nil
}

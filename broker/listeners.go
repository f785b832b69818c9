package broker

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/internal/vfs"
)

// This file makes of a listener's settings what the protocol server needs of it.

// openListeners reads certificates and keys. The errors name the listener.
func (b *Broker) openListeners() ([]kafka.ListenerConfig, error) {
	if err := b.checkListenersNamed(); err != nil {
		return nil, err
	}
	passwords := auth.NewPasswords(b.credential)
	var all []kafka.ListenerConfig
	for _, l := range b.cfg.Listeners {
		set := b.cfg.Settings.Listener(l.Name)
		c := kafka.ListenerConfig{Name: l.Name, Protocol: l.Protocol, Listener: l.Net}
		var err error
		switch l.Protocol {
		case kafka.SSL:
			c.Certified = set.PrincipalRules.Principal
			c.TLS, err = b.openTLS(l.Name, l.Protocol, set)
		case kafka.SASLPlaintext:
			c.SASL, err = b.openSASL(l.Name, set, passwords)
		case kafka.SASLSSL:
			if c.TLS, err = b.openTLS(l.Name, l.Protocol, set); err == nil {
				c.SASL, err = b.openSASL(l.Name, set, passwords)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// checkListenersNamed refuses settings of a listener that there is not: a misspelt
// one would leave the right one open.
func (b *Broker) checkListenersNamed() error {
	for _, name := range b.cfg.Settings.ListenersNamed() {
		if !slices.ContainsFunc(b.cfg.Listeners, func(l Listener) bool { return strings.ToLower(l.Name) == name }) {
			return fmt.Errorf("there are settings for a listener %q, listener.name.%s.*, and no such listener", name, name)
		}
	}
	return nil
}

func (b *Broker) openTLS(listener, protocol string, set cluster.ListenerSettings) (*tls.Config, error) {
	demand, _ := auth.ClientAuth(set.ClientAuth)
	if protocol == kafka.SASLSSL && !set.ClientAuthHere {
		demand = tls.NoClientCert
	}
	lowest, highest, err := auth.TLSVersions(set.TLSProtocols)
	if err != nil {
		return nil, err
	}
	certificates, err := auth.OpenCertificates(auth.CertificateConfig{
		FS:           vfs.OS(),
		KeystoreFile: set.KeystoreLocation, Key: set.KeystoreKey, Chain: set.KeystoreChain,
		TruststoreFile: set.TruststoreLocation, Truststore: set.Truststore,
		ClientAuth: demand, MinVersion: lowest, MaxVersion: highest,
		Told: func(err error) {
			if err != nil {
				b.loggers.Of(networkLogger).Error("the certificates of a listener have changed and cannot be used; the old ones are kept", "listener", listener, "cause", err)
				return
			}
			b.loggers.Of(networkLogger).Info("the certificates of a listener have changed", "listener", listener)
		},
	})
	if err != nil {
		return nil, err
	}
	return certificates.TLS(), nil
}

func (b *Broker) openSASL(listener string, set cluster.ListenerSettings, passwords *auth.Passwords) (*kafka.SASL, error) {
	s := &kafka.SASL{
		Mechanisms: set.Mechanisms,
		Begin:      passwords.Begin,
		MaxReauth:  time.Duration(set.MaxReauthMs) * time.Millisecond,
	}
	if len(s.Mechanisms) == 0 {
		return nil, errors.New("sasl.enabled.mechanisms is empty: nobody could log in")
	}
	if !slices.Contains(s.Mechanisms, auth.OAuthBearer) {
		return s, nil
	}
	verifier, err := b.openTokens(listener, set)
	if err != nil {
		return nil, err
	}
	s.Begin = func(mechanism string) auth.Exchange {
		if mechanism == auth.OAuthBearer {
			return verifier.Begin()
		}
		return passwords.Begin(mechanism)
	}
	return s, nil
}

func (b *Broker) openTokens(listener string, set cluster.ListenerSettings) (*auth.TokenVerifier, error) {
	rules := auth.TokenRules{
		Issuer: set.TokenIssuer, Audiences: set.TokenAudiences, Algorithms: set.TokenAlgorithms,
		Claim: set.TokenClaim, Skew: time.Duration(set.TokenSkewSeconds) * time.Second,
	}
	if err := rules.Check(); err != nil {
		return nil, fmt.Errorf("%w; OAUTHBEARER needs sasl.oauthbearer.expected.issuer, sasl.oauthbearer.expected.audience and sasl.oauthbearer.jwks.endpoint.url", err)
	}
	keys, err := auth.OpenKeySet(vfs.OS(), set.KeySetURL, time.Duration(set.KeySetRefreshMs)*time.Millisecond, func(err error) {
		if err != nil {
			b.loggers.Of(networkLogger).Error("the keys of bearer tokens cannot be fetched; those that are known are kept", "listener", listener, "cause", err)
			return
		}
		b.loggers.Of(networkLogger).Info("the keys of bearer tokens are fetched again", "listener", listener)
	})
	if err != nil {
		return nil, fmt.Errorf("sasl.oauthbearer.jwks.endpoint.url: %w", err)
	}
	b.keySets = append(b.keySets, keys)
	return auth.NewTokenVerifier(rules, keys)
}

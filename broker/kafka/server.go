package kafka

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"

	"github.com/splashdam/splashdam/broker/quota"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Config is what a server is made of beside its Backend.
type Config struct {
	Listeners []ListenerConfig
	Limits    Limits
	Events    Events
	// Quotas are the windows over which clients with quotas are measured, Mutations those
	// of their changes of topics. A zero one is of 11 seconds.
	Quotas, Mutations quota.Windows
	// NumPartitions is how many partitions a topic gets for which no number is asked.
	NumPartitions int
}

// Server speaks the Kafka protocol on behalf of a Backend. Its methods may be
// called concurrently.
type Server struct {
	listeners []ListenerConfig
	limits    Limits
	events    Events
	backend   Backend

	apis      apiTable
	buffers   buffers
	answers   atomic.Int64 // bytes of records in answers to fetches
	sessions  *fetchSessions
	admission *admission
	memory    *memory
	throttle  *throttle

	numPartitions int
}

// Errors of connections, as Events.Disconnected and ServeConn give them.
var (
	ErrIdle    = errors.New("idle for connections.max.idle.ms")
	ErrStalled = errors.New("in the middle of a request for too long while others waited for memory")
	ErrDrained = errors.New("server is ending")
	ErrOverdue = errors.New("requests were still unanswered at the deadline for ending")
	ErrPanic   = errors.New("a bug was met while serving a request")
	// ErrHandshake is a client that did not get through the TLS handshake.
	ErrHandshake = errors.New("TLS handshake")
)

// New makes a server; nothing runs before Run or ServeConn. It errors where a
// listener lacks what its security protocol needs.
func New(cfg Config, b Backend) (*Server, error) {
	s := &Server{
		listeners: cfg.Listeners,
		limits:    cfg.Limits.withDefaults(),
		events:    cfg.Events,
		backend:   b,
		apis:      newAPITable(),
	}
	s.sessions = newFetchSessions(s.limits)
	s.admission = newAdmission(s.limits.Connections)
	s.memory = newMemory(s.limits.MaxRequestMemory)
	s.numPartitions = max(1, cfg.NumPartitions)
	s.throttle = &throttle{quotas: b.Quotas, meter: quota.NewMeter(orSeconds(cfg.Quotas), orSeconds(cfg.Mutations))}
	for i := range cfg.Listeners {
		if err := cfg.Listeners[i].check(); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// LimitConnections replaces what Limits said of connections.
func (s *Server) LimitConnections(l ConnectionLimits) { s.admission.limit(l) }

// ServeConn serves one connection and returns when it has ended and everything
// begun for it as well; it closes nc. When ctx ends, no more requests are read,
// those that were are answered within DrainTimeout, and the connection is closed.
// The error says why the connection ended: io.EOF where the client left. Run uses
// it; tests and dialers inside the process call it with one end of a net.Pipe.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, listener string) error {
	peer := Peer{Listener: listener, Addr: nc.RemoteAddr().String()}
	i := slices.IndexFunc(s.listeners, func(l ListenerConfig) bool { return l.Name == listener })
	invariant.That(i >= 0, "a connection of listener %q, which there is not", listener)
	l := &s.listeners[i]
	leave, err := s.admission.admit(l, peer.Addr)
	if err != nil {
		s.events.refused(peer, err)
		return errors.Join(err, nc.Close())
	}
	defer leave()
	if wait := s.throttle.connecting(peer.Addr); wait > 0 {
		err := fmt.Errorf("%w: more in a second than connection_creation_rate allows its address, closed in %v", ErrTooManyConnections, wait)
		s.events.refused(peer, err)
		pause(ctx, wait)
		return errors.Join(err, nc.Close())
	}
	s.events.connected(peer)
	err = s.serve(ctx, nc, peer, l)
	s.events.disconnected(peer, err)
	return err
}

func (s *Server) serve(ctx context.Context, nc net.Conn, peer Peer, l *ListenerConfig) error {
	c := newConn(ctx, s, nc, peer, l)
	if l.TLS != nil || l.SASL != nil {
		c.known = s.admission.arrives(func(cause error) {
			c.cancel(cause)
			nc.Close()
		})
	}
	defer c.known()
	if l.TLS != nil {
		if err := c.encrypt(ctx, l); err != nil {
			c.end(err)
			return err
		}
	}
	return c.serve(ctx)
}

// encrypt does the TLS handshake and, on SSL listeners, finds out who the client is.
func (c *conn) encrypt(ctx context.Context, l *ListenerConfig) error {
	handshake, cancel := context.WithDeadlineCause(ctx, c.loginBy, ErrLoginTimeout)
	defer cancel()
	secured := tls.Server(c.nc, l.TLS)
	if err := secured.HandshakeContext(handshake); err != nil {
		if cause := cmp.Or(context.Cause(c.ctx), context.Cause(handshake)); cause != nil {
			err = cause
		}
		return fmt.Errorf("%w: %w", ErrHandshake, err)
	}
	c.nc = secured
	if l.SASL == nil {
		c.known()
	}
	shown := secured.ConnectionState().PeerCertificates
	if l.Certified == nil || len(shown) == 0 {
		return nil
	}
	principal, err := l.Certified(shown[0].RawSubject)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAuthentication, err)
	}
	c.client.Principal = principal
	return nil
}

package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// ListenerConfig is one address the server accepts connections on.
type ListenerConfig struct {
	// Name chooses the addresses that clients of this listener are told (Cluster.Nodes).
	Name string
	// Protocol is the security protocol. PLAINTEXT is the only one yet.
	Protocol string
	// Listener is bound already. The server closes it.
	Listener net.Listener
}

// Config is what a server is made of beside its Backend.
type Config struct {
	Listeners []ListenerConfig
	Limits    Limits
	Events    Events
}

// Server speaks the Kafka protocol on behalf of a Backend. Its methods may be
// called concurrently.
type Server struct {
	listeners []ListenerConfig
	limits    Limits
	events    Events
	backend   Backend

	apis     apiTable
	buffers  buffers
	sessions *fetchSessions

	mu    sync.Mutex
	conns int
}

// Errors of connections, as Events.Disconnected and ServeConn give them.
var (
	ErrTooManyConnections = errors.New("too many connections")
	ErrIdle               = errors.New("idle for connections.max.idle.ms")
	ErrDrained            = errors.New("server is ending")
	ErrOverdue            = errors.New("requests were still unanswered at the deadline for ending")
	ErrPanic              = errors.New("a bug was met while serving a request")
)

// New makes a server; nothing runs before Run or ServeConn. It errors where a
// listener names a security protocol that is not offered.
func New(cfg Config, b Backend) (*Server, error) {
	s := &Server{
		listeners: cfg.Listeners,
		limits:    cfg.Limits.withDefaults(),
		events:    cfg.Events,
		backend:   b,
		apis:      newAPITable(),
	}
	s.sessions = newFetchSessions(s.limits)
	for _, l := range cfg.Listeners {
		if l.Protocol != "PLAINTEXT" {
			return nil, fmt.Errorf("listener %s: security protocol %q is not offered; use PLAINTEXT", l.Name, l.Protocol)
		}
	}
	return s, nil
}

// ServeConn serves one connection and returns when it has ended and everything
// begun for it as well; it closes nc. When ctx ends, no more requests are read,
// those that were are answered within DrainTimeout, and the connection is closed.
// The error says why the connection ended: io.EOF where the client left. Run uses
// it; tests and dialers inside the process call it with one end of a net.Pipe.
func (s *Server) ServeConn(ctx context.Context, nc net.Conn, listener string) error {
	peer := Peer{Listener: listener, Addr: nc.RemoteAddr().String()}
	if err := s.admit(); err != nil {
		s.events.refused(peer, err)
		return errors.Join(err, nc.Close())
	}
	defer s.dismiss()
	s.events.connected(peer)
	err := newConn(ctx, s, nc, peer).serve(ctx)
	s.events.disconnected(peer, err)
	return err
}

func (s *Server) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns >= s.limits.MaxConnections {
		return fmt.Errorf("%w: %d are open", ErrTooManyConnections, s.conns)
	}
	s.conns++
	return nil
}

func (s *Server) dismiss() {
	s.mu.Lock()
	s.conns--
	s.mu.Unlock()
}

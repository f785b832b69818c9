package kafka

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Events are what the server has to tell. Every field may be nil. They are
// called from the goroutine in which the thing happened, several at a time, and
// must not block.
type Events struct {
	// Connected and Disconnected come in pairs. err is why the connection ended;
	// it is io.EOF where the client left between two requests.
	Connected    func(Peer)
	Disconnected func(p Peer, err error)
	// Refused is a connection over MaxConnections, or a failed accept (with an
	// empty Addr).
	Refused func(p Peer, err error)
	// Failed is a request answered with UNKNOWN_SERVER_ERROR: err had no Kafka code.
	Failed func(r Request, err error)
	// Panicked is a bug met while serving a request. The connection is closed.
	Panicked func(r Request, value any, stack []byte)
}

// Peer is the other end of a connection.
type Peer struct {
	Listener string
	Addr     string
}

func (p Peer) String() string { return fmt.Sprintf("%s on listener %s", p.Addr, p.Listener) }

// Request says which request an event is about.
type Request struct {
	Peer
	ClientID string
	Key      kmsg.Key
	Version  int16
}

func (r Request) String() string {
	return fmt.Sprintf("%s v%d of client %q at %s", r.Key.Name(), r.Version, r.ClientID, r.Peer)
}

func (e *Events) connected(p Peer) {
	if e.Connected != nil {
		e.Connected(p)
	}
}

func (e *Events) disconnected(p Peer, err error) {
	if e.Disconnected != nil {
		e.Disconnected(p, err)
	}
}

func (e *Events) refused(p Peer, err error) {
	if e.Refused != nil {
		e.Refused(p, err)
	}
}

func (e *Events) failed(r Request, err error) {
	if e.Failed != nil {
		e.Failed(r, err)
	}
}

func (e *Events) panicked(r Request, value any, stack []byte) {
	if e.Panicked != nil {
		e.Panicked(r, value, stack)
	}
}

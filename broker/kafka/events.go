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
	// Denied is a request, or a part of one, that is refused because an access control list
	// does not allow it. What is only left out of an answer is not told. A client may send
	// thousands of them a second, and name thousands of things in each.
	Denied func(Denial)
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

// Denial is what a client may not do. All but Request.Version and the port of its address
// are the same each time that it tries.
type Denial struct {
	Request
	Principal string
	// Operation and Resource are by Kafka's names; Name is cut off behind 249 bytes.
	Operation, Resource, Name string
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

func (e *Events) denied(d Denial) {
	if e.Denied != nil {
		e.Denied(d)
	}
}

func (e *Events) panicked(r Request, value any, stack []byte) {
	if e.Panicked != nil {
		e.Panicked(r, value, stack)
	}
}

package kafka

import (
	"container/list"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"
)

// ErrTooManyConnections is a connection beyond a limit. It is closed when it comes.
var ErrTooManyConnections = errors.New("too many connections")

// admission counts the open connections: all, those of each listener, and those of
// each address.
type admission struct {
	mu        sync.Mutex
	limits    ConnectionLimits
	all       int
	listeners map[string]int
	addresses map[string]int
	// strangers are the connections whose clients have not proved who they are, where they
	// have to: of type *stranger, the oldest first.
	strangers list.List
}

// stranger is a connection that gives way to another one, strangerTime after it came, where
// there is no room.
type stranger struct {
	since time.Time
	end   func(error)
}

// strangerTime is how long a client may take to log in whatever happens.
const strangerTime = time.Second

// ErrGaveWay is a connection that was closed for another one.
var ErrGaveWay = errors.New("not logged in yet when max.connections were open and another one came")

// arrives notes that a connection is a stranger's, until known is called. To give way it is
// ended.
func (a *admission) arrives(end func(error)) (known func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := a.strangers.PushBack(&stranger{time.Now(), end})
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.strangers.Remove(e)
	}
}

// makeRoom ends the oldest stranger, if there is one that has had its time. What it leaves
// behind is gone a moment later.
func (a *admission) makeRoom(now time.Time) bool {
	oldest := a.strangers.Front()
	if oldest == nil || now.Sub(oldest.Value.(*stranger).since) < strangerTime {
		return false
	}
	a.strangers.Remove(oldest).(*stranger).end(ErrGaveWay)
	return true
}

func newAdmission(l ConnectionLimits) *admission {
	return &admission{limits: l, listeners: make(map[string]int), addresses: make(map[string]int)}
}

// limit replaces the limits. Connections that are open stay.
func (a *admission) limit(l ConnectionLimits) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limits = l.withDefaults()
}

// admit lets a connection in, until leave is called.
func (a *admission) admit(l *ListenerConfig, addr string) (leave func(), err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	host, most := a.limits.ofAddress(addr)
	ofListener, limited := a.limits.OfListener[l.Name]
	switch {
	case limited && a.listeners[l.Name] >= ofListener:
		return nil, fmt.Errorf("%w: %d are open on listener %s (its max.connections)", ErrTooManyConnections, a.listeners[l.Name], l.Name)
	case a.addresses[host] >= most:
		return nil, fmt.Errorf("%w: %d are open from %s (max.connections.per.ip)", ErrTooManyConnections, a.addresses[host], host)
	case a.all > a.limits.All || a.all == a.limits.All && !a.makeRoom(time.Now()):
		return nil, fmt.Errorf("%w: %d are open (max.connections)", ErrTooManyConnections, a.all)
	}
	a.all++
	a.listeners[l.Name]++
	a.addresses[host]++
	return func() { a.dismiss(l.Name, host) }, nil
}

func (a *admission) dismiss(listener, host string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all--
	a.listeners[listener]--
	if a.addresses[host]--; a.addresses[host] == 0 {
		delete(a.addresses, host)
	}
}

// ofAddress is the host of an address, in one form for one host, and how many
// connections it may have.
func (l *ConnectionLimits) ofAddress(addr string) (host string, most int) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	most = l.OfAddress
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		host = ip.String()
		if n, ok := l.Overrides[ip.WithZone("")]; ok {
			most = n
		}
	}
	return host, most
}

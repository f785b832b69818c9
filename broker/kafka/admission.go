package kafka

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
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
	case a.all >= a.limits.All:
		return nil, fmt.Errorf("%w: %d are open (max.connections)", ErrTooManyConnections, a.all)
	case limited && a.listeners[l.Name] >= ofListener:
		return nil, fmt.Errorf("%w: %d are open on listener %s (its max.connections)", ErrTooManyConnections, a.listeners[l.Name], l.Name)
	case a.addresses[host] >= most:
		return nil, fmt.Errorf("%w: %d are open from %s (max.connections.per.ip)", ErrTooManyConnections, a.addresses[host], host)
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

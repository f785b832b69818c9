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
	most, mostPerAddress int
	overrides            map[netip.Addr]int

	mu        sync.Mutex
	all       int
	listeners map[string]int
	addresses map[string]int
}

func newAdmission(l Limits) *admission {
	return &admission{
		most: l.MaxConnections, mostPerAddress: l.MaxConnectionsPerAddress, overrides: l.AddressOverrides,
		listeners: make(map[string]int), addresses: make(map[string]int),
	}
}

// admit lets a connection in, until leave is called.
func (a *admission) admit(l *ListenerConfig, addr string) (leave func(), err error) {
	host, most := a.ofAddress(addr)
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.all >= a.most:
		return nil, fmt.Errorf("%w: %d are open (max.connections)", ErrTooManyConnections, a.all)
	case l.MaxConnections > 0 && a.listeners[l.Name] >= l.MaxConnections:
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
func (a *admission) ofAddress(addr string) (host string, most int) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr
	}
	most = a.mostPerAddress
	if ip, err := netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		host = ip.String()
		if n, ok := a.overrides[ip.WithZone("")]; ok {
			most = n
		}
	}
	return host, most
}

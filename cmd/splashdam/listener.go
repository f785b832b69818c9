package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// protocolMap is Kafka's setting that says which protocol a listener speaks whose
// name is not a protocol's.
const protocolMap = "listener.security.protocol.map"

// allowInsecure is the setting without which nothing is served beyond this machine to
// clients that need not prove who they are, or that anyone can read along.
const allowInsecure = "insecure.listeners.allow"

// HostPort is a place to bind or to connect to. An empty host, where it is to
// bind, is every address; port 0 is any free one.
type HostPort struct {
	Host string
	Port int
}

func (h HostPort) String() string { return net.JoinHostPort(h.Host, strconv.Itoa(h.Port)) }

// wildcard reports whether the host means every address of the machine, which
// nobody can connect to by that name.
func (h HostPort) wildcard() bool {
	if h.Host == "" || h.Host == "*" {
		return true
	}
	ip, err := netip.ParseAddr(h.Host)
	return err == nil && ip.IsUnspecified()
}

// loopback reports whether only this machine can reach the host. Names other than
// localhost are not looked up: what they mean may change.
func (h HostPort) loopback() bool {
	if h.Host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(h.Host)
	return err == nil && ip.IsLoopback()
}

// Listener is a place where clients connect. Its name is how settings and
// --advertised-listeners refer to it.
type Listener struct {
	Name     string
	Protocol string // one of protocols
	HostPort
}

func (l Listener) String() string { return l.Name + "://" + l.HostPort.String() }

// parseListener reads NAME://host:port. Names are upper case, as in Kafka.
func parseListener(s string) (name string, at HostPort, err error) {
	name, rest, ok := strings.Cut(s, "://")
	if !ok {
		return "", at, fmt.Errorf("%q is not of the form NAME://host:port", s)
	}
	name = strings.ToUpper(name)
	if name == "" || strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}) {
		return "", at, fmt.Errorf("%q: a listener's name is made of letters, digits, _ and -", s)
	}
	if at, err = parseHostPort(rest); err != nil {
		return "", at, fmt.Errorf("%q: %w", s, err)
	}
	return name, at, nil
}

func parseHostPort(s string) (HostPort, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		reason := err.Error()
		if a, ok := errors.AsType[*net.AddrError](err); ok {
			reason = a.Err
		}
		if strings.Count(s, ":") > 1 && !strings.Contains(s, "[") {
			reason = "an IPv6 address stands in brackets: [::1]:9092"
		}
		return HostPort{}, fmt.Errorf("%q is not host:port: %s", s, reason)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return HostPort{}, fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	if strings.ContainsAny(host, "/ \t") {
		return HostPort{}, fmt.Errorf("%q is not a host name or address", host)
	}
	return HostPort{Host: host, Port: int(n)}, nil
}

// parseProtocolMap reads NAME:PROTOCOL,NAME:PROTOCOL.
func parseProtocolMap(s string) (map[string]string, error) {
	m := make(map[string]string)
	for _, pair := range splitList(s) {
		name, protocol, ok := strings.Cut(pair, ":")
		name, protocol = strings.ToUpper(strings.TrimSpace(name)), strings.ToUpper(strings.TrimSpace(protocol))
		if !ok || name == "" {
			return nil, fmt.Errorf("%q is not of the form NAME:PROTOCOL", pair)
		}
		if !slices.Contains(protocols, protocol) {
			return nil, fmt.Errorf("%q: there is no protocol %s; Kafka has %s", pair, protocol, strings.Join(protocols, ", "))
		}
		if _, twice := m[name]; twice {
			return nil, fmt.Errorf("listener %s is mapped twice", name)
		}
		m[name] = protocol
	}
	return m, nil
}

// assignProtocols gives each listener its protocol: by its own name, or by the
// map. As in Kafka, a listener that neither covers is an error.
func assignProtocols(listeners []Listener, byName map[string]string) error {
	for i := range listeners {
		l := &listeners[i]
		protocol, mapped := byName[l.Name]
		switch {
		case mapped:
			l.Protocol = protocol
		case slices.Contains(protocols, l.Name):
			l.Protocol = l.Name
		default:
			return &problem{
				what: fmt.Sprintf("listener %s: nothing says which protocol it speaks", l),
				next: []string{fmt.Sprintf("say so:  --set %s=%s", protocolMap, mapFor(listeners, byName))},
				kind: errUsage,
			}
		}
	}
	return nil
}

// mapFor is the protocol map that would do for the listeners.
func mapFor(listeners []Listener, byName map[string]string) string {
	var pairs []string
	for _, l := range listeners {
		switch {
		case byName[l.Name] != "":
			pairs = append(pairs, l.Name+":"+byName[l.Name])
		case !slices.Contains(protocols, l.Name):
			pairs = append(pairs, l.Name+":PLAINTEXT")
		}
	}
	return strings.Join(pairs, ",")
}

// splitList splits at commas and drops what is empty.
func splitList(s string) []string {
	var all []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			all = append(all, part)
		}
	}
	return all
}

package acl

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Policy is what an Authorizer knows besides its list.
type Policy struct {
	superUsers map[string]bool
	everyone   bool
}

// NewPolicy reads Kafka's super.users, principals with semicolons between, and
// allow.everyone.if.no.acl.found. It errors where a principal has no type.
func NewPolicy(superUsers string, everyone bool) (*Policy, error) {
	p := &Policy{superUsers: make(map[string]bool), everyone: everyone}
	for u := range strings.SplitSeq(superUsers, ";") {
		if u = strings.TrimSpace(u); u == "" {
			continue
		}
		if err := CheckPrincipal(u); err != nil {
			return nil, fmt.Errorf("super.users: %w", err)
		}
		p.superUsers[u] = true
	}
	return p, nil
}

// Authorizer decides by a policy and a list. The zero one, without a policy, allows
// everything to everybody: as in Kafka, nothing is refused where no authorizer is
// configured.
type Authorizer struct {
	Policy *Policy
	List   *List
}

// Subject is who wants to do something.
type Subject struct {
	Principal string
	Host      netip.Addr // by ParseHost
}

// Enabled says whether there is anything to decide.
func (a Authorizer) Enabled() bool { return a.Policy != nil }

// Allowed says whether a subject may do an operation to the resource of a name.
func (a Authorizer) Allowed(s Subject, op kmsg.ACLOperation, on kmsg.ACLResourceType, name string) bool {
	if a.Policy == nil || a.Policy.superUsers[s.Principal] {
		return true
	}
	if a.List == nil {
		return a.Policy.everyone
	}
	about, allowed, denied := false, false, false
	a.List.types[on].each(name, func(p *pattern) bool {
		about = true
		for i := range p.lines {
			l := &p.lines[i]
			if !l.isFor(s) || !l.covers(op) {
				continue
			}
			if !l.Allow {
				denied = true
				return false
			}
			allowed = true
		}
		return true
	})
	switch {
	case denied:
		return false
	case allowed:
		return true
	}
	return !about && a.Policy.everyone
}

// isFor says whether a binding is about a subject.
func (l *line) isFor(s Subject) bool {
	return (l.anyone || l.Principal == s.Principal) && (l.anywhere || l.host.IsValid() && l.host == s.Host)
}

// covers says whether a binding is about an operation.
func (l *line) covers(op kmsg.ACLOperation) bool {
	if l.Operation == op || l.Operation == kmsg.ACLOperationAll {
		return true
	}
	if !l.Allow {
		return false
	}
	switch op {
	case kmsg.ACLOperationDescribe:
		switch l.Operation {
		case kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter:
			return true
		}
	case kmsg.ACLOperationDescribeConfigs:
		return l.Operation == kmsg.ACLOperationAlterConfigs
	}
	return false
}

// AllowedSomewhere says whether there is any resource of a type that a subject may do
// an operation to (KIP-679), be it there or not: some binding allows it under a name
// or prefix that none denies. What allowing implies does not count, as in Kafka. It
// looks at all bindings of the type.
func (a Authorizer) AllowedSomewhere(s Subject, op kmsg.ACLOperation, on kmsg.ACLResourceType) bool {
	// A name that probably nobody uses stands for all that no binding is about.
	const unused = "hardcode"
	if a.Allowed(s, op, on, unused) {
		return true
	}
	if a.List == nil {
		return false
	}
	ps := &a.List.types[on]
	if i, ok := search(ps.literal, Everything); ok {
		if allow, deny := ps.literal[i].says(s, op); deny || allow {
			return allow && !deny
		}
	}
	for _, kind := range [...][]*pattern{ps.literal, ps.prefixed} {
		for _, p := range kind {
			if allow, deny := p.says(s, op); allow && !deny && !ps.prefixDenies(s, op, p.name) {
				return true
			}
		}
	}
	return false
}

// says whether a pattern has a line that allows a subject an operation, and one that
// denies it.
func (p *pattern) says(s Subject, op kmsg.ACLOperation) (allow, deny bool) {
	for i := range p.lines {
		l := &p.lines[i]
		if l.isFor(s) && (l.Operation == op || l.Operation == kmsg.ACLOperationAll) {
			allow, deny = allow || l.Allow, deny || !l.Allow
		}
	}
	return allow, deny
}

// prefixDenies says whether all names that begin with one are denied.
func (p *patterns) prefixDenies(s Subject, op kmsg.ACLOperation, name string) bool {
	denied := false
	prefixed := patterns{prefixed: p.prefixed}
	prefixed.each(name, func(p *pattern) bool {
		_, denied = p.says(s, op)
		return !denied
	})
	return denied
}

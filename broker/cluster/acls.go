package cluster

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/record"
)

const (
	// maxBindings bounds the access control list of a cluster: all of it is in memory on
	// every node.
	maxBindings = 100_000
	// MaxBindingsPerChange keeps the entries that change it small.
	MaxBindingsPerChange = 100
)

// ACLs is the cluster's access control list.
func (v *View) ACLs() *acl.List { return v.acls }

// AddACLs adds bindings, at most MaxBindingsPerChange; those that are there stay. It
// errors with kerr.InvalidRequest. A nil command means that all are there.
func (c *Controller) AddACLs(bs []acl.Binding) (record.Command, error) {
	missing := c.missing(bs, false)
	if len(missing) == 0 {
		return nil, nil
	}
	ch := &addACLs{bindings: missing}
	if err := ch.check(); err != nil {
		return nil, fmt.Errorf("adding to the access control list: %w: %w", err, kerr.InvalidRequest)
	}
	if c.view.acls.Len()+len(missing) > maxBindings {
		return nil, fmt.Errorf("the access control list has %d lines and may have %d, remove some or use prefixes: %w", c.view.acls.Len(), maxBindings, kerr.InvalidRequest)
	}
	return c.decide(ch), nil
}

// RemoveACLs removes bindings, at most MaxBindingsPerChange; those that are not there
// do not matter. A nil command means that none is there.
func (c *Controller) RemoveACLs(bs []acl.Binding) (record.Command, error) {
	there := c.missing(bs, true)
	if len(there) == 0 {
		return nil, nil
	}
	ch := &removeACLs{bindings: there}
	if err := ch.check(); err != nil {
		return nil, fmt.Errorf("removing from the access control list: %w: %w", err, kerr.InvalidRequest)
	}
	return c.decide(ch), nil
}

// missing are those of some bindings that the list does not have, or those that it
// has, in order.
func (c *Controller) missing(bs []acl.Binding, has bool) []acl.Binding {
	out := sorted(bs, acl.Binding.Compare)
	out = slices.CompactFunc(out, func(a, b acl.Binding) bool { return a == b })
	return slices.DeleteFunc(out, func(b acl.Binding) bool { return b.Check() == nil && c.view.acls.Contains(b) != has })
}

// addACLs is AddACLs in the log.
type addACLs struct{ bindings []acl.Binding }

func (*addACLs) kind() uint8                { return kindAddACLs }
func (c *addACLs) append(dst []byte) []byte { return appendBindings(dst, c.bindings) }
func (c *addACLs) read(r *reader)           { c.bindings = r.bindings() }
func (c *addACLs) check() error             { return checkChange(c.bindings) }
func (c *addACLs) String() string {
	return fmt.Sprintf("add to the access control list %v", c.bindings)
}

func (c *addACLs) apply(v *View) *View {
	acls := v.acls
	for _, b := range c.bindings {
		acls = acls.Add(b)
	}
	return v.withACLs(acls)
}

// removeACLs is RemoveACLs in the log.
type removeACLs struct{ bindings []acl.Binding }

func (*removeACLs) kind() uint8                { return kindRemoveACLs }
func (c *removeACLs) append(dst []byte) []byte { return appendBindings(dst, c.bindings) }
func (c *removeACLs) read(r *reader)           { c.bindings = r.bindings() }
func (c *removeACLs) check() error             { return checkChange(c.bindings) }

func (c *removeACLs) String() string {
	return fmt.Sprintf("remove from the access control list %v", c.bindings)
}

func (c *removeACLs) apply(v *View) *View {
	acls := v.acls
	for _, b := range c.bindings {
		acls = acls.Remove(b)
	}
	return v.withACLs(acls)
}

func (v *View) withACLs(acls *acl.List) *View {
	if acls == v.acls {
		return v
	}
	n := v.next()
	n.acls = acls
	return n
}

func checkChange(bs []acl.Binding) error {
	if len(bs) == 0 || len(bs) > MaxBindingsPerChange {
		return fmt.Errorf("%d bindings, a change has 1 to %d", len(bs), MaxBindingsPerChange)
	}
	if !rising(bs, acl.Binding.Compare) {
		return fmt.Errorf("%w: bindings are not in order", errMalformed)
	}
	return checkBindings(bs)
}

func checkBindings(bs []acl.Binding) error {
	for _, b := range bs {
		if err := b.Check(); err != nil {
			return err
		}
	}
	return nil
}

// minBinding is the least encoded size of a binding.
const minBinding = 4 + 3*minString

// appendBindings writes a list of bindings, in order:
//
//	i8      type of resource    Kafka's numbers, as in the requests
//	i8      type of pattern
//	string  name of the resource, or the prefix
//	string  principal
//	string  host
//	i8      operation
//	i8      1 allows, 0 denies
func appendBindings(dst []byte, bs []acl.Binding) []byte {
	dst = kbin.AppendInt32(dst, int32(len(bs)))
	for _, b := range bs {
		dst = appendBinding(dst, b)
	}
	return dst
}

func appendBinding(dst []byte, b acl.Binding) []byte {
	dst = kbin.AppendInt8(dst, int8(b.Resource))
	dst = kbin.AppendInt8(dst, int8(b.Pattern))
	dst = kbin.AppendString(dst, b.Name)
	dst = kbin.AppendString(dst, b.Principal)
	dst = kbin.AppendString(dst, b.Host)
	dst = kbin.AppendInt8(dst, int8(b.Operation))
	return kbin.AppendBool(dst, b.Allow)
}

func (r *reader) bindings() []acl.Binding {
	return list(r, minBinding, func() acl.Binding {
		return acl.Binding{
			Resource: kmsg.ACLResourceType(r.Int8()), Pattern: kmsg.ACLResourcePatternType(r.Int8()),
			Name: r.String(), Principal: r.String(), Host: r.String(),
			Operation: kmsg.ACLOperation(r.Int8()), Allow: r.flag(),
		}
	})
}

func appendACLs(dst []byte, l *acl.List) []byte {
	dst = kbin.AppendInt32(dst, int32(l.Len()))
	l.All(func(b acl.Binding) bool {
		dst = appendBinding(dst, b)
		return true
	})
	return dst
}

// acls reads a whole list.
func (r *reader) acls() *acl.List {
	bs := r.bindings()
	if r.bad || !r.Ok() || checkBindings(bs) != nil {
		r.bad = true
		return nil
	}
	l, ok := acl.NewList(bs)
	r.bad = r.bad || !ok
	return l
}

package cluster

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/acl"
)

func allowing(name, principal string) acl.Binding {
	return acl.Binding{
		Resource: kmsg.ACLResourceTypeTopic, Pattern: kmsg.ACLResourcePatternTypeLiteral, Name: name,
		Principal: principal, Host: acl.Anywhere, Operation: kmsg.ACLOperationRead, Allow: true,
	}
}

func (m *model) someBindings(t *rapid.T) []acl.Binding {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) acl.Binding {
		b := allowing(rapid.SampledFrom([]string{"a", "b", "*"}).Draw(t, "name"), rapid.SampledFrom([]string{"User:a", "User:*"}).Draw(t, "principal"))
		b.Allow = rapid.Bool().Draw(t, "allow")
		return b
	}), 1, 4).Draw(t, "bindings")
}

func (m *model) addACLs(t *rapid.T) {
	bs := m.someBindings(t)
	cmd, err := m.ctl.AddACLs(bs)
	news := 0
	for _, b := range bs {
		if !m.acls[b] {
			news++
		}
		m.acls[b] = true
	}
	if err != nil || (cmd != nil) != (news > 0) {
		t.Fatalf("adding %v: %v", bs, err)
	}
	if cmd != nil {
		m.commit(cmd)
	}
}

func (m *model) removeACLs(t *rapid.T) {
	bs := m.someBindings(t)
	cmd, err := m.ctl.RemoveACLs(bs)
	gone := 0
	for _, b := range bs {
		if m.acls[b] {
			gone++
		}
		delete(m.acls, b)
	}
	if err != nil || (cmd != nil) != (gone > 0) {
		t.Fatalf("removing %v: %v", bs, err)
	}
	if cmd != nil {
		m.commit(cmd)
	}
}

func (m *model) checkACLs(t *rapid.T) {
	got := slices.Collect(m.applied.ACLs().All)
	for _, b := range got {
		if !m.acls[b] {
			t.Fatalf("%v is there", b)
		}
	}
	if len(got) != len(m.acls) {
		t.Fatalf("%d bindings, want %d", len(got), len(m.acls))
	}
}

func TestAnAccessControlListHasAnEnd(t *testing.T) {
	c := lead(t, 1, 1)
	var bs []acl.Binding
	for i := range maxBindings {
		bs = append(bs, allowing(fmt.Sprintf("t%06d", i), "User:a"))
	}
	l, ok := acl.NewList(bs)
	if !ok {
		t.Fatal("no list")
	}
	c.Reset(c.View().withACLs(l))
	_, err := c.AddACLs([]acl.Binding{allowing("one", "User:more")})
	wantKafka(t, err, kerr.InvalidRequest)
	if _, err := c.AddACLs(bs[:3]); err != nil {
		t.Errorf("what is there cannot be added again: %v", err)
	}
	if _, err := c.RemoveACLs(bs[:1]); err != nil {
		t.Error(err)
	}
	if _, err := c.AddACLs([]acl.Binding{allowing("one", "User:more")}); err != nil {
		t.Error(err)
	}
	restored, err := Restore(c.View().Encode())
	if err != nil || restored.ACLs().Len() != maxBindings {
		t.Errorf("restored %d: %v", restored.ACLs().Len(), err)
	}
}

func TestBindingsThatCannotBeAreRefused(t *testing.T) {
	c := lead(t, 1, 1)
	bad := allowing("t", "nobody")
	_, err := c.AddACLs([]acl.Binding{bad})
	wantKafka(t, err, kerr.InvalidRequest)
	bad = allowing("t", "User:a")
	bad.Resource = 99
	_, err = c.AddACLs([]acl.Binding{bad})
	wantKafka(t, err, kerr.InvalidRequest)
	_, err = c.RemoveACLs([]acl.Binding{bad})
	wantKafka(t, err, kerr.InvalidRequest)
	_, err = c.AddACLs(make([]acl.Binding, MaxBindingsPerChange+1))
	wantKafka(t, err, kerr.InvalidRequest)
}

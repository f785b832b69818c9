package acl

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

const (
	topic   = kmsg.ACLResourceTypeTopic
	literal = kmsg.ACLResourcePatternTypeLiteral
	prefix  = kmsg.ACLResourcePatternTypePrefixed

	read     = kmsg.ACLOperationRead
	write    = kmsg.ACLOperationWrite
	describe = kmsg.ACLOperationDescribe
	all      = kmsg.ACLOperationAll
)

func allow(pattern kmsg.ACLResourcePatternType, name, principal string, op kmsg.ACLOperation) Binding {
	return Binding{Resource: topic, Pattern: pattern, Name: name, Principal: principal, Host: Anywhere, Operation: op, Allow: true}
}

func deny(pattern kmsg.ACLResourcePatternType, name, principal string, op kmsg.ACLOperation) Binding {
	b := allow(pattern, name, principal, op)
	b.Allow = false
	return b
}

func from(host string, b Binding) Binding {
	b.Host = host
	return b
}

func listOf(bs ...Binding) *List {
	var l *List
	for _, b := range bs {
		l = l.Add(b)
	}
	return l
}

func authorizer(t testing.TB, super string, everyone bool, l *List) Authorizer {
	t.Helper()
	p, err := NewPolicy(super, everyone)
	if err != nil {
		t.Fatal(err)
	}
	return Authorizer{p, l}
}

func subject(principal, host string) Subject { return Subject{principal, ParseHost(host)} }

func TestDecisionsAreKafkas(t *testing.T) {
	l := listOf(
		allow(literal, "a", "User:alice", read),
		allow(prefix, "team-", "User:alice", write),
		allow(prefix, "team-x-", "User:alice", read),
		deny(literal, "team-secret", "User:alice", all),
		deny(prefix, "team-x-y", "User:*", read),
		allow(literal, "*", "User:bob", describe),
		deny(literal, "a", "User:bob", read),
		from("10.0.0.1", allow(literal, "a", "User:carol", all)),
		from("::1", allow(literal, "six", "User:carol", read)),
		from("somewhere", allow(literal, "six", "User:dave", read)),
		allow(literal, "configs", "User:alice", kmsg.ACLOperationAlterConfigs),
		deny(literal, "configs", "User:bob", kmsg.ACLOperationAlterConfigs),
		allow(literal, "configs", "User:bob", kmsg.ACLOperationDescribeConfigs),
	)
	a := authorizer(t, "User:root; Group:ops", false, l)
	open := authorizer(t, "", true, l)
	for _, c := range []struct {
		a    Authorizer
		who  string
		host string
		op   kmsg.ACLOperation
		name string
		want bool
	}{
		{a, "User:alice", "1.1.1.1", read, "a", true},
		{a, "User:alice", "1.1.1.1", write, "a", false},
		{a, "User:alice", "1.1.1.1", describe, "a", true}, // by Read
		{a, "User:alice", "1.1.1.1", write, "team-1", true},
		{a, "User:alice", "1.1.1.1", write, "team-", true},
		{a, "User:alice", "1.1.1.1", write, "team", false},
		{a, "User:alice", "1.1.1.1", write, "team-secret", false}, // deny wins
		{a, "User:alice", "1.1.1.1", read, "team-x-1", true},
		{a, "User:alice", "1.1.1.1", write, "team-x-1", true}, // by the shorter prefix
		{a, "User:alice", "1.1.1.1", read, "team-x-y-1", false},
		{a, "User:alice", "1.1.1.1", describe, "team-x-y-1", true}, // denying Read does not deny Describe
		{a, "User:bob", "1.1.1.1", describe, "anything", true},
		{a, "User:bob", "1.1.1.1", describe, "a", true},
		{a, "User:bob", "1.1.1.1", read, "a", false},
		{a, "User:alicia", "1.1.1.1", read, "a", false},
		{a, "user:alice", "1.1.1.1", read, "a", false},
		{a, "User:carol", "10.0.0.1", write, "a", true},
		{a, "User:carol", "10.0.0.2", write, "a", false},
		{a, "User:carol", "::1", read, "six", true},
		{a, "User:carol", "0:0:0:0:0:0:0:1", read, "six", true},
		{a, "User:carol", "::ffff:10.0.0.1", write, "a", true},
		{a, "User:dave", "somewhere", read, "six", false}, // a name is no host
		{a, "User:alice", "1.1.1.1", kmsg.ACLOperationDescribeConfigs, "configs", true},
		{a, "User:bob", "1.1.1.1", kmsg.ACLOperationDescribeConfigs, "configs", true},
		{a, "User:root", "1.1.1.1", all, "team-secret", true},
		{a, "Group:ops", "1.1.1.1", read, "nothing", true},
		{a, "User:ops", "1.1.1.1", read, "nothing", false},
		{open, "User:eve", "1.1.1.1", read, "a", false},       // there are bindings about it
		{open, "User:eve", "1.1.1.1", read, "nothing", false}, // "*" is about it too
		{authorizer(t, "", true, listOf(allow(literal, "a", "User:alice", read))), "User:eve", "1.1.1.1", write, "b", true},
		{authorizer(t, "", true, nil), "User:eve", "1.1.1.1", write, "b", true},
		{authorizer(t, "", false, nil), "User:eve", "1.1.1.1", write, "b", false},
		{Authorizer{}, "User:eve", "1.1.1.1", write, "b", true},
	} {
		if got := c.a.Allowed(subject(c.who, c.host), c.op, topic, c.name); got != c.want {
			t.Errorf("%s from %s, %s of %q: %v", c.who, c.host, c.op, c.name, got)
		}
	}
	if a.Allowed(subject("User:alice", "1.1.1.1"), read, kmsg.ACLResourceTypeGroup, "a") {
		t.Error("a binding about a topic is about the group of its name")
	}
}

func TestAClientWithoutAnAddressMatchesNoHost(t *testing.T) {
	a := authorizer(t, "", false, listOf(from("nonsense", allow(literal, "a", "User:a", read))))
	if a.Allowed(subject("User:a", "pipe"), read, topic, "a") {
		t.Error("an address that is none equals another one")
	}
}

func TestSuperUsersHaveATypeAndAName(t *testing.T) {
	for _, s := range []string{"alice", "User:", ":alice", "User:a;bob"} {
		if _, err := NewPolicy(s, false); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

// TestSomewhereIsWhereNothingDenies has the cases of KIP-679.
func TestSomewhereIsWhereNothingDenies(t *testing.T) {
	u := subject("User:u", "1.1.1.1")
	for name, c := range map[string]struct {
		l    *List
		want bool
	}{
		"nothing":                 {nil, false},
		"a literal":               {listOf(allow(literal, "t", "User:u", write)), true},
		"another's":               {listOf(allow(literal, "t", "User:v", write)), false},
		"by All":                  {listOf(allow(prefix, "t", "User:*", all)), true},
		"read only":               {listOf(allow(literal, "t", "User:u", read)), false},
		"denied itself":           {listOf(allow(literal, "t", "User:u", write), deny(literal, "t", "User:u", write)), false},
		"denied elsewhere":        {listOf(allow(literal, "t", "User:u", write), deny(literal, "s", "User:u", write)), true},
		"denied by a prefix":      {listOf(allow(literal, "topic", "User:u", write), deny(prefix, "to", "User:u", all)), false},
		"denied by a longer":      {listOf(allow(prefix, "to", "User:u", write), deny(prefix, "topic", "User:u", all)), true},
		"a prefix denied":         {listOf(allow(prefix, "topic", "User:u", write), deny(prefix, "to", "User:u", all)), false},
		"all denied":              {listOf(allow(literal, "t", "User:u", write), deny(literal, "*", "User:u", write)), false},
		"all allowed, some not":   {listOf(allow(literal, "*", "User:u", write), deny(prefix, "h", "User:u", write)), true},
		"all allowed and denied":  {listOf(allow(literal, "*", "User:u", write), deny(literal, "*", "User:*", all)), false},
		"a prefix, the name not":  {listOf(allow(prefix, "t", "User:u", write), deny(literal, "t", "User:u", write)), true},
		"one of two is possible":  {listOf(allow(literal, "a", "User:u", write), deny(prefix, "a", "User:u", write), allow(literal, "b", "User:u", write)), true},
		"from another host alone": {listOf(from("2.2.2.2", allow(literal, "t", "User:u", write))), false},
	} {
		if got := authorizer(t, "", false, c.l).AllowedSomewhere(u, write, topic); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if !authorizer(t, "User:u", false, listOf(deny(literal, "*", "User:u", all))).AllowedSomewhere(u, write, topic) {
		t.Error("a super user is refused")
	}
}

// decide is the rule again, slow and obvious.
func decide(bs map[Binding]bool, everyone bool, who, host string, op kmsg.ACLOperation, name string) bool {
	about, allowed := false, false
	for b := range bs {
		if b.Resource != topic {
			continue
		}
		switch {
		case b.Pattern == literal && b.Name != name && b.Name != "*":
			continue
		case b.Pattern == prefix && !strings.HasPrefix(name, b.Name):
			continue
		}
		about = true
		if b.Principal != who && b.Principal != "User:*" || b.Host != host && b.Host != "*" {
			continue
		}
		implied := b.Allow && (op == describe && slices.Contains([]kmsg.ACLOperation{read, write, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter}, b.Operation) ||
			op == kmsg.ACLOperationDescribeConfigs && b.Operation == kmsg.ACLOperationAlterConfigs)
		if b.Operation != op && b.Operation != all && !implied {
			continue
		}
		if !b.Allow {
			return false
		}
		allowed = true
	}
	return allowed || !about && everyone
}

func TestTheIndexAgreesWithALookAtEveryBinding(t *testing.T) {
	names := rapid.SampledFrom([]string{"*", "a", "ab", "abc", "abd", "b", "ba", "abcabcabc", "z"})
	users := rapid.SampledFrom([]string{"User:*", "User:a", "User:b"})
	hosts := rapid.SampledFrom([]string{"*", "1.1.1.1", "::1"})
	ops := rapid.SampledFrom([]kmsg.ACLOperation{all, read, write, describe, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationDescribeConfigs})
	rapid.Check(t, func(t *rapid.T) {
		have := map[Binding]bool{}
		var l *List
		for range rapid.IntRange(0, 30).Draw(t, "changes") {
			b := Binding{
				Resource: rapid.SampledFrom([]kmsg.ACLResourceType{topic, topic, kmsg.ACLResourceTypeGroup}).Draw(t, "resource"),
				Pattern:  rapid.SampledFrom([]kmsg.ACLResourcePatternType{literal, prefix}).Draw(t, "pattern"),
				Name:     names.Draw(t, "name"), Principal: users.Draw(t, "principal"), Host: hosts.Draw(t, "host"),
				Operation: ops.Draw(t, "operation"), Allow: rapid.IntRange(0, 3).Draw(t, "allow") > 0,
			}
			before, kept := l, slices.Collect(l.All)
			if rapid.IntRange(0, 3).Draw(t, "add") > 0 {
				l = l.Add(b)
				have[b] = true
			} else {
				l = l.Remove(b)
				delete(have, b)
			}
			if !slices.Equal(slices.Collect(before.All), kept) {
				t.Fatal("a list has changed")
			}
		}
		var want []Binding
		for b := range have {
			want = append(want, b)
		}
		slices.SortFunc(want, Binding.Compare)
		if got := slices.Collect(l.All); !slices.Equal(got, want) || l.Len() != len(want) {
			t.Fatalf("%d bindings %v, want %v", l.Len(), got, want)
		}
		if about := slices.ContainsFunc(want, func(b Binding) bool { return b.Host != Anywhere }); l.AboutHosts() != about {
			t.Fatalf("about hosts: %v, want %v", l.AboutHosts(), about)
		}
		if again, ok := NewList(want); !ok || !reflect.DeepEqual(again, l) {
			t.Fatalf("the list made at once is another one")
		}
		if _, ok := NewList(append(want, want...)); ok && len(want) > 0 {
			t.Fatal("bindings out of order make a list")
		}
		everyone := rapid.Bool().Draw(t, "everyone")
		p, _ := NewPolicy("", everyone)
		a := Authorizer{p, l}
		for _, name := range []string{"a", "ab", "abc", "abcd", "abcabcabcabc", "b", "baa", "c", "zz", "*"} {
			for _, who := range []string{"User:a", "User:c"} {
				for _, op := range []kmsg.ACLOperation{read, describe, kmsg.ACLOperationDescribeConfigs} {
					if got, want := a.Allowed(subject(who, "1.1.1.1"), op, topic, name), decide(have, everyone, who, "1.1.1.1", op, name); got != want {
						t.Fatalf("%s, %s of %q: %v, want %v by %v", who, op, name, got, want, have)
					}
				}
			}
		}
	})
}

func TestADecisionAllocatesNothing(t *testing.T) {
	a := authorizer(t, "User:root", false, large(1000))
	s := subject("User:u7", "10.0.0.1")
	if n := testing.AllocsPerRun(100, func() { a.Allowed(s, read, topic, "team-7-orders-of-the-day") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestOperationsOfATypeAreThoseThatExistForIt(t *testing.T) {
	a := authorizer(t, "", false, listOf(allow(literal, "t", "User:u", all)))
	u := subject("User:u", "")
	if got, want := a.AllowedOperations(u, topic, "t"), int32(0b1101_1111_1000&^(1<<9)); got != want {
		t.Errorf("%b, want %b", got, want)
	}
	if got := a.AllowedOperations(u, kmsg.ACLResourceTypeGroup, "t"); got != 0 {
		t.Errorf("%b", got)
	}
}

func TestFiltersChooseAsKafkas(t *testing.T) {
	s := func(v string) *string { return &v }
	b := allow(prefix, "ab", "User:u", read)
	everything := allow(literal, "*", "User:u", read)
	f := func(p kmsg.ACLResourcePatternType, name *string, change ...func(*Filter)) Filter {
		f := Filter{topic, p, name, nil, nil, kmsg.ACLOperationAny, kmsg.ACLPermissionTypeAny}
		for _, c := range change {
			c(&f)
		}
		return f
	}
	anyPattern, match := kmsg.ACLResourcePatternTypeAny, kmsg.ACLResourcePatternTypeMatch
	for i, c := range []struct {
		f    Filter
		b    Binding
		want bool
	}{
		{f(anyPattern, nil), b, true},
		{f(anyPattern, s("ab")), b, true},
		{f(anyPattern, s("abc")), b, false},
		{f(match, s("abc")), b, true},
		{f(match, s("ac")), b, false},
		{f(match, s("abc")), everything, true},
		{f(literal, s("abc")), everything, false},
		{f(literal, s("ab")), b, false},
		{f(prefix, s("ab")), b, true},
		{f(prefix, nil), everything, false},
		{f(anyPattern, nil, func(f *Filter) { f.Resource = kmsg.ACLResourceTypeGroup }), b, false},
		{f(anyPattern, nil, func(f *Filter) { f.Resource = kmsg.ACLResourceTypeAny }), b, true},
		{f(anyPattern, nil, func(f *Filter) { f.Principal = s("User:u") }), b, true},
		{f(anyPattern, nil, func(f *Filter) { f.Principal = s("User:*") }), b, false},
		{f(anyPattern, nil, func(f *Filter) { f.Host = s("1.1.1.1") }), b, false},
		{f(anyPattern, nil, func(f *Filter) { f.Operation = all }), b, false},
		{f(anyPattern, nil, func(f *Filter) { f.Permission = kmsg.ACLPermissionTypeDeny }), b, false},
		{f(anyPattern, nil, func(f *Filter) { f.Permission = kmsg.ACLPermissionTypeAllow }), b, true},
	} {
		if got := c.f.Matches(c.b); got != c.want {
			t.Errorf("%d: %+v of %v: %v", i, c.f, c.b, got)
		}
	}
}

func TestBindingsThatMeanNothingAreRefused(t *testing.T) {
	good := allow(literal, "t", "User:u", read)
	if err := good.Check(); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Binding){
		"any resource":  func(b *Binding) { b.Resource = kmsg.ACLResourceTypeAny },
		"new resource":  func(b *Binding) { b.Resource = 8 },
		"match":         func(b *Binding) { b.Pattern = kmsg.ACLResourcePatternTypeMatch },
		"any operation": func(b *Binding) { b.Operation = kmsg.ACLOperationAny },
		"new operation": func(b *Binding) { b.Operation = 15 },
		"no name":       func(b *Binding) { b.Name = "" },
		"no host":       func(b *Binding) { b.Host = "" },
		"no type":       func(b *Binding) { b.Principal = "u" },
		"a long name":   func(b *Binding) { b.Name = strings.Repeat("x", maxText+1) },
		"a cluster":     func(b *Binding) { b.Resource = kmsg.ACLResourceTypeCluster },
	} {
		b := good
		if change(&b); b.Check() == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

// large has n teams, each with some bindings.
func large(n int) *List {
	var l *List
	for i := range n {
		u := fmt.Sprintf("User:u%d", i)
		for _, b := range []Binding{
			allow(prefix, fmt.Sprintf("team-%d-", i), u, read),
			allow(literal, fmt.Sprintf("orders-%d", i), u, write),
			deny(prefix, fmt.Sprintf("team-%d-private", i), "User:*", all),
		} {
			l = l.Add(b)
		}
	}
	return l
}

// BenchmarkDecision compares the index with a look at every binding.
func BenchmarkDecision(b *testing.B) {
	for _, n := range []int{10, 1000, 10000} {
		b.Run(fmt.Sprintf("bindings=%d", 3*n), func(b *testing.B) {
			a := authorizer(b, "", false, large(n))
			s := subject(fmt.Sprintf("User:u%d", n/2), "10.0.0.1")
			name := fmt.Sprintf("team-%d-orders", n/2)
			b.ReportAllocs()
			for b.Loop() {
				if !a.Allowed(s, read, topic, name) {
					b.Fatal("refused")
				}
			}
			index := float64(b.Elapsed()) / float64(b.N)
			have := map[Binding]bool{}
			a.List.All(func(x Binding) bool { have[x] = true; return true })
			const rounds = 20
			start := time.Now()
			for range rounds {
				decide(have, false, s.Principal, "10.0.0.1", read, name)
			}
			slow := float64(time.Since(start)) / rounds
			b.ReportMetric(slow/index, "faster/op")
		})
	}
}

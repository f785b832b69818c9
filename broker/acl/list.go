package acl

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// List is a set of bindings, which never changes. The nil List is empty. It may be
// read by any number of goroutines.
type List struct {
	size  int
	hosts int                                    // lines that are about one host
	types [kmsg.ACLResourceTypeUser + 1]patterns // by type of resource
}

// patterns are the bindings about one type of resource, by name.
type patterns struct {
	literal  []*pattern
	prefixed []*pattern
}

// pattern is the bindings about one name or prefix, in order.
type pattern struct {
	name  string
	lines []line
}

// line is a binding, ready to be compared with.
type line struct {
	Binding
	anyone   bool
	anywhere bool
	host     netip.Addr // invalid if the host is none
}

func newLine(b Binding) line {
	l := line{Binding: b, anyone: b.Principal == Anyone, anywhere: b.Host == Anywhere}
	if !l.anywhere {
		l.host = ParseHost(b.Host)
	}
	return l
}

// ParseHost reads an address in one form for one host; it is invalid for a text that
// is none.
func ParseHost(s string) netip.Addr {
	ip, err := netip.ParseAddr(s)
	if err != nil {
		return netip.Addr{}
	}
	return ip.Unmap().WithZone("")
}

// Len is the number of bindings.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return l.size
}

// AboutHosts says whether any binding is about one host, so that what a principal may do
// depends on from where it does it.
func (l *List) AboutHosts() bool { return l != nil && l.hosts > 0 }

func aboutHost(b Binding) int {
	if b.Host == Anywhere {
		return 0
	}
	return 1
}

// All calls f for every binding, in order, until it returns false.
func (l *List) All(f func(Binding) bool) {
	if l == nil {
		return
	}
	for i := range l.types {
		for _, ps := range [][]*pattern{l.types[i].literal, l.types[i].prefixed} {
			for _, p := range ps {
				for j := range p.lines {
					if !f(p.lines[j].Binding) {
						return
					}
				}
			}
		}
	}
}

// Contains says whether a binding is there.
func (l *List) Contains(b Binding) bool {
	if l == nil {
		return false
	}
	ps := *l.types[b.Resource].of(b.Pattern)
	i, ok := search(ps, b.Name)
	if !ok {
		return false
	}
	_, ok = ps[i].search(b)
	return ok
}

// NewList makes a list of bindings that Check found right. It is false unless they are
// in order and none is there twice.
func NewList(bs []Binding) (l *List, ok bool) {
	if len(bs) == 0 {
		return nil, true
	}
	l = &List{size: len(bs)}
	for i, b := range bs {
		same := false
		if i > 0 {
			last := bs[i-1]
			if last.Compare(b) >= 0 {
				return nil, false
			}
			same = last.Resource == b.Resource && last.Pattern == b.Pattern && last.Name == b.Name
		}
		ps := l.types[b.Resource].of(b.Pattern)
		if !same {
			*ps = append(*ps, &pattern{name: b.Name})
		}
		p := (*ps)[len(*ps)-1]
		p.lines = append(p.lines, newLine(b))
		l.hosts += aboutHost(b)
	}
	return l, true
}

// Add is the list with a binding, which Check found right; l itself if it is there.
func (l *List) Add(b Binding) *List {
	if l.Contains(b) {
		return l
	}
	n := &List{}
	if l != nil {
		*n = *l
	}
	n.size++
	n.hosts += aboutHost(b)
	ps := n.types[b.Resource].of(b.Pattern)
	i, ok := search(*ps, b.Name)
	if !ok {
		*ps = inserted(*ps, i, &pattern{b.Name, []line{newLine(b)}})
		return n
	}
	old := (*ps)[i]
	j, _ := old.search(b)
	*ps = slices.Clone(*ps)
	(*ps)[i] = &pattern{b.Name, inserted(old.lines, j, newLine(b))}
	return n
}

// Remove is the list without a binding; l itself if it is not there.
func (l *List) Remove(b Binding) *List {
	if !l.Contains(b) {
		return l
	}
	if l.size == 1 {
		return nil
	}
	n := new(*l)
	n.size--
	n.hosts -= aboutHost(b)
	ps := n.types[b.Resource].of(b.Pattern)
	i, _ := search(*ps, b.Name)
	old := (*ps)[i]
	if len(old.lines) == 1 {
		*ps = deleted(*ps, i)
		return n
	}
	j, _ := old.search(b)
	*ps = slices.Clone(*ps)
	(*ps)[i] = &pattern{b.Name, deleted(old.lines, j)}
	return n
}

func (p *patterns) of(t kmsg.ACLResourcePatternType) *[]*pattern {
	if t == kmsg.ACLResourcePatternTypePrefixed {
		return &p.prefixed
	}
	return &p.literal
}

func search(ps []*pattern, name string) (int, bool) {
	return slices.BinarySearchFunc(ps, name, func(p *pattern, n string) int { return strings.Compare(p.name, n) })
}

func (p *pattern) search(b Binding) (int, bool) {
	return slices.BinarySearchFunc(p.lines, b, func(l line, b Binding) int { return l.Compare(b) })
}

// each calls f for every pattern that is about a resource, until it returns false.
//
// Prefixes are found from the longest to the shortest: the greatest one that is not
// above the name is a prefix of it, or tells how much of the name the next can have.
func (p *patterns) each(name string, f func(*pattern) bool) {
	for _, literal := range [...]string{name, Everything} {
		if i, ok := search(p.literal, literal); ok && !f(p.literal[i]) {
			return
		}
		if name == Everything {
			break
		}
	}
	for rest := name; rest != "" && len(p.prefixed) > 0; {
		i, ok := search(p.prefixed, rest)
		if !ok {
			if i--; i < 0 {
				return
			}
		}
		found := p.prefixed[i]
		n := sharedPrefix(found.name, rest)
		if n == len(found.name) {
			if !f(found) {
				return
			}
			n--
		}
		rest = rest[:n]
	}
}

func sharedPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// inserted is a new slice with e at i.
func inserted[T any](s []T, i int, e T) []T {
	out := make([]T, 0, len(s)+1)
	return append(append(append(out, s[:i]...), e), s[i:]...)
}

// deleted is a new slice without the element at i; nil if that was the only one.
func deleted[T any](s []T, i int) []T {
	if len(s) == 1 {
		return nil
	}
	out := make([]T, 0, len(s)-1)
	return append(append(out, s[:i]...), s[i+1:]...)
}

package group

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
)

// fakeTopics is a cluster for tests: name -> number of partitions. A topic's id is
// its name and how often it was made.
type fakeTopics struct {
	version uint64
	counts  map[string]int32
	made    map[string]int
	hidden  map[[2]string]bool // topic, principal
}

func newFakeTopics() *fakeTopics {
	return &fakeTopics{counts: map[string]int32{}, made: map[string]int{}, hidden: map[[2]string]bool{}}
}

func (f *fakeTopics) set(name string, partitions int32) {
	f.version++
	if f.counts[name] == 0 {
		f.made[name]++
	}
	if f.counts[name] = partitions; partitions == 0 {
		delete(f.counts, name)
	}
}

// hide hides a topic from a principal, or shows it again.
func (f *fakeTopics) hide(name, principal string) {
	f.version++
	f.hidden[[2]string{name, principal}] = !f.hidden[[2]string{name, principal}]
}

func (f *fakeTopics) Sight(c Client) (string, func(string) bool) {
	return c.Principal, func(topic string) bool { return !f.hidden[[2]string{topic, c.Principal}] }
}

func (f *fakeTopics) id(name string) (id [16]byte) {
	copy(id[:], name)
	id[15] = byte(f.made[name])
	return id
}

func (f *fakeTopics) Version() uint64 { return f.version }

func (f *fakeTopics) Topic(name string) ([16]byte, int32, bool) {
	n, ok := f.counts[name]
	return f.id(name), n, ok
}

func (f *fakeTopics) TopicName(id [16]byte) (string, bool) {
	name := strings.TrimRight(string(id[:15]), "\x00")
	return name, f.counts[name] > 0 && f.id(name) == id
}

func (f *fakeTopics) TopicNames() iter.Seq[string] {
	return slices.Values(slices.Sorted(maps.Keys(f.counts)))
}

// printPartitions prints a set as t/0,1 u/3.
func printPartitions(ps partitions) string {
	var out []string
	ps.byTopic(func(id [16]byte, part partitions) {
		name := strings.TrimRight(string(id[:15]), "\x00")
		if id[15] > 1 {
			name += fmt.Sprintf("'%d", id[15])
		}
		out = append(out, name+"/"+strings.Trim(strings.ReplaceAll(fmt.Sprint(part.numbers()), " ", ","), "[]"))
	})
	if len(out) == 0 {
		return "-"
	}
	return strings.Join(out, " ")
}

package group

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func numbered(n int) (id [16]byte) {
	binary.BigEndian.PutUint32(id[:], uint32(n))
	return id
}

// crowd makes members of topics with partitions; what they have is an assignment
// of some time before.
func crowd(t *rapid.T) ([]subscriber, map[[16]byte]int32) {
	counts := map[[16]byte]int32{}
	topics := rapid.IntRange(1, 6).Draw(t, "topics")
	for i := range topics {
		counts[numbered(i)] = int32(rapid.IntRange(1, 9).Draw(t, "partitions"))
	}
	alike := rapid.Bool().Draw(t, "alike")
	var subs []subscriber
	for i := range rapid.IntRange(1, 8).Draw(t, "members") {
		s := subscriber{id: fmt.Sprint(i)}
		for n := range topics {
			if alike || rapid.Bool().Draw(t, "subscribes") {
				s.topics = append(s.topics, numbered(n))
			}
		}
		subs = append(subs, s)
	}
	return subs, counts
}

// checkComplete holds that each partition of a topic that is read has one owner,
// who reads it.
func checkComplete(t *rapid.T, subs []subscriber, counts map[[16]byte]int32, out []partitions) {
	owners := map[partition]int{}
	for i, ps := range out {
		for _, p := range ps {
			if !slices.Contains(subs[i].topics, p.topic) || p.number >= counts[p.topic] {
				t.Fatalf("member %d is given partition %d of %x", i, p.number, p.topic)
			}
			owners[p]++
		}
	}
	for topic, n := range counts {
		read := slices.ContainsFunc(subs, func(s subscriber) bool { return slices.Contains(s.topics, topic) })
		for i := range n {
			if want := map[bool]int{true: 1, false: 0}[read]; owners[partition{topic, i}] != want {
				t.Fatalf("partition %d of %x has %d owners", i, topic, owners[partition{topic, i}])
			}
		}
	}
}

func TestUniformIsBalancedAndMovesNoMoreThanItMust(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subs, counts := crowd(t)
		first := assignUniform(subs, counts)
		checkComplete(t, subs, counts, first)
		checkBalance(t, subs, first)
		for i := range subs {
			subs[i].has = first[i]
		}
		for i, ps := range assignUniform(subs, counts) {
			if !slices.Equal(ps, first[i]) {
				t.Fatalf("nothing has changed, and member %d has %v instead of %v", i, ps, first[i])
			}
		}
		// Somebody comes, or goes, or a topic grows.
		switch rapid.IntRange(0, 2).Draw(t, "change") {
		case 0:
			subs = append(subs, subscriber{id: "new", topics: subs[0].topics})
		case 1:
			subs = subs[1:]
		case 2:
			counts[numbered(0)] += 3
		}
		second := assignUniform(subs, counts)
		checkComplete(t, subs, counts, second)
		checkBalance(t, subs, second)
		if len(subs) > 0 && !slices.ContainsFunc(subs, func(s subscriber) bool { return len(s.topics) != len(subs[0].topics) }) {
			checkMoves(t, subs, counts, second)
		}
	})
}

// checkBalance holds that no partition could go to a reader that has two less.
func checkBalance(t *rapid.T, subs []subscriber, out []partitions) {
	for from, ps := range out {
		for _, p := range ps {
			for to := range subs {
				if slices.Contains(subs[to].topics, p.topic) && len(out[from])-len(out[to]) > 1 {
					t.Fatalf("member %d has %d, %d has %d", from, len(out[from]), to, len(out[to]))
				}
			}
		}
	}
}

// checkMoves holds that, where all subscribe alike, only what exceeds the largest
// fair share was taken from anyone.
func checkMoves(t *rapid.T, subs []subscriber, counts map[[16]byte]int32, out []partitions) {
	total := 0
	for _, topic := range subs[0].topics {
		total += int(counts[topic])
	}
	over := 0 // how many may have one more than the least fair share
	least := total / len(subs)
	lost, must := 0, 0
	for i := range subs {
		lost += len(subs[i].has.minus(out[i]))
		must += max(len(subs[i].has)-least, 0)
		if len(subs[i].has) > least {
			over++
		}
	}
	must -= min(over, total%len(subs))
	if lost > must {
		t.Fatalf("%d partitions moved, %d had to", lost, must)
	}
}

func TestRangeGivesRunsInOrderOfInstances(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		subs, counts := crowd(t)
		checkComplete(t, subs, counts, assignRange(subs, counts))
	})
	a, b := "i1", "i2"
	topics := [][16]byte{numbered(0), numbered(1)}
	subs := []subscriber{{id: "1", topics: topics}, {id: "2", instance: &b, topics: topics}, {id: "3", instance: &a, topics: topics}}
	out := assignRange(subs, map[[16]byte]int32{numbered(0): 7, numbered(1): 2})
	for i, want := range []string{"[5 6] []", "[3 4] [1]", "[0 1 2] [0]"} {
		var got [2][]int32
		for _, p := range out[i] {
			n := binary.BigEndian.Uint32(p.topic[:])
			got[n] = append(got[n], p.number)
		}
		if s := fmt.Sprint(got[0], got[1]); s != want {
			t.Errorf("member %s has %s, want %s", subs[i].id, s, want)
		}
	}
}

// BenchmarkUniform assigns 10,000 partitions to 1,000 members anew when one more
// comes, and prints what a partition costs.
func BenchmarkUniform(b *testing.B) {
	const members, topics, each = 1000, 100, 100
	counts := map[[16]byte]int32{}
	var ids [][16]byte
	for i := range topics {
		ids = append(ids, numbered(i))
		counts[numbered(i)] = each
	}
	subs := make([]subscriber, members)
	for i := range subs {
		subs[i] = subscriber{id: fmt.Sprintf("%04d", i), topics: ids}
	}
	for i, ps := range assignUniform(subs, counts) {
		subs[i].has = ps
	}
	subs = append(subs, subscriber{id: "new", topics: ids})
	for b.Loop() {
		assignUniform(subs, counts)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/(topics*each), "ns/partition")
}

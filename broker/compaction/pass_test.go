package compaction

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/splashdam/splashdam/broker/record"
)

const partition record.PartitionID = 7

// keyed is a batch of records, each of a key of one letter; a capital one is a delete marker.
func keyed(base, time int64, keys string) record.Batch {
	var records []record.Record
	for _, k := range []byte(keys) {
		r := record.Record{Key: []byte{k | 0x20}, Value: []byte{k}}
		if k < 'a' {
			r.Value = nil
		}
		records = append(records, r)
	}
	return record.Build(record.BuildOptions{BaseOffset: base, BaseTimestamp: time, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, records)
}

// compacted runs one pass over batches and returns what is left of them.
func compacted(t *testing.T, batches []record.Batch, p Policy, now int64, memory int) (left []record.Batch, pass *Pass) {
	t.Helper()
	d := NewDirt(partition, p, 0, 0, now)
	for _, b := range batches {
		if !d.Add(Extent{Base: b.BaseOffset(), Next: b.NextOffset(), Size: int64(len(b)), MaxTime: b.MaxTimestamp()}) {
			break
		}
	}
	pass = NewPass(&d, NewKeys(d.Records, memory), false)
	for i, b := range batches {
		if b.NextOffset() > pass.End() || !pass.AddKeys(b, i == 0) {
			break
		}
	}
	for _, b := range batches {
		out, err := pass.Filter(b)
		if err != nil {
			t.Fatal(err)
		}
		if out != nil {
			left = append(left, out)
		}
	}
	return left, pass
}

func TestOfEachKeyTheNewestRecordStaysWhateverTheMemory(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	policy := Policy{MaxLag: math.MaxInt64 / 2, DeleteRetention: 1000, Stable: math.MaxInt64}
	for _, memory := range []int{1 << 20, 1} {
		var batches []record.Batch
		newest := map[byte]int64{}
		next := int64(0)
		for range 200 {
			keys := ""
			for range 1 + rnd.IntN(5) {
				k := byte('a' + rnd.IntN(26))
				if rnd.IntN(8) == 0 {
					k -= 'a' - 'A'
				}
				newest[k|0x20] = next + int64(len(keys))
				keys += string(k)
			}
			batches = append(batches, keyed(next, 10, keys))
			next += int64(len(keys))
		}
		left, pass := compacted(t, batches, policy, 100, memory)
		if pass.End() != next || pass.Partial() {
			t.Errorf("it came to %d of %d, partial: %v", pass.End(), next, pass.Partial())
		}
		if pass.Horizon() != 1100 {
			t.Errorf("delete markers go at %d", pass.Horizon())
		}
		seen := 0
		for _, b := range left {
			records, err := b.Decode(1 << 20)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range records {
				seen++
				if at := b.BaseOffset() + int64(r.OffsetDelta); newest[r.Key[0]] != at {
					t.Errorf("key %s is left at %d, the newest is at %d", r.Key, at, newest[r.Key[0]])
				}
			}
		}
		if seen != len(newest) {
			t.Errorf("%d records of %d keys", seen, len(newest))
		}
	}
}

func TestKeysWithoutRoomEndThePassOrKeepTheDeleteMarkers(t *testing.T) {
	policy := Policy{Stable: math.MaxInt64}
	var many string
	for i := range minKeys {
		many += string(rune('a' + i%26))
	}
	// More keys than a map without memory has room for, each of its own.
	wide := func(base int64) record.Batch {
		var records []record.Record
		for i := range 2 * minKeys {
			records = append(records, record.Record{Key: fmt.Append(nil, base, i), Value: []byte("v")})
		}
		return record.Build(record.BuildOptions{BaseOffset: base, BaseTimestamp: 1, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}, records)
	}
	first, second := keyed(0, 1, many), wide(minKeys)
	if _, pass := compacted(t, []record.Batch{first, second}, policy, 1, 1); pass.End() != minKeys || pass.Partial() {
		t.Errorf("it ends at %d, not in front of the second batch, partial: %v", pass.End(), pass.Partial())
	}
	second, third := wide(0), keyed(2*minKeys, 1, "A")
	if _, pass := compacted(t, []record.Batch{second, third}, policy, 1, 1); pass.End() != 2*minKeys || !pass.Partial() {
		t.Errorf("it ends at %d, not behind the first batch, partial: %v", pass.End(), pass.Partial())
	}
}

func TestAPartitionIsDueByRatioLagOrHorizon(t *testing.T) {
	const now = 1000
	for name, c := range map[string]struct {
		policy    Policy
		compacted int64
		horizon   int64
		want      bool
		end       int64
	}{
		"half of it is dirty, which is enough":     {Policy{MinDirtyRatio: 0.4, MaxLag: 1 << 40, Stable: 99}, 10, math.MaxInt64, true, 20},
		"half of it is dirty, which is too little": {Policy{MinDirtyRatio: 0.5, MaxLag: 1 << 40, Stable: 99}, 10, math.MaxInt64, false, 20},
		"too old to wait":                          {Policy{MinDirtyRatio: 0.5, MaxLag: 50, Stable: 99}, 10, math.MaxInt64, true, 20},
		"a delete marker may go":                   {Policy{MinDirtyRatio: 0.5, MaxLag: 1 << 40, Stable: 99}, 10, now, true, 20},
		"all is clean":                             {Policy{Stable: 99}, 20, math.MaxInt64, false, 20},
		"what is dirty is too young":               {Policy{MinLag: 200, Stable: 99}, 10, math.MaxInt64, false, 10},
		"what is dirty is not stable":              {Policy{Stable: 19}, 10, math.MaxInt64, false, 10},
	} {
		d := NewDirt(partition, c.policy, 0, c.compacted, now)
		for i := range int64(2) {
			if !d.Add(Extent{Base: 10 * i, Next: 10 * (i + 1), Size: 100, MaxTime: 500 + 400*i}) {
				break
			}
		}
		if got := d.Due(c.horizon); got != c.want || d.End != c.end {
			t.Errorf("%s: due is %v, it ends at %d", name, got, d.End)
		}
	}
}

package commitlog

import (
	"bytes"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// The log against the obvious model, a list of entries, under any order of calls.
func TestALogDoesWhatAListOfEntriesWouldDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		mem := vfs.NewMem()
		h := newHistory()
		var err error
		if h.log, err = Open(mem, dir, Options{IndexCache: blockSize, roomPiece: 256}); err != nil {
			t.Fatal(err)
		}
		ok := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		ok(h.setHard(1, 1, 0))
		last := func() record.Index { return record.Index(len(h.entries)) }
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				if len(h.entries) < 60 {
					ok(h.append(rapid.SliceOfN(rapid.Bool(), 1, 4).Draw(t, "rolls")...))
				}
			},
			"sync": func(t *rapid.T) {
				ok(h.sync())
				if h.log.Durable() != last() {
					t.Fatalf("durable is %d after a sync, last is %d", h.log.Durable(), last())
				}
			},
			"commit": func(t *rapid.T) {
				ok(h.commit(rapid.Custom(func(t *rapid.T) record.Index {
					return h.committed + record.Index(rapid.IntRange(0, int(last()-h.committed)).Draw(t, "more"))
				}).Draw(t, "to")))
			},
			"cut": func(t *rapid.T) {
				ok(h.truncate(h.committed + record.Index(rapid.IntRange(0, int(last()-h.committed)).Draw(t, "keep"))))
			},
			"term":    func(t *rapid.T) { ok(h.setHard(h.hard.Term+1, 2, h.committed)) },
			"prepare": func(t *rapid.T) { ok(h.prepare()) },
			"seal": func(t *rapid.T) {
				ok(h.seal())
				if h.log.SealPending() {
					t.Fatal("something is left to be sealed")
				}
			},
			"snapshot": func(t *rapid.T) {
				if h.committed > h.snapshot {
					ok(h.snap(h.snapshot + record.Index(rapid.IntRange(1, int(h.committed-h.snapshot)).Draw(t, "index"))))
				}
			},
			"reopen": func(t *rapid.T) {
				ok(h.reopen(mem))
				if w := h.log.Warnings(); len(w) > 0 {
					t.Fatal(w)
				}
			},
			"read": func(t *rapid.T) {
				p := rapid.SampledFrom(partitions).Draw(t, "partition")
				offset := rapid.Int64Range(0, 40).Draw(t, "offset")
				end := rapid.Int64Range(0, 60).Draw(t, "end")
				limit := rapid.IntRange(0, 600).Draw(t, "bytes")
				one := rapid.Bool().Draw(t, "at least one")
				got, err := h.log.Read([]byte("before"), nil, p, offset, end, limit, one)
				ok(err)
				if want := append([]byte("before"), h.read(p, offset, end, limit, one)...); !bytes.Equal(got, want) {
					t.Fatalf("%d bytes, want %d", len(got), len(want))
				}
			},
			"times": func(t *rapid.T) {
				p := rapid.SampledFrom(partitions).Draw(t, "partition")
				ts := rapid.Int64Range(-2000, 61000).Draw(t, "time")
				start := rapid.Int64Range(0, 40).Draw(t, "start")
				end := rapid.Int64Range(0, 60).Draw(t, "end")
				o, at, found, err := h.log.OffsetForTime(p, ts, start, end)
				ok(err)
				if wo, wt, wok := h.offsetForTime(p, ts, start, end); o != wo || at != wt || found != wok {
					t.Fatalf("offset for time: %d, %d, %v, want %d, %d, %v", o, at, found, wo, wt, wok)
				}
				o, at, found, err = h.log.MaxTimestamp(p, start, end)
				ok(err)
				if wo, wt, wok := h.maxTimestamp(p, start, end); o != wo || at != wt || found != wok {
					t.Fatalf("max timestamp: %d, %d, %v, want %d, %d, %v", o, at, found, wo, wt, wok)
				}
			},
			"": func(t *rapid.T) { ok(h.check()) },
		})
		ok(h.log.Close())
		r, err := Verify(mem, dir)
		if err == nil && len(r.Problems) > 0 {
			err = fmt.Errorf("%v", r.Problems)
		}
		ok(err)
	})
}

// read is Read over the model.
func (h *history) read(p record.PartitionID, offset, end int64, maxBytes int, atLeastOne bool) []byte {
	var got []byte
	for _, b := range h.batches(p) {
		switch {
		case b.NextOffset() <= offset:
			continue
		case b.NextOffset() > end, len(got)+len(b) > maxBytes && !(atLeastOne && len(got) == 0):
			return got
		}
		got = append(got, b...)
		if len(got) >= maxBytes {
			return got
		}
	}
	return got
}

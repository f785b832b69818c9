package commitlog

import (
	"math"

	"github.com/splashdam/splashdam/broker/record"
)

// timed is a record as a reader by time sees it.
type timed struct {
	offset, time int64
	batchEnd     int64
}

// records lists those that readers may see.
func (h *history) records(p record.PartitionID) []timed {
	var list []timed
	for _, b := range h.batches(p) {
		_ = b.Iterate(1<<20, func(r record.Record) bool {
			list = append(list, timed{b.BaseOffset() + int64(r.OffsetDelta), b.BaseTimestamp() + r.TimestampDelta, b.NextOffset()})
			return true
		})
	}
	return list
}

func (h *history) offsetForTime(p record.PartitionID, ts, start, end int64) (offset, timestamp int64, ok bool) {
	for _, r := range h.records(p) {
		if r.offset >= start && r.batchEnd <= end && r.time >= ts {
			return r.offset, r.time, true
		}
	}
	return 0, 0, false
}

func (h *history) maxTimestamp(p record.PartitionID, start, end int64) (offset, timestamp int64, ok bool) {
	timestamp = math.MinInt64
	for _, r := range h.records(p) {
		if r.batchEnd > start && r.batchEnd <= end && r.time > timestamp {
			offset, timestamp, ok = r.offset, r.time, true
		}
	}
	if !ok {
		return 0, 0, false
	}
	return max(start, offset), timestamp, ok
}

// checkTimes compares searches by time over all ranges of offsets.
func (h *history) checkTimes(t interface {
	Helper()
	Fatalf(string, ...any)
}, p record.PartitionID) {
	t.Helper()
	list := h.records(p)
	top := int64(len(list)) + 1
	for start := max(0, h.judge[p]); start <= top; start++ {
		for end := start; end <= top; end++ {
			offset, ts, ok, err := h.log.MaxTimestamp(p, start, end)
			wo, wt, wok := h.maxTimestamp(p, start, end)
			if err != nil || offset != wo || ts != wt || ok != wok {
				t.Fatalf("max timestamp of %v in [%d, %d): %d, %d, %v, %v, want %d, %d, %v", p, start, end, offset, ts, ok, err, wo, wt, wok)
			}
		}
		for _, r := range list {
			for _, want := range []int64{r.time - 1, r.time, r.time + 1} {
				offset, ts, ok, err := h.log.OffsetForTime(p, want, start, top)
				wo, wt, wok := h.offsetForTime(p, want, start, top)
				if err != nil || offset != wo || ts != wt || ok != wok {
					t.Fatalf("offset of %v for time %d from %d: %d, %d, %v, %v, want %d, %d, %v", p, want, start, offset, ts, ok, err, wo, wt, wok)
				}
			}
		}
	}
}

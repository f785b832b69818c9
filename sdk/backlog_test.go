package sdk

import (
	"testing"
	"time"
)

func TestFailedMessagesComeBackWhenDueAndThenGoFirst(t *testing.T) {
	start := time.UnixMilli(0)
	var b backlog
	d := map[string]*delivery{}
	for _, id := range []string{"fresh-1", "fresh-2", "late", "soon"} {
		d[id] = &delivery{message: &Message{ID: id}}
	}
	b.push(d["fresh-1"])
	b.rest(d["late"], start.Add(2*time.Second))
	b.rest(d["soon"], start.Add(time.Second))
	b.push(d["fresh-2"])
	for _, step := range []struct {
		at   time.Duration
		id   string
		wait time.Duration
	}{
		{0, "fresh-1", 0},
		{time.Second, "soon", 0},
		{time.Second, "fresh-2", 0},
		{time.Second, "", time.Second},
		{2 * time.Second, "late", 0},
		{2 * time.Second, "", 0},
	} {
		got, wait := b.pop(start.Add(step.at))
		id := ""
		if got != nil {
			id = got.message.ID
		}
		if id != step.id || wait != step.wait {
			t.Errorf("at %v: %q, wait %v; want %q, wait %v", step.at, id, wait, step.id, step.wait)
		}
	}
}

func TestRestDoublesUpToItsLimit(t *testing.T) {
	for attempt, want := range map[int]time.Duration{
		1: 200 * time.Millisecond, 2: 400 * time.Millisecond, 3: 800 * time.Millisecond, 8: 25600 * time.Millisecond,
		9: retryMost, 1_000_000: retryMost,
	} {
		if got := retryDelay(attempt); got != want {
			t.Errorf("after attempt %d: %v, want %v", attempt, got, want)
		}
	}
}

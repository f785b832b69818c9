package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/sdk"
	"github.com/splashdam/splashdam/sources/mysql/tape"
)

func TestTheCheckOfMessagesNamesWhatIsWrong(t *testing.T) {
	acked := map[string]location{"a": {0, 0}, "b": {0, 1}, "c": {1, 0}, "d": {1, 1}}
	a, b := received{"a", "k", location{0, 0}}, received{"b", "k", location{0, 1}}
	c, d := received{"c", "", location{1, 0}}, received{"d", "l", location{1, 1}}
	for _, test := range []struct {
		got  []received
		want string
	}{
		{[]received{a, c, b, d}, ""},
		{[]received{c, d, a, b}, ""},
		{[]received{a, d}, "acknowledged and never received: b, c"},
		{[]received{a, b, c, d, c}, "received twice: c"},
		{[]received{a, b, c, d, {"e", "", location{1, 2}}}, "received and never sent: e"},
		{[]received{a, b, d, {"c", "", location{1, 7}}}, "received from another place than acknowledged: c"},
		{[]received{b, a, c, d}, "received after a later message of its key: a"},
		{[]received{a, b, c, {"d", "k", location{1, 1}}}, "keys in more than one partition: k"},
	} {
		if err := checkMessages(acked, test.got); said(err) != test.want {
			t.Errorf("%v: got %q, want %q", test.got, said(err), test.want)
		}
	}
}

// said is what an error says, nothing if there is none.
func said(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTheCheckOfOrdersNamesWhatIsWrong(t *testing.T) {
	customers := []customer{
		{name: "buys"}, {name: "broke", decline: true},
		{name: "before", until: inserted}, {name: "after", until: committed},
	}
	for _, test := range []struct {
		spoil func(e *ordersEnd)
		want  string
	}{
		{func(*ordersEnd) {}, ""},
		{func(e *ordersEnd) { e.full = append(e.full, "buys") }, "orders whose cart is not cleared: buys"},
		{func(e *ordersEnd) { e.full = []string{"broke"} }, "carts cleared without an order: before"},
		{func(e *ordersEnd) { e.orders, e.full = []string{"after"}, append(e.full, "buys") }, "orders that are not there: buys"},
		{func(e *ordersEnd) { e.orders, e.full = append(e.orders, "broke"), []string{"before"} }, "orders that are there although they failed: broke"},
		{func(e *ordersEnd) { e.early = []string{"after"} }, "held messages that were seen: after"},
		{func(e *ordersEnd) { delete(e.answers, "after") }, "orders of the dead service about which nobody was asked: after"},
		{func(e *ordersEnd) { e.answers["before"] = sdk.Commit }, "wrong answers to the broker: before"},
		{func(e *ordersEnd) { e.answers["buys"] = sdk.Commit }, "orders about which the broker asked although they were decided: buys"},
		{func(e *ordersEnd) { e.late = []string{"before"} }, "messages that could be committed after their rollback: before"},
		{func(e *ordersEnd) { e.visible++ }, "the topic shows 3 messages about 2 orders"},
	} {
		e := &ordersEnd{
			orders: []string{"buys", "after"}, full: []string{"broke", "before"}, visible: 2,
			answers: map[string]sdk.Outcome{"before": sdk.Rollback, "after": sdk.Commit},
		}
		test.spoil(e)
		if err := e.check(customers); said(err) != test.want {
			t.Errorf("got %q, want %q", said(err), test.want)
		}
	}
}

func TestTheCheckOfThePeakNamesWhatIsWrong(t *testing.T) {
	for _, test := range []struct {
		spoil func(k *peak)
		want  string
	}{
		{func(*peak) {}, ""},
		{func(k *peak) { k.refused, k.cause = []string{"z"}, errors.New("too much") }, "sends that failed: z: too much"},
		{func(k *peak) { delete(k.done, "a") }, "sent and never taken: a"},
		{func(k *peak) { k.done["a"]++ }, "taken twice: a"},
		{func(k *peak) { k.done["c"] = 1 }, "taken and never sent: c"},
		{func(k *peak) { k.doneAt = make([]time.Duration, peakAtOnce) }, ""},
		{func(k *peak) { k.doneAt = make([]time.Duration, peakAtOnce+1) }, "the consumer was driven 60 messages above its limit of 5000 a second; 59 may come at once"},
	} {
		k := &peak{in: map[string]bool{"a": true, "b": true}, done: map[string]int{"a": 1, "b": 1}}
		test.spoil(k)
		if err := k.check(); said(err) != test.want {
			t.Errorf("got %q, want %q", said(err), test.want)
		}
	}
}

func TestTheCheckOfThePipelineNamesWhatIsWrong(t *testing.T) {
	place := func(n uint64) placeAt { return placeAt{0, connect.Place{File: 1, End: n}} }
	for _, test := range []struct {
		spoil func(e *pipelineEnd)
		want  string
	}{
		{func(*pipelineEnd) {}, ""},
		{func(e *pipelineEnd) { delete(e.latest, "1") }, "rows of the table that are not in the files: 1"},
		{func(e *pipelineEnd) { delete(e.table, "2") }, "rows in the files that are not in the table: 2"},
		{func(e *pipelineEnd) { e.latest["2"] = "old" }, "rows that are other ones in the files than in the table: 2"},
		{func(e *pipelineEnd) { e.places[place(200)]++ }, "places that are in the files twice: 0.0.1.200.0"},
		{func(e *pipelineEnd) { e.before = 0 }, "the connector was killed before there was a row in the files: nothing was tried"},
		{func(e *pipelineEnd) { e.before = 3 }, "the connector was killed when all 3 rows were in the files: nothing was tried"},
	} {
		e := &pipelineEnd{
			table: tape.State{"1": "tea", "2": "jam"}, latest: tape.State{"1": "tea", "2": "jam"}, before: 1,
			places: map[placeAt]int{place(100): 1, place(200): 1, {1, connect.Place{File: 1, End: 200}}: 1},
		}
		test.spoil(e)
		if err := e.check(); said(err) != test.want {
			t.Errorf("got %q, want %q", said(err), test.want)
		}
	}
}

func TestAboveLimitIsTheWorstStretch(t *testing.T) {
	slow := func(at []time.Duration, perSecond float64) int {
		most := 0.0
		for i := range at {
			for j := i; j < len(at); j++ {
				most = max(most, float64(j-i+1)-perSecond*(at[j]-at[i]).Seconds())
			}
		}
		return int(most)
	}
	random := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var at []time.Duration
		now := time.Duration(0)
		for range random.IntN(60) {
			now += time.Duration(random.IntN(3)*random.IntN(500)) * time.Millisecond
			at = append(at, now)
		}
		if got, want := aboveLimit(at, 4), slow(at, 4); got != want {
			t.Fatalf("%v: %d, and by the slow way %d", at, got, want)
		}
	}
}

func TestThePlotNeedsNoColours(t *testing.T) {
	k := &peak{}
	for i := range 1000 {
		k.inAt = append(k.inAt, time.Duration(i)*time.Millisecond/10)
		k.doneAt = append(k.doneAt, time.Duration(i)*time.Millisecond)
	}
	f := k.figures()
	if f.Backlog < 880 || f.Backlog > 920 {
		t.Errorf("a backlog of %d: in come ten while one is taken", f.Backlog)
	}
	plot := f.plot(func(_ color, text string) string { return text })
	for line := range strings.Lines(plot) {
		if n := len([]rune(line)); n > 80 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	if !strings.HasSuffix(plot, "· in   * backlog   + done") || strings.Contains(plot, "\x1b") || strings.Count(plot, "·") < 10 {
		t.Errorf("plotted as\n%s", plot)
	}
	painted := f.plot(func(c color, text string) string { return fmt.Sprint("<", string(c[2:]), ">", text, "<>") })
	if !strings.Contains(painted, "<31m>*<> backlog") || !strings.Contains(painted, "<32m>+<> done") {
		t.Errorf("painted as\n%s", painted)
	}
}

func TestNamesAreListedUpToALimit(t *testing.T) {
	if got := named([]string{"c", "a", "b"}); got != "a, b, c" {
		t.Error(got)
	}
	if got := named([]string{"g", "f", "e", "d", "c", "b", "a"}); got != "a, b, c, d, e and 2 more" {
		t.Error(got)
	}
}

func TestThousandsHaveCommas(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 123456: "123,456", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%d is %s", n, got)
		}
	}
}

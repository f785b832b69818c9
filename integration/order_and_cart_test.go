package integration

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// fault is what befalls an order service at a step.
type fault struct {
	at step
	// hang: the service hangs until another instance was asked about the order;
	// otherwise it is killed.
	hang bool
}

func (f fault) String() string {
	switch {
	case f.at == "":
		return "none"
	case f.hang:
		return "hangs " + string(f.at)
	}
	return string(f.at)
}

// combination is one way in which everything goes wrong: an order service, a cart
// service and the broker each fail at a step, or do not.
type combination struct {
	orders fault
	carts  step // where the cart service is killed
	broker step // where one of the services is when the broker is killed
}

func (c combination) String() string {
	names := []string{"orders " + c.orders.String(), "carts none", "broker none"}
	if c.carts != "" {
		names[1] = "carts " + string(c.carts)
	}
	if c.broker != "" {
		names[2] = "broker " + string(c.broker)
	}
	return strings.Join(names, ", ")
}

var (
	orderSteps = []step{beforePrepare, afterPrepare, beforeOrder, afterOrder, afterDecision}
	checkSteps = []step{beforeTheCheck, beforeTheAnswer}
	cartSteps  = []step{received, beforeCart, afterCart, acknowledged}
)

// combinations are all there are, or a few in which every fault is at least once.
func combinations(all bool) []combination {
	orders := []fault{{}, {afterPrepare, true}, {beforeOrder, true}, {afterOrder, true}}
	for _, s := range slices.Concat(orderSteps, checkSteps) {
		orders = append(orders, fault{at: s})
	}
	carts := append([]step{""}, cartSteps...)
	brokers := slices.Concat([]step{""}, orderSteps, checkSteps, cartSteps)
	var cs []combination
	if !all {
		for i := range max(len(orders), len(carts), len(brokers)) {
			cs = append(cs, combination{orders[i%len(orders)], carts[i%len(carts)], brokers[i%len(brokers)]})
		}
		return cs
	}
	for _, o := range orders {
		for _, c := range carts {
			for _, b := range brokers {
				cs = append(cs, combination{o, c, b})
			}
		}
	}
	return cs
}

// tally counts what happened in all combinations.
type tally struct{ combinations, orders, kills, questions int }

// trialsAtOnce is how many combinations run at the same time: most of it is waiting
// for sessions to end and for questions to be due.
const trialsAtOnce = 24

// TestAnOrderExistsIfAndOnlyIfItsCartIsCleared has an order service and a cart
// service, each with its own database, and kills them and the broker between every
// two steps. In the end the orders, the cleared carts and the messages of the topic
// are the same set, whatever the senders were told; no cart was cleared twice; and
// no message was ever delivered whose order does not exist.
func TestAnOrderExistsIfAndOnlyIfItsCartIsCleared(t *testing.T) {
	Binary(t)
	work := make(chan combination)
	var mu sync.Mutex
	var sum tally
	var workers sync.WaitGroup
	for range trialsAtOnce {
		workers.Go(func() {
			for c := range work {
				t.Run(c.String(), func(t *testing.T) {
					n := newTrial(t, c).run()
					mu.Lock()
					defer mu.Unlock()
					sum.combinations += n.combinations
					sum.orders += n.orders
					sum.kills += n.kills
					sum.questions += n.questions
				})
			}
		})
	}
	for _, c := range combinations(Long()) {
		work <- c
	}
	close(work)
	workers.Wait()
	t.Logf("%d combinations: %d orders, %d kills, %d check-backs", sum.combinations, sum.orders, sum.kills, sum.questions)
}

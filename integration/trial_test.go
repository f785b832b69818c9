package integration

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/sdk"
)

const (
	first  = "first order service" // can never answer a question
	second = "second order service"
	third  = "third order service"

	// The orders of each trial.
	plainOrder      = "plain"
	answerLostOrder = "answer lost"
	commitLostOrder = "commit lost"
	soldOutOrder    = "sold out"
	struckOrder     = "struck" // by the fault of the order service
	lastOrder       = "last"

	trialPartitions = 2
	trialTimeout    = 60 * time.Second
)

var trialOrders = []order{
	{plainOrder, smooth}, {answerLostOrder, answerLost}, {commitLostOrder, commitLost}, {soldOutOrder, soldOut},
	{struckOrder, smooth}, {lastOrder, smooth},
}

// trial is one combination under way.
type trial struct {
	*testing.T
	combination
	ctx    context.Context
	node   *Node
	client *kgo.Client
	events chan event

	orderFile, cartFile string
	orderData, cartData *sql.DB

	// Faults that are still to come.
	ordersDue, cartsDue, brokerDue bool

	running  map[string]*service
	started  map[string]bool // ever
	placing  map[string]bool // order services that have not placed all their orders
	hanging  *service
	cartRuns int
	stopping bool

	told     map[string]string // by order: what its sender was told
	answered map[string]bool   // orders about which an instance was asked and knew
	kills    int
}

func newTrial(t *testing.T, c combination) *trial {
	dir := t.TempDir()
	tr := &trial{
		T: t, combination: c, ctx: testContext(t, trialTimeout), events: make(chan event, 16),
		orderFile: filepath.Join(dir, "orders.db"), cartFile: filepath.Join(dir, "carts.db"),
		ordersDue: c.orders.at != "", cartsDue: c.carts != "", brokerDue: c.broker != "",
		running: map[string]*service{}, started: map[string]bool{}, placing: map[string]bool{},
		told: map[string]string{}, answered: map[string]bool{},
	}
	tr.node = Start(t, "--shards", "2",
		"--set", "half.message.immunity.ms=300", "--set", "half.message.check.interval.ms=500", "--set", "half.message.check.max=1000000",
		"--set", "group.initial.rebalance.delay.ms=0", "--set", "group.min.session.timeout.ms=500")
	var err error
	tr.client, err = kgo.NewClient(kgo.SeedBrokers(tr.node.Addr), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DisableIdempotentWrite())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.client.Close)
	kind := "transaction"
	if _, err := kadm.NewClient(tr.client).CreateTopic(tr.ctx, trialPartitions, 1, map[string]*string{"message.type": &kind}, paidTopic); err != nil {
		t.Fatal(err)
	}
	tr.orderData = tr.open(tr.orderFile, "CREATE TABLE orders (id TEXT PRIMARY KEY)")
	if err := (sdk.Fence{}).CreateTable(tr.ctx, tr.orderData); err != nil {
		t.Fatal(err)
	}
	tr.cartData = tr.open(tr.cartFile, "CREATE TABLE deliveries (order_id TEXT); CREATE TABLE handled (message_id TEXT PRIMARY KEY);"+
		"CREATE TABLE carts (order_id TEXT PRIMARY KEY, cleared INTEGER NOT NULL)")
	for _, o := range trialOrders {
		if _, err := tr.cartData.ExecContext(tr.ctx, "INSERT INTO carts VALUES (?, 0)", o.ID); err != nil {
			t.Fatal(err)
		}
	}
	return tr
}

func (tr *trial) open(file, schema string) *sql.DB {
	db, err := sql.Open("sqlite", dataSource(file))
	if err == nil {
		_, err = db.ExecContext(tr.ctx, schema)
	}
	if err != nil {
		tr.Fatal(err)
	}
	tr.Cleanup(func() { db.Close() })
	return db
}

func (tr *trial) run() tally {
	for p := range trialPartitions {
		if err := tr.send(int32(p), metronome(p), "prepare", metronome(p)); err != nil {
			tr.Fatal(err)
		}
	}
	tr.startOrders(first)
	tr.startCarts()
	for tr.ordersDue || tr.cartsDue || tr.brokerDue || !tr.started[second] || len(tr.placing) > 0 {
		tr.await()
	}
	tr.settle()
	for _, s := range tr.running {
		if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			tr.Fatal(err)
		}
	}
	tr.stopping = true
	for len(tr.running) > 0 {
		tr.await()
	}
	tr.check()
	return tally{1, len(trialOrders), tr.kills, tr.questions(orderGroup)}
}

// await waits for the next event.
func (tr *trial) await() {
	tr.Helper()
	select {
	case e := <-tr.events:
		tr.on(e)
	case <-tr.ctx.Done():
		tr.Fatalf("stuck: faults to come: orders %v, carts %v, broker %v; still placing: %v", tr.ordersDue, tr.cartsDue, tr.brokerDue, tr.placing)
	}
}

// startOrders starts an instance of the order service.
func (tr *trial) startOrders(name string) {
	p := plan{Role: orderRole, Instance: name, Broker: tr.node.Addr, Database: tr.orderFile, Answers: name != first}
	struck := slices.IndexFunc(trialOrders, func(o order) bool { return o.ID == struckOrder })
	inFirst := slices.Contains(orderSteps, tr.orders.at)
	switch {
	case name == first && inFirst && !tr.orders.hang:
		p.Orders = trialOrders[:struck+1]
	case name == first:
		p.Orders = trialOrders
	case name == second && inFirst && !tr.orders.hang:
		p.Orders = trialOrders[struck+1:]
	}
	if tr.ordersDue && inFirst == (name == first) {
		h := halt{Step: tr.orders.at, Kill: !tr.orders.hang}
		if inFirst {
			h.Order = struckOrder
		}
		p.Halts = append(p.Halts, h)
	}
	if tr.brokerDue && name == first && slices.Contains(orderSteps, tr.broker) {
		h := halt{Step: tr.broker, Order: struckOrder}
		if !tr.struckReaches(tr.broker) {
			h.Order = plainOrder
		}
		p.Halts = append(p.Halts, h)
	}
	if tr.brokerDue && name != first && slices.Contains(checkSteps, tr.broker) {
		p.Halts = append(p.Halts, halt{Step: tr.broker})
	}
	tr.started[name], tr.placing[name] = true, true
	tr.running[name] = startService(tr.T, p, tr.events)
}

// struckReaches tells whether the order that the order service's fault strikes gets
// to a step of that service.
func (c combination) struckReaches(s step) bool {
	at := slices.Index(orderSteps, c.orders.at)
	switch {
	case at < 0:
		return true
	case c.orders.hang: // then it goes on, but may find itself fenced
		return c.orders.at != afterPrepare || s != beforeOrder && s != afterOrder
	}
	return slices.Index(orderSteps, s) <= at
}

// startCarts starts the next instance of the cart service.
func (tr *trial) startCarts() {
	tr.cartRuns++
	p := plan{Role: cartRole, Instance: fmt.Sprint("cart service ", tr.cartRuns), Broker: tr.node.Addr, Database: tr.cartFile}
	if tr.cartsDue {
		p.Halts = append(p.Halts, halt{Step: tr.carts, Order: plainOrder, Kill: true, Pause: cartPause})
	}
	if tr.brokerDue && slices.Contains(cartSteps, tr.broker) {
		p.Halts = append(p.Halts, halt{Step: tr.broker, Order: plainOrder})
	}
	tr.running[p.Instance] = startService(tr.T, p, tr.events)
}

func (tr *trial) on(e event) {
	switch {
	case e.ended:
		tr.onEnd(e)
	case e.said.Kind == sent:
		tr.told[e.said.Order] = e.said.Text
	case e.said.Kind == placed:
		delete(tr.placing, e.from.name)
	case e.said.Kind == answered:
		if e.said.Text != sdk.Unknown.String() {
			tr.answered[e.said.Order] = true
		}
		if e.said.Order == struckOrder && tr.hanging != nil {
			tr.hanging.goOn(tr.T)
			tr.hanging, tr.ordersDue = nil, false
		}
	case e.said.Kind == waiting:
		hangs := tr.ordersDue && tr.orders.hang && e.said.Step == tr.orders.at && e.said.Order == struckOrder
		if tr.brokerDue && e.said.Step == tr.broker {
			tr.brokerDue = false
			tr.kills++
			tr.node.Kill()
			if !hangs {
				e.from.goOn(tr.T) // into a broker that is not there
			}
			tr.node.Restart()
		}
		if hangs {
			tr.hanging = e.from
			tr.startOrders(second)
		}
	}
}

// onEnd starts a service again whose end was due.
func (tr *trial) onEnd(e event) {
	name := e.from.name
	delete(tr.running, name)
	delete(tr.placing, name)
	isCart := strings.HasPrefix(name, "cart")
	switch {
	case killed(e.err) && isCart && tr.cartsDue:
		tr.kills++
		tr.cartsDue = false
		tr.startCarts()
	case killed(e.err) && !isCart && tr.ordersDue && !tr.orders.hang:
		tr.kills++
		tr.ordersDue = false
		if name == first {
			tr.startOrders(second)
		} else {
			tr.startOrders(third)
		}
	case e.err == nil && tr.stopping:
	case e.err == nil && name == first:
		if !tr.started[second] {
			tr.startOrders(second)
		}
	default:
		tr.Fatalf("%s ended, though nothing was to befall it: %v", name, e.err)
	}
}

package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/sdk"
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
	trialTimeout    = 90 * time.Second
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
		p.Halts = append(p.Halts, halt{Step: tr.carts, Order: plainOrder, Kill: true})
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

// send produces a record of the half-message protocol, as any client can.
func (tr *trial) send(partition int32, id, state, group string) error {
	header := func(key, value string) kgo.RecordHeader { return kgo.RecordHeader{Key: key, Value: []byte(value)} }
	return tr.client.ProduceSync(tr.ctx, &kgo.Record{Topic: paidTopic, Partition: partition, Headers: []kgo.RecordHeader{
		header("sd-txn-id", id), header("sd-txn-state", state), header("sd-txn-group", group),
	}}).FirstErr()
}

// metronome names the half message in a partition that nobody ever decides, and its
// group. The questions about it are the clock of the partition's shard.
func metronome(partition int) string { return fmt.Sprint("metronome-", partition) }

// questions is how many questions were put to a group.
func (tr *trial) questions(group string) int {
	tr.Helper()
	ends, err := kadm.NewClient(tr.client).ListEndOffsets(tr.ctx, group+".check")
	if err = errors.Join(err, ends.Error()); err != nil {
		tr.Fatal(err)
	}
	n := 0
	ends.Each(func(o kadm.ListedOffset) { n += int(o.Offset) })
	return n
}

// settle waits until the carts are those of the orders, and nothing is undecided:
// while the broker asks about each metronome three times, it asks nothing else.
func (tr *trial) settle() {
	const beats = 3
	asked := -1
	since := make([]int, trialPartitions)
	for {
		select {
		case e := <-tr.events:
			tr.on(e)
			continue
		case <-tr.ctx.Done():
			tr.Fatalf("not settled: orders %q, carts %q, %d questions", tr.orderIDs(), tr.cleared(), asked)
		case <-time.After(50 * time.Millisecond):
		}
		quiet := true
		for p := range since {
			quiet = quiet && tr.questions(metronome(p)) >= since[p]+beats
		}
		now := tr.questions(orderGroup)
		switch {
		case now != asked || !slices.Equal(tr.orderIDs(), tr.cleared()):
			asked = now
			for p := range since {
				since[p] = tr.questions(metronome(p))
			}
		case quiet:
			return
		}
	}
}

func (tr *trial) orderIDs() []string {
	return texts(tr.ctx, tr.T, tr.orderData, "SELECT id FROM orders ORDER BY id")
}

func (tr *trial) cleared() []string {
	return texts(tr.ctx, tr.T, tr.cartData, "SELECT order_id FROM carts WHERE cleared > 0 ORDER BY order_id")
}

// check holds everything against the orders in the database of the order service.
func (tr *trial) check() {
	orders := tr.orderIDs()
	for what, got := range map[string][]string{
		"the carts cleared":                                  tr.cleared(),
		"the orders of which messages were delivered":        texts(tr.ctx, tr.T, tr.cartData, "SELECT DISTINCT order_id FROM deliveries ORDER BY order_id"),
		"the messages of the topic, read from the beginning": tr.messages(),
	} {
		if !slices.Equal(got, orders) {
			tr.Errorf("%s: %q, want %q", what, got, orders)
		}
	}
	if twice := texts(tr.ctx, tr.T, tr.cartData, "SELECT order_id FROM carts WHERE cleared > 1"); len(twice) > 0 {
		tr.Errorf("carts cleared more than once: %q", twice)
	}

	want := map[string]bool{plainOrder: true, answerLostOrder: true, commitLostOrder: false, soldOutOrder: false}
	lost := tr.orders.at == beforePrepare || tr.orders.at == afterPrepare || tr.orders.at == beforeOrder && !tr.orders.hang
	want[struckOrder] = !lost
	for id, told := range tr.told {
		if told != toldInDoubt {
			was, known := want[id]
			if is := told == toldPlaced; known && is != was {
				tr.Errorf("the sender of %q was told %q", id, told)
			}
			want[id] = told == toldPlaced
		}
	}
	for id, exists := range want {
		if slices.Contains(orders, id) != exists {
			tr.Errorf("order %q: in the database %v, want %v (its sender was told %q)", id, !exists, exists, tr.told[id])
		}
	}

	unknown := []string{answerLostOrder, commitLostOrder}
	if s := tr.orders.at; !tr.orders.hang && (s == afterPrepare || s == beforeOrder || s == afterOrder) {
		unknown = append(unknown, struckOrder)
	}
	for _, id := range unknown {
		if !tr.answered[id] {
			tr.Errorf("order %q was settled, but not by another instance that was asked", id)
		}
	}

	// Every half message has ended: the opposite is refused.
	for _, o := range trialOrders {
		opposite := "commit"
		if slices.Contains(orders, o.ID) {
			opposite = "rollback"
		}
		for p := range trialPartitions {
			if err := tr.send(int32(p), transactionOf(o.ID), opposite, orderGroup); !errors.Is(err, kerr.InvalidRecord) {
				tr.Errorf("a late %s of %q in partition %d: %v", opposite, o.ID, p, err)
			}
		}
	}
}

// messages reads the whole topic: the orders, as often as they are there.
func (tr *trial) messages() []string {
	tr.Helper()
	ends, err := kadm.NewClient(tr.client).ListEndOffsets(tr.ctx, paidTopic)
	if err = errors.Join(err, ends.Error()); err != nil {
		tr.Fatal(err)
	}
	offsets := map[int32]kgo.Offset{}
	want := 0
	ends.Each(func(o kadm.ListedOffset) {
		offsets[o.Partition] = kgo.NewOffset().AtStart()
		want += int(o.Offset)
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(tr.node.Addr), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{paidTopic: offsets}))
	if err != nil {
		tr.Fatal(err)
	}
	defer cl.Close()
	var got []string
	for len(got) < want {
		fs := cl.PollFetches(tr.ctx)
		if err := fs.Err0(); err != nil {
			tr.Fatal(err)
		}
		fs.EachRecord(func(r *kgo.Record) {
			if string(r.Value) != "paid" {
				tr.Errorf("the message of %q says %q", r.Key, r.Value)
			}
			got = append(got, string(r.Key))
		})
	}
	slices.Sort(got)
	return got
}

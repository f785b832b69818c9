package integration

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

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
			tr.Fatalf("not settled: orders in the database %q, carts cleared %q, %d questions put", tr.orderIDs(), tr.cleared(), asked)
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
	return texts(context.Background(), tr.T, tr.orderData, "SELECT id FROM orders ORDER BY id")
}

func (tr *trial) cleared() []string {
	return texts(context.Background(), tr.T, tr.cartData, "SELECT order_id FROM carts WHERE cleared > 0 ORDER BY order_id")
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

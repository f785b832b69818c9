package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/splashdam/splashdam/sdk"
)

const (
	ordersTopic      = "demo.orders"
	ordersPartitions = 4
	orderCustomers   = 120
)

// progress is how far an order comes before its service dies.
type progress int

const (
	finished  progress = iota // the service does not die
	prepared                  // the message is held; nothing is in the database
	inserted                  // the order is in a transaction that was not committed
	committed                 // the order is in the database; the message is still held
)

// customer is one who orders, and what becomes of it.
type customer struct {
	name    string
	decline bool
	until   progress
}

// ordered says whether there must be an order in the end.
func (c customer) ordered() bool { return !c.decline && (c.until == finished || c.until == committed) }

// orderCase makes the customers of the two instances. Every eighth order fails; the
// last ones of the first instance are those with which it dies. Of these only the
// last has a transaction open: SQLite takes one at a time.
func orderCase() (first, second []customer) {
	for i := range orderCustomers {
		c := customer{name: fmt.Sprintf("customer-%03d", i+1), decline: i%8 == 7}
		if i%2 == 1 {
			second = append(second, c)
			continue
		}
		first = append(first, c)
	}
	for i, until := range []progress{committed, committed, committed, prepared, inserted} {
		c := &first[len(first)-5+i]
		c.decline, c.until = false, until
	}
	return first, second
}

type orderFigures struct {
	Database  string  `json:"database"`
	Customers int     `json:"customers"`
	Orders    int     `json:"orders"`
	Cleared   int     `json:"carts_cleared"`
	Declined  int     `json:"declined"`
	Commits   int     `json:"check_back_commits"`
	Rollbacks int     `json:"check_back_rollbacks"`
	Seconds   float64 `json:"check_back_seconds"` // from the death until all was settled
}

func (f orderFigures) String() string {
	return fmt.Sprintf("%d orders in %s = %d carts cleared, %d declined; a service died with %d: check-back committed %d, rolled back %d",
		f.Orders, f.Database, f.Cleared, f.Declined, f.Commits+f.Rollbacks, f.Commits, f.Rollbacks)
}

// showOrders has two instances of an order service place orders with half
// messages, and a cart service clear the carts of those who ordered. One instance
// dies with orders under way; the other one answers the broker's questions. In the
// end there is an order if and only if the cart is cleared.
func showOrders(ctx context.Context, s *stage) (f figures, err error) {
	transaction := "transaction"
	if err := s.topic(ctx, ordersTopic, ordersPartitions, map[string]*string{"message.type": &transaction}); err != nil {
		return nil, err
	}
	first, second := orderCase()
	customers := slices.Concat(first, second)
	var everyone []string
	for _, c := range customers {
		everyone = append(everyone, c.name)
	}
	sh, err := openShop(ctx, s, everyone)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, sh.close(context.WithoutCancel(ctx))) }()
	consumer, err := sdk.NewConsumer(s.brokers, "demo-cart-service", []string{ordersTopic}, sh.carts.handle, s.events())
	if err != nil {
		return nil, err
	}
	s.say("orders: two instances of a service place %d orders, in %s", orderCustomers, sh.database.name)
	var (
		end  ordersEnd
		took time.Duration
	)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = together(ctx, consumer.Run, func(ctx context.Context) error {
		defer stop()
		held, err := sh.takeOrders(ctx, first, second)
		if err != nil {
			return err
		}
		died := time.Now()
		full, err := sh.carts.full(ctx)
		if err != nil {
			return err
		}
		for name := range held {
			if !slices.Contains(full, name) {
				end.early = append(end.early, name)
			}
		}
		s.say("orders: an instance died with %d orders under way; the broker asks the other one, 6 s after their prepare", len(held))
		wait(ctx, func() bool {
			s.tick("orders: an instance died; the other one was asked about %d of its %d orders so far, %.0f s", len(sh.said.list()), len(held), time.Since(died).Seconds())
			return sh.settled(ctx, len(held))
		})
		took = time.Since(died)
		return sh.look(ctx, s, held, &end)
	})
	if err == nil {
		err = end.check(customers)
	}
	if err != nil {
		return nil, err
	}
	return end.figures(customers, sh.database.name, took), nil
}

// takeOrders has both instances take orders until one of them dies. It returns the
// messages that are held then, by customer.
func (sh *shop) takeOrders(ctx context.Context, first, second []customer) (map[string]*sdk.Half, error) {
	var held map[string]*sdk.Half
	err := together(ctx,
		func(ctx context.Context) (err error) {
			defer sh.dying.die()
			held, err = sh.dying.serve(ctx, first)
			return err
		},
		func(ctx context.Context) error {
			_, err := sh.living.serve(ctx, second)
			return err
		})
	return held, err
}

// settled says whether the orders under way seem to have ended.
func (sh *shop) settled(ctx context.Context, held int) bool {
	orders, err := sh.living.orders(ctx)
	if err != nil {
		return false
	}
	full, err := sh.carts.full(ctx)
	return err == nil && len(orders)+len(full) == orderCustomers && len(sh.said.list()) == held
}

// ordersEnd is what there is when all has settled, as far as anyone can look.
type ordersEnd struct {
	orders  []string               // customers with an order in the database
	full    []string               // customers with something in the cart
	early   []string               // customers whose cart was cleared while the message was held
	late    []string               // customers whose message could be committed after its rollback
	answers map[string]sdk.Outcome // of the living instance, by customer
	visible int                    // messages that the topic shows
}

func (sh *shop) look(ctx context.Context, s *stage, held map[string]*sdk.Half, end *ordersEnd) (err error) {
	end.answers = sh.said.list()
	for name, half := range held {
		if end.answers[name] != sdk.Rollback {
			continue
		}
		mine := sh.living.producer.Half(half.Topic, half.Partition, half.ID)
		if err := mine.Rollback(ctx); err != nil { // the same again: it has arrived now
			return err
		}
		if _, err := mine.Commit(ctx); !errors.Is(err, sdk.ErrDecided) {
			end.late = append(end.late, name)
		}
	}
	offsets, err := s.admin.ListEndOffsets(ctx, ordersTopic)
	if err = errors.Join(err, offsets.Error()); err != nil {
		return err
	}
	offsets.Each(func(o kadm.ListedOffset) { end.visible += int(o.Offset) })
	if end.orders, err = sh.living.orders(ctx); err != nil {
		return err
	}
	end.full, err = sh.carts.full(ctx)
	return err
}

// check says what is wrong with the end, of what had to become of the customers.
func (e *ordersEnd) check(customers []customer) error {
	var uncleared, orderless, missing, wrong, unasked, misjudged, meddled []string
	for _, c := range customers {
		ordered, cleared := slices.Contains(e.orders, c.name), !slices.Contains(e.full, c.name)
		answer, asked := e.answers[c.name]
		want := sdk.Rollback
		if c.ordered() {
			want = sdk.Commit
		}
		switch {
		case ordered && !cleared:
			uncleared = append(uncleared, c.name)
		case !ordered && cleared:
			orderless = append(orderless, c.name)
		case c.ordered() && !ordered:
			missing = append(missing, c.name)
		case !c.ordered() && ordered:
			wrong = append(wrong, c.name)
		}
		switch {
		case c.until != finished && !asked:
			unasked = append(unasked, c.name)
		case c.until != finished && answer != want:
			misjudged = append(misjudged, c.name)
		case c.until == finished && asked:
			meddled = append(meddled, c.name)
		}
	}
	if err := anyOf(
		offence{"orders whose cart is not cleared", uncleared},
		offence{"carts cleared without an order", orderless},
		offence{"orders that are not there", missing},
		offence{"orders that are there although they failed", wrong},
		offence{"held messages that were seen", e.early},
		offence{"orders of the dead service about which nobody was asked", unasked},
		offence{"wrong answers to the broker", misjudged},
		offence{"orders about which the broker asked although they were decided", meddled},
		offence{"messages that could be committed after their rollback", e.late},
	); err != nil {
		return err
	}
	if e.visible != len(e.orders) {
		return fmt.Errorf("the topic shows %d messages about %d orders", e.visible, len(e.orders))
	}
	return nil
}

func (e *ordersEnd) figures(customers []customer, database string, settling time.Duration) orderFigures {
	f := orderFigures{
		Database: database, Customers: len(customers), Orders: len(e.orders), Cleared: len(customers) - len(e.full),
		Seconds: inSeconds(settling),
	}
	for _, c := range customers {
		if c.decline {
			f.Declined++
		}
		switch e.answers[c.name] {
		case sdk.Commit:
			f.Commits++
		case sdk.Rollback:
			f.Rollbacks++
		}
	}
	return f
}

package integration

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/sdk"
)

const (
	cartRole  = "cart service"
	cartGroup = "cart-service"
	// cartSession is how long the cart of a killed instance waits for another.
	cartSession = time.Second
	// cartPause is how long a cart service hangs before it is killed: long enough for
	// the SDK, which commits offsets every second, to commit one that it must not.
	cartPause = 1200 * time.Millisecond
)

// The steps of the cart service.
const (
	received     step = "received"
	beforeCart   step = "before the cart's commit"
	afterCart    step = "after the cart's commit"
	acknowledged step = "acknowledged"
)

// cartService clears the cart of every order that it hears of. It notes every
// delivery, and which messages it has handled: a second delivery has no effect.
type cartService struct {
	*stage
	db *sql.DB

	mu      sync.Mutex
	handled []*sdk.Message // and not acknowledged yet, as far as is known
}

func serveCarts(p plan, st *stage) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db, err := sql.Open("sqlite", dataSource(p.Database))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	s := &cartService{stage: st, db: db}
	consumer, err := sdk.NewConsumer([]string{p.Broker}, cartGroup, []string{paidTopic}, s.clear, sdk.WithSessionTimeout(cartSession))
	if err != nil {
		return err
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(p.Broker))
	if err != nil {
		return err
	}
	defer client.Close()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		s.watchAcknowledgements(ctx, kadm.NewClient(client))
	}()
	err = consumer.Run(ctx)
	<-watched
	return err
}

func (s *cartService) clear(ctx context.Context, m *sdk.Message) error {
	id := string(m.Key)
	s.reach(received, id)
	if _, err := s.db.ExecContext(ctx, "INSERT INTO deliveries (order_id) VALUES (?)", id); err != nil {
		return err
	}
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	first, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO handled (message_id) VALUES (?)", m.ID)
	if err != nil {
		return err
	}
	if n, err := first.RowsAffected(); err != nil {
		return err
	} else if n == 1 {
		cleared, err := tx.ExecContext(ctx, "UPDATE carts SET cleared = cleared + 1 WHERE order_id = ?", id)
		if err != nil {
			return err
		}
		if n, err := cleared.RowsAffected(); err != nil || n != 1 {
			return fmt.Errorf("the cart of order %q: %d rows, %w", id, n, err)
		}
	}
	s.reach(beforeCart, id)
	if err := tx.Commit(); err != nil {
		return err
	}
	s.reach(afterCart, id)
	s.mu.Lock()
	s.handled = append(s.handled, m)
	s.mu.Unlock()
	return nil
}

// watchAcknowledgements sees when the group's committed offset passes a message.
func (s *cartService) watchAcknowledgements(ctx context.Context, admin *kadm.Client) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
		s.mu.Lock()
		open := s.handled
		s.handled = nil
		s.mu.Unlock()
		if len(open) == 0 {
			continue
		}
		committed, err := admin.FetchOffsets(ctx, cartGroup)
		if err != nil && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, err)
		}
		for _, m := range open {
			if o, ok := committed.Lookup(m.Topic, m.Partition); ok && o.At > m.Offset {
				s.reach(acknowledged, string(m.Key))
				continue
			}
			s.mu.Lock()
			s.handled = append(s.handled, m)
			s.mu.Unlock()
		}
	}
}

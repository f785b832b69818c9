package integration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	_ "modernc.org/sqlite"

	"github.com/splashdam/splashdam/sdk"
)

const (
	orderRole  = "order service"
	orderGroup = "order-service"
	paidTopic  = "orders.paid"
)

// order is one that the service is to place, and what goes wrong with it.
type order struct {
	ID   string
	Fate fate
}

type fate string

const (
	smooth     fate = ""
	soldOut    fate = "sold out"    // the local transaction fails
	commitLost fate = "commit lost" // the database's commit fails, and nobody knows whether it was done: it was not
	answerLost fate = "answer lost" // the same, but it was
)

// The steps of the order service.
const (
	beforePrepare   step = "before the prepare"
	afterPrepare    step = "after the prepare"
	beforeOrder     step = "before the order's commit"
	afterOrder      step = "after the order's commit"
	afterDecision   step = "after the message's commit"
	beforeTheCheck  step = "before the check"
	beforeTheAnswer step = "before the answer"
)

// What the sender of an order is told.
const (
	toldPlaced  = "placed"
	toldFailed  = "failed"
	toldFenced  = "fenced"
	toldInDoubt = "in doubt"
)

// dataSource is how all open a service's database. A killed process loses nothing
// that it has written, so there is no need to sync.
func dataSource(file string) string {
	return "file:" + file + "?_txlock=immediate&_pragma=busy_timeout(200)&_pragma=journal_mode(wal)&_pragma=synchronous(off)"
}

// orderService is written as a user of the SDK would write it, on a database driver
// that knows the steps and loses commits.
type orderService struct {
	*stage
	db       *sql.DB
	producer *sdk.TransactionProducer
	current  order // the one that is being placed
}

func serveOrders(p plan, st *stage) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	sqlite, err := sql.Open("sqlite", "")
	if err != nil {
		return err
	}
	s := &orderService{stage: st}
	s.db = sql.OpenDB(steppedConnector{s, dataSource(p.Database), sqlite.Driver()})
	defer s.db.Close()
	check := s.check
	if !p.Answers {
		// This instance can never tell, so that another has to.
		check = func(context.Context, sdk.Question) sdk.Outcome { return sdk.Unknown }
	}
	s.producer, err = sdk.NewTransactionProducer([]string{p.Broker}, orderGroup, check)
	if err != nil {
		return err
	}
	for _, o := range p.Orders {
		s.place(ctx, o)
	}
	s.say(report{Kind: placed})
	if p.Answers {
		<-ctx.Done()
	}
	ctx, cancel := context.WithTimeout(context.Background(), serviceEnd)
	defer cancel()
	return s.producer.Close(ctx)
}

func (s *orderService) place(ctx context.Context, o order) {
	s.current = o
	s.reach(beforePrepare, o.ID)
	m := &sdk.Message{Topic: paidTopic, Key: []byte(o.ID), Value: []byte("paid"), ID: transactionOf(o.ID)}
	_, err := s.producer.SendWithDB(ctx, s.db, m, func(ctx context.Context, tx *sql.Tx) error {
		if o.Fate == soldOut {
			return errors.New("sold out")
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", o.ID)
		return err
	})
	s.reach(afterDecision, o.ID)
	told := toldPlaced
	switch {
	case errors.Is(err, sdk.ErrInDoubt):
		told = toldInDoubt
	case errors.Is(err, sdk.ErrFenced):
		told = toldFenced
	case err != nil:
		told = toldFailed
	}
	s.say(report{Kind: sent, Order: o.ID, Text: told})
	if err != nil {
		fmt.Fprintln(os.Stderr, o.ID+":", err)
	}
}

// transactionOf is the id of an order's half message.
func transactionOf(order string) string { return "placing-" + order }

func (s *orderService) check(ctx context.Context, q sdk.Question) sdk.Outcome {
	id := string(q.Message.Key)
	s.reach(beforeTheCheck, id)
	outcome := sdk.Fence{}.CheckDB(s.db)(ctx, q)
	s.reach(beforeTheAnswer, id)
	s.say(report{Kind: answered, Order: id, Text: outcome.String()})
	return outcome
}

// steppedConnector opens connections to SQLite whose transactions know the steps.
type steppedConnector struct {
	service *orderService
	dsn     string
	sqlite  driver.Driver
}

func (c steppedConnector) Driver() driver.Driver { return c.sqlite }

func (c steppedConnector) Connect(context.Context) (driver.Conn, error) {
	conn, err := c.sqlite.Open(c.dsn)
	if err != nil {
		return nil, err
	}
	return steppedConn{conn.(sqliteConn), c.service}, nil
}

type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
}

type steppedConn struct {
	sqliteConn
	service *orderService
}

func (c steppedConn) BeginTx(ctx context.Context, opts driver.TxOptions) (driver.Tx, error) {
	c.service.reach(afterPrepare, c.service.current.ID)
	tx, err := c.sqliteConn.BeginTx(ctx, opts)
	return steppedTx{tx, c.service}, err
}

type steppedTx struct {
	driver.Tx
	service *orderService
}

func (tx steppedTx) Commit() error {
	o := tx.service.current
	tx.service.reach(beforeOrder, o.ID)
	lost := errors.New("the connection is lost")
	if o.Fate == commitLost {
		return errors.Join(tx.Rollback(), lost)
	}
	err := tx.Tx.Commit()
	tx.service.reach(afterOrder, o.ID)
	if o.Fate == answerLost {
		err = errors.Join(err, lost)
	}
	return err
}

package main

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"path/filepath"
	"sync"

	_ "github.com/go-sql-driver/mysql" // --mysql
	_ "modernc.org/sqlite"             // the services' databases

	"github.com/splashdam/splashdam/sdk"
)

// errDeclined is why some orders fail after they were written.
var errDeclined = errors.New("the payment is declined")

// sqliteFile is the data source name of a database in a file, for several
// processes or what stands for them.
func sqliteFile(path string) string {
	u := url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate"}
	return u.String()
}

// shop is two instances of an order service, which share a database, and a cart
// service with another one.
type shop struct {
	database      orderDatabase
	dying, living *orderService
	carts         *cartService
	said          *answers
}

// openShop fills a cart for each customer and starts the order services. The shop
// must be closed, whatever happens to its services in between.
func openShop(ctx context.Context, s *stage, customers []string) (*shop, error) {
	sh := &shop{database: newOrderDatabase(s.mysql, s.dir), said: &answers{all: map[string]sdk.Outcome{}}}
	var err error
	if sh.carts, err = openCartService(ctx, s.dir, customers); err != nil {
		return nil, err
	}
	if sh.living, err = startOrderService(s, sh.database, sh.said); err != nil {
		return nil, errors.Join(err, sh.carts.stop())
	}
	if err = sh.database.create(ctx, sh.living.db); err != nil {
		return nil, errors.Join(err, sh.living.stop(ctx), sh.carts.stop())
	}
	if sh.dying, err = startOrderService(s, sh.database, sh.said); err != nil {
		return nil, errors.Join(err, sh.database.drop(ctx, sh.living.db), sh.living.stop(ctx), sh.carts.stop())
	}
	return sh, nil
}

func (sh *shop) close(ctx context.Context) error {
	sh.dying.die()
	return errors.Join(sh.database.drop(ctx, sh.living.db), sh.living.stop(ctx), sh.carts.stop())
}

// orderDatabase is what all instances of the order service share.
type orderDatabase struct {
	name        string // for people
	driver, dsn string
	table       string
	fence       sdk.Fence
}

// newOrderDatabase is on the MySQL server that the flag names or else in a file. The
// tables have names of their own: a server may have seen other demos.
func newOrderDatabase(server, dir string) orderDatabase {
	run := rand.Text()[:8]
	d := orderDatabase{name: "MySQL", driver: "mysql", dsn: server, table: "demo_orders_" + run, fence: sdk.Fence{Table: "demo_txn_" + run}}
	if !isServerName(server) {
		d.name, d.driver, d.dsn = "SQLite", "sqlite", sqliteFile(filepath.Join(dir, "orders.db"))
	}
	return d
}

func (d orderDatabase) create(ctx context.Context, db *sql.DB) error {
	if err := db.PingContext(ctx); err != nil {
		return &problem{what: "the database of the orders, " + d.name + ", cannot be used", cause: err, next: []string{
			"--mysql takes user:password@tcp(host:port)/database, of a user who may create tables there",
		}}
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE "+d.table+" (customer VARCHAR(64) NOT NULL PRIMARY KEY)"); err != nil {
		return fmt.Errorf("creating the table of orders in %s: %w", d.name, err)
	}
	return d.fence.CreateTable(ctx, db)
}

// drop leaves the database as it was found.
func (d orderDatabase) drop(ctx context.Context, db *sql.DB) error {
	_, err := db.ExecContext(ctx, "DROP TABLE "+d.table)
	_, ferr := db.ExecContext(ctx, "DROP TABLE "+d.fence.Table)
	if err = errors.Join(err, ferr); err != nil {
		return fmt.Errorf("dropping the tables %s and %s: %w", d.table, d.fence.Table, err)
	}
	return nil
}

// answers are what instances said when they were asked about orders, by customer.
type answers struct {
	mu  sync.Mutex
	all map[string]sdk.Outcome
}

func (a *answers) note(customer string, o sdk.Outcome) {
	if o == sdk.Unknown {
		return // it will be asked again
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all[customer] = o
}

func (a *answers) list() map[string]sdk.Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.all)
}

// orderService is one instance of the service that takes orders.
type orderService struct {
	database orderDatabase
	db       *sql.DB
	producer *sdk.TransactionProducer
	network  *cable
	life     context.Context // of its process
	end      context.CancelFunc
}

func startOrderService(s *stage, d orderDatabase, said *answers) (*orderService, error) {
	db, err := sql.Open(d.driver, d.dsn)
	if err != nil {
		return nil, err
	}
	o := &orderService{database: d, db: db, network: &cable{}}
	check := d.fence.CheckDB(db)
	o.producer, err = sdk.NewTransactionProducer(s.brokers, "demo-order-service",
		func(ctx context.Context, q sdk.Question) sdk.Outcome {
			outcome := check(ctx, q)
			said.note(string(q.Message.Key), outcome)
			return outcome
		},
		sdk.WithFence(d.fence), sdk.WithDialer(o.network.dial),
		sdk.WithListener(func(e sdk.Event) {
			if o.network.intact() {
				s.warn("%s", e)
			}
		}))
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	o.life, o.end = context.WithCancel(context.Background())
	return o, nil
}

func (o *orderService) insert(ctx context.Context, tx *sql.Tx, customer string) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO "+o.database.table+" (customer) VALUES (?)", customer)
	return err
}

func orderMessage(customer string) *sdk.Message {
	return &sdk.Message{Topic: ordersTopic, Key: []byte(customer), Value: []byte("order of " + customer)}
}

// order places an order, as services do it: the message is seen if and only if
// the order is in the database.
func (o *orderService) order(ctx context.Context, customer string, decline bool) error {
	_, err := o.producer.SendWithDB(ctx, o.db, orderMessage(customer), func(ctx context.Context, tx *sql.Tx) error {
		if err := o.insert(ctx, tx, customer); err != nil {
			return err
		}
		if decline {
			return errDeclined
		}
		return nil
	})
	return err
}

// orderUntil takes the same steps one by one and stops after one of them.
func (o *orderService) orderUntil(ctx context.Context, customer string, after progress) (*sdk.Half, error) {
	half, err := o.producer.Prepare(ctx, orderMessage(customer))
	if err != nil || after == prepared {
		return half, err
	}
	tx, err := o.db.BeginTx(o.life, nil)
	if err != nil {
		return nil, err
	}
	if err := o.insert(ctx, tx, customer); err != nil || after == inserted {
		return half, err // the transaction ends with the service
	}
	if err := o.database.fence.Committed(ctx, tx, half.ID); err != nil {
		return nil, errors.Join(err, tx.Rollback())
	}
	return half, tx.Commit()
}

// serve takes the customers' orders. It returns the messages that are held, by
// customer.
func (o *orderService) serve(ctx context.Context, customers []customer) (map[string]*sdk.Half, error) {
	held := map[string]*sdk.Half{}
	for _, c := range customers {
		var err error
		if c.until == finished {
			err = o.order(ctx, c.name, c.decline)
		} else {
			held[c.name], err = o.orderUntil(ctx, c.name, c.until)
		}
		declined := errors.Is(err, errDeclined) && !errors.Is(err, sdk.ErrInDoubt)
		switch {
		case err != nil && !(c.decline && declined):
			return nil, fmt.Errorf("the order of %s: %w", c.name, err)
		case err == nil && c.decline:
			return nil, fmt.Errorf("the order of %s went through, and the payment was declined", c.name)
		}
	}
	return held, nil
}

// die ends the instance as a kill would.
func (o *orderService) die() {
	o.network.cut()
	o.end()
	_ = o.db.Close()
	// Nobody waits for the goroutines of a dead process.
	over, cancel := context.WithCancel(context.Background())
	cancel()
	_ = o.producer.Close(over)
}

// stop ends the instance in good order.
func (o *orderService) stop(ctx context.Context) error {
	err := o.producer.Close(ctx)
	o.end()
	return errors.Join(err, o.db.Close())
}

// orders lists the customers who have an order.
func (o *orderService) orders(ctx context.Context) ([]string, error) {
	return names(ctx, o.db, "SELECT customer FROM "+o.database.table)
}

// cartService keeps the carts, in a database of its own. It knows of orders only
// what the messages say.
type cartService struct{ db *sql.DB }

// openCartService fills a cart for each customer.
func openCartService(ctx context.Context, dir string, customers []string) (*cartService, error) {
	db, err := sql.Open("sqlite", sqliteFile(filepath.Join(dir, "carts.db")))
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, "CREATE TABLE carts (customer VARCHAR(64) NOT NULL PRIMARY KEY)")
	for _, c := range customers {
		if err == nil {
			_, err = db.ExecContext(ctx, "INSERT INTO carts (customer) VALUES (?)", c)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("filling the carts: %w", errors.Join(err, db.Close()))
	}
	return &cartService{db}, nil
}

// handle clears the cart of who has ordered. Doing it twice does no harm.
func (c *cartService) handle(ctx context.Context, m *sdk.Message) error {
	_, err := c.db.ExecContext(ctx, "DELETE FROM carts WHERE customer = ?", string(m.Key))
	return err
}

// full lists the customers whose cart is not cleared.
func (c *cartService) full(ctx context.Context) ([]string, error) {
	return names(ctx, c.db, "SELECT customer FROM carts")
}

func (c *cartService) stop() error { return c.db.Close() }

func names(ctx context.Context, db *sql.DB, query string) ([]string, error) {
	rows, err := db.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		all = append(all, name)
	}
	return all, rows.Err()
}

package sdk_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os/signal"
	"syscall"

	_ "modernc.org/sqlite"

	"github.com/splashdam/splashdam/sdk"
)

var brokers = []string{"127.0.0.1:9092"}

func ExampleProducer() {
	ctx := context.Background()
	p, err := sdk.NewProducer(brokers)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)
	res, err := p.Send(ctx, &sdk.Message{Topic: "orders", Key: []byte("order-1"), Value: []byte("paid")})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("stored at", res.Offset)
}

func ExampleConsumer() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	c, err := sdk.NewConsumer(brokers, "logistics", []string{"orders"},
		func(ctx context.Context, m *sdk.Message) error {
			fmt.Printf("%s: %s\n", m.Key, m.Value)
			return nil
		}, sdk.WithConcurrency(32), sdk.WithRateLimit(500))
	if err != nil {
		log.Fatal(err)
	}
	if err := c.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func ExampleTransactionProducer_SendWithDB() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "orders.db")
	if err != nil {
		log.Fatal(err)
	}
	fence := sdk.Fence{}
	if err := fence.CreateTable(ctx, db); err != nil {
		log.Fatal(err)
	}
	p, err := sdk.NewTransactionProducer(brokers, "order-service", fence.CheckDB(db))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)
	_, err = p.SendWithDB(ctx, db, &sdk.Message{Topic: "orders.paid", Key: []byte("order-1")},
		func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", "order-1")
			return err
		})
	if err != nil {
		log.Fatal(err)
	}
}

// Two phases by hand, where the local transaction is no database/sql.
func ExampleTransactionProducer_Prepare() {
	ctx := context.Background()
	check := func(ctx context.Context, q sdk.Question) sdk.Outcome {
		return sdk.Unknown // look q.ID up, and fence it
	}
	p, err := sdk.NewTransactionProducer(brokers, "order-service", check)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close(ctx)
	half, err := p.Prepare(ctx, &sdk.Message{Topic: "orders.paid", Key: []byte("order-1")})
	if err != nil {
		log.Fatal(err)
	}
	// ... the local transaction, which stores half.ID ...
	if _, err := half.Commit(ctx); err != nil {
		log.Fatal(err)
	}
}

// What a checker and a local transaction that comes too late make of each other.
func ExampleFence() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1) // a database in memory belongs to its connection
	fence := sdk.Fence{}
	if err := fence.CreateTable(ctx, db); err != nil {
		log.Fatal(err)
	}

	outcome, _ := fence.Check(ctx, db, "txn-1")
	fmt.Println("the checker says:", outcome)

	tx, err := db.Begin()
	if err != nil {
		log.Fatal(err)
	}
	if err := fence.Committed(ctx, tx, "txn-1"); err != nil {
		tx.Rollback()
		fmt.Println("the local transaction is rolled back")
	}
	// Output:
	// the checker says: rollback
	// the local transaction is rolled back
}

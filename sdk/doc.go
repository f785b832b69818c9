// Package sdk is for services that send and receive messages: through Splashdam,
// or through any other cluster that speaks the Kafka protocol, half messages
// excepted. It is built on franz-go.
//
// Send:
//
//	p, err := sdk.NewProducer([]string{"127.0.0.1:9092"})
//	if err != nil {
//		return err
//	}
//	defer p.Close(ctx)
//	res, err := p.Send(ctx, &sdk.Message{Topic: "orders", Key: []byte("order-1"), Value: []byte("paid")})
//	if err != nil {
//		return err
//	}
//	fmt.Println("stored at", res.Offset)
//
// Consume, as a member of the group "logistics". Nil acknowledges the message:
//
//	c, err := sdk.NewConsumer([]string{"127.0.0.1:9092"}, "logistics", []string{"orders"},
//		func(ctx context.Context, m *sdk.Message) error {
//			fmt.Printf("%s: %s\n", m.Key, m.Value)
//			return nil
//		}, sdk.WithConcurrency(32))
//	if err != nil {
//		return err
//	}
//	return c.Run(ctx)
//
// Send with a local transaction: consumers see the message if and only if the
// order is in the database, whatever dies in between.
//
//	fence := sdk.Fence{}
//	p, err := sdk.NewTransactionProducer([]string{"127.0.0.1:9092"}, "order-service", fence.CheckDB(db))
//	if err != nil {
//		return err
//	}
//	defer p.Close(ctx)
//	_, err = p.SendWithDB(ctx, db, &sdk.Message{Topic: "orders.paid", Key: []byte("order-1")},
//		func(ctx context.Context, tx *sql.Tx) error {
//			_, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", "order-1")
//			return err
//		})
//
// The wire side, for clients in other languages, is in docs/messages.md.
//
// # Promises
//
// A message whose send returned without an error is not lost, and is stored once.
// If a send ends in doubt (ErrInDoubt), the message is stored or not; sent again it
// may be there twice, under one Message.ID if the caller set it.
//
// A message is delivered to each group at least once, and handled until its
// handler returns nil. Order is kept inside a partition up to the consumer, whose
// handlers run in parallel.
//
// Files: one noun each; run.go has all goroutines. What decides without doing
// anything, and so can be tested without a cluster, is tracker.go, backlog.go,
// backoff.go and the fence in sql.go.
package sdk

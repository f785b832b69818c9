package main

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/splashdam/splashdam/sdk"
)

const (
	messagesTopic      = "demo.messages"
	messagesPartitions = 6
	messagesEach       = 10_000 // without and with a key
	messagesKeys       = 500
)

type messageFigures struct {
	Unkeyed    int     `json:"unkeyed"`
	Keyed      int     `json:"keyed"`
	Keys       int     `json:"keys"`
	Partitions int     `json:"partitions"` // that got some
	Seconds    float64 `json:"seconds"`    // from the first send to the last receipt
	PerSecond  int     `json:"per_second"`
}

func (f messageFigures) String() string {
	return fmt.Sprintf("%s without and %s with a key: each came once, %s keys in order; %s a second",
		thousands(f.Unkeyed), thousands(f.Keyed), thousands(f.Keys), thousands(f.PerSecond))
}

// location is where a message lies.
type location struct {
	partition int32
	offset    int64
}

// received is a message as it was received.
type received struct {
	id, key string
	at      location
}

// showMessages sends messages with and without keys and receives them: each once,
// where its acknowledgement said, those of a key in the order in which they were
// sent.
func showMessages(ctx context.Context, s *stage) (figures, error) {
	if err := s.topic(ctx, messagesTopic, messagesPartitions, nil); err != nil {
		return nil, err
	}
	s.say("messages: sending %s", thousands(2*messagesEach))
	var (
		mu  sync.Mutex
		got []received
	)
	// One handler at a time sees a partition in its order.
	consumer, err := sdk.NewConsumer(s.brokers, "demo-messages", []string{messagesTopic}, func(_ context.Context, m *sdk.Message) error {
		mu.Lock()
		defer mu.Unlock()
		got = append(got, received{m.ID, string(m.Key), location{m.Partition, m.Offset}})
		return nil
	}, sdk.WithConcurrency(1), s.events())
	if err != nil {
		return nil, err
	}
	var (
		acked map[string]location
		took  time.Duration
	)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	err = together(ctx, consumer.Run, func(ctx context.Context) error {
		defer stop()
		began := time.Now()
		var err error
		if acked, err = sendMessages(ctx, s); err != nil {
			return err
		}
		wait(ctx, func() bool {
			mu.Lock()
			defer mu.Unlock()
			return len(got) >= len(acked)
		})
		took = time.Since(began)
		return nil
	})
	if err == nil {
		err = checkMessages(acked, got)
	}
	if err != nil {
		return nil, err
	}
	partitions := map[int32]bool{}
	for _, at := range acked {
		partitions[at.partition] = true
	}
	return messageFigures{
		Unkeyed: messagesEach, Keyed: messagesEach, Keys: messagesKeys, Partitions: len(partitions),
		Seconds: inSeconds(took), PerSecond: int(float64(len(acked)) / took.Seconds()),
	}, nil
}

// sendMessages sends all and returns where each is, by id. The ids of a key rise.
func sendMessages(ctx context.Context, s *stage) (map[string]location, error) {
	p, err := sdk.NewProducer(s.brokers, s.events())
	if err != nil {
		return nil, err
	}
	var (
		mu     sync.Mutex
		failed error
		acked  = make(map[string]location, 2*messagesEach)
	)
	for i := range 2 * messagesEach {
		m := &sdk.Message{Topic: messagesTopic, ID: fmt.Sprintf("message-%05d", i), Value: fmt.Appendf(nil, "hello, this is message %d", i)}
		if i%2 == 1 {
			m.Key = fmt.Appendf(nil, "key-%03d", i/2%messagesKeys)
		}
		p.SendAsync(ctx, m, func(r sdk.Result, err error) {
			mu.Lock()
			defer mu.Unlock()
			acked[r.ID] = location{r.Partition, r.Offset}
			failed = cmp.Or(failed, err)
		})
	}
	if err := p.Close(ctx); err != nil {
		return nil, err
	}
	return acked, failed
}

// checkMessages says what is wrong with what was received, in its order, of what
// was acknowledged, by id.
func checkMessages(acked map[string]location, got []received) error {
	var foreign, twice, moved, split, late []string
	seen := make(map[string]bool, len(got))
	last := map[string]received{} // by key
	for _, m := range got {
		at, ok := acked[m.id]
		switch before, more := last[m.key]; {
		case !ok:
			foreign = append(foreign, m.id)
		case seen[m.id]:
			twice = append(twice, m.id)
		case at != m.at:
			moved = append(moved, m.id)
		case more && m.key != "" && before.at.partition != m.at.partition:
			split = append(split, m.key)
		case more && m.key != "" && before.id > m.id:
			late = append(late, m.id)
		}
		seen[m.id] = true
		last[m.key] = m
	}
	var lost []string
	for id := range acked {
		if !seen[id] {
			lost = append(lost, id)
		}
	}
	return anyOf(
		offence{"acknowledged and never received", lost},
		offence{"received and never sent", foreign},
		offence{"received twice", twice},
		offence{"received from another place than acknowledged", moved},
		offence{"keys in more than one partition", split},
		offence{"received after a later message of its key", late},
	)
}

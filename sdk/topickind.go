package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	configKind      = "message.type"
	kindTransaction = "transaction"
)

// kinds remembers the topics that hold half messages back. Anywhere else, on a
// cluster that knows no half messages above all, a prepared message would be an
// ordinary one, and seen at once.
type kinds struct {
	client *kgo.Client
	hold   sync.Map // topic: nothing
}

// holding errors with ErrNoHalfMessages unless the cluster says that the topic has
// message.type=transaction.
func (k *kinds) holding(ctx context.Context, topic string) error {
	if _, ok := k.hold.Load(topic); ok {
		return nil
	}
	configs, err := kadm.NewClient(k.client).DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return fmt.Errorf("asking for the topic's %s: %w", configKind, err)
	}
	c, err := configs.On(topic, nil)
	if err = errors.Join(err, c.Err); err != nil {
		return fmt.Errorf("asking for the topic's %s: %w", configKind, err)
	}
	for _, e := range c.Configs {
		if e.Key != configKind || e.Value == nil {
			continue
		}
		if *e.Value == kindTransaction {
			k.hold.Store(topic, nil)
			return nil
		}
		return fmt.Errorf("%w: it has %s=%s; create a topic with %s=%s", ErrNoHalfMessages, configKind, *e.Value, configKind, kindTransaction)
	}
	return fmt.Errorf("%w: the cluster knows no %s, so everybody would see the message at once; half messages need Splashdam", ErrNoHalfMessages, configKind)
}

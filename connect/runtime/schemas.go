package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/checkpoint"
	"github.com/splashdam/splashdam/connect/convert"
)

// schemas keeps the schemas of topics in a compacted topic beside them:
//
//	key    {"topic":"shop.shop.orders","id":"9c3b…"}
//	value  the schema (package convert)
//
// Every schema stays there under its ID, since old records go on naming it.
type schemas struct {
	cluster []kgo.Opt
	client  *kgo.Client

	mu         sync.Mutex
	read       map[string]bool              // topics of schemas that were read
	byTopic    map[string][]*connect.Schema // by topic of rows, in the order of registration
	registered map[*connect.Schema]*connect.Schema
}

func newSchemas(cluster []kgo.Opt, client *kgo.Client) *schemas {
	return &schemas{
		cluster: cluster, client: client,
		read: map[string]bool{}, byTopic: map[string][]*connect.Schema{}, registered: map[*connect.Schema]*connect.Schema{},
	}
}

// schemaTopic is where the schemas of a topic are: prefix.schemas for
// prefix.database.table.
func schemaTopic(topic string) string {
	parts := strings.Split(topic, ".")
	return strings.Join(parts[:max(1, len(parts)-2)], ".") + ".schemas"
}

// register returns the section's schema as all the world knows it: with an ID and
// field IDs. When it returns, the schema is durable.
func (s *schemas) register(ctx context.Context, section *connect.Section) (*connect.Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if known, ok := s.registered[section.Schema]; ok {
		return known, nil
	}
	topic := section.Topic
	store := schemaTopic(topic)
	if !s.read[store] {
		if err := checkpoint.EnsureCompacted(ctx, s.client, store, 1, "the schemas of rows"); err != nil {
			return nil, err
		}
		if err := s.refresh(ctx, store); err != nil {
			return nil, err
		}
	}
	identified := convert.Identify(section, s.byTopic[topic])
	if !slices.Contains(s.byTopic[topic], identified) {
		err := s.client.ProduceSync(ctx, &kgo.Record{
			Topic: store, Partition: byKey,
			Key:   convert.SchemaKey{Topic: topic, ID: identified.ID}.Encode(),
			Value: convert.EncodeSchema(identified),
		}).FirstErr()
		if err != nil {
			return nil, fmt.Errorf("storing a schema of topic %s in %s: %w", topic, store, err)
		}
		s.byTopic[topic] = append(s.byTopic[topic], identified)
	}
	s.registered[section.Schema] = identified
	return identified, nil
}

// find returns the schema that a record of the topic names.
func (s *schemas) find(ctx context.Context, topic, id string) (*connect.Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	store := schemaTopic(topic)
	for _, reread := range []bool{false, true} {
		if reread {
			// It was durable before the record that names it.
			err := s.refresh(ctx, store)
			if errors.Is(err, kerr.UnknownTopicOrPartition) {
				break
			}
			if err != nil {
				return nil, err
			}
		}
		if i := slices.IndexFunc(s.byTopic[topic], func(k *connect.Schema) bool { return k.ID == id }); i >= 0 {
			return s.byTopic[topic][i], nil
		}
	}
	return nil, connect.Permanent(
		fmt.Errorf("topic %s has no schema %q, which a record of %s names", store, id, topic),
		"the topic of schemas has been deleted, or was not copied along with the topic: bring it back")
}

func (s *schemas) refresh(ctx context.Context, store string) error {
	byTopic := map[string][]*connect.Schema{}
	err := checkpoint.ReadAll(ctx, s.cluster, store, func(r *kgo.Record) error {
		key, err := convert.DecodeSchemaKey(r.Key)
		if err != nil {
			return fmt.Errorf("record %d: %w", r.Offset, err)
		}
		if r.Value == nil {
			return nil
		}
		schema, err := convert.DecodeSchema(key.ID, r.Value)
		if err != nil {
			return fmt.Errorf("record %d, schema %s of topic %s: %w", r.Offset, key.ID, key.Topic, err)
		}
		if !slices.ContainsFunc(byTopic[key.Topic], func(k *connect.Schema) bool { return k.ID == key.ID }) {
			byTopic[key.Topic] = append(byTopic[key.Topic], schema)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("reading schemas: %w", err)
	}
	for topic, known := range byTopic {
		s.byTopic[topic] = known
	}
	s.read[store] = true
	return nil
}

package broker

import (
	"context"
	"crypto/rand"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/txn"
)

// The encoder and the decoder of zstd, which all share, have channels: these must not
// belong to the bubble of one test.
func init() {
	if _, err := batchOf(record.Zstd, record.Record{Value: []byte("first")}).Decode(maxInflated); err != nil {
		panic(err)
	}
}

// stored is the first batch of a partition, as consumers get it.
func (a asker) stored(t *testing.T, topic string) record.Batch {
	t.Helper()
	data, err := a.fetch(t, topic, 0, 0)
	must(t, err)
	b, _, err := record.SplitBatch(data)
	must(t, err)
	must(t, b.Validate())
	return b
}

func TestATopicKeepsBatchesInItsOwnCompression(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		n := run(t, Config{FS: vfs.NewMem(), Settings: settings(t, nil)})
		a := n.asker(t)
		texts := []string{strings.Repeat("text ", 1000), "", "one"}
		for setting, want := range map[string]record.Codec{"uncompressed": record.None, "gzip": record.Gzip, "snappy": record.Snappy, "lz4": record.LZ4, "zstd": record.Zstd} {
			for _, sent := range codecs {
				topic := setting + "." + sent.String()
				must(t, a.createTopic(ctx, topic, 1, "compression.type", setting))
				b := batchOf(sent, record.Record{Value: []byte(texts[0])}, record.Record{Value: []byte(texts[1])}, record.Record{Value: []byte(texts[2])})
				if offset, err := a.produce(ctx, topic, 0, b); err != nil || offset != 0 {
					t.Fatalf("%s: offset %d, %v", topic, offset, err)
				}
				if offset, err := a.produce(ctx, topic, 0, b); err != nil || offset != 3 {
					t.Errorf("%s: offset %d, %v", topic, offset, err)
				}
				if got := a.stored(t, topic).Codec(); got != want {
					t.Errorf("%s is kept as %v", topic, got)
				}
				if got, err := a.read(ctx, topic, 0); err != nil || strings.Join(got, "|") != strings.Join(append(texts, texts...), "|") {
					t.Errorf("%s: %d records, %v", topic, len(got), err)
				}
			}
		}
		n.shut(t)
	})
}

// TestABatchMustFitInTheCompressionOfItsTopic sends what was small only while it was compressed.
func TestABatchMustFitInTheCompressionOfItsTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		n := run(t, Config{FS: vfs.NewMem(), Settings: settings(t, nil)})
		a := n.asker(t)
		must(t, a.createTopic(ctx, "flat", 1, "compression.type", "uncompressed", "max.message.bytes", "2000"))
		_, err := a.produce(ctx, "flat", 0, batchOf(record.Zstd, record.Record{Value: make([]byte, 3000)}))
		mustCarry(t, err, kerr.MessageTooLarge)
		if offset, err := a.produce(ctx, "flat", 0, batchOf(record.Zstd, record.Record{Value: make([]byte, 1000)})); err != nil || offset != 0 {
			t.Errorf("offset %d, %v", offset, err)
		}
		n.shut(t)
	})
}

func TestARetryOfABatchThatWasCompressedAnewIsADuplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		n := run(t, Config{FS: vfs.NewMem(), Settings: settings(t, nil)})
		a := n.asker(t)
		must(t, a.createTopic(ctx, "zstd", 1, "compression.type", "zstd"))
		id, err := a.producerID(ctx)
		must(t, err)
		b := record.Build(record.BuildOptions{ProducerID: id}, []record.Record{{Value: []byte("once")}})
		for range 2 {
			if offset, err := a.produce(ctx, "zstd", 0, b); err != nil || offset != 0 {
				t.Errorf("offset %d, %v", offset, err)
			}
		}
		if b := a.stored(t, "zstd"); b.Codec() != record.Zstd || b.ProducerID() != id || b.BaseSequence() != 0 {
			t.Errorf("kept as %v, of producer %d, with sequence %d", b.Codec(), b.ProducerID(), b.BaseSequence())
		}
		n.shut(t)
	})
}

func TestAHalfMessageIsKeptInTheCompressionOfItsTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := newSender(t, 1)
		const packed = "packed"
		must(t, s.ask.createTopic(ctx, packed, 1, "message.type", "transaction", "compression.type", "zstd"))
		noise := make([]byte, 100)
		_, _ = rand.Read(noise)
		half := kgo.Record{Value: noise, Headers: headers(txn.HeaderID, "1", txn.HeaderState, "prepare", txn.HeaderGroup, service)}
		if _, err := s.send(packed, 0, half); err != nil {
			t.Fatal(err)
		}
		if _, err := s.send(packed, 0, kgo.Record{Headers: headers(txn.HeaderID, "1", txn.HeaderState, "commit")}); err != nil {
			t.Fatal(err)
		}
		b := s.ask.stored(t, packed)
		if records, err := b.Decode(maxInflated); err != nil || b.Codec() != record.Zstd || string(records[0].Value) != string(noise) {
			t.Errorf("kept as %v, %v", b.Codec(), err)
		}
		s.n.shut(t)
	})
}

package kafka

import (
	"bytes"
	"math/rand/v2"
	"net"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// randomFetchResponse has everything in it that this server says.
func randomFetchResponse(rnd *rand.Rand, version int16) *kmsg.FetchResponse {
	r := kmsg.NewPtrFetchResponse()
	r.Version, r.ThrottleMillis = version, rnd.Int32()
	if version >= 7 {
		r.ErrorCode, r.SessionID = int16(rnd.IntN(100)), rnd.Int32()
	}
	for range rnd.IntN(4) {
		t := kmsg.NewFetchResponseTopic()
		if version <= 12 {
			t.Topic = string(make([]byte, rnd.IntN(200)))
		} else {
			t.TopicID[rnd.IntN(16)] = byte(rnd.Uint32())
		}
		for range rnd.IntN(4) {
			p := kmsg.NewFetchResponseTopicPartition()
			p.Partition, p.ErrorCode, p.HighWatermark, p.LastStableOffset = rnd.Int32(), int16(rnd.IntN(100)), rnd.Int64(), rnd.Int64()
			if version >= 5 {
				p.LogStartOffset = rnd.Int64()
			}
			for range rnd.IntN(3) {
				a := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
				a.ProducerID, a.FirstOffset = rnd.Int64(), rnd.Int64()
				p.AbortedTransactions = append(p.AbortedTransactions, a)
			}
			p.RecordBatches = make([]byte, []int{0, 1, smallRecords, smallRecords + 1, 300_000}[rnd.IntN(5)])
			for i := range p.RecordBatches {
				p.RecordBatches[i] = byte(i)
			}
			if version >= 12 && rnd.IntN(3) == 0 {
				p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = rnd.Int32(), rnd.Int64()
			}
			if version >= 12 && rnd.IntN(3) == 0 {
				p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = rnd.Int32(), rnd.Int32()
			}
			t.Partitions = append(t.Partitions, p)
		}
		r.Topics = append(r.Topics, t)
	}
	if version >= 16 {
		for range rnd.IntN(3) {
			b := kmsg.NewFetchResponseBroker()
			b.NodeID, b.Host, b.Port = rnd.Int32(), "host", rnd.Int32()
			if rack := "rack"; rnd.IntN(2) == 0 {
				b.Rack = &rack
			}
			r.Brokers = append(r.Brokers, b)
		}
	}
	return r
}

// TestAFetchIsAnsweredInPiecesAsKafkaWritesIt compares with an encoder that is not ours.
func TestAFetchIsAnsweredInPiecesAsKafkaWritesIt(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	lent := 0
	for version := int16(4); version <= 18; version++ {
		for range 100 {
			r := randomFetchResponse(rnd, version)
			var p pieces
			p.fetch(r)
			p.end()
			var got []byte
			for _, b := range p.list {
				got = append(got, b...)
			}
			if want := r.AppendTo(nil); !bytes.Equal(got, want) || p.size != len(want) {
				t.Fatalf("version %d: %d bytes, of which it counts %d, want %d: %+v", version, len(got), p.size, len(want), r)
			}
			lent += len(p.list) / 2
		}
	}
	if lent == 0 {
		t.Error("nothing was lent")
	}
}

// TestAnAnswerGoesOutInSteps: none is larger than writeStep, and nothing is lost.
func TestAnAnswerGoesOutInSteps(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		var list net.Buffers
		var want []byte
		for range rnd.IntN(6) {
			b := make([]byte, 1+rnd.IntN([]int{10, writeStep, 3 * writeStep}[rnd.IntN(3)]))
			_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
			list, want = append(list, b), append(want, b...)
		}
		var got []byte
		for len(list) > 0 {
			var step net.Buffers
			step, list = cutStep(list)
			one := slices.Concat(step...)
			if len(one) > writeStep || len(one) < writeStep && len(list) > 0 {
				t.Fatalf("a step of %d bytes", len(one))
			}
			got = append(got, one...)
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes went out, want %d", len(got), len(want))
		}
	}
}

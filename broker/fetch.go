package broker

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/partition"
	"github.com/splashdam/splashdam/broker/record"
)

// Timestamps with a meaning of their own in ListOffsets.
const (
	timestampLatest   = -1
	timestampEarliest = -2
	timestampMax      = -3 // KIP-734
	timestampLocal    = -4 // KIP-405: earliest offset on the broker's own disk
	timestampTiered   = -5 // KIP-1005: last offset in tiered storage, of which there is none
)

func (s *Shard) bounds(p record.PartitionID) partition.Bounds {
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, _ := s.partitions.Bounds(p)
	return b
}

// readable checks that this node may answer for a partition now, and that the
// client is not mistaken about who leads it (KIP-320).
func (s *Shard) readable(p record.PartitionID, clientEpoch int32) (partition.Bounds, *status, error) {
	st := s.status.Load()
	// A fenced shard answers reads: what it has applied is committed.
	if !st.leading && st.failed == nil {
		return partition.Bounds{}, st, s.notLeader()
	}
	if clientEpoch >= 0 {
		switch epoch := st.term.LeaderEpoch(); {
		case clientEpoch < epoch:
			return partition.Bounds{}, st, fmt.Errorf("leader epoch %d, the current one is %d: %w", clientEpoch, epoch, kerr.FencedLeaderEpoch)
		case clientEpoch > epoch:
			return partition.Bounds{}, st, fmt.Errorf("leader epoch %d, the current one is %d: %w", clientEpoch, epoch, kerr.UnknownLeaderEpoch)
		}
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	b, ok := s.partitions.Bounds(p)
	if !ok {
		// The topic is in the metadata, its partition is not open yet.
		return b, st, fmt.Errorf("partition %s is not open on shard %d: %w", p, s.id, kerr.UnknownTopicOrPartition)
	}
	return b, st, nil
}

// Fetch implements kafka.Partitions.
func (b *Broker) Fetch(req kafka.FetchRequest, dst []byte) kafka.Fetched {
	f := kafka.Fetched{HighWatermark: -1, LastStable: -1, LogStart: -1, DivergingEpoch: -1, DivergingEnd: -1, Records: dst}
	at, err := b.locate(req.Topic, req.Partition)
	if err != nil {
		f.Err = err
		return f
	}
	f.Err = at.shard.fetch(at.id, req, &f)
	if f.Err != nil {
		f.Err = fmt.Errorf("topic %q partition %d: %w", req.Topic, req.Partition, f.Err)
	}
	return f
}

func (s *Shard) fetch(p record.PartitionID, req kafka.FetchRequest, f *kafka.Fetched) error {
	bounds, st, err := s.readable(p, req.LeaderEpoch)
	if err != nil {
		return err
	}
	f.HighWatermark, f.LastStable, f.LogStart = bounds.HighWatermark, bounds.LastStable, bounds.LogStart
	if epoch := st.term.LeaderEpoch(); req.LastFetchedEpoch > epoch {
		return fmt.Errorf("last fetched in leader epoch %d, the current one is %d: %w", req.LastFetchedEpoch, epoch, kerr.OffsetOutOfRange)
	}
	if req.LastFetchedEpoch >= 0 {
		s.mu.RLock()
		epoch, end, ok := s.partitions.EpochEnd(p, req.LastFetchedEpoch)
		s.mu.RUnlock()
		if ok && (epoch < req.LastFetchedEpoch || end < req.Offset) {
			f.DivergingEpoch, f.DivergingEnd = epoch, end
			return nil
		}
	}
	end := bounds.HighWatermark
	if req.ReadCommitted {
		end = bounds.LastStable
	}
	if req.Offset < bounds.LogStart || req.Offset > bounds.HighWatermark {
		return fmt.Errorf("offset %d is outside [%d, %d]: %w", req.Offset, bounds.LogStart, bounds.HighWatermark, kerr.OffsetOutOfRange)
	}
	if req.Offset >= end || req.MaxBytes <= 0 && !req.AtLeastOne {
		return nil
	}
	had := len(f.Records)
	f.Records, err = s.log.Read(f.Records, req.Grow, p, req.Offset, end, req.MaxBytes, req.AtLeastOne)
	if err != nil {
		return fmt.Errorf("%w: %w", readError(err), err)
	}
	if req.ReadCommitted {
		f.Aborted = s.aborted(p, req.Offset, f.Records[had:])
	}
	return nil
}

// aborted lists the aborted transactions of which there may be batches among records
// that were read from an offset on.
func (s *Shard) aborted(p record.PartitionID, from int64, records []byte) []kafka.AbortedTransaction {
	to := from
	for len(records) > 0 {
		b, rest, err := record.SplitBatch(records)
		if err != nil {
			break // what is stored is whole batches
		}
		to, records = b.NextOffset(), rest
	}
	s.mu.RLock()
	list := s.partitions.Aborted(p, from, to)
	s.mu.RUnlock()
	all := make([]kafka.AbortedTransaction, len(list))
	for i, a := range list {
		all[i] = kafka.AbortedTransaction{Producer: a.Producer, First: a.First}
	}
	return all
}

// readError is what Kafka calls an error of reading the log. On CORRUPT_MESSAGE
// consumers stop and say where, and whoever runs them seeks past the place.
func readError(err error) *kerr.Error {
	if _, ok := errors.AsType[*commitlog.CorruptionError](err); ok {
		return kerr.CorruptMessage
	}
	return kerr.KafkaStorageError
}

// Watch implements kafka.Partitions.
func (b *Broker) Watch(ps []kafka.TopicPartition, wake chan<- struct{}) (stop func()) {
	byShard := make(map[*Shard][]record.PartitionID)
	for _, tp := range ps {
		if at, err := b.locate(tp.Topic, tp.Partition); err == nil {
			byShard[at.shard] = append(byShard[at.shard], at.id)
		}
	}
	stops := make([]func(), 0, len(byShard))
	for s, ids := range byShard {
		stops = append(stops, s.watch.add(ids, wake))
	}
	return func() {
		for _, f := range stops {
			f()
		}
	}
}

// OffsetFor implements kafka.Partitions.
func (b *Broker) OffsetFor(topic string, p int32, timestamp int64, readCommitted bool, leaderEpoch int32) (offset, ts int64, epoch int32, err error) {
	at, err := b.locate(topic, p)
	if err != nil {
		return -1, -1, -1, err
	}
	offset, ts, epoch, err = at.shard.offsetFor(at.id, timestamp, readCommitted, leaderEpoch)
	if err != nil {
		return -1, -1, -1, fmt.Errorf("topic %q partition %d: %w", topic, p, err)
	}
	return offset, ts, epoch, nil
}

func (s *Shard) offsetFor(p record.PartitionID, timestamp int64, readCommitted bool, leaderEpoch int32) (offset, ts int64, epoch int32, err error) {
	b, st, err := s.readable(p, leaderEpoch)
	if err != nil {
		return -1, -1, -1, err
	}
	end := b.HighWatermark
	if readCommitted {
		end = b.LastStable
	}
	none := func() (int64, int64, int32, error) { return -1, -1, -1, nil }
	var ok bool
	switch timestamp {
	case timestampLatest:
		return end, -1, st.term.LeaderEpoch(), nil
	case timestampEarliest, timestampLocal:
		return b.LogStart, -1, st.term.LeaderEpoch(), nil
	case timestampTiered:
		return none()
	case timestampMax:
		offset, ts, ok, err = s.log.MaxTimestamp(p, b.LogStart, end)
	default:
		if timestamp < 0 {
			return -1, -1, -1, fmt.Errorf("timestamp %d: %w", timestamp, kerr.InvalidRequest)
		}
		offset, ts, ok, err = s.log.OffsetForTime(p, timestamp, b.LogStart, end)
	}
	switch {
	case err != nil:
		return -1, -1, -1, fmt.Errorf("%w: %w", readError(err), err)
	case !ok:
		return none()
	}
	return offset, ts, st.term.LeaderEpoch(), nil
}

// EpochEnd implements kafka.Partitions.
func (b *Broker) EpochEnd(topic string, p int32, currentEpoch, epoch int32) (endEpoch int32, endOffset int64, err error) {
	at, err := b.locate(topic, p)
	if err != nil {
		return -1, -1, err
	}
	bounds, st, err := at.shard.readable(at.id, currentEpoch)
	if err != nil {
		return -1, -1, fmt.Errorf("topic %q partition %d: %w", topic, p, err)
	}
	if epoch == st.term.LeaderEpoch() {
		return epoch, bounds.HighWatermark, nil
	}
	if epoch > st.term.LeaderEpoch() { // it has not been yet; Kafka knows no end of it
		return -1, -1, nil
	}
	at.shard.mu.RLock()
	defer at.shard.mu.RUnlock()
	if e, end, ok := at.shard.partitions.EpochEnd(at.id, epoch); ok {
		return e, end, nil
	}
	return -1, -1, nil
}

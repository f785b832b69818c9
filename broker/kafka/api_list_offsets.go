package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListOffsets finds offsets by time.
//
//	 0    an array of offsets, of which one is given; kafkajs still sends it
//	 1    one offset and its timestamp
//	 2    isolation level (KIP-98)
//	 3    throttling happens after the answer (KIP-219)
//	 4    leader epochs (KIP-320)
//	 5    OFFSET_NOT_AVAILABLE may be answered (KIP-207)
//	 6    flexible
//	 7    -3: the record with the largest timestamp (KIP-734)
//	 8    -4: the earliest offset on this node (KIP-405)
//	 9    -5: the latest offset in remote storage (KIP-1005)
//	10    timeout for remote storage (KIP-1075)
//	11    -6: the earliest offset that is still to be uploaded to remote storage (KIP-1023)
func listOffsetsAPI() *api {
	return waiting(kmsg.ListOffsets, 0, 11, "4 1:2 [s [4 4:4 8 4:0-0]] 4:10", (*call).listOffsets)
}

// Timestamps that mean something else. Without tiered storage the earliest
// local offset is the earliest, there is no latest remote one, and nothing is to
// be uploaded.
const (
	timestampLatest        = -1
	timestampEarliest      = -2
	timestampMax           = -3
	timestampEarliestLocal = -4
	timestampLatestTiered  = -5
	timestampPendingUpload = -6
)

func (c *call) listOffsets(_ context.Context, req *kmsg.ListOffsetsRequest) kmsg.Response {
	resp := kmsg.NewPtrListOffsetsResponse()
	named := make(map[TopicPartition]int)
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			named[TopicPartition{req.Topics[i].Topic, req.Topics[i].Partitions[j].Partition}]++
		}
	}
	answered := make(map[TopicPartition]bool)
	for i := range req.Topics {
		t := kmsg.NewListOffsetsResponseTopic()
		t.Topic = req.Topics[i].Topic
		_, missing := c.topicFor(kmsg.ACLOperationDescribe, t.Topic, [16]byte{}, false)
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			if !first(answered, TopicPartition{t.Topic, p.Partition}) {
				continue
			}
			a := kmsg.NewListOffsetsResponseTopicPartition()
			a.Partition = p.Partition
			a.Offset, a.Timestamp, a.LeaderEpoch = -1, -1, -1
			var err error
			if named[TopicPartition{t.Topic, p.Partition}] > 1 {
				err = fmt.Errorf("topic %q partition %d is named twice: %w", t.Topic, p.Partition, kerr.InvalidRequest)
			} else {
				err = c.listOffset(req, t.Topic, missing, p, &a)
			}
			a.ErrorCode = c.code(err)
			t.Partitions = append(t.Partitions, a)
		}
		if len(t.Partitions) > 0 {
			resp.Topics = append(resp.Topics, t)
		}
	}
	return resp
}

// listOffset answers for a partition. missing is why its topic is not there, if it is not:
// who asks for a time that there is not hears of that first, unless he may not ask at all.
func (c *call) listOffset(req *kmsg.ListOffsetsRequest, topic string, missing error, p *kmsg.ListOffsetsRequestTopicPartition, a *kmsg.ListOffsetsResponseTopicPartition) error {
	if isRefusal(missing) {
		return missing
	}
	at := p.Timestamp
	switch since := specialSince(at); {
	case since < 0 || req.Version < since:
		return fmt.Errorf("timestamp %d in version %d of ListOffsets: %w", at, req.Version, kerr.UnsupportedVersion)
	case missing != nil:
		return missing
	case at == timestampLatestTiered, at == timestampPendingUpload:
		return nil
	case at == timestampEarliestLocal:
		at = timestampEarliest
	}
	offset, ts, epoch, err := c.backend.OffsetFor(topic, p.Partition, at, req.IsolationLevel == 1, p.CurrentLeaderEpoch)
	if err != nil {
		return err
	}
	a.Offset, a.Timestamp, a.LeaderEpoch = offset, ts, epoch
	a.OldStyleOffsets = []int64{}
	if offset >= 0 && p.MaxNumOffsets > 0 {
		a.OldStyleOffsets = []int64{offset}
	}
	return nil
}

// specialSince is the version a timestamp may be asked for from, -1 for none.
func specialSince(ts int64) int16 {
	switch {
	case ts >= timestampEarliest:
		return 0
	case ts == timestampMax:
		return 7
	case ts == timestampEarliestLocal:
		return 8
	case ts == timestampLatestTiered:
		return 9
	case ts == timestampPendingUpload:
		return 11
	}
	return -1
}

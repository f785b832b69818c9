package kafka

import (
	"math"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
)

// finding is a request for the offset of a time in partition 0.
func finding(version int16, topic string, timestamps ...int64) *kmsg.ListOffsetsRequest {
	req := at(kmsg.NewPtrListOffsetsRequest(), version)
	t := kmsg.NewListOffsetsRequestTopic()
	t.Topic = topic
	for i, ts := range timestamps {
		p := kmsg.NewListOffsetsRequestTopicPartition()
		p.Partition, p.Timestamp, p.MaxNumOffsets = int32(i), ts, 1
		t.Partitions = append(t.Partitions, p)
	}
	req.Topics = append(req.Topics, t)
	return req
}

func TestOffsetsAreFoundByTimeInEveryVersion(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	f.topics["t"].logs[0].start, f.topics["t"].logs[0].end = 3, 3
	for _, ts := range []int64{1000, 2000} {
		o := record.BuildOptions{BaseTimestamp: ts, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1}
		b := record.Build(o, []record.Record{{}, {TimestampDelta: 10}, {TimestampDelta: 20}})
		f.Append(AppendRequest{Topic: "t", Batch: b}, func(Appended) {})
	}
	w := to(t, f)
	for _, c := range []struct {
		ts    int64
		since int16 // the version it may be asked for from
		want  int64
		at    int64
	}{
		{timestampLatest, 0, 9, -1},
		{timestampEarliest, 0, 3, -1},
		{0, 0, 3, 1000},
		{1000, 0, 3, 1000},
		{1001, 0, 4, 1010},
		{1021, 0, 6, 2000},
		{2020, 0, 8, 2020},
		{2021, 0, -1, -1},
		{math.MaxInt64, 0, -1, -1},
		{timestampMax, 7, 8, 2020},
		{timestampEarliestLocal, 8, 3, -1},
		{timestampLatestTiered, 9, -1, -1},
		{timestampPendingUpload, 11, -1, -1},
	} {
		for v := int16(0); v <= 11; v++ {
			got := ask[*kmsg.ListOffsetsResponse](w, finding(v, "t", c.ts)).Topics[0].Partitions[0]
			switch {
			case v < c.since:
				if got.ErrorCode != kerr.UnsupportedVersion.Code {
					t.Errorf("v%d, time %d: error %d", v, c.ts, got.ErrorCode)
				}
			case got.ErrorCode != 0:
				t.Errorf("v%d, time %d: error %d", v, c.ts, got.ErrorCode)
			case v == 0:
				if (c.want < 0) != (len(got.OldStyleOffsets) == 0) || c.want >= 0 && got.OldStyleOffsets[0] != c.want {
					t.Errorf("v0, time %d: offsets %v, want %d", c.ts, got.OldStyleOffsets, c.want)
				}
			case got.Offset != c.want || got.Timestamp != c.at:
				t.Errorf("v%d, time %d: offset %d of time %d, want %d of %d", v, c.ts, got.Offset, got.Timestamp, c.want, c.at)
			case v >= 4 && (got.LeaderEpoch >= 0) != (c.want >= 0):
				t.Errorf("v%d, time %d: leader epoch %d", v, c.ts, got.LeaderEpoch)
			}
		}
	}
}

func TestOffsetsThatCannotBeFoundSayWhy(t *testing.T) {
	f := newFake()
	f.add("t", 2)
	w := to(t, f)
	for v := int16(0); v <= 10; v++ {
		for name, c := range map[string]struct {
			req  *kmsg.ListOffsetsRequest
			want *kerr.Error
		}{
			"an unknown topic":     {finding(v, "unknown", timestampLatest), kerr.UnknownTopicOrPartition},
			"an unknown partition": {finding(v, "t", timestampLatest, timestampLatest, timestampLatest), kerr.UnknownTopicOrPartition},
			"an unknown meaning":   {finding(v, "t", -6), kerr.UnsupportedVersion},
			"the lowest time":      {finding(v, "t", math.MinInt64), kerr.UnsupportedVersion},
		} {
			ps := ask[*kmsg.ListOffsetsResponse](w, c.req).Topics[0].Partitions
			if got := ps[len(ps)-1]; got.ErrorCode != c.want.Code || v > 0 && got.Offset != -1 {
				t.Errorf("v%d, %s: error %d at offset %d", v, name, got.ErrorCode, got.Offset)
			}
		}
		twice := finding(v, "t", timestampLatest)
		twice.Topics = append(twice.Topics, twice.Topics[0])
		topics := ask[*kmsg.ListOffsetsResponse](w, twice).Topics
		if len(topics) != 1 || len(topics[0].Partitions) != 1 || topics[0].Partitions[0].ErrorCode != kerr.InvalidRequest.Code {
			t.Errorf("v%d, a partition named twice: %+v", v, topics)
		}
	}
}

func TestTheEndOfALeaderEpochIsTold(t *testing.T) {
	f := newFake()
	f.add("t", 1)
	f.produce("t", 0, 4)
	w := to(t, f)
	for v := int16(2); v <= 4; v++ {
		req := at(kmsg.NewPtrOffsetForLeaderEpochRequest(), v)
		for _, name := range []string{"t", "unknown"} {
			topic := kmsg.NewOffsetForLeaderEpochRequestTopic()
			topic.Topic = name
			for n := range int32(2) {
				p := kmsg.NewOffsetForLeaderEpochRequestTopicPartition()
				p.Partition, p.LeaderEpoch = n, 5
				topic.Partitions = append(topic.Partitions, p)
			}
			req.Topics = append(req.Topics, topic)
		}
		resp := ask[*kmsg.OffsetForLeaderEpochResponse](w, req)
		if p := resp.Topics[0].Partitions[0]; p.ErrorCode != 0 || p.LeaderEpoch != 5 || p.EndOffset != 4 {
			t.Errorf("v%d: %+v", v, p)
		}
		for i, p := range append(resp.Topics[0].Partitions[1:], resp.Topics[1].Partitions...) {
			if p.ErrorCode != kerr.UnknownTopicOrPartition.Code || p.LeaderEpoch != -1 || p.EndOffset != -1 {
				t.Errorf("v%d, number %d: %+v", v, i, p)
			}
		}
	}
}

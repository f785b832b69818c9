package kafka

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Three connections with a hundred requests each, of 262,000 empty names, behind one that
// waits, were seen to take 2.4 GB for the 156 MB that they sent.
func TestRequestsThatWaitCountWithWhatTheyAreDecoded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.wait = make(chan struct{})
		const elements, most = 400, 2 * 400 * elementBytes
		srv := serverOf(t, f, Limits{MaxInFlightBytes: most}, Events{})
		w := connect(t, context.Background(), srv)
		w.nc.SetDeadline(time.Time{})
		join := at(kmsg.NewPtrJoinGroupRequest(), 5)
		metadata := at(kmsg.NewPtrMetadataRequest(), 1)
		metadata.Topics = slices.Repeat([]kmsg.MetadataRequestTopic{{Topic: s("")}}, elements)
		last := w.send(join)
		go func() {
			for range 10 {
				last = w.send(metadata)
			}
		}()
		synctest.Wait()
		if used := srv.memory.used.Load(); used < elements*elementBytes || used > most {
			t.Errorf("%d bytes count, of at most %d", used, most)
		}
		close(f.wait)
		w.receive(join, 1)
		for n := range int32(10) {
			w.receive(metadata, n+2)
		}
		synctest.Wait()
		if used := srv.memory.used.Load(); last != 11 || used != 0 {
			t.Errorf("%d bytes count behind the last of %d answers", used, last)
		}
		w.nc.Close()
		w.end()
	})
}

func TestAnElementTakesNoMoreThanItWeighs(t *testing.T) {
	for name, req := range map[string]kmsg.Request{
		"names":      &kmsg.MetadataRequest{Version: 1, Topics: slices.Repeat([]kmsg.MetadataRequestTopic{{Topic: s("")}}, 1000)},
		"topics":     &kmsg.CreateTopicsRequest{Version: 4, Topics: make([]kmsg.CreateTopicsRequestTopic, 1000)},
		"partitions": &kmsg.FetchRequest{Version: 11, Topics: []kmsg.FetchRequestTopic{{Partitions: make([]kmsg.FetchRequestTopicPartition, 1000)}}},
		"groups":     &kmsg.OffsetFetchRequest{Version: 9, Groups: make([]kmsg.OffsetFetchRequestGroup, 1000)},
		"protocols":  &kmsg.JoinGroupRequest{Version: 5, Protocols: make([]kmsg.JoinGroupRequestProtocol, 1000)},
		"markers":    &kmsg.WriteTxnMarkersRequest{Version: 1, Markers: make([]kmsg.WriteTxnMarkersRequestMarker, 1000)},
	} {
		body := req.AppendTo(nil)
		fresh := kmsg.RequestForKey(req.Key())
		fresh.SetVersion(req.GetVersion())
		var err error
		if took := least(func() { err = fresh.ReadFrom(body) }); err != nil || took > 1000*elementBytes {
			t.Errorf("%s: %d bytes for each of 1,000, %v", name, took/1000, err)
		}
	}
}

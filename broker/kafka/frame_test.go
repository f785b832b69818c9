package kafka

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"testing"
	"testing/iotest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func lengthField(n int32) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }

func TestAFrameWithAHostileLengthClosesTheConnection(t *testing.T) {
	limits := Limits{MaxRequestBytes: 1 << 20}
	for name, head := range map[string][]byte{
		"-1":                      lengthField(-1),
		"the lowest number":       lengthField(math.MinInt32),
		"the highest number":      lengthField(math.MaxInt32),
		"0":                       lengthField(0),
		"one less than a header":  lengthField(minHeader - 1),
		"one more than the limit": lengthField(1<<20 + 1),
		"HTTP":                    []byte("GET / HTTP/1.1\r\n"),
		"a TLS hello":             {0x16, 0x03, 0x01, 0x02, 0x00, 0x01},
	} {
		t.Run(name, func(t *testing.T) {
			w := connect(t, context.Background(), serverOf(t, newFake(), limits, Events{}))
			w.write(head)
			w.mustEnd(ErrFrame)
		})
	}
}

func TestARequestOfTheLargestSizeIsServed(t *testing.T) {
	req := at(kmsg.NewPtrMetadataRequest(), 12)
	for i := range 1000 {
		req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: kmsg.StringPtr(fmt.Sprint("none", i))})
	}
	size := len(kmsg.NewRequestFormatter(kmsg.FormatterClientID("wire")).AppendRequest(nil, req, 1)) - 4
	w := connect(t, context.Background(), serverOf(t, newFake(), Limits{MaxRequestBytes: size}, Events{}))
	if got := len(ask[*kmsg.MetadataResponse](w, req).Topics); got != 1000 {
		t.Errorf("%d topics", got)
	}
	w = connect(t, context.Background(), serverOf(t, newFake(), Limits{MaxRequestBytes: size - 1}, Events{}))
	w.write(lengthField(int32(size)))
	w.mustEnd(ErrFrame)
}

func TestARequestMayArriveByteByByte(t *testing.T) {
	w := to(t, newFake())
	req := at(kmsg.NewPtrMetadataRequest(), 12)
	for _, c := range kmsg.NewRequestFormatter().AppendRequest(nil, req, 9) {
		w.write([]byte{c})
	}
	if resp := w.receive(req, 9).(*kmsg.MetadataResponse); *resp.ClusterID != "cluster-of-one" {
		t.Errorf("cluster %q", *resp.ClusterID)
	}
}

func TestAClientThatLeavesInTheMiddleIsNotOneThatLeavesInBetween(t *testing.T) {
	whole := kmsg.NewRequestFormatter().AppendRequest(nil, at(kmsg.NewPtrMetadataRequest(), 12), 1)
	for n := range len(whole) {
		w := connectTCP(t, context.Background(), serverOf(t, newFake(), Limits{}, Events{}))
		w.write(whole[:n])
		w.nc.Close()
		want := io.ErrUnexpectedEOF
		if n == 0 {
			want = io.EOF
		}
		if err := w.end(); !errors.Is(err, want) {
			t.Errorf("after %d of %d bytes: %v, want %v", n, len(whole), err, want)
		}
	}
}

// allocated is how many bytes f takes from the heap.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// meager is a pacer that has no memory to spare.
type meager struct{}

func (meager) step(int) error { return nil }
func (meager) whole() bool    { return false }

// What a length field claims costs nothing; what has come costs its double.
func TestMemoryGrowsWithTheBytesThatArrive(t *testing.T) {
	for _, come := range []int{0, 1, readStep, 1 << 20, 10 << 20} {
		var err error
		used := allocated(func() {
			stream := io.MultiReader(bytes.NewReader(make([]byte, come)), iotest.ErrReader(io.ErrClosedPipe))
			_, err = readBody(bufio.NewReaderSize(stream, 4<<10), 100<<20, readStep, new(buffers), meager{})
		})
		if !errors.Is(err, io.ErrClosedPipe) {
			t.Fatalf("%d bytes: %v", come, err)
		}
		// The source itself, and buffers of 1, 2, 4... steps of which the last has room for the double.
		if limit := uint64(come + 4*come + 4*readStep); used > limit {
			t.Errorf("%d of 100 MiB have come, and %d bytes were taken", come, used)
		}
	}
}

// generous is a pacer of one request, alone with its memory.
type generous struct{ share share }

func (*generous) step(int) error { return nil }
func (g *generous) whole() bool  { return g.share.ahead(8 << 20) }

// A request is read without moving it as it grows while less than half of the memory
// for requests is taken.
func TestALargeRequestIsReadAtOnceWhileThereIsMemory(t *testing.T) {
	m := newMemory(20 << 20)
	for _, c := range []struct {
		taken int
		whole bool
	}{{0, true}, {2 << 20, true}, {2<<20 + 1, false}, {20 << 20, false}} {
		other := share{memory: m}
		other.force(c.taken)
		g := &generous{share{memory: m}}
		source := bytes.NewReader(make([]byte, 8<<20))
		used := allocated(func() {
			if b, err := readBody(bufio.NewReaderSize(source, 4<<10), 8<<20, readStep, new(buffers), g); err != nil || len(b) != 8<<20 {
				t.Error(len(b), err)
			}
		})
		if whole := used < 9<<20; whole != c.whole {
			t.Errorf("%d bytes are taken by others: %d were taken from the heap", c.taken, used)
		}
		g.share.give()
		if other.give(); m.used.Load() != 0 {
			t.Errorf("%d bytes were not given back", m.used.Load())
		}
	}
}

// Whoever can reach the port can open connections and announce requests: that must be cheap.
func TestWhatAStrangerAnnouncesCostsNothing(t *testing.T) {
	srv := serverOn(t, newFake(), Limits{}, Events{}, loginListener(t, 0))
	var used uint64
	const strangers = 100
	var all []*wire
	for range strangers {
		all = append(all, connectTCP(t, context.Background(), srv))
	}
	used = allocated(func() {
		for _, w := range all {
			w.write([]byte{0, 0, 0xff, 0xff, 0, 36, 0, 0})
		}
		for srv.memory.used.Load() < strangers*strangerStep {
			time.Sleep(time.Millisecond)
		}
	})
	if taken := srv.memory.used.Load(); taken != strangers*strangerStep || used > 2*strangers*strangerStep {
		t.Errorf("%d strangers who have sent 4 of 65,535 bytes take %d, %d from the heap", strangers, taken, used)
	}
}

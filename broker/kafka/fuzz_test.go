package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/heap"
)

// seedRequests gives f a request of every version of every API.
func seedRequests(add func(frame []byte)) {
	r := rand.New(rand.NewPCG(11, 12))
	eachVersion(func(a *api, version int16) { add(frameOf(filled(a, version, r))) })
	add(frameOf(producing(9, -1, "s", 0, batchOf(3))))
	add(frameOf(reading(12, "s", 0, 0)))
}

// Whatever is in a frame: it is refused for a reason, or its answer is well formed.
func FuzzRequest(f *testing.F) {
	seedRequests(func(frame []byte) { f.Add(frame) })
	f.Fuzz(func(t *testing.T, frame []byte) {
		if len(frame) < minHeader {
			return
		}
		answer, err := serve(serverOf(t, furnished(), impatient, Events{}), frame)
		switch {
		case errors.Is(err, ErrRequest) || errors.Is(err, ErrUnsupported):
		case err != nil:
			t.Fatal(err)
		case len(answer) > 0:
			key, version := kmsg.Key(binary.BigEndian.Uint16(frame)), int16(binary.BigEndian.Uint16(frame[2:]))
			req := key.Request()
			if a := newAPITable()[int16(key)]; key != kmsg.ApiVersions || version <= a.max {
				req.SetVersion(version)
			}
			copy(answer[4:], []byte{0, 0, 0, 77}) // the correlation id is the frame's
			if _, err := decode(req, answer); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Whatever is in the body of a request of any API, in any version: the decoder takes what
// is sound as it was sent, refuses the rest, and takes no more memory than its limits.
// which counts through the versions of all APIs, so that each is tried.
func FuzzBody(f *testing.F) {
	r := rand.New(rand.NewPCG(13, 14))
	type version struct {
		*api
		version int16
	}
	var all []version
	eachVersion(func(a *api, v int16) {
		f.Add(uint16(len(all)), filled(a, v, r).AppendTo(nil))
		all = append(all, version{a, v})
	})
	const limit = 1 << 16 // elements
	f.Fuzz(func(t *testing.T, which uint16, body []byte) {
		a := all[int(which)%len(all)]
		var err error
		if n := least(func() { _, err = a.shape.walk(body, a.version, limit) }); n > uint64(len(body)+1<<16) {
			t.Fatalf("%s v%d: %d bytes are allocated to walk over %d", a.key.Name(), a.version, n, len(body))
		}
		req := a.key.Request()
		req.SetVersion(a.version)
		if err != nil {
			if !errors.Is(err, ErrRequest) {
				t.Fatalf("%s v%d: %v", a.key.Name(), a.version, err)
			}
			return
		}
		if n := least(func() { err = req.ReadFrom(body) }); n > uint64(1024*len(body)+1<<20) {
			t.Fatalf("%s v%d: %d bytes are allocated to decode %d", a.key.Name(), a.version, n, len(body))
		}
		if err != nil {
			return // a tag whose content is none: the request is refused all the same
		}
		again := a.key.Request()
		again.SetVersion(a.version)
		if err := again.ReadFrom(req.AppendTo(nil)); err != nil {
			t.Fatalf("%s v%d: what was decoded, encoded again: %v", a.key.Name(), a.version, err)
		}
		if !bytes.Equal(again.AppendTo(nil), req.AppendTo(nil)) {
			t.Fatalf("%s v%d: %x decodes as something else the second time", a.key.Name(), a.version, body)
		}
	})
}

// least is what f allocates at least: others allocate too, but not every time.
func least(f func()) uint64 {
	n := heap.Allocated(f)
	for range 4 {
		if n < 1<<16 {
			break
		}
		n = min(n, heap.Allocated(f))
	}
	return n
}

// Whatever a client sends, in whatever pieces: its connection ends when it leaves,
// and not with a bug.
func FuzzConnection(f *testing.F) {
	var both []byte
	seedRequests(func(frame []byte) {
		whole := append(lengthField(int32(len(frame))), frame...)
		f.Add(whole, uint16(7))
		both = append(both, whole...)
	})
	f.Add(both, uint16(1000))
	f.Fuzz(func(t *testing.T, stream []byte, piece uint16) {
		here, there := net.Pipe()
		ended := make(chan error)
		s := serverOf(t, furnished(), Limits{MaxFetchWait: time.Millisecond, MaxRequestBytes: 1 << 16, MaxInFlight: 3}, Events{})
		go func() { ended <- s.ServeConn(context.Background(), there, "PLAIN") }()
		read := make(chan struct{})
		go func() {
			defer close(read)
			_, _ = io.Copy(io.Discard, here)
		}()
		for len(stream) > 0 {
			n := min(len(stream), max(1, int(piece)))
			if _, err := here.Write(stream[:n]); err != nil {
				break // it has been cut
			}
			stream = stream[n:]
		}
		here.Close()
		if err := <-ended; errors.Is(err, ErrPanic) {
			t.Fatal(err)
		}
		<-read
	})
}

// What the checks let through is one sound batch, and all of the records.
func FuzzProducedRecords(f *testing.F) {
	for _, c := range []record.Codec{record.None, record.Gzip, record.Snappy, record.LZ4, record.Zstd} {
		f.Add([]byte(built(plainly(func(o *record.BuildOptions) { o.Codec = c }))), int16(9))
	}
	f.Add([]byte(append(batchOf(1), batchOf(2)...)), int16(3))
	f.Fuzz(func(t *testing.T, records []byte, version int16) {
		b, err := checkRecords(records, version)
		if err != nil {
			if code := Code(err); code <= 0 {
				t.Fatalf("%v has the code %d", err, code)
			}
			return
		}
		reseal(b) // nobody guesses a CRC
		if err := checkBatch(b, TopicConfig{MaxMessageBytes: 1 << 20, TimestampBeforeMs: 1 << 40, TimestampAfterMs: 1 << 40}, 1<<40); err != nil {
			if code := Code(err); code <= 0 {
				t.Fatalf("%v has the code %d", err, code)
			}
			return
		}
		if len(b) != len(records) || b.Validate() != nil || b.Records() <= 0 || b.IsControl() || b.IsTransactional() && !b.IsIdempotent() || b.BaseOffset() != 0 {
			t.Fatalf("%d of %d bytes are accepted, and unsound", len(b), len(records))
		}
	})
}

package kafka

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/internal/heap"
)

// written is a connection that keeps what is written to it.
type written struct {
	net.Conn
	bytes.Buffer
}

func (w *written) Write(b []byte) (int, error)      { return w.Buffer.Write(b) }
func (w *written) Read([]byte) (int, error)         { panic("nobody reads") }
func (w *written) Close() error                     { return nil }
func (w *written) SetWriteDeadline(time.Time) error { return nil }

// serve takes one frame, without its length, through a server as a connection's
// reader and writer do, and returns the answer with its length.
func serve(s *Server, frameBytes []byte) (answer []byte, err error) {
	nc := new(written)
	c := newConn(context.Background(), s, nc, Peer{Listener: "PLAIN", Addr: "127.0.0.1:1"}, &s.listeners[0])
	defer c.cancel(nil)
	size := len(frameBytes)
	if err := c.budget.take(c.ctx, size); err != nil {
		return nil, err
	}
	f := &frame{buf: slices.Clone(frameBytes), size: size, budget: c.budget, share: share{memory: s.memory}, pool: &s.buffers}
	f.hold()
	call, err := s.start(c, f)
	if err != nil {
		f.release()
		return nil, err
	}
	err = c.answer(call)
	call.finish()
	if c.budget.used != 0 {
		return nil, fmt.Errorf("%d bytes of the frame are still in flight", c.budget.used)
	}
	return nc.Bytes(), err
}

// impatient are limits with which nothing waits long.
var impatient = Limits{MaxFetchWait: time.Millisecond}

// furnished is a Backend that has the topics that filled requests name.
func furnished() *fake {
	f := newFake()
	for n := 1; n < len(someString); n++ {
		f.add(someString[:n], 2)
	}
	return f
}

// frameOf is a request as it travels, without its length.
func frameOf(req kmsg.Request) []byte {
	return kmsg.NewRequestFormatter(kmsg.FormatterClientID("wire")).AppendRequest(nil, req, 77)[4:]
}

// decode checks that an answer is one to a request: its length, correlation id,
// header, and a body that is encoded again as it was.
func decode(req kmsg.Request, answer []byte) (kmsg.Response, error) {
	if len(answer) < 8 || int(binary.BigEndian.Uint32(answer)) != len(answer)-4 || binary.BigEndian.Uint32(answer[4:]) != 77 {
		return nil, fmt.Errorf("an answer of %d bytes begins with %x", len(answer), answer[:min(8, len(answer))])
	}
	resp := req.ResponseKind()
	body := answer[8:]
	if resp.IsFlexible() && req.Key() != int16(kmsg.ApiVersions) {
		if len(body) == 0 || body[0] != 0 {
			return nil, errors.New("a header with tagged fields")
		}
		body = body[1:]
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, err
	}
	if again := resp.AppendTo(nil); !bytes.Equal(again, body) {
		return nil, fmt.Errorf("%x decodes, and encodes as %x", body, again)
	}
	return resp, nil
}

// eachVersion runs f for every version of every API that is served.
func eachVersion(f func(a *api, version int16)) {
	for _, a := range newAPITable().sorted() {
		for v := a.min; v <= a.max; v++ {
			f(a, v)
		}
	}
}

func TestEveryVersionAnswersAnyRequestInAWellFormedWay(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	eachVersion(func(a *api, v int16) {
		s := serverOf(t, furnished(), impatient, Events{})
		answered := 0
		for range 50 {
			req := filled(a, v, r)
			answer, err := serve(s, frameOf(req))
			if err != nil {
				t.Fatalf("%s v%d: %v", a.key.Name(), v, err)
			}
			if p, ok := req.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
				if len(answer) > 0 {
					t.Fatalf("%s v%d: an answer under acks=0", a.key.Name(), v)
				}
				continue
			}
			if _, err := decode(req, answer); err != nil {
				t.Fatalf("%s v%d: the answer to %+v: %v", a.key.Name(), v, req, err)
			}
			answered++
		}
		if answered < 25 {
			t.Errorf("%s v%d: %d answers", a.key.Name(), v, answered)
		}
	})
}

// librdkafka 2.16 sends AlterUserScramCredentials with a byte too many.
func TestBytesBehindARequestAreIgnoredAsInKafka(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	eachVersion(func(a *api, v int16) {
		s := serverOf(t, furnished(), impatient, Events{})
		req := filled(a, v, r)
		for _, behind := range [][]byte{{0}, {0xff, 0xff, 0xff, 0xff, 0x0f}} {
			answer, err := serve(s, append(frameOf(req), behind...))
			if err != nil {
				t.Fatalf("%s v%d: with %x behind it: %v", a.key.Name(), v, behind, err)
			}
			if p, ok := req.(*kmsg.ProduceRequest); ok && p.Acks == 0 {
				continue
			}
			if _, err := decode(req, answer); err != nil {
				t.Fatalf("%s v%d: with %x behind it: the answer: %v", a.key.Name(), v, behind, err)
			}
		}
	})
}

func TestARequestThatIsCutOffAnywhereClosesTheConnection(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	eachVersion(func(a *api, v int16) {
		s := serverOf(t, furnished(), impatient, Events{})
		whole := frameOf(filled(a, v, r))
		for n := range len(whole) {
			w := connect(t, context.Background(), s)
			want := ErrRequest
			if n < minHeader {
				want = ErrFrame
			}
			w.write(lengthField(int32(n)))
			if want == ErrRequest {
				w.write(whole[:n])
			}
			if err := w.end(); !errors.Is(err, want) {
				t.Fatalf("%s v%d, %d of %d bytes: %v, want %v", a.key.Name(), v, n, len(whole), err, want)
			}
		}
	})
}

// hostile are numbers that take the place of lengths and counts, as they come in
// fields of two and four bytes and in compact form (one more than the length).
var hostile = [][]byte{
	{0x7f, 0xff}, {0x80, 0x00}, {0xff, 0xff}, {0xff, 0xfe}, {0x00, 0xff},
	{0x7f, 0xff, 0xff, 0xff}, {0x80, 0x00, 0x00, 0x00}, {0xff, 0xff, 0xff, 0xff}, {0xff, 0xff, 0xff, 0xfe}, {0x00, 0x7f, 0xff, 0xff},
}

var hostileCompact = [][]byte{
	{0x00}, {0x7f}, {0xff, 0x7f}, {0xff, 0xff, 0xff, 0xff, 0x07}, {0xff, 0xff, 0xff, 0xff, 0x0f}, {0x80, 0x80, 0x80, 0x80, 0x10}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01},
}

// spoiled calls f with body, with each hostile number in each place. f must not
// keep its argument.
func spoiled(body []byte, f func([]byte)) {
	var buf []byte
	for at := range len(body) {
		for _, h := range hostile {
			if at+len(h) <= len(body) {
				buf = append(buf[:0], body...)
				copy(buf[at:], h)
				f(buf)
			}
		}
		for _, h := range hostileCompact {
			buf = append(append(append(buf[:0], body[:at]...), h...), body[at+1:]...)
			f(buf)
		}
	}
}

// A hostile number may stand where it is only a number; then the request is
// answered, as a request for partition -1 is. Where it is a length, the connection
// is closed.
func TestHostileLengthsInsideAnyRequestAreRefusedAndTakeNoMemory(t *testing.T) {
	// What small pieces there were is counted when the runtime finds the time.
	const mostPerRequest = 8 << 20
	r := rand.New(rand.NewPCG(7, 8))
	eachVersion(func(a *api, v int16) {
		var events recorded
		answered, refused := 0, 0
		s := serverOf(t, furnished(), impatient, events.events())
		req := filled(a, v, r)
		for len(req.AppendTo(nil)) > 300 {
			req = filled(a, v, r)
		}
		frame := frameOf(req)
		body := len(frame) - len(req.AppendTo(nil))
		spoiled(frame[body:], func(spoilt []byte) {
			var answer []byte
			var err error
			took := heap.Allocated(func() { answer, err = serve(s, append(slices.Clone(frame[:body]), spoilt...)) })
			switch {
			case errors.Is(err, ErrRequest):
				refused++
			case err != nil:
				t.Fatalf("%s v%d: %x: %v", a.key.Name(), v, spoilt, err)
			case len(answer) > 0:
				answered++
				if _, err := decode(req, answer); err != nil {
					t.Fatalf("%s v%d: %x: the answer: %v", a.key.Name(), v, spoilt, err)
				}
			}
			// Others allocate meanwhile; the request is to blame if it does so again.
			for range 2 {
				if took <= mostPerRequest {
					break
				}
				again := heap.Allocated(func() { _, err = serve(s, append(slices.Clone(frame[:body]), spoilt...)) })
				if err != nil && !errors.Is(err, ErrRequest) {
					t.Fatalf("%s v%d: %x: %v", a.key.Name(), v, spoilt, err)
				}
				took = min(took, again)
			}
			if took > mostPerRequest {
				t.Fatalf("%s v%d: %x: %d bytes were allocated", a.key.Name(), v, spoilt, took)
			}
		})
		if len(events.panicked) > 0 {
			t.Fatalf("%s v%d: %v", a.key.Name(), v, events.panicked)
		}
		if len(frame) > body && refused == 0 {
			t.Errorf("%s v%d: nothing of %x was refused, %d were answered", a.key.Name(), v, frame[body:], answered)
		}
	})
}

func TestAVersionThatIsNotServedClosesTheConnectionButForApiVersions(t *testing.T) {
	s := serverOf(t, newFake(), Limits{}, Events{})
	for _, a := range newAPITable().sorted() {
		for _, v := range []int16{a.min - 1, a.max + 1, 0x7fff, -0x8000} {
			frame := binary.BigEndian.AppendUint16(nil, uint16(a.key))
			frame = binary.BigEndian.AppendUint16(frame, uint16(v))
			frame = append(frame, 0, 0, 0, 77, 0xff, 0xff)
			answer, err := serve(s, frame)
			if a.key == kmsg.ApiVersions && v >= 0 {
				resp, bad := decode(kmsg.NewPtrApiVersionsRequest(), answer)
				if err != nil || bad != nil || resp.(*kmsg.ApiVersionsResponse).ErrorCode != 35 {
					t.Errorf("ApiVersions v%d: %v, %v, %+v", v, err, bad, resp)
				}
				continue
			}
			if !errors.Is(err, ErrUnsupported) {
				t.Errorf("%s v%d: %v", a.key.Name(), v, err)
			}
		}
	}
}

func TestAnUnknownAPIKeyClosesTheConnection(t *testing.T) {
	s := serverOf(t, newFake(), Limits{}, Events{})
	table := newAPITable()
	unknown := 0
	for key := -1; key < 200; key++ {
		if table[int16(key)] != nil {
			continue
		}
		unknown++
		frame := binary.BigEndian.AppendUint16(nil, uint16(key))
		if _, err := serve(s, append(frame, make([]byte, 20)...)); !errors.Is(err, ErrUnsupported) {
			t.Errorf("key %d: %v", key, err)
		}
	}
	if unknown != 201-len(table) {
		t.Errorf("%d unknown keys", unknown)
	}
}

func TestTaggedFieldsOfAHeaderAreSkippedUpToALimit(t *testing.T) {
	s := serverOf(t, newFake(), Limits{}, Events{})
	req := at(kmsg.NewPtrMetadataRequest(), 12)
	for tags, want := range map[int]error{0: nil, 1: nil, maxHeaderTags: nil, maxHeaderTags + 1: ErrRequest, 1 << 20: ErrRequest} {
		frame := []byte{0, byte(req.Key()), 0, byte(req.Version), 0, 0, 0, 77, 0xff, 0xff}
		frame = binary.AppendUvarint(frame, uint64(tags))
		for range min(tags, maxHeaderTags+1) {
			frame = append(frame, 5, 2, 'x', 'y')
		}
		answer, err := serve(s, req.AppendTo(frame))
		if !errors.Is(err, want) {
			t.Errorf("%d tagged fields: %v, want %v", tags, err, want)
		} else if err == nil {
			if _, err := decode(req, answer); err != nil {
				t.Errorf("%d tagged fields: %v", tags, err)
			}
		}
	}
}

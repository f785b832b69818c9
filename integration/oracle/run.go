package oracle

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// answerTimeout bounds how long a broker may take for one answer.
	answerTimeout = 20 * time.Second
	// patience bounds how often a step is sent again, with a pause between.
	patience, pause = 200, 100 * time.Millisecond
	// maxAnswer bounds an answer, in bytes.
	maxAnswer = 16 << 20
)

// Broker is who a script is told to.
type Broker struct {
	Addr string
	// Prefix stands for "o." in the names of topics and groups on the wire. It must
	// be another one each time that a script is told to the same broker.
	Prefix string
	// Settle is how long the broker may take to act by a change that it has accepted.
	Settle time.Duration
	// Ours says whose answers these are: Kafka's, or ours, which may differ as declared.
	Ours bool
}

// Play tells a script to a broker. The script that it returns has the broker's answers
// in place of the ones kept: Kafka's as such, and ours where they differ from Kafka's,
// below the name that the difference has or Undeclared. The error is a script that
// cannot be told to its end, not an answer.
func (s *Script) Play(b Broker) (*Script, error) {
	p := &player{values: newValues(b.Prefix), Broker: b, conns: map[string]*conn{}}
	defer p.close()
	told := &Script{parts: slices.Clone(s.parts)}
	for i := range told.parts {
		at := &told.parts[i]
		if at.step == nil {
			continue
		}
		got, err := p.do(at.step)
		switch {
		case err != nil:
			told.parts = told.parts[:i]
			return told, fmt.Errorf("%s: %w", at.text, err)
		case !b.Ours:
			at.kafka = got
		case got == at.kafka:
			at.difference, at.own = "", ""
		default:
			at.own = got
			if at.difference == "" {
				at.difference = Undeclared
			}
		}
	}
	return told, nil
}

// player holds the connections of a script that is being told.
type player struct {
	*values
	Broker
	conns map[string]*conn
}

type conn struct {
	net.Conn
	last int32 // correlation id
	sent []kmsg.Request
}

func (p *player) close() {
	for _, c := range p.conns {
		c.Close()
	}
}

func (p *player) do(s *step) (string, error) {
	c := p.conns[s.conn]
	if c == nil {
		nc, err := net.DialTimeout("tcp", p.Addr, answerTimeout)
		if err != nil {
			return "", err
		}
		c = &conn{Conn: nc}
		p.conns[s.conn] = c
	}
	for try := 0; ; try++ {
		resp, err := p.ask(c, s)
		if errors.Is(err, errClosed) {
			c.Close()
			delete(p.conns, s.conn)
			return indent + "closed\n", nil
		}
		if err != nil {
			return "", err
		}
		if resp == nil { // sent
			return "", nil
		}
		again := leadsSoon
		if s.await {
			again = asksForPatience
		}
		if _, ok := resp.(*silence); ok {
			return indent + "no answer\n", nil
		}
		before := p.values.copied() // an answer that is not taken names nothing
		answer := p.answer(resp)
		if slices.ContainsFunc(codes(reflect.ValueOf(resp)), again) || !strings.Contains(answer, s.until) {
			if try == patience {
				return "", fmt.Errorf("still %s", answer)
			}
			*p.values = before
			time.Sleep(pause)
			continue
		}
		switch resp.(type) {
		case *kmsg.AlterConfigsResponse, *kmsg.IncrementalAlterConfigsResponse,
			*kmsg.CreateTopicsResponse, *kmsg.DeleteTopicsResponse, *kmsg.CreatePartitionsResponse,
			*kmsg.AlterClientQuotasResponse, *kmsg.AlterUserSCRAMCredentialsResponse,
			*kmsg.CreateACLsResponse, *kmsg.DeleteACLsResponse:
			time.Sleep(p.Settle)
		}
		return answer, nil
	}
}

// leadsSoon is a broker that has heard of its lead and has not taken it up. With one
// broker no script can mean anything else by it.
func leadsSoon(code int16) bool {
	return code == kerr.NotLeaderForPartition.Code || code == kerr.NotCoordinator.Code || code == kerr.CoordinatorLoadInProgress.Code
}

func asksForPatience(code int16) bool {
	for _, k := range []*kerr.Error{
		kerr.LeaderNotAvailable, kerr.CoordinatorNotAvailable, kerr.CoordinatorLoadInProgress,
		kerr.NotCoordinator, kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.NotLeaderForPartition,
		kerr.ConcurrentTransactions,
	} {
		if code == k.Code {
			return true
		}
	}
	return false
}

// errClosed is a connection that the broker has closed.
var errClosed = errors.New("the broker has closed the connection")

// silence stands for the answer to a request that has none.
type silence struct{ kmsg.Response }

// ask sends a request and takes its answer, nil if it is only sent.
func (p *player) ask(c *conn, s *step) (kmsg.Response, error) {
	if !s.receive {
		req, err := p.request(s)
		if err != nil {
			return nil, err
		}
		if err := c.send(req); err != nil {
			return nil, err
		}
		if produce, ok := req.(*kmsg.ProduceRequest); ok && produce.Acks == 0 {
			return c.hearNothing()
		}
		if s.send {
			return nil, nil
		}
	}
	return c.receive()
}

func (c *conn) send(req kmsg.Request) error {
	c.last++
	c.sent = append(c.sent, req)
	f := kmsg.NewRequestFormatter(kmsg.FormatterClientID("oracle"))
	_, err := c.Write(f.AppendRequest(nil, req, c.last))
	return closed(err)
}

// receive reads the answer to the oldest request that has none.
func (c *conn) receive() (kmsg.Response, error) {
	if len(c.sent) == 0 {
		return nil, errors.New("nothing is sent that would have an answer")
	}
	req := c.sent[0]
	want := c.last - int32(len(c.sent)) + 1
	c.sent = c.sent[1:]
	if err := c.SetReadDeadline(time.Now().Add(answerTimeout)); err != nil {
		return nil, err
	}
	var head [8]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, closed(err)
	}
	size, got := binary.BigEndian.Uint32(head[:]), int32(binary.BigEndian.Uint32(head[4:]))
	if size < 4 || size > maxAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	if got != want {
		return nil, fmt.Errorf("the answer to request %d comes for request %d", want, got)
	}
	body := make([]byte, size-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return nil, closed(err)
	}
	resp := req.ResponseKind()
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		body = body[1:] // no tags
	}
	if err := resp.ReadFrom(body); err != nil {
		return nil, fmt.Errorf("decoding the answer: %w", err)
	}
	return resp, nil
}

// hearNothing checks, by the next answer on the connection, that the request before it
// has none.
func (c *conn) hearNothing() (kmsg.Response, error) {
	c.sent = c.sent[:0]
	if err := c.send(kmsg.NewPtrApiVersionsRequest()); err != nil {
		return nil, err
	}
	if _, err := c.receive(); err != nil {
		return nil, err
	}
	return &silence{}, nil
}

func closed(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return fmt.Errorf("%w: %w", errClosed, err)
	}
	return err
}

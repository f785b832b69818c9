package kafka

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
)

// conn is one connection. It ends in two steps: first it is leaving (the client
// closed its side, sent nonsense, or the server ends): nothing more is read and
// nobody waits any longer for what may never come; at the latest DrainTimeout
// later ctx ends, and with it every answer still awaited.
type conn struct {
	server *Server
	nc     net.Conn
	peer   Peer
	client Client // ID is per request

	ctx     context.Context
	cancel  context.CancelCauseFunc
	leaving context.Context
	leave   context.CancelCauseFunc

	queue  chan *call    // the requests in flight, in order
	slots  chan struct{} // one for each of them, MaxInFlight in all
	budget *budget
	// written is when the last answer went out, in ns: a connection is not idle
	// while its client reads.
	written atomic.Int64
}

// call is one request on its way to an answer.
type call struct {
	*Server
	conn   *conn
	client Client
	header header
	api    *api
	// authorizer decides what subject, the client, may do, by one list for all of the
	// request.
	authorizer acl.Authorizer
	subject    acl.Subject
	frame      *frame
	reply      reply
	// after, if set, is called once the answer is encoded, or given up.
	after func()
}

func (c *call) request() Request {
	return Request{Peer: c.conn.peer, ClientID: c.header.clientID, Key: kmsg.Key(c.header.key), Version: c.header.version}
}

func (c *call) finish() {
	if c.after != nil {
		c.after()
	}
	c.frame.release()
}

func newConn(ctx context.Context, s *Server, nc net.Conn, p Peer) *conn {
	c := &conn{
		server: s, nc: nc, peer: p,
		client: Client{Host: "/" + p.Addr, Principal: "User:ANONYMOUS"},
		queue:  make(chan *call, s.limits.MaxInFlight),
		slots:  make(chan struct{}, s.limits.MaxInFlight),
		budget: newBudget(s.limits.MaxInFlightBytes),
	}
	if host, _, err := net.SplitHostPort(p.Addr); err == nil {
		c.client.Host = "/" + host
	}
	c.ctx, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	c.leaving, c.leave = context.WithCancelCause(c.ctx)
	return c
}

// serve runs the reader, and the writer beside it, to their ends.
func (c *conn) serve(server context.Context) error {
	// A leaving connection has until the deadline. Closing it ends a blocked
	// write, the context ends whatever an answer waits for.
	overdue := func() { c.end(ErrOverdue) }
	stopLeave := context.AfterFunc(c.leaving, func() {
		t := time.AfterFunc(c.server.limits.DrainTimeout, overdue)
		context.AfterFunc(c.ctx, func() { t.Stop() })
		c.nc.SetReadDeadline(time.Unix(1, 0))
	})
	stopServer := context.AfterFunc(server, func() { c.leave(ErrDrained) })
	written := c.startWriter()

	c.leave(c.read())
	close(c.queue)
	<-written

	stopServer()
	stopLeave()
	err := context.Cause(c.leaving)
	if ended := context.Cause(c.ctx); ended != nil && !errors.Is(err, ended) {
		err = fmt.Errorf("%w; then %w", err, ended)
	}
	c.end(err)
	return err
}

// end closes the connection at once. Only the first cause counts.
func (c *conn) end(cause error) {
	c.cancel(cause)
	c.nc.Close()
}

// read takes requests off the connection and starts them, until there is a
// reason not to.
func (c *conn) read() error {
	r := bufio.NewReaderSize(c.nc, 4<<10)
	for {
		f, err := c.readFrame(r)
		if err != nil {
			return err
		}
		select {
		case c.slots <- struct{}{}:
		case <-c.ctx.Done():
			f.release()
			return context.Cause(c.ctx)
		}
		call, err := c.server.start(c, f)
		if err != nil {
			f.release()
			return err
		}
		c.queue <- call // a slot is a place in it
	}
}

func (c *conn) readFrame(r *bufio.Reader) (*frame, error) {
	if err := c.awaitFrame(r); err != nil {
		return nil, err
	}
	head, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	n, err := frameSize(head, c.server.limits.MaxRequestBytes)
	if err != nil {
		return nil, err
	}
	if _, err := r.Discard(4); err != nil {
		return nil, err
	}
	if err := c.budget.take(c.ctx, n); err != nil {
		return nil, err
	}
	buf, err := readBody(r, n, &c.server.buffers, c.armRead)
	if err != nil {
		c.budget.give(n)
		if errors.Is(err, os.ErrDeadlineExceeded) && c.leaving.Err() == nil {
			err = fmt.Errorf("%w in the middle of a request: %w", ErrIdle, err)
		}
		return nil, err
	}
	f := &frame{buf: buf, size: n, budget: c.budget, pool: &c.server.buffers}
	f.hold()
	return f, nil
}

// awaitFrame waits for a length field, for as long as the connection is not idle.
func (c *conn) awaitFrame(r *bufio.Reader) error {
	for {
		if err := c.armRead(); err != nil {
			return err
		}
		head, err := r.Peek(4)
		switch {
		case err == nil:
			return nil
		case c.leaving.Err() != nil:
			return context.Cause(c.leaving)
		case errors.Is(err, os.ErrDeadlineExceeded):
			quiet := time.Since(time.Unix(0, c.written.Load()))
			if len(c.slots) > 0 || quiet < c.server.limits.IdleTimeout && len(head) == 0 {
				continue
			}
			return ErrIdle
		case errors.Is(err, io.EOF) && len(head) > 0:
			return fmt.Errorf("reading a length field: %w", io.ErrUnexpectedEOF)
		default:
			return err
		}
	}
}

// armRead sets the deadline for the next bytes. A connection that is leaving has
// a deadline in the past already, which must not be undone.
func (c *conn) armRead() error {
	if err := c.nc.SetReadDeadline(time.Now().Add(c.server.limits.IdleTimeout)); err != nil {
		return err
	}
	if c.leaving.Err() != nil {
		return context.Cause(c.leaving)
	}
	return nil
}

// write answers the requests in their order. Once the connection has ended it
// only lets go of them.
func (c *conn) write() {
	for call := range c.queue {
		if c.ctx.Err() == nil {
			if err := c.answer(call); err != nil {
				c.leave(err)
				c.end(err)
			}
		}
		call.finish()
		<-c.slots
	}
}

// answer runs the rest of a request and sends what comes of it.
func (c *conn) answer(call *call) (err error) {
	defer call.recoverAs(&err)
	resp := call.reply(c.ctx)
	if resp == nil {
		return nil // acks=0
	}
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	buf := call.encode(resp)
	defer func() { c.server.buffers.put(buf) }()
	return c.send(buf)
}

// send writes in steps, each with a deadline: a slow client is served, one that
// does not read is cut.
func (c *conn) send(b []byte) error {
	for len(b) > 0 {
		n := min(len(b), writeStep)
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.server.limits.WriteTimeout)); err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
		if _, err := c.nc.Write(b[:n]); err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
		c.written.Store(time.Now().UnixNano())
		b = b[n:]
	}
	return nil
}

// encode frames an answer: length, correlation id and, in flexible versions,
// tagged fields of the header, of which there are none. ApiVersions has the old
// header in all versions, since the client reads it before it knows the server's.
func (c *call) encode(resp kmsg.Response) []byte {
	buf := c.buffers.get(answerSize(resp))
	buf = append(buf, 0, 0, 0, 0)
	buf = binary.BigEndian.AppendUint32(buf, uint32(c.header.correlation))
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		buf = append(buf, 0)
	}
	buf = resp.AppendTo(buf)
	binary.BigEndian.PutUint32(buf, uint32(len(buf)-4))
	return buf
}

// answerSize guesses the encoded size, so that a large answer is not copied as it
// grows.
func answerSize(resp kmsg.Response) int {
	n := 512
	if f, ok := resp.(*kmsg.FetchResponse); ok {
		for i := range f.Topics {
			n += 64
			for j := range f.Topics[i].Partitions {
				n += 128 + len(f.Topics[i].Partitions[j].RecordBatches)
			}
		}
	}
	return n
}

// recoverAs turns a panic into the connection's end. One request that meets a
// bug must not take the node's other clients with it; nor may it be hidden.
func (c *call) recoverAs(err *error) {
	if v := recover(); v != nil {
		c.events.panicked(c.request(), v, debug.Stack())
		*err = fmt.Errorf("%w: %s: %v", ErrPanic, c.request(), v)
	}
}

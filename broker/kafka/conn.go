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
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/auth"
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

	// login and loginBy, the deadline of the first one, are the reader's.
	login   login
	loginBy time.Time
	// known is called when the client has proved who it is, or need not.
	known func()

	// muted is until when nothing is read, in ns: the client has taken more than its share.
	muted atomic.Int64

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
	// topics are large ones that the request has named so far (described).
	topics map[topicKey]Topic
	frame  *frame
	reply  reply
	// wait is for how long the client has to wait behind this request; busy and idle are
	// how long its reader worked on it, and its writer waited for others.
	wait, busy, idle time.Duration
	// raw is set where the answer goes out without a header (SaslHandshake 0).
	raw bool
	// last, if set, is why the connection ends behind this answer.
	last error
	// after, if set, is called once the answer has been sent, or given up.
	after    func()
	finished bool
}

func (c *call) request() Request {
	return Request{Peer: c.conn.peer, ClientID: c.header.clientID, Key: kmsg.Key(c.header.key), Version: c.header.version}
}

// finish lets go of the request; only the first call counts.
func (c *call) finish() {
	if c.finished {
		return
	}
	c.finished = true
	c.frame.release()
}

func newConn(ctx context.Context, s *Server, nc net.Conn, p Peer, l *ListenerConfig) *conn {
	c := &conn{
		server: s, nc: nc, peer: p,
		client:  Client{Host: "/" + p.Addr, Principal: auth.Anonymous},
		login:   newLogin(l.SASL),
		loginBy: time.Now().Add(s.limits.LoginTimeout),
		known:   func() {},
		queue:   make(chan *call, s.limits.MaxInFlight),
		slots:   make(chan struct{}, s.limits.MaxInFlight),
		budget:  newBudget(s.limits.MaxInFlightBytes),
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
			return c.login.left(err)
		}
		select {
		case c.slots <- struct{}{}:
		case <-c.ctx.Done():
			f.release()
			return context.Cause(c.ctx)
		}
		begin := c.server.start
		if c.login.stage == proving && c.login.raw {
			begin = c.server.startToken
		}
		call, err := begin(c, f)
		if err != nil {
			f.release()
			return err
		}
		last := call.last // the writer may be done with the call soon
		c.queue <- call   // a slot is a place in it
		if last != nil {
			return last
		}
	}
}

func (c *conn) readFrame(r *bufio.Reader) (*frame, error) {
	if err := c.awaitFrame(r); err != nil {
		return nil, err
	}
	if err := c.awaitVoice(); err != nil {
		return nil, err
	}
	head, err := r.Peek(4)
	if err != nil {
		return nil, err
	}
	n, err := c.frameSize(head)
	if err != nil {
		return nil, err
	}
	if _, err := r.Discard(4); err != nil {
		return nil, err
	}
	if err := c.budget.take(c.ctx, n); err != nil {
		return nil, err
	}
	f := &frame{size: n, budget: c.budget, share: share{memory: c.server.memory}, pool: &c.server.buffers}
	f.hold()
	first := readStep
	if c.login.fresh() {
		first = strangerStep
	}
	f.buf, err = readBody(r, n, first, &c.server.buffers, &pace{conn: c, frame: f, since: time.Now()})
	f.share.read()
	if err != nil {
		f.release()
		return nil, err
	}
	return f, nil
}

// weigh counts what a request will take when it is decoded, and waits until it may: a
// client can send a hundred requests of which none is answered before the first.
func (c *conn) weigh(f *frame, elements int) error {
	if elements <= fewElements {
		return nil
	}
	n := elements * elementBytes
	if err := c.budget.takeMore(c.leaving, f.size, n); err != nil {
		return err
	}
	f.weight = n
	if n <= readStep && c.budget.alone(f.size+n) {
		f.share.force(n)
		return nil
	}
	defer f.share.read()
	return f.share.take(c.leaving, n)
}

// frameSize checks a length field. Who has not logged in yet has little to say.
func (c *conn) frameSize(head []byte) (int, error) {
	switch {
	case c.login.stage == proving && c.login.raw:
		return frameSize(head, 0, c.server.limits.MaxLoginBytes, "sasl.server.max.receive.size")
	case c.login.fresh():
		return frameSize(head, minHeader, c.server.limits.MaxLoginBytes, "sasl.server.max.receive.size")
	}
	return frameSize(head, minHeader, c.server.limits.MaxRequestBytes, "socket.request.max.bytes")
}

// pace lets the reader of a request go on, step by step. A pause is for as long as
// the connection may be idle; where others wait for memory, for stallTimeout. The
// first step of a connection that has nothing in flight waits for nobody: so small
// requests are served whatever others have taken.
type pace struct {
	conn  *conn
	frame *frame
	at    int       // the end of the step that is being read
	since time.Time // it is
	taken int       // bytes that count
}

// step is called before each step, which ends at end, and again when a deadline has
// interrupted it.
func (p *pace) step(end int) error {
	c := p.conn
	late := time.Since(p.since)
	again := end == p.at
	switch {
	case again && c.leaving.Err() != nil:
		return context.Cause(c.leaving)
	case again && c.login.fresh() && !time.Now().Before(c.loginBy):
		return ErrLoginTimeout
	case again && late >= c.server.limits.IdleTimeout:
		return fmt.Errorf("%w in the middle of a request", ErrIdle)
	case again && late >= stallTimeout && c.server.memory.short():
		return ErrStalled
	case again || end <= p.taken:
	case p.at == 0 && c.budget.alone(p.frame.size):
		p.frame.share.force(end)
	default:
		if err := p.frame.share.take(c.leaving, end-p.taken); err != nil {
			return err
		}
	}
	if !again {
		p.at, p.since, p.taken = end, time.Now(), max(end, p.taken)
	}
	left := c.server.limits.IdleTimeout - time.Since(p.since)
	return c.armReadFor(min(stallTimeout, left))
}

// whole reports whether there may be memory for all of the request, which it then
// counts.
func (p *pace) whole() bool {
	if p.conn.login.fresh() {
		return false
	}
	if p.taken < p.frame.size {
		if !p.frame.share.ahead(p.frame.size - p.taken) {
			return false
		}
		p.taken = p.frame.size
	}
	return true
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
		case errors.Is(err, os.ErrDeadlineExceeded) && c.login.fresh() && !time.Now().Before(c.loginBy):
			return ErrLoginTimeout
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
func (c *conn) armRead() error { return c.armReadFor(c.server.limits.IdleTimeout) }

func (c *conn) armReadFor(d time.Duration) error {
	at := time.Now().Add(d)
	if c.login.fresh() && c.loginBy.Before(at) {
		at = c.loginBy
	}
	if err := c.nc.SetReadDeadline(at); err != nil {
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
		if call.after != nil {
			call.after()
		}
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
	p := call.encode(resp)
	if call.frame.weight == 0 {
		call.finish() // the client may send the next request as soon as it has the answer
	}
	defer func() { c.server.buffers.put(p.own) }()
	return c.send(p.list)
}

// send writes in steps, each with a deadline: a slow client is served, one that
// does not read is cut.
func (c *conn) send(list net.Buffers) error {
	for len(list) > 0 {
		var step net.Buffers
		step, list = cutStep(list)
		if err := c.nc.SetWriteDeadline(time.Now().Add(c.server.limits.WriteTimeout)); err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
		if _, err := step.WriteTo(c.nc); err != nil {
			return fmt.Errorf("writing an answer: %w", err)
		}
		c.written.Store(time.Now().UnixNano())
	}
	return nil
}

// cutStep takes writeStep bytes off the front of a list, or all. The two share no
// element.
func cutStep(list net.Buffers) (step, rest net.Buffers) {
	for i, n := 0, 0; i < len(list); i++ {
		if n += len(list[i]); n <= writeStep {
			continue
		}
		k := len(list[i]) - (n - writeStep)
		step = append(slices.Clone(list[:i]), list[i][:k])
		list[i] = list[i][k:]
		return step, list[i:]
	}
	return list, nil
}

// encode frames an answer: length, correlation id and, in flexible versions,
// tagged fields of the header, of which there are none. ApiVersions has the old
// header in all versions, since the client reads it before it knows the server's.
func (c *call) encode(resp kmsg.Response) pieces {
	if c.raw {
		token := resp.(*kmsg.SASLAuthenticateResponse).SASLAuthBytes
		p := pieces{own: c.buffers.get(4 + len(token))}
		p.int32(int32(len(token)))
		p.own = append(p.own, token...)
		p.end()
		return p
	}
	p := pieces{own: c.buffers.get(answerSize(resp))}
	p.int32(0)
	p.int32(c.header.correlation)
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		p.own = append(p.own, 0)
	}
	if f, ok := resp.(*kmsg.FetchResponse); ok {
		p.fetch(f)
	} else {
		p.own = resp.AppendTo(p.own)
	}
	p.end()
	binary.BigEndian.PutUint32(p.list[0], uint32(p.size-4))
	return p
}

// answerSize is room for what of an answer is not lent, so that it is not copied as it
// grows.
func answerSize(resp kmsg.Response) int {
	n := 512
	if f, ok := resp.(*kmsg.FetchResponse); ok {
		for i := range f.Topics {
			n += 64
			for j := range f.Topics[i].Partitions {
				p := &f.Topics[i].Partitions[j]
				if n += 128 + 24*len(p.AbortedTransactions); len(p.RecordBatches) <= smallRecords {
					n += len(p.RecordBatches)
				}
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

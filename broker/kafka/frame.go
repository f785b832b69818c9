package kafka

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
)

// A frame is one request as it came, without its length field. Its memory and
// its share of the connection's budget are given back when the last user lets go.
type frame struct {
	buf  []byte
	size int
	// weight is what it takes besides, once it is decoded, until its answer is sent.
	weight int
	// keep leaves the memory to the garbage collector: the decoded request, which
	// shares it, has been handed to someone who may keep it.
	keep bool

	users  atomic.Int32
	budget *budget
	share  share
	pool   *buffers
}

func (f *frame) hold() { f.users.Add(1) }

func (f *frame) release() {
	if f.users.Add(-1) > 0 {
		return
	}
	if !f.keep {
		f.pool.put(f.buf)
	}
	f.buf = nil
	f.budget.give(f.size + f.weight)
	f.share.give()
}

// ErrFrame is a length field that no request can have.
var ErrFrame = errors.New("impossible request size")

// frameSize reads a length field. The setting is where the limit comes from.
func frameSize(head []byte, least, limit int, setting string) (int, error) {
	n := int32(binary.BigEndian.Uint32(head))
	switch {
	case n < 0:
		return 0, fmt.Errorf("%w: %d bytes; is the client speaking TLS or another protocol?", ErrFrame, n)
	case int(n) < least:
		return 0, fmt.Errorf("%w: %d bytes are fewer than a header of %d", ErrFrame, n, least)
	case int64(n) > int64(limit):
		return 0, fmt.Errorf("%w: %d bytes are more than %s=%d", ErrFrame, n, setting, limit)
	}
	return int(n), nil
}

// pacer is what reading a request asks before it goes on.
type pacer interface {
	// step is asked before each step with where it ends, also before one that a
	// deadline interrupted: nil is to go on.
	step(end int) error
	// whole reports whether memory may be set aside for all that has been announced.
	whole() bool
}

// readBody reads n bytes, the first of them in a step of its own. It sets memory aside for
// what has arrived and as much again, so a length field alone costs no more than the first
// step; behind that for all of it, which need not be copied as it grows then, if p says so.
func readBody(r *bufio.Reader, n, first int, pool *buffers, p pacer) ([]byte, error) {
	buf := pool.get(min(n, first))
	end := 0 // of the step
	for len(buf) < n {
		if len(buf) == cap(buf) {
			room := min(n, 2*cap(buf))
			if p.whole() {
				room = n
			}
			bigger := pool.get(room)
			bigger = append(bigger, buf...)
			pool.put(buf)
			buf = bigger
		}
		have := len(buf)
		if have == end {
			end += min(n-have, cap(buf)-have, readStep)
		}
		err := p.step(end)
		if err == nil {
			var got int
			got, err = io.ReadFull(r, buf[have:end])
			if buf = buf[:have+got]; errors.Is(err, os.ErrDeadlineExceeded) {
				continue
			}
		}
		if err != nil {
			pool.put(buf)
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("reading a request of %d bytes, %d have come: %w", n, len(buf), err)
		}
	}
	return buf, nil
}

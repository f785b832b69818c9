package replica

import (
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
)

const (
	// maxTransferInflight bounds the pieces on their way to one follower, in bytes.
	maxTransferInflight = 4 << 20
	// maxTransferPieces bounds how many they are: where segments are small, so are they.
	maxTransferPieces = 64
	// transferRetryTicks is after how long what may have been lost is said again.
	transferRetryTicks = 10
	// transferIdleTicks is after how long without progress a sender gives up: so
	// nothing is pinned for a follower that is dead.
	transferIdleTicks = 400
	// transferPauseTicks is between a failure and its report to Raft, which then
	// begins the next transfer at once.
	transferPauseTicks = 40
)

// ErrTransferFailed is a transfer that the follower has refused, or that made no
// progress.
var ErrTransferFailed = errors.New("snapshot transfer failed")

// sender is the leader's end of one transfer: it answers what the follower asks for,
// at a pace. It reads the shipment, and has no other I/O, no goroutine and no clock.
type sender struct {
	begin  TransferMessage
	ship   *commitlog.Shipment // nil if there was none
	rate   int                 // bytes a tick
	tokens int                 // that may be sent now; below 0 after a piece that was larger

	acked, next commitlog.Cursor
	asked       bool   // by the follower
	through     uint32 // the object up to whose end
	inflight    []sentPiece
	bytes       int // of them

	idle    int // ticks since the follower got further
	silence int // ticks since it was heard

	failed error // and then
	pause  int   // ticks until the end
	ended  bool
}

// sentPiece is one on its way: where the next begins, and its size.
type sentPiece struct {
	end  commitlog.Cursor
	size int
}

// newSender takes the shipment over.
func newSender(from, to uint64, lead record.Term, ship *commitlog.Shipment, rate int) *sender {
	list := ship.List()
	encoded := list.Encode()
	return &sender{
		begin: TransferMessage{
			Kind: TransferBegin, From: from, To: to, Lead: lead,
			Key:    TransferKey{list.Index, list.Term, crc32.Checksum(encoded, castagnoli)},
			Length: uint32(len(encoded)),
		},
		ship: ship, rate: rate, tokens: rate, silence: transferRetryTicks,
	}
}

// tick is called once a tick, first at once.
func (s *sender) tick() (out []TransferMessage) {
	if s.failed != nil {
		s.pause++
		s.ended = s.ended || s.pause >= transferPauseTicks
		return nil
	}
	s.tokens = min(s.tokens+s.rate, s.rate)
	s.idle++
	if s.idle > transferIdleTicks {
		s.fail(fmt.Errorf("%w: no progress since %v for %d ticks", ErrTransferFailed, s.acked, s.idle))
		return nil
	}
	s.silence++
	if s.silence > transferRetryTicks {
		s.silence = 0
		out = append(out, s.begin)
	}
	return append(out, s.pump()...)
}

// step takes what the follower says.
func (s *sender) step(m TransferMessage) (out []TransferMessage) {
	if m.Key != s.begin.Key || m.Lead != s.begin.Lead || m.From != s.begin.To || s.failed != nil || s.ended {
		return nil
	}
	s.silence = 0
	switch m.Kind {
	case TransferDone:
		if m.Failed {
			s.fail(fmt.Errorf("%w: replica %d: %s", ErrTransferFailed, m.From, m.Data))
			return nil
		}
		s.ended = true
		s.ship.Close()
		return nil
	case TransferWant:
		s.want(m)
		return s.pump()
	}
	return nil
}

// want goes on from where the follower is, or back to it.
func (s *sender) want(m TransferMessage) {
	s.asked, s.through = true, max(s.through, m.Through)
	if s.acked.Before(m.At) {
		s.idle = 0
	} else if !m.Again {
		return // an older one
	}
	s.acked = m.At
	for len(s.inflight) > 0 && !s.acked.Before(s.inflight[0].end) {
		s.bytes -= s.inflight[0].size
		s.inflight = s.inflight[1:]
	}
	if s.next.Before(m.At) || m.Again {
		s.next, s.inflight, s.bytes = m.At, nil, 0
	}
}

// pump sends what may be sent.
func (s *sender) pump() (out []TransferMessage) {
	end := s.ship.List().End()
	for s.asked && s.failed == nil && s.tokens > 0 && s.next.Object <= s.through && s.next.Before(end) &&
		s.bytes < maxTransferInflight && len(s.inflight) < maxTransferPieces {
		b, next, err := s.ship.Read(nil, s.next, transferPiece)
		if err != nil {
			s.fail(err)
			return out
		}
		m := s.begin
		m.Kind, m.Length, m.At, m.Data, m.Last = TransferPiece, 0, s.next, b, next.Object != s.next.Object
		out = append(out, m)
		s.tokens -= len(b)
		s.bytes += len(b)
		s.next = next
		s.inflight = append(s.inflight, sentPiece{next, len(b)})
	}
	return out
}

// fail ends the transfer after a pause.
func (s *sender) fail(err error) {
	if s.failed != nil || s.ended {
		return
	}
	s.failed = err
	if s.ship != nil {
		s.ship.Close()
	}
}

// stop ends it at once: this replica does not lead any more.
func (s *sender) stop() {
	s.fail(fmt.Errorf("%w: replica %d does not lead any more", ErrTransferFailed, s.begin.From))
	s.ended = true
}

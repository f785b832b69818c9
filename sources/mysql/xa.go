package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"
)

// mariadbPrepares is the flag of a GTID event that begins a distributed
// transaction, FL_PREPARED_XA in MariaDB's log_event.h.
const mariadbPrepares = 64

// maxHeld bounds what is held of a transaction until it ends.
const maxHeld = 64 << 20

// prepared is a distributed (XA) transaction. Its rows are in the binlog when it is
// prepared, but whether they ever were is known when it commits or is rolled back,
// which may be long after. So they wait here; and the source's position waits
// before them, so that they are read again if it is started again.
type prepared struct {
	id     string
	before logPosition
	since  time.Time // it was read here
	events []event   // the TABLE_MAP and row events of captured tables
	bytes  int
	tables []tableName // captured tables that it changes
	// tooMuch: the events are not here. When it commits, its tables are read again.
	tooMuch bool
	wanted  map[uint64]bool // by the number that row events have
}

// prepare notes that the transaction that has begun will only be prepared.
func (t *tail) prepare() {
	t.preparing = &prepared{before: t.here(), since: time.Now(), wanted: map[uint64]bool{}}
}

// hold keeps an event of a transaction that will only be prepared.
func (s *source) hold(p *prepared, e event) error {
	id := tableMapID(e.body) // which a row event has at the same place
	if replication.EventType(e.kind) == replication.TABLE_MAP_EVENT {
		database, name, err := tableMapName(e.body)
		if err != nil {
			return err
		}
		t := tableName{database, name}
		if p.wanted[id] = s.config.captures(t); p.wanted[id] && !slices.Contains(p.tables, t) {
			p.tables = append(p.tables, t)
		}
	}
	if !p.wanted[id] || p.tooMuch {
		return nil
	}
	p.events = append(p.events, e)
	if p.bytes += len(e.body); p.bytes > maxHeld {
		p.events, p.tooMuch = nil, true
		s.log.Warn("a distributed transaction is too big to be held until it ends: its tables will be read again if it commits",
			"file", s.tail.file, "before", e.end, "bytes", p.bytes)
	}
	return nil
}

// prepares ends a transaction that was prepared, or commits it right away.
func (s *source) prepares(ctx context.Context, b *builder, e event) error {
	p := s.tail.preparing
	if p == nil {
		return fmt.Errorf("an XA PREPARE of %s before %d is of a transaction that did not begin as a distributed one", s.tail.file, e.end)
	}
	c := cursor{rest: e.body}
	onePhase := c.uint(1) != 0
	format, global, branch := int32(c.uint(4)), int(c.uint(4)), int(c.uint(4))
	p.id = fmt.Sprintf("X'%x',X'%x',%d", c.bytes(global), c.bytes(branch), format)
	if c.err != nil {
		return fmt.Errorf("an XA PREPARE of %s before %d: %w", s.tail.file, e.end, c.err)
	}
	s.tail.preparing = nil
	if onePhase {
		return s.commit(ctx, b, p, e)
	}
	s.tail.prepared = append(s.tail.prepared, p)
	return s.tail.end(e)
}

// resolve commits a prepared transaction, or rolls it back.
func (s *source) resolve(ctx context.Context, b *builder, id string, commit bool, e event) error {
	i := slices.IndexFunc(s.tail.prepared, func(p *prepared) bool { return p.id == id })
	switch {
	case i < 0 && commit:
		// It was prepared before anything was read here: which tables it changed
		// nobody knows.
		return s.commit(ctx, b, &prepared{tables: s.capturedTables(), tooMuch: true}, e)
	case i < 0:
		return s.tail.end(e)
	}
	s.tail.resolving = s.tail.prepared[i]
	if !commit {
		return s.tail.end(e)
	}
	return s.commit(ctx, b, s.tail.resolving, e)
}

// commit has the rows of a transaction come now, at the event that commits it.
func (s *source) commit(ctx context.Context, b *builder, p *prepared, e event) error {
	if p.tooMuch {
		var errs []error
		for i, t := range p.tables {
			errs = append(errs, s.emptied(ctx, b, t, e, i), s.copyAgain(t))
		}
		return errors.Join(append(errs, s.tail.end(e))...)
	}
	s.tail.carry(&held{events: p.events, at: e})
	return nil
}

// held are the events of a prepared transaction, and the end of the one that
// commits it.
type held struct {
	events []event
	at     event
	ended  bool
}

func (h *held) next() (event, bool, error) {
	switch {
	case len(h.events) > 0:
		e := h.events[0]
		h.events = h.events[1:]
		e.end, e.carried = h.at.end, true
		return e, true, nil
	case !h.ended:
		h.ended = true
		return event{kind: byte(replication.XID_EVENT), end: h.at.end, time: h.at.time, serverID: h.at.serverID, carried: true}, true, nil
	}
	return event{}, false, nil
}

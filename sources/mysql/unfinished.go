package mysql

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

// A MariaDB that is killed while it writes a transaction to the binlog rolls the
// transaction back when it starts again, but leaves the beginning of it where it is,
// at the end of a file. It sends that like any other events, and if the last one is
// torn an error behind them, at which replicas stop for good. So events wait here
// for the end of their transaction. (MySQL cuts such a file off.)

// awaited are events that wait for the end of their transaction.
type awaited struct {
	events []event
	bytes  int
}

func (a *awaited) next() (event, bool, error) {
	if len(a.events) == 0 {
		return event{}, false, nil
	}
	e := a.events[0]
	a.events = a.events[1:]
	e.whole = true
	return e, true, nil
}

// await keeps an event until its transaction ends. False: it is not to wait.
func (t *tail) await(e event) bool {
	if !t.server.mariadb || t.flows || e.whole || e.carried {
		return false
	}
	t.awaited.events = append(t.awaited.events, e)
	if t.awaited.bytes += len(e.body); t.awaited.bytes > maxHeld {
		t.flows = true
		t.release()
	}
	return true
}

// release has what waits come next.
func (t *tail) release() {
	all := t.awaited
	t.awaited = awaited{}
	t.carry(&all)
}

// end ends a transaction, once what waited for that has come.
func (s *source) end(e event) error {
	if len(s.tail.awaited.events) == 0 {
		return s.tail.end(e)
	}
	s.tail.awaited.events = append(s.tail.awaited.events, e)
	s.tail.release()
	return nil
}

// unfinished forgets a transaction that the server has not finished and never will.
func (t *tail) unfinished() error {
	if t.flows {
		return connect.Permanent(
			fmt.Errorf("the server was killed while it wrote a transaction behind %s:%d, and its rows, being more than %d bytes, are in the topics already",
				t.at.File, t.at.Pos, maxHeld), copyAnew)
	}
	t.begun, t.gtid, t.done, t.preparing, t.resolving, t.awaited = false, nil, 0, nil, nil, awaited{}
	return nil
}

// isTear is whether the server says that it has come to such an event.
func isTear(err error) bool {
	return err != nil && strings.Contains(err.Error(), "binlog truncated in the middle of event")
}

// overTear goes on in the file behind the one that ends in a torn event.
func (s *source) overTear(ctx context.Context, tear error) error {
	logs, err := binlogs(ctx, s.conn)
	if err != nil {
		return errors.Join(tear, err)
	}
	i := slices.IndexFunc(logs, func(l binlog) bool { return l.name == s.tail.file })
	if i < 0 || i+1 == len(logs) {
		return tear
	}
	next := logs[i+1].name
	if s.tail.begun {
		if err := s.tail.unfinished(); err != nil {
			return err
		}
	}
	s.log.Warn("a binlog ends in a transaction that its server was killed in and has rolled back: going on in the next one",
		"file", s.tail.file, "next", next)
	s.tail.close()
	s.tail.failed = nil
	return s.tail.open(&s.config, logPosition{File: next, Pos: fileHeader})
}

package tape

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
)

// noSnapshot is the moment of a session that has begun no transaction.
const noSnapshot = -1

// session is what one connection has told the server. All methods but end are
// called by the connection's goroutine.
type session struct {
	server    *Server
	conn      net.Conn
	id        uint32 // of the connection; guarded by server.mu
	snapshot  int    // the moment that its transaction sees
	heartbeat time.Duration
	gtids     *string // where the binlog is to begin

	stop   sync.Once
	ended  chan struct{}
	binlog *replication.BinlogStreamer
}

// end ends the connection. It may be called by anyone, and again.
func (c *session) end() {
	c.stop.Do(func() {
		close(c.ended)
		c.conn.Close()
		// One for who feeds it, and one for who sends what it was fed.
		c.binlog.AddErrorToStreamer(net.ErrClosed)
		c.binlog.AddErrorToStreamer(net.ErrClosed)
	})
}

// moment is what the session's SELECTs see.
func (c *session) moment() int {
	if c.snapshot != noSnapshot {
		return c.snapshot
	}
	return c.server.now()
}

func (c *session) UseDB(name string) error {
	if database, _, _ := strings.Cut(c.server.recording.Table, "."); name != database {
		return mysql.NewDefaultError(mysql.ER_BAD_DB_ERROR, name)
	}
	return nil
}

func (c *session) HandleQuery(query string) (*mysql.Result, error) {
	return c.answer(query, nil, false)
}

// HandleStmtPrepare leaves it to the answer to say how many columns it has, as a
// server may.
func (c *session) HandleStmtPrepare(query string) (params, columns int, context any, err error) {
	return strings.Count(query, "?"), 0, nil, nil
}

func (c *session) HandleStmtExecute(_ any, query string, args []any) (*mysql.Result, error) {
	values := make([]any, len(args))
	for i, arg := range args {
		switch v := arg.(type) {
		case mysql.TypedBytes:
			values[i] = string(v.Bytes)
		case []byte:
			values[i] = string(v)
		default:
			values[i] = v
		}
	}
	return c.answer(query, values, true)
}

func (c *session) HandleStmtClose(any) error { return nil }

func (c *session) HandleFieldList(string, string) ([]*mysql.Field, error) {
	return nil, errors.New("the tape lists no fields")
}

func (c *session) HandleOtherCommand(command byte, _ []byte) error {
	return fmt.Errorf("the tape has no answer to the command %d", command)
}

func (c *session) HandleRegisterSlave([]byte) error { return nil }

func (c *session) HandleBinlogDumpGTID(*mysql.MysqlGTIDSet) (*replication.BinlogStreamer, error) {
	return nil, errors.New("the tape is a MariaDB's, and begins at GTIDs by @slave_connect_state")
}

// HandleBinlogDump sends the binlog from a place on.
func (c *session) HandleBinlogDump(from mysql.Position) (*replication.BinlogStreamer, error) {
	first, err := c.begins(from)
	if err != nil {
		return nil, mysql.NewError(mysql.ER_MASTER_FATAL_ERROR_READING_BINLOG, err.Error())
	}
	events := c.server.events
	place := uint32(binlogMagic)
	if first > 0 {
		place = logPos(events[first-1])
	}
	if err := c.send(rotation(c.server.recording.File, place)); err != nil {
		return nil, err
	}
	if first > 0 {
		// Whoever begins in the middle of a file needs its first event, too, which then
		// has no place in it.
		description := append([]byte(nil), events[0]...)
		binary.LittleEndian.PutUint32(description[13:], 0)
		if err := c.send(description); err != nil {
			return nil, err
		}
	}
	c.server.feeds(c, first)
	return c.binlog, nil
}

// begins is which event to begin with. The errors are MariaDB's.
func (c *session) begins(from mysql.Position) (first int, err error) {
	r := c.server.recording
	place := from.Pos
	switch {
	case c.gtids != nil:
		place = binlogMagic
		for _, m := range r.Moments[:c.server.now()+1] {
			if m.GTIDs == *c.gtids {
				place = m.end()
			}
		}
		if place == binlogMagic && *c.gtids != "" {
			return 0, fmt.Errorf("Could not find GTID state requested by slave in any binlog files: %s", *c.gtids)
		}
	case from.Name != r.File:
		return 0, errors.New("Could not find first log file name in binary log index file")
	}
	if place == binlogMagic {
		return 0, nil
	}
	for i, e := range c.server.events[:c.server.visible()] {
		if logPos(e) == place {
			return i + 1, nil
		}
	}
	return 0, fmt.Errorf("Client requested master to start replication from impossible position; the first event %q at %d", from.Name, place)
}

func (c *session) send(event []byte) error {
	return c.binlog.AddEventToStreamer(&replication.BinlogEvent{RawData: event})
}

// Events that stand in no file.
const (
	artificial = 0x20 // the header's flag for them
	noServer   = 0    // whose they are
)

// rotation says in which file the events are that follow.
func rotation(file string, place uint32) []byte {
	body := binary.LittleEndian.AppendUint64(nil, uint64(place))
	return event(replication.ROTATE_EVENT, 0, append(body, file...))
}

// stillThere says that nothing comes, behind a place.
func stillThere(file string, place uint32) []byte {
	return event(replication.HEARTBEAT_EVENT, place, []byte(file))
}

func event(kind replication.EventType, place uint32, body []byte) []byte {
	e := make([]byte, 4, replication.EventHeaderSize+len(body)) // at no time
	e = append(e, byte(kind))
	e = binary.LittleEndian.AppendUint32(e, noServer)
	e = binary.LittleEndian.AppendUint32(e, uint32(cap(e)))
	e = binary.LittleEndian.AppendUint32(e, place)
	e = binary.LittleEndian.AppendUint16(e, artificial)
	return append(e, body...)
}

package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/google/uuid"

	"github.com/splashdam/splashdam/connect"
)

const (
	heartbeat = 5 * time.Second
	// queued bounds the events that are read ahead.
	queued = 256
)

// tail follows a server's binlog, and knows where it is.
type tail struct {
	syncer *replication.BinlogSyncer
	stream *replication.BinlogStreamer
	server *serverInfo

	checksums bool // events end in one
	// held are events of a transaction that has begun, and heldBytes their size.
	// Whole are those that come next: their transaction has ended.
	held      []event
	heldBytes int
	whole     []event
	flows     bool // the transaction is too large to be held
	failed    error
	left      []*replication.BinlogEvent // came before it failed

	file   string // of the next event
	number uint64 // of the file
	// at is behind the last whole transaction, done counts the row events of the one
	// that has begun.
	at    logPosition
	done  int
	gtids gomysql.GTIDSet // of all whole transactions
	// empty is behind the last event between transactions. There are some at the
	// beginning of every file.
	empty connect.Place
	// of the transaction that has begun
	begun      bool
	standalone bool // it is one statement, and nothing ends it
	gtid       func() error
	gtidText   string
}

// follow begins behind a position.
func follow(c *config, s *serverInfo, from logPosition, log *slog.Logger) (*tail, error) {
	t := &tail{server: s, at: from, file: from.File, done: from.Events}
	parse := gomysql.ParseMysqlGTIDSet
	if s.mariadb {
		parse = gomysql.ParseMariadbGTIDSet
	}
	var err error
	if t.gtids, err = parse(from.GTIDs); err != nil {
		return nil, fmt.Errorf("reading the position's transactions %.100q: %w", from.GTIDs, err)
	}
	if t.file != "" {
		if t.number, err = fileNumber(t.file); err != nil {
			return nil, err
		}
	}
	return t, t.open(c, from)
}

// open begins to read at a position.
func (t *tail) open(c *config, from logPosition) error {
	flavor := gomysql.MySQLFlavor
	if t.server.mariadb {
		flavor = gomysql.MariaDBFlavor
	}
	t.syncer = replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: c.serverID, Flavor: flavor, Host: c.host, Port: c.port, User: c.user, Password: c.password,
		RawModeEnabled: true, VerifyChecksum: true,
		// The runtime connects again from what is stored; in raw mode this would go
		// back to where it began.
		DisableRetrySync: true,
		HeartbeatPeriod:  heartbeat, ReadTimeout: c.timeout + heartbeat, EventCacheCount: queued,
		FillZeroLogPos: t.server.mariadb,
		Logger:         slog.New(slog.DiscardHandler), // it logs what it returns
	})
	var err error
	if t.server.mariadb {
		t.stream, err = t.syncer.StartSync(gomysql.Position{Name: from.File, Pos: uint32(from.Pos)})
	} else {
		t.stream, err = t.syncer.StartSyncGTID(t.gtids.Clone())
	}
	if err != nil {
		t.close()
		return explain(err)
	}
	return nil
}

func (t *tail) close() {
	if t != nil && t.syncer != nil {
		t.syncer.Close()
	}
}

// event is an event without its header and checksum, and what the header says.
type event struct {
	kind     byte
	body     []byte
	end      uint64 // the address behind it
	time     uint32 // seconds since 1970
	serverID uint32
	whole    bool // its transaction has ended, or is not waited for
}

// next waits for an event that has something to do with rows, and until then keeps
// track of where the tail is. Nothing came within the context's time: false.
func (t *tail) next(ctx context.Context) (e event, ok bool, err error) {
	if len(t.whole) > 0 {
		e, t.whole = t.whole[0], t.whole[1:]
		return e, true, nil
	}
	raw, err := t.get(ctx)
	switch {
	case err != nil && t.failed == nil:
		return event{}, false, nil
	case err != nil:
		return event{}, false, explain(err)
	}
	body := raw.RawData[replication.EventHeaderSize:]
	if t.checksums {
		body = body[:len(body)-replication.BinlogChecksumLength]
	}
	switch about := raw.Event.(type) {
	case *replication.RotateEvent:
		t.file = string(about.NextLogName)
		t.number, err = fileNumber(t.file)
		if err == nil && t.begun {
			err = t.unfinished()
		}
		t.empty = connect.Place{File: t.number, End: about.Position}
		return event{}, false, err
	case *replication.FormatDescriptionEvent:
		t.checksums = about.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32
		return event{}, false, nil
	}
	e = event{
		kind: byte(raw.Header.EventType), body: body, end: uint64(raw.Header.LogPos), time: raw.Header.Timestamp, serverID: raw.Header.ServerID,
	}
	switch raw.Header.EventType {
	case replication.MARIADB_GTID_LIST_EVENT, replication.MARIADB_BINLOG_CHECKPOINT_EVENT, replication.MARIADB_START_ENCRYPTION_EVENT:
		if !t.begun {
			t.empty = connect.Place{File: t.number, End: e.end}
		}
	}
	return e, true, nil
}

// get waits for what the server sends. What came before an error comes before it
// here too, as it does not from go-mysql.
func (t *tail) get(ctx context.Context) (*replication.BinlogEvent, error) {
	if t.failed == nil {
		raw, err := t.stream.GetEvent(ctx)
		if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			return raw, err
		}
		t.failed, t.left = err, t.stream.DumpEvents()
	}
	if len(t.left) > 0 {
		raw := t.left[0]
		t.left = t.left[1:]
		return raw, nil
	}
	return nil, t.failed
}

// reached is whether every transaction up to the watermark has passed.
func (t *tail) reached(w watermark) bool {
	if t.begun {
		return false
	}
	if t.server.mariadb {
		if t.compare(w) >= 0 {
			return true
		}
		number, err := fileNumber(w.file)
		return err == nil && t.empty.Compare(connect.Place{File: number, End: w.pos}) >= 0
	}
	return t.gtids.Contain(w.gtids)
}

// passed is whether a transaction has passed that the watermark does not cover.
func (t *tail) passed(w watermark) bool {
	if t.server.mariadb {
		return t.compare(w) > 0
	}
	return !w.gtids.Contain(t.gtids)
}

// compare says whether the last whole transaction is before, at or behind a place.
func (t *tail) compare(w watermark) int {
	number, err := fileNumber(w.file)
	if err != nil {
		return -1
	}
	at, err := fileNumber(t.at.File)
	if err != nil {
		return -1
	}
	return connect.Place{File: at, End: t.at.Pos}.Compare(connect.Place{File: number, End: w.pos})
}

// begin notes that a transaction begins.
func (t *tail) begin(e event) error {
	t.begun, t.standalone, t.flows, t.done = true, false, false, 0
	switch replication.EventType(e.kind) {
	case replication.MARIADB_GTID_EVENT:
		var g replication.MariadbGTIDEvent
		if err := g.Decode(e.body); err != nil {
			return fmt.Errorf("a GTID event of %s before %d: %w", t.file, e.end, err)
		}
		g.GTID.ServerID = e.serverID
		t.standalone, t.gtidText = g.IsStandalone(), g.GTID.String()
		set := t.gtids.(*gomysql.MariadbGTIDSet)
		t.gtid = func() error { return set.AddSet(&g.GTID) }
	case replication.GTID_EVENT:
		var g replication.GTIDEvent
		if err := g.Decode(e.body); err != nil {
			return fmt.Errorf("a GTID event of %s before %d: %w", t.file, e.end, err)
		}
		return t.mysqlGTID(g.SID, g.Tag, g.GNO)
	case replication.GTID_TAGGED_LOG_EVENT:
		var g replication.GtidTaggedLogEvent
		if err := g.Decode(e.body); err != nil {
			return fmt.Errorf("a GTID event of %s before %d: %w", t.file, e.end, err)
		}
		return t.mysqlGTID(g.SID, g.Tag, g.GNO)
	default:
		return connect.Permanent(errors.New("the binlog has a transaction without a GTID"), "set gtid_mode=ON on the server")
	}
	return nil
}

func (t *tail) mysqlGTID(sid []byte, tag gomysql.Tag, gno int64) error {
	id, err := uuid.FromBytes(sid)
	if err != nil {
		return fmt.Errorf("a GTID event of %s: %w", t.file, err)
	}
	t.gtidText = fmt.Sprintf("%s:%d", id, gno)
	set := t.gtids.(*gomysql.MysqlGTIDSet)
	t.gtid = func() error { set.AddGTIDWithTag(id, tag, gno); return nil }
	return nil
}

// end notes that the transaction is whole.
func (t *tail) end(e event) error {
	if t.gtid != nil {
		if err := t.gtid(); err != nil {
			return fmt.Errorf("the transaction that ends at %s:%d: %w", t.file, e.end, err)
		}
	}
	t.begun, t.gtid, t.done = false, nil, 0
	t.at.File, t.at.Pos, t.at.Events = t.file, e.end, 0
	return nil
}

// position is where to go on: behind the last whole transaction, and behind the
// row events that are done of the next one.
func (t *tail) position() logPosition {
	p := t.at
	p.GTIDs, p.Events = t.gtids.String(), t.done
	return p
}

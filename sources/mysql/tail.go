package mysql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
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
	failed    error
	left      []*replication.BinlogEvent // came before it failed

	file   string // of the next event
	number uint64 // of the file
	made   uint32 // when the file was, on MySQL
	read   uint64 // behind the last event; the events themselves have 32 bits of it
	inside []carried
	// at is behind the last whole transaction, done counts the row events of the one
	// that has begun.
	at       logPosition
	done     int
	gtids    gomysql.GTIDSet // of all whole transactions; nil if the server has none
	prepared []*prepared     // in their order
	// empty is behind the last event between transactions. There are some at the
	// beginning of every file.
	empty connect.Place
	// of the transaction that has begun
	begun      bool
	standalone bool // it is one statement, and nothing ends it
	gtid       func() error
	gtidText   string
	thread     uint32    // whose it is; 0 where the server does not say
	awaited    awaited   // of its events
	flows      bool      // it is too big to be held
	preparing  *prepared // it is distributed, and will only be prepared
	resolving  *prepared // it commits this one, or rolls it back
}

// follow begins behind a position.
func follow(c *config, s *serverInfo, from logPosition, log *slog.Logger) (*tail, error) {
	t := &tail{server: s, at: from, file: from.File, done: from.Events}
	var err error
	if s.mariadb || !s.byFile {
		if t.gtids, err = s.transactions(from); err != nil {
			return nil, err
		}
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
	if t.server.byFile {
		t.read = from.Pos
		t.stream, err = t.syncer.StartSync(gomysql.Position{Name: from.File, Pos: uint32(from.Pos)})
	} else {
		t.stream, err = t.syncer.StartSyncGTID(t.gtids.Clone())
	}
	if err != nil {
		t.close()
		return explainFollowing(err)
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
	// carried: it is inside of the event that ends there, or that one stands for it.
	carried bool
}

// carried are events that another one stands for.
type carried interface {
	next() (e event, more bool, err error)
}

// carry has events come next, in the place of the one that stands for them.
func (t *tail) carry(c carried) { t.inside = append(t.inside, c) }

// place is the address and the row that a row event begins to count its rows with.
// Those that share the end of an event are told apart by their numbers, and are
// before whatever is placed behind it.
func (t *tail) place(e event) (end, row uint64) {
	if e.carried {
		return e.end - 1, uint64(t.done) << 32
	}
	return e.end, 0
}

// came is what has come from the server.
type came uint8

const (
	silence came = iota // nothing, for as long as one waited
	change              // an event that has something to do with rows
	other               // an event that has not
)

// next waits for an event, and keeps track of where the tail is.
func (t *tail) next(ctx context.Context, patience time.Duration) (event, came, error) {
	for n := len(t.inside); n > 0; n = len(t.inside) {
		e, more, err := t.inside[n-1].next()
		if err != nil {
			return event{}, silence, err
		}
		if more {
			return e, change, nil
		}
		t.inside = t.inside[:n-1]
	}
	raw, err := t.get(ctx, patience)
	if err != nil {
		return event{}, silence, explainFollowing(err)
	}
	if raw == nil {
		return event{}, silence, nil
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
		t.read = about.Position
		t.empty = connect.Place{File: t.number, End: t.read}
		return event{}, other, err
	case *replication.FormatDescriptionEvent:
		t.checksums = about.ChecksumAlgorithm == replication.BINLOG_CHECKSUM_ALG_CRC32
		return event{}, other, t.fileBegins(raw.Header.Timestamp)
	}
	t.read = unwrap(raw.Header.LogPos, raw.Header.EventSize, t.read)
	e := event{kind: byte(raw.Header.EventType), body: body, end: t.read, time: raw.Header.Timestamp, serverID: raw.Header.ServerID}
	switch raw.Header.EventType {
	case replication.MARIADB_GTID_LIST_EVENT, replication.MARIADB_BINLOG_CHECKPOINT_EVENT, replication.MARIADB_START_ENCRYPTION_EVENT,
		replication.PREVIOUS_GTIDS_EVENT:
		if !t.begun {
			t.empty = connect.Place{File: t.number, End: e.end}
		}
	}
	return e, change, nil
}

// get waits for what the server sends, for so long: nil, nothing came. What came
// before an error comes before it here too, as it does not from go-mysql.
func (t *tail) get(ctx context.Context, patience time.Duration) (*replication.BinlogEvent, error) {
	if len(t.left) == 0 && t.failed == nil {
		t.left = t.stream.DumpEvents() // without the price of a wait
	}
	if len(t.left) == 0 && t.failed == nil {
		if patience == 0 {
			return nil, nil
		}
		waiting, cancel := context.WithTimeout(ctx, patience)
		raw, err := t.stream.GetEvent(waiting)
		over := waiting.Err()
		cancel()
		switch {
		case err == nil:
			return raw, nil
		case over != nil && errors.Is(err, over):
			return nil, nil
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

// unwrap makes an address of its lower half: one transaction can make a file of
// more than 4 GiB. The event is size bytes long, and mostly follows the last one;
// those that servers make up for the connection say 0, or where they are already.
func unwrap(low, size uint32, last uint64) uint64 {
	switch next := last + uint64(size); {
	case low == 0:
		return last
	case low == uint32(next):
		return next
	}
	return last&^math.MaxUint32 | uint64(low)
}

// fileBegins notes when the server made the file, which shows whether it is still
// the file that it was. GTIDs do not: a server that was reset gives the same anew.
// MariaDB's are compared with the position when the source connects.
func (t *tail) fileBegins(made uint32) error {
	if t.server.mariadb {
		return nil
	}
	reset := t.at.File == t.file && t.at.Made != 0 && t.at.Made != made
	if t.at.File != "" && !reset {
		last, err := fileNumber(t.at.File)
		if err != nil {
			return err
		}
		reset = t.number < last
	}
	if reset {
		return connect.Permanent(fmt.Errorf("the binlog %s is another one than before: the binlog was reset", t.file), copyAnew)
	}
	t.made = made
	return nil
}

// reached is whether every transaction up to the watermark has passed.
func (t *tail) reached(w watermark) bool {
	if t.begun {
		return false
	}
	if t.server.byFile {
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
	if t.server.byFile {
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
	t.begun, t.standalone, t.flows, t.done, t.thread = true, false, false, 0, 0
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
		if g.Flags&mariadbPrepares != 0 {
			t.prepare()
		}
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
	case replication.ANONYMOUS_GTID_EVENT:
		t.gtidText = ""
		if t.gtids != nil {
			return connect.Permanent(errors.New("the binlog has a transaction without a GTID"),
				"set gtid_mode=ON on the server for good; or delete the positions, and the tables will be copied anew")
		}
	}
	return nil
}

func (t *tail) mysqlGTID(sid []byte, tag gomysql.Tag, gno int64) error {
	id, err := uuid.FromBytes(sid)
	if err != nil {
		return fmt.Errorf("a GTID event of %s: %w", t.file, err)
	}
	t.gtidText = fmt.Sprintf("%s:%d", id, gno)
	if t.gtids == nil {
		return nil
	}
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
	if t.resolving != nil {
		t.prepared = slices.DeleteFunc(t.prepared, func(p *prepared) bool { return p == t.resolving })
	}
	t.begun, t.gtid, t.done, t.preparing, t.resolving = false, nil, 0, nil, nil
	t.at.File, t.at.Pos, t.at.Made, t.at.Events = t.file, e.end, t.made, 0
	return nil
}

// position is where to go on: behind the last whole transaction, and behind the
// row events that are done of the next one; or before the first distributed
// transaction that is prepared, for its rows are still to come.
func (t *tail) position() logPosition {
	if len(t.prepared) > 0 {
		return t.prepared[0].before
	}
	return t.here()
}

func (t *tail) here() logPosition {
	p := t.at
	p.GTIDs, p.Events = "", t.done
	if t.gtids != nil {
		p.GTIDs = t.gtids.String()
	}
	return p
}

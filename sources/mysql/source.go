package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/splashdam/splashdam/connect"
)

const (
	// unacknowledged bounds the batches that are not acknowledged.
	unacknowledged = 32
	// A batch ends at so many rows or bytes of row events, or at the end of the last
	// transaction that is there, or when nothing more of one comes for so long.
	batchRows  = 8192
	batchBytes = 4 << 20
	linger     = 2 * time.Millisecond
	// idleMark is how often a position is stored while no row comes.
	idleMark = 2 * time.Second
	// unresolved is how long a distributed transaction may be prepared before it is
	// said, as often as that, that it keeps the position back.
	unresolved = 10 * time.Minute
)

// copyAnew is what to do where the binlog cannot be followed from the position.
const copyAnew = "delete the source's positions, or give the pipeline another name, and it will copy the tables anew"

// source copies tables, chunk by chunk, and follows the binlog beside it:
//
//	tail ... W]  chunk read at W  [... tail ... W']  chunk read at W' ...
//
// The tail stops at a chunk's watermark until the chunk has been handed out. So a
// row of the chunk is never older than what came before it, and whatever happened
// to it since comes behind.
type source struct {
	config  config
	log     *slog.Logger
	task    uint32
	credits chan struct{} // one for each batch that is not acknowledged

	db     *sql.DB
	conn   *sql.Conn
	server *serverInfo
	tail   *tail
	tables map[uint64]*table // by the number that row events have; nil if not wanted
	byName map[tableName]*table
	zip    inflater

	copies  map[tableName]copyPosition
	waiting []tableName // to be copied, in their order
	copier  *copier     // of those that are waiting; nil if it has to begin again
	chunk   *chunk      // read, and not handed out
	// number is of the next chunk to be handed out. Chunks that go out at one place of
	// the binlog are told apart by it, and need not have the same rows when they are
	// read again: so none has it twice, whatever was not stored before a kill.
	number  uint32
	started chan error // has the ack of the first position, nil once that is stored
	skip    int        // row events that were handed out before the last stop
	changed []connect.Position
	stored  time.Time // when a position last went out
	warned  time.Time // that a distributed transaction keeps the position back
}

func (s *source) Connect(ctx context.Context, positions []connect.Position) (err error) {
	if s.db, err = s.config.open(); err != nil {
		return err
	}
	if s.conn, err = session(ctx, s.db); err != nil {
		return err
	}
	if s.server, err = inspect(ctx, s.conn); err != nil {
		return err
	}
	known, err := readProgress(s.config.prefix, positions)
	if err != nil {
		return err
	}
	s.tables, s.byName, s.copies = map[uint64]*table{}, map[tableName]*table{}, known.copies
	s.chunk, s.started, s.waiting, s.changed, s.skip = nil, nil, nil, nil, 0
	for len(s.credits) > 0 {
		<-s.credits
	}
	s.server.byFile = s.server.mariadb || !s.server.gtids || known.log != nil && known.log.GTIDs == "" && known.log.File != ""
	from, err := s.from(ctx, known.log)
	if err != nil {
		return err
	}
	if known.log != nil {
		from.Chunk += unacknowledged // as many may have gone out since
	}
	s.started, s.skip, s.number = make(chan error, 1), from.Events, from.Chunk
	tables, err := s.config.tablesOf(ctx, s.conn)
	if err != nil {
		return err
	}
	if len(tables) == 0 {
		s.log.Warn("no table matches table.include.list yet, of those that the user may see")
	}
	if err := s.preflight(ctx, tables); err != nil {
		return err
	}
	for _, t := range tables {
		c, copied := s.copies[t]
		switch {
		case !copied && s.config.snapshot:
			s.copies[t] = copyPosition{}
			s.waiting = append(s.waiting, t)
		case copied && !c.Done:
			s.waiting = append(s.waiting, t)
		}
	}
	s.tail, err = follow(&s.config, s.server, from, s.log)
	return err
}

// from is where the tail begins.
func (s *source) from(ctx context.Context, stored *logPosition) (logPosition, error) {
	if stored == nil {
		w, err := s.server.watermark(ctx, s.conn)
		if err != nil {
			return logPosition{}, err
		}
		p := logPosition{Identity: s.server.identity, File: w.file, Pos: w.pos}
		switch {
		case s.server.mariadb:
			p.GTIDs, err = gtidsAt(ctx, s.conn, w.file, w.pos)
		case !s.server.byFile:
			p.GTIDs = w.gtids.String()
		}
		return p, err
	}
	p := *stored
	if s.server.byFile {
		if p.Identity != s.server.identity || p.File == "" {
			return p, connect.Permanent(
				fmt.Errorf("the position is in the binlog of the server %s, and this is %s, which does not find it by GTIDs", p.Identity, s.server.identity),
				"connect to the server that was read before; or "+copyAnew)
		}
		if !s.server.mariadb {
			return p, nil
		}
		now, err := gtidsAt(ctx, s.conn, p.File, p.Pos)
		if err != nil {
			return p, err
		}
		if now != p.GTIDs {
			return p, connect.Permanent(
				fmt.Errorf("%s:%d was behind the transactions %q and is behind %q now: the binlog was reset or purged", p.File, p.Pos, p.GTIDs, now), copyAnew)
		}
		return p, nil
	}
	if p.Identity == s.server.identity {
		return p, s.server.checkLog(ctx, s.conn, p)
	}
	if err := s.server.checkHistory(ctx, s.conn, p); err != nil {
		return p, err
	}
	p.Identity, p.Epoch, p.File, p.Pos = s.server.identity, p.Epoch+1, "", 0
	return p, nil
}

func (s *source) Read(ctx context.Context) (*connect.Batch, func(error), error) {
	select {
	case s.credits <- struct{}{}:
	case <-ctx.Done():
		return nil, nil, context.Cause(ctx)
	}
	batch, ack, err := s.read(ctx)
	if err != nil {
		<-s.credits
		return nil, nil, err
	}
	return batch, ack, nil
}

func (s *source) acknowledged(error) { <-s.credits }

func (s *source) read(ctx context.Context) (*connect.Batch, func(error), error) {
	if s.started != nil && s.stored.IsZero() {
		// The tail's beginning, and that numbers of parts are taken, is durable before
		// the first row that was selected.
		b, err := s.mark(nil)
		first := s.started
		return b, func(err error) { s.acknowledged(err); first <- err }, err
	}
	if s.started != nil {
		select {
		case err := <-s.started:
			if err != nil {
				return nil, nil, fmt.Errorf("storing where the binlog is read from: %w", err)
			}
			s.started = nil
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
	b := newBuilder(s)
	for {
		if s.chunk == nil && len(s.waiting) > 0 && b.rows == 0 {
			if err := s.nextChunk(ctx); err != nil {
				return nil, nil, err
			}
		}
		if s.chunk != nil && s.tail.reached(s.chunk.at) {
			if b.rows > 0 {
				break
			}
			if !s.tail.passed(s.chunk.at) {
				return s.handOut()
			}
			// Transactions became visible in another order than they were logged.
			s.stopCopying()
			continue
		}
		wait := idleMark
		switch {
		case b.rows > 0 && s.tail.begun:
			wait = linger
		case b.rows > 0:
			wait = 0 // what is there already shares the batch, and nobody waits for more
		}
		e, came, err := s.tail.next(ctx, wait)
		if isTear(err) {
			err = s.overTear(ctx, err)
		}
		if err == nil && came == change {
			err = s.take(ctx, b, e)
		}
		if err != nil {
			return nil, nil, err
		}
		if ctx.Err() != nil && b.rows == 0 {
			return nil, nil, context.Cause(ctx)
		}
		if b.rows >= batchRows || b.bytes >= batchBytes || came == silence && b.rows > 0 {
			break
		}
		if b.rows == 0 && time.Since(s.stored) >= idleMark && (came == silence || !s.tail.begun) {
			break
		}
	}
	batch, err := s.mark(b)
	return batch, s.acknowledged, err
}

// mark ends a batch with the position behind it.
func (s *source) mark(b *builder) (*connect.Batch, error) {
	batch := &connect.Batch{}
	if b != nil {
		batch = b.batch
	}
	at := s.tail.position()
	at.Chunk = s.number
	p, err := connect.NewPosition(serverPartition{s.config.prefix}, at)
	if err != nil {
		return nil, err
	}
	batch.Marks = append(batch.Marks, connect.Mark{Row: batch.Rows(), Positions: append(s.changed, p)})
	s.changed, s.stored = nil, time.Now()
	if waiting := s.tail.prepared; len(waiting) > 0 && time.Since(waiting[0].since) > unresolved && time.Since(s.warned) > unresolved {
		s.warned = time.Now()
		s.log.Warn("a distributed transaction is prepared and does not end, so the binlog is needed from there on: commit it or roll it back",
			"xid", waiting[0].id, "file", waiting[0].before.File, "position", waiting[0].before.Pos)
	}
	return batch, nil
}

// take does what an event says.
func (s *source) take(ctx context.Context, b *builder, e event) error {
	kind := replication.EventType(e.kind)
	rows := kind == replication.TABLE_MAP_EVENT || isRowsEvent(e.kind)
	if rows && s.tail.preparing != nil {
		return s.hold(s.tail.preparing, e)
	}
	if rows && s.tail.await(e) {
		return nil
	}
	switch kind {
	case replication.GTID_EVENT, replication.ANONYMOUS_GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT, replication.MARIADB_GTID_EVENT:
		return s.tail.begin(e)
	case replication.XID_EVENT:
		return s.end(e)
	case replication.XA_PREPARE_LOG_EVENT:
		return s.prepares(ctx, b, e)
	case replication.QUERY_EVENT, replication.MARIADB_QUERY_COMPRESSED_EVENT:
		return s.query(ctx, b, e)
	case replication.TABLE_MAP_EVENT:
		return s.mapTable(ctx, e)
	case replication.TRANSACTION_PAYLOAD_EVENT:
		p, err := openPayload(e)
		if err != nil {
			return fmt.Errorf("an event of %s before %d: %w", s.tail.file, e.end, err)
		}
		s.tail.carry(p)
		return nil
	}
	if isRowsEvent(e.kind) {
		return s.rows(b, e)
	}
	return nil
}

func (s *source) mapTable(ctx context.Context, e event) error {
	id := tableMapID(e.body)
	database, name, err := tableMapName(e.body)
	if err != nil {
		return err
	}
	at := tableName{database, name}
	if !s.config.captures(at) {
		s.tables[id] = nil
		return nil
	}
	if known, ok := s.byName[at]; ok && known.same(e.body) {
		s.tables[id] = known
		return nil
	}
	if _, copied := s.copies[at]; !copied && s.byName[at] == nil {
		if err := readable(ctx, s.conn, at); err != nil { // nobody has seen it before
			return err
		}
	}
	var declared declaration
	if s.server.mariadb {
		if declared, err = s.server.readDeclaration(ctx, s.conn, database, name); err != nil {
			return err
		}
	}
	t, err := parseTableMap(e.body, s.config.prefix, s.server.server, declared)
	if err != nil {
		return err
	}
	t.name, t.schema.Decimals = at, s.config.decimals
	s.tables[id], s.byName[at] = t, t
	return nil
}

func (s *source) rows(b *builder, e event) error {
	t, known := s.tables[tableMapID(e.body)]
	if !known {
		return fmt.Errorf("a row event of %s before %d is of a table that no event before it describes", s.tail.file, e.end)
	}
	s.tail.done++
	if s.tail.done <= s.skip {
		return nil
	}
	s.skip = 0
	if t == nil {
		return nil
	}
	rows, err := parseRows(e.kind, e.body, &s.zip)
	if err != nil {
		return err
	}
	return b.addRows(t, &rows, e)
}

// query does what a statement says.
func (s *source) query(ctx context.Context, b *builder, e event) error {
	var q replication.QueryEvent
	err := q.Decode(e.body)
	if err == nil && replication.EventType(e.kind) == replication.MARIADB_QUERY_COMPRESSED_EVENT {
		q.Query, err = s.zip.rows(q.Query)
	}
	if err != nil {
		return fmt.Errorf("a statement of %s before %d: %w", s.tail.file, e.end, err)
	}
	st := parseStatement(string(q.Query), string(q.Schema))
	switch st.verb {
	case begins:
		s.tail.thread = q.SlaveProxyID
		return nil
	case commits, rollback:
		return s.end(e)
	case xaStart:
		s.tail.thread = q.SlaveProxyID
		s.tail.prepare()
		return nil
	case xaEnd:
		return nil
	case xaCommit, xaRollback:
		return s.resolve(ctx, b, st.xid, st.verb == xaCommit, e)
	case dml:
		return s.logged(st, string(q.Schema), string(q.Query))
	}
	if err := s.define(ctx, b, e, st); err != nil {
		return err
	}
	if s.tail.begun && !s.tail.standalone && s.server.mariadb {
		return nil // CREATE TABLE ... SELECT: rows come, and a commit
	}
	return s.tail.end(e)
}

// capturedTables are those that are known so far, each once, by name.
func (s *source) capturedTables() []tableName {
	all := slices.AppendSeq(slices.Collect(maps.Keys(s.copies)), maps.Keys(s.byName))
	slices.SortFunc(all, func(a, b tableName) int { return strings.Compare(a.String(), b.String()) })
	return slices.Compact(all)
}

// define does what DDL says about tables that are wanted.
func (s *source) define(ctx context.Context, b *builder, e event, st statement) error {
	if st.verb == dropAll {
		for _, t := range s.capturedTables() {
			if t.database == st.database && !slices.Contains(st.tables, t) {
				st.tables = append(st.tables, t)
			}
		}
	}
	for i, t := range st.tables {
		if st.verb == rename && s.config.captures(st.renamed[i]) {
			delete(s.byName, st.renamed[i])
			if err := s.copyAgain(st.renamed[i]); err != nil {
				return err
			}
		}
		if !s.config.captures(t) {
			continue
		}
		if st.verb == create || st.verb == alter {
			if err := s.refuseCascades(ctx, []tableName{t}); err != nil {
				return err
			}
		}
		if st.vanish || st.verb == rename {
			if err := s.emptied(ctx, b, t, e, i); err != nil {
				return err
			}
		}
		delete(s.byName, t)
		if st.reread {
			if err := s.copyAgain(t); err != nil {
				return err
			}
		}
	}
	return nil
}

// emptied says that all rows of a table are gone, the nth that the event empties.
func (s *source) emptied(ctx context.Context, b *builder, t tableName, e event, nth int) error {
	schema, err := s.schemaOf(ctx, t)
	if err == nil {
		b.addTruncate(t, schema, e, nth)
	}
	return err
}

// schemaOf is what the table's rows looked like last, or look like now. Of a table
// that is gone, and that nobody has asked about before, nothing is known but its name.
func (s *source) schemaOf(ctx context.Context, t tableName) (*connect.Schema, error) {
	if known, ok := s.byName[t]; ok {
		return known.schema, nil
	}
	declared, err := s.server.readDeclaration(ctx, s.conn, t.database, t.table)
	if err != nil {
		return nil, err
	}
	schema, err := declared.schema(s.config.prefix + "." + t.String())
	if err != nil {
		return nil, connect.Permanent(err, "leave the table out of table.include.list")
	}
	schema.Decimals = s.config.decimals
	return schema, nil
}

func (s *source) Close(context.Context) error {
	s.stopCopying()
	s.tail.close()
	s.tail = nil
	var errs []error
	if s.conn != nil {
		errs = append(errs, s.conn.Close())
		s.conn = nil
	}
	if s.db != nil {
		errs = append(errs, s.db.Close())
		s.db = nil
	}
	s.stored = time.Time{}
	for i, err := range errs {
		if errors.Is(err, sql.ErrConnDone) {
			errs[i] = nil
		}
	}
	return errors.Join(errs...)
}

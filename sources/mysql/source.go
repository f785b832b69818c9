package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/go-mysql-org/go-mysql/replication"

	"github.com/splashdam/splashdam/connect"
)

const (
	// unacknowledged bounds the batches that are not acknowledged.
	unacknowledged = 32
	// A batch ends at so many rows or bytes of row events, or when nothing more comes
	// for so long.
	batchRows  = 8192
	batchBytes = 4 << 20
	linger     = 2 * time.Millisecond
	// idleMark is how often a position is stored while no row comes.
	idleMark = 2 * time.Second
	// rereads bounds how often a part is read again because the tail is ahead of it.
	rereads = 100
)

// source copies tables, part by part, and follows the binlog beside it:
//
//	tail ... W]  part read at W  [... tail ... W']  part read at W' ...
//
// The tail stops at a part's watermark until the part has been handed out. So a
// row of the part is never older than what came before it, and whatever happened
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
	part    *chunk      // read, and not handed out
	// chunk is the number of the next part to be handed out. Parts that go out at one
	// place of the binlog are told apart by it, and need not have the same rows when
	// they are read again: so none has it twice, whatever was not stored before a kill.
	chunk   uint32
	started chan error // has the ack of the first position, nil once that is stored
	skip    int        // row events that were handed out before the last stop
	changed []connect.Position
	stored  time.Time // when a position last went out
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
	s.part, s.started, s.waiting, s.changed, s.skip = nil, nil, nil, nil, 0
	for len(s.credits) > 0 {
		<-s.credits
	}
	from, err := s.from(ctx, known.log)
	if err != nil {
		return err
	}
	if known.log != nil {
		from.Chunk += unacknowledged // as many may have gone out since
	}
	s.started, s.skip, s.chunk = make(chan error, 1), from.Events, from.Chunk
	tables, err := s.config.tablesOf(ctx, s.conn)
	if err != nil {
		return err
	}
	if len(tables) == 0 {
		s.log.Warn("no table matches table.include.list yet")
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
		if s.server.mariadb {
			p.GTIDs, err = gtidsAt(ctx, s.conn, w.file, w.pos)
		} else {
			p.GTIDs = w.gtids.String()
		}
		return p, err
	}
	p := *stored
	if s.server.mariadb {
		if p.Identity != s.server.identity {
			return p, connect.Permanent(
				fmt.Errorf("the position is of the server %s, and this is %s", p.Identity, s.server.identity),
				"connect to the server that was read before, or delete the positions, and the tables will be copied anew")
		}
		now, err := gtidsAt(ctx, s.conn, p.File, p.Pos)
		if err != nil {
			return p, err
		}
		if now != p.GTIDs {
			return p, connect.Permanent(
				fmt.Errorf("%s:%d was behind the transactions %q and is behind %q now: the binlog was reset or purged", p.File, p.Pos, p.GTIDs, now),
				"delete the positions, and the tables will be copied anew")
		}
		return p, nil
	}
	if p.Identity != s.server.identity {
		p.Identity, p.Epoch, p.File, p.Pos = s.server.identity, p.Epoch+1, "", 0
	}
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
		if s.part == nil && len(s.waiting) > 0 && b.rows == 0 {
			if err := s.readPart(ctx); err != nil {
				return nil, nil, err
			}
		}
		if s.part != nil && s.tail.reached(s.part.at) {
			if b.rows > 0 {
				break
			}
			return s.handOut()
		}
		wait := idleMark
		if b.rows > 0 {
			wait = linger
		}
		some, cancel := context.WithTimeout(ctx, wait)
		e, ok, err := s.tail.next(some)
		waited := some.Err() != nil
		cancel()
		if isTear(err) {
			err = s.overTear(ctx, err)
		}
		if err == nil && ok {
			err = s.take(ctx, b, e)
		}
		if err != nil {
			return nil, nil, err
		}
		if ctx.Err() != nil && b.rows == 0 {
			return nil, nil, context.Cause(ctx)
		}
		if b.rows >= batchRows || b.bytes >= batchBytes || waited && b.rows > 0 {
			break
		}
		if b.rows == 0 && time.Since(s.stored) >= idleMark && (waited || !s.tail.begun) {
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
	at.Chunk = s.chunk
	p, err := connect.NewPosition(serverPartition{s.config.prefix}, at)
	if err != nil {
		return nil, err
	}
	batch.Marks = append(batch.Marks, connect.Mark{Row: batch.Rows(), Positions: append(s.changed, p)})
	s.changed, s.stored = nil, time.Now()
	return batch, nil
}

// readPart selects the next part, at a watermark that covers what has been handed out.
func (s *source) readPart(ctx context.Context) error {
	t := s.waiting[0]
	for range rereads {
		part, err := readChunk(ctx, s.conn, s.server, &s.config, t, s.copies[t])
		if err != nil {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return err
		}
		if !s.tail.passed(part.at) {
			s.part = part
			return nil
		}
		// The server has written something that it does not show yet.
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(linger):
		}
	}
	return fmt.Errorf("the server shows after %d SELECTs from %v less than it has in its binlog", rereads, t)
}

// handOut makes a batch of the part.
func (s *source) handOut() (*connect.Batch, func(error), error) {
	part := s.part
	s.part = nil
	part.number = s.chunk
	s.chunk++
	after := copyPosition{After: part.after}
	if part.last {
		after = copyPosition{Done: true}
		s.waiting = s.waiting[1:]
		s.log.Info("copied", "table", part.table.String())
	}
	s.copies[part.table] = after
	b := newBuilder(s)
	if part.schema != nil && part.columns[0].Rows() > 0 {
		b.addPart(part)
	}
	p, err := connect.NewPosition(tablePartition{s.config.prefix, part.table.String()}, after)
	if err != nil {
		return nil, nil, err
	}
	s.changed = append(s.changed, p)
	batch, err := s.mark(b)
	return batch, s.acknowledged, err
}

// take does what an event says.
func (s *source) take(ctx context.Context, b *builder, e event) error {
	kind := replication.EventType(e.kind)
	if (kind == replication.TABLE_MAP_EVENT || isRowsEvent(e.kind)) && s.tail.hold(e) {
		return nil
	}
	switch kind {
	case replication.GTID_EVENT, replication.ANONYMOUS_GTID_EVENT, replication.GTID_TAGGED_LOG_EVENT, replication.MARIADB_GTID_EVENT:
		return s.tail.begin(e)
	case replication.XID_EVENT:
		return s.end(e)
	case replication.QUERY_EVENT:
		return s.query(ctx, b, e)
	case replication.TABLE_MAP_EVENT:
		return s.mapTable(ctx, e)
	case replication.TRANSACTION_PAYLOAD_EVENT:
		return connect.Permanent(errors.New("the binlog has compressed transactions"), "set binlog_transaction_compression=OFF on the server")
	case replication.XA_PREPARE_LOG_EVENT:
		return connect.Permanent(errors.New("the binlog has a distributed (XA) transaction"), "leave the tables that it changes out of table.include.list")
	case replication.MARIADB_QUERY_COMPRESSED_EVENT:
		return connect.Permanent(errors.New("the binlog has compressed statements"), "set log_bin_compress=OFF on the server")
	}
	if isRowsEvent(e.kind) {
		return s.rows(b, e)
	}
	return nil
}

// end ends a transaction, once what waited for that has come.
func (s *source) end(e event) error {
	if s.tail.ends(e) {
		return nil
	}
	return s.tail.end(e)
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
	var declared declaration
	if s.server.mariadb {
		if declared, err = readDeclaration(ctx, s.conn, database, name); err != nil {
			return err
		}
	}
	t, err := parseTableMap(e.body, s.config.prefix, s.server.server, declared)
	if errors.Is(err, errNoNames) {
		return connect.Permanent(err, "set binlog_row_metadata=FULL in the server's configuration, delete the positions, and the tables will be copied anew")
	}
	if err != nil {
		return err
	}
	t.schema.Decimals = s.config.decimals
	s.tables[id], s.byName[at] = t, t
	return nil
}

func (s *source) rows(b *builder, e event) error {
	rows, err := parseRows(e.kind, e.body, &s.zip)
	if err != nil {
		return err
	}
	t, known := s.tables[rows.tableID]
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
	return b.addRows(t, &rows, e)
}

// query does what a statement says.
func (s *source) query(ctx context.Context, b *builder, e event) error {
	var q replication.QueryEvent
	if err := q.Decode(e.body); err != nil {
		return fmt.Errorf("a statement of %s before %d: %w", s.tail.file, e.end, err)
	}
	st := parseStatement(string(q.Query), string(q.Schema))
	switch st.verb {
	case begins:
		return nil
	case commits, rollback:
		return s.end(e)
	case xaStart, xaPrepare, xaCommit, xaRollback:
		return connect.Permanent(errors.New("the binlog has a distributed (XA) transaction"), "leave the tables that it changes out of table.include.list")
	case dml:
		if slices.ContainsFunc(s.capturedTables(), func(t tableName) bool { return t.database == string(q.Schema) }) {
			return connect.Permanent(fmt.Errorf("a %s in %s was logged as a statement, and not as rows: %.80s", st.word, q.Schema, q.Query),
				"set binlog_format=ROW for every session")
		}
		return nil
	}
	if err := s.define(ctx, b, e, st); err != nil {
		return err
	}
	if s.tail.begun && !s.tail.standalone && s.server.mariadb {
		return nil // CREATE TABLE ... SELECT: rows come, and a commit
	}
	return s.tail.end(e)
}

// capturedTables are those that are known so far.
func (s *source) capturedTables() []tableName {
	var all []tableName
	for t := range s.copies {
		all = append(all, t)
	}
	for t := range s.byName {
		all = append(all, t)
	}
	return all
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
		if st.vanish || st.verb == rename {
			schema, err := s.schemaOf(ctx, t)
			if err != nil {
				return err
			}
			b.addTruncate(t, schema, e)
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

// schemaOf is what the table's rows looked like last, or look like now. Of a table
// that is gone, and that nobody has asked about before, nothing is known but its name.
func (s *source) schemaOf(ctx context.Context, t tableName) (*connect.Schema, error) {
	if known, ok := s.byName[t]; ok {
		return known.schema, nil
	}
	declared, err := readDeclaration(ctx, s.conn, t.database, t.table)
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

// copyAgain has a table read anew, from here on.
func (s *source) copyAgain(t tableName) error {
	again := copyPosition{}
	s.copies[t] = again
	if s.part != nil && s.part.table == t {
		s.part = nil
	}
	if !slices.Contains(s.waiting, t) {
		s.waiting = append(s.waiting, t)
	}
	p, err := connect.NewPosition(tablePartition{s.config.prefix, t.String()}, again)
	s.changed = append(s.changed, p)
	return err
}

func (s *source) Close(context.Context) error {
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

package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/connect"
)

const (
	// ahead is how many chunks wait to be taken while the next one is read.
	ahead = 2
	// chunkBytes ends a chunk before it has all its rows.
	chunkBytes = 4 << 20
	// rereads bounds how often tables are read again because the tail is ahead of them.
	rereads = 100
	// tableChanged is MySQL's ER_TABLE_DEF_CHANGED: a table was altered between the
	// beginning of a transaction and its SELECT.
	tableChanged = 1412
)

// chunk is a part of a table, read at a watermark.
type chunk struct {
	table   tableName
	number  uint32          // once it is handed out
	schema  *connect.Schema // nil if the table is gone
	columns []connect.Column
	// begins: it is the first of rows that cannot be told from others that were
	// copied before, if any were.
	begins bool
	after  copyPosition // where the copy goes on
	at     watermark
}

// place is a row's number in its place; row 0 is for what goes before the chunk.
func (c *chunk) place(row int) uint64 { return uint64(c.number)<<32 | uint64(row) }

// copier copies tables, one after another and chunk by chunk, a little ahead of
// whoever takes the chunks.
type copier struct {
	config *config
	server *serverInfo
	conn   *sql.Conn
	chunks chan *chunk
	failed error // why chunks ended, once it is closed
	cancel context.CancelFunc
}

// copyTables begins to copy what is left of the tables.
func copyTables(ctx context.Context, db *sql.DB, s *serverInfo, c *config, tables []tableName, from map[tableName]copyPosition) (*copier, error) {
	conn, err := session(ctx, db)
	if err != nil {
		return nil, err
	}
	k := &copier{config: c, server: s, conn: conn, chunks: make(chan *chunk, ahead)}
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	type rest struct {
		table tableName
		from  copyPosition
	}
	var all []rest
	for _, t := range tables {
		all = append(all, rest{t, from[t]})
	}
	go func() {
		defer close(k.chunks)
		for _, r := range all {
			if k.failed = k.table(ctx, r.table, r.from); k.failed != nil {
				return
			}
		}
	}()
	return k, nil
}

// stop ends the copying; chunks that were not taken are gone.
func (k *copier) stop() {
	if k == nil {
		return
	}
	k.cancel()
	for range k.chunks {
	}
	// The connection is closed already where the context ended a statement.
	_ = k.conn.Close()
}

// take waits for the next chunk.
func (k *copier) take(ctx context.Context) (*chunk, error) {
	select {
	case c, ok := <-k.chunks:
		if !ok {
			return nil, k.failed
		}
		return c, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// table copies a table, with as many SELECTs as it takes.
func (k *copier) table(ctx context.Context, t tableName, from copyPosition) error {
	for !from.Done {
		next, err := k.read(ctx, t, from)
		if e, ok := errors.AsType[*driver.MySQLError](err); ok && e.Number == tableChanged {
			continue
		}
		if err != nil {
			return err
		}
		from = next
	}
	return nil
}

func (k *copier) hand(ctx context.Context, c *chunk) error {
	select {
	case k.chunks <- c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// read reads the rows of one SELECT, and hands them out. The watermark holds for
// all of them: every transaction up to there is in what the SELECT sees.
func (k *copier) read(ctx context.Context, t tableName, from copyPosition) (next copyPosition, err error) {
	declared, err := readDeclaration(ctx, k.conn, t.database, t.table)
	if err != nil {
		return from, err
	}
	c := &chunk{table: t}
	if len(declared.columns) == 0 {
		// Dropped since. What the binlog says about that comes by itself.
		if c.at, err = k.server.watermark(ctx, k.conn); err != nil {
			return from, err
		}
		c.after = copyPosition{Done: true}
		return c.after, k.hand(ctx, c)
	}
	if c.schema, err = declared.schema(k.config.prefix + "." + t.String()); err != nil {
		return from, connect.Permanent(err, "leave the table out of table.include.list")
	}
	c.schema.Decimals = k.config.decimals
	if c.at, err = k.server.begin(ctx, k.conn, t); err != nil {
		return from, err
	}
	defer func() {
		if _, failed := k.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); failed != nil && err == nil {
			err = fmt.Errorf("ending the SELECT of %v: %w", t, failed)
		}
	}()
	query, args := chunkQuery(c.schema, t, from.After, k.config.chunkRows)
	// Prepared, so that the server sends numbers and not their text.
	statement, err := k.conn.PrepareContext(ctx, query)
	if err != nil {
		return from, fmt.Errorf("selecting from %v: %w", t, err)
	}
	defer statement.Close()
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return from, fmt.Errorf("selecting from %v: %w", t, err)
	}
	defer rows.Close()
	return k.scan(ctx, rows, c, from)
}

// scan makes chunks of a result: one, or more of them if there are many bytes, or
// if the table has no key to read it by in parts.
func (k *copier) scan(ctx context.Context, rows *sql.Rows, c *chunk, from copyPosition) (next copyPosition, err error) {
	key := make([]sql.RawBytes, len(chunkKey(c.schema)))
	c.begins = len(key) == 0
	for total, limit := 0, k.config.chunkRows; ; {
		c.columns = connect.NewColumns(c.schema.Fields)
		into := destinations(c.columns)
		for i := range key {
			into = append(into, &key[i])
		}
		n := 0
		for more := true; more; {
			if !rows.Next() {
				if err := rows.Err(); err != nil {
					return from, fmt.Errorf("selecting from %v: %w", c.table, err)
				}
				c.after = copyPosition{Done: true}
				return c.after, k.hand(ctx, c)
			}
			if err := rows.Scan(into...); err != nil {
				return from, fmt.Errorf("row %d of a SELECT from %v: %w", total, c.table, err)
			}
			n, total = n+1, total+1
			more = n < limit && sizeOf(c.columns) < chunkBytes
		}
		c.after = copyPosition{}
		for _, text := range key {
			c.after.After = append(c.after.After, string(text))
		}
		following := &chunk{table: c.table, schema: c.schema, at: c.at}
		if err := k.hand(ctx, c); err != nil {
			return from, err
		}
		if from = c.after; len(key) > 0 && total == limit {
			return from, nil
		}
		c = following
	}
}

func sizeOf(columns []connect.Column) int {
	n := 0
	for i := range columns {
		n += len(columns[i].Data)
	}
	return n
}

// nextChunk waits for a chunk whose watermark covers all that the tail has passed.
func (s *source) nextChunk(ctx context.Context) error {
	for range rereads {
		if s.copier == nil {
			k, err := copyTables(ctx, s.db, s.server, &s.config, s.waiting, s.copies)
			if err != nil {
				return err
			}
			s.copier = k
		}
		c, err := s.copier.take(ctx)
		if err != nil {
			return err
		}
		if !s.tail.passed(c.at) {
			s.chunk = c
			return nil
		}
		// The server has written something that it does not show yet.
		s.stopCopying()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(linger):
		}
	}
	return fmt.Errorf("the server shows after %d SELECTs from %v less than it has in its binlog", rereads, s.waiting[0])
}

// stopCopying forgets what has been read and not handed out.
func (s *source) stopCopying() {
	s.copier.stop()
	s.copier, s.chunk = nil, nil
}

// handOut makes a batch of the chunk.
func (s *source) handOut() (*connect.Batch, func(error), error) {
	c := s.chunk
	b := newBuilder(s)
	c.number = s.number
	s.number++
	if c.begins {
		c.begins = false
		b.addEmpty(c)
		batch, err := s.mark(b)
		return batch, s.acknowledged, err
	}
	s.chunk = nil
	if c.after.Done {
		s.log.Info("copied", "table", c.table.String())
		if s.waiting = s.waiting[1:]; len(s.waiting) == 0 {
			s.stopCopying()
		}
	}
	s.copies[c.table] = c.after
	if c.schema != nil && c.columns[0].Rows() > 0 {
		b.addChunk(c)
	}
	p, err := connect.NewPosition(tablePartition{s.config.prefix, c.table.String()}, c.after)
	if err != nil {
		return nil, nil, err
	}
	s.changed = append(s.changed, p)
	batch, err := s.mark(b)
	return batch, s.acknowledged, err
}

// copyAgain has a table read anew, from here on.
func (s *source) copyAgain(t tableName) error {
	s.stopCopying()
	again := copyPosition{}
	s.copies[t] = again
	if !slices.Contains(s.waiting, t) {
		s.waiting = append(s.waiting, t)
	}
	p, err := connect.NewPosition(tablePartition{s.config.prefix, t.String()}, again)
	s.changed = append(s.changed, p)
	return err
}

package mysql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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
	cut    bool         // it was long, and so ended before it had all its rows
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
	k.run(ctx, slices.Clone(tables), maps.Clone(from))
	return k, nil
}

// all copies the tables until one fails.
func (k *copier) all(ctx context.Context, tables []tableName, from map[tableName]copyPosition) error {
	for _, t := range tables {
		if err := k.table(ctx, t, from[t]); err != nil {
			return err
		}
	}
	return nil
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

// table copies a table, with as many SELECTs as it takes. None is open while a chunk
// waits to be taken, for nobody could alter the table.
func (k *copier) table(ctx context.Context, t tableName, from copyPosition) error {
	for limit := k.config.chunkRows; !from.Done; {
		c, err := k.read(ctx, t, from, limit)
		if e, ok := errors.AsType[*driver.MySQLError](err); ok && e.Number == tableChanged {
			continue
		}
		if err == nil {
			err = k.hand(ctx, c)
		}
		if err != nil {
			return err
		}
		from = c.after
		if limit = min(2*limit, k.config.chunkRows); c.cut {
			limit = c.columns[0].Rows()
		}
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

// read reads the rows of one SELECT. The watermark holds for all of them: every
// transaction up to there is in what the SELECT sees. A table without a key to read it
// by is read at once, and all but its last chunk handed out.
func (k *copier) read(ctx context.Context, t tableName, from copyPosition, limit int) (_ *chunk, err error) {
	declared, err := k.server.readDeclaration(ctx, k.conn, t.database, t.table)
	if err != nil {
		return nil, err
	}
	c := &chunk{table: t}
	if len(declared.columns) == 0 {
		// Dropped since. What the binlog says about that comes by itself.
		c.after.Done = true
		c.at, err = k.server.watermark(ctx, k.conn)
		return c, err
	}
	if c.schema, err = declared.schema(k.config.prefix + "." + t.String()); err != nil {
		return nil, connect.Permanent(err, "leave the table out of table.include.list")
	}
	c.schema.Decimals = k.config.decimals
	if c.at, err = k.server.begin(ctx, k.conn, t); err != nil {
		return nil, err
	}
	defer func() {
		if _, failed := k.conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK"); failed != nil && err == nil {
			err = fmt.Errorf("ending the SELECT of %v: %w", t, failed)
		}
	}()
	query, args := chunkQuery(c.schema, t, from.After, limit)
	// Prepared, so that the server sends numbers and not their text.
	statement, err := k.conn.PrepareContext(ctx, query)
	if err != nil {
		return nil, explain(fmt.Errorf("selecting from %v: %w", t, err))
	}
	defer statement.Close()
	rows, err := statement.QueryContext(ctx, args...)
	if err != nil {
		return nil, explain(fmt.Errorf("selecting from %v: %w", t, err))
	}
	defer rows.Close()
	key := make([]sql.RawBytes, len(chunkKey(c.schema)))
	if len(key) > 0 {
		if err := c.scan(rows, key, limit); err != nil {
			return nil, err
		}
		if err := rows.Close(); err != nil {
			return nil, explain(fmt.Errorf("selecting from %v: %w", t, err))
		}
		return c, k.findable(ctx, c)
	}
	c.begins = true
	for {
		if err := c.scan(rows, nil, limit); err != nil || c.after.Done {
			return c, err
		}
		following := &chunk{table: t, schema: c.schema, at: c.at}
		if err := k.hand(ctx, c); err != nil {
			return nil, err
		}
		c = following
	}
}

// scan takes rows of a result until it ends, there are so many, or they are long.
func (c *chunk) scan(rows *sql.Rows, key []sql.RawBytes, limit int) error {
	c.columns = connect.NewColumns(c.schema.Fields)
	into := destinations(c.columns)
	for i := range key {
		into = append(into, &key[i])
	}
	for n := 0; ; {
		if !rows.Next() {
			c.after.Done = true
			if err := rows.Err(); err != nil {
				return explain(fmt.Errorf("selecting from %v: %w", c.table, err))
			}
			return nil
		}
		if err := rows.Scan(into...); err != nil {
			return fmt.Errorf("row %d of a SELECT from %v: %w", n, c.table, err)
		}
		n++
		if c.cut = sizeOf(c.columns) >= chunkBytes; !c.cut && n < limit {
			continue
		}
		for _, text := range key {
			c.after.After = append(c.after.After, string(text))
		}
		return nil
	}
}

// findable is whether the server finds the last row of a chunk by the key that the
// copy goes on from. Text does not become itself again where it has a character that
// Unicode does not have, which came as a question mark.
func (k *copier) findable(ctx context.Context, c *chunk) error {
	text := strings.Join(c.after.After, "")
	valid := utf8.ValidString(text) // as surrogates are not
	if valid && !strings.Contains(text, "?") {
		return nil
	}
	found := 0
	if valid {
		query, args := keyQuery(c.schema, c.table, c.after.After)
		if err := k.conn.QueryRowContext(ctx, query, args...).Scan(&found); err != nil {
			return explain(fmt.Errorf("selecting from %v: %w", c.table, err))
		}
	}
	if found == 0 {
		return connect.Permanent(
			fmt.Errorf("the primary key %q of %v has a character that Unicode does not have, where a question mark is, so that the copy cannot go on behind it", c.after.After, c.table),
			"give the row another key, or leave the table out of table.include.list")
	}
	return nil
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

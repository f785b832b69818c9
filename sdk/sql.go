package sdk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Fence is a table in a service's own database in which the end of every local
// transaction with a half message is written down, once, under the transaction's
// id:
//
//	txn_id      outcome
//	0199a...    committed      by the local transaction itself, and so with it or not at all
//	0199b...    rolled back    by a checker that was asked and found nothing
//
// Both sides insert under the same primary key and never update: whoever is first
// decides, and the other one sees it. So a checker can say Rollback although the
// local transaction may still be running somewhere: if that one comes after all,
// its insert fails, and it rolls back.
//
// The zero value is ready for MySQL, MariaDB and SQLite. The table holds a row for
// every transaction; rows older than the retention of the topics, after which
// nobody asks any more, may be deleted by their column at_ms.
type Fence struct {
	// Table is the table's name, splashdam_txn if empty. It may be qualified.
	Table string
	// Dollar writes placeholders as $1, for PostgreSQL, and not as ?.
	Dollar bool
}

const (
	fenceTable = "splashdam_txn"

	fenceCommitted  = "committed"
	fenceRolledBack = "rolled back"
)

var tableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*){0,2}$`)

func (f Fence) table() (string, error) {
	if f.Table == "" {
		return fenceTable, nil
	}
	if !tableName.MatchString(f.Table) {
		return "", fmt.Errorf("fence: %q is no name for a table: letters, digits and _, at most two dots", f.Table)
	}
	return f.Table, nil
}

// statement fills in the table's name and the placeholders.
func (f Fence) statement(s string) (string, error) {
	table, err := f.table()
	if err != nil {
		return "", err
	}
	s = strings.Replace(s, "TABLE", table, 1)
	if f.Dollar {
		for n := 1; strings.Contains(s, "?"); n++ {
			s = strings.Replace(s, "?", fmt.Sprintf("$%d", n), 1)
		}
	}
	return s, nil
}

// CreateTable creates the table if it is not there.
func (f Fence) CreateTable(ctx context.Context, db *sql.DB) error {
	table, err := f.table()
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "CREATE TABLE IF NOT EXISTS "+table+
		" (txn_id VARCHAR(255) NOT NULL PRIMARY KEY, outcome VARCHAR(16) NOT NULL, at_ms BIGINT NOT NULL)")
	if err != nil {
		return fmt.Errorf("fence: creating table %s: %w", table, err)
	}
	return nil
}

type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func (f Fence) insert(ctx context.Context, in execer, id, outcome string) error {
	stmt, err := f.statement("INSERT INTO TABLE (txn_id, outcome, at_ms) VALUES (?, ?, ?)")
	if err != nil {
		return err
	}
	_, err = in.ExecContext(ctx, stmt, id, outcome, time.Now().UnixMilli())
	return err
}

// Committed marks, inside the local transaction, that it commits. Call it last,
// just before tx.Commit: it holds a lock that makes checkers wait. After any error
// the transaction must be rolled back; ErrFenced means that its end was written
// down before, by a checker as a rule.
func (f Fence) Committed(ctx context.Context, tx *sql.Tx, id string) error {
	err := f.insert(ctx, tx, id, fenceCommitted)
	switch {
	case err == nil:
		return nil
	case duplicate(err):
		return fmt.Errorf("transaction %q: %w: %w", id, ErrFenced, err)
	}
	return fmt.Errorf("fence: marking transaction %q: %w", id, err)
}

// Check finds out how a local transaction ended, and ends it if it has not: unless
// it is committed, it is rolled back from now on, for its own Committed will fail.
// Unknown comes with an error, such as a lock that the running transaction holds
// for too long; ask again later.
func (f Fence) Check(ctx context.Context, db *sql.DB, id string) (Outcome, error) {
	refused := f.insert(ctx, db, id, fenceRolledBack)
	if refused == nil {
		return Rollback, nil
	}
	// Drivers report a duplicate key in many ways; that the row is there is what
	// counts. It never changes, so it does not matter when it is read.
	stmt, err := f.statement("SELECT outcome FROM TABLE WHERE txn_id = ?")
	if err != nil {
		return Unknown, err
	}
	var outcome string
	err = db.QueryRowContext(ctx, stmt, id).Scan(&outcome)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Unknown, fmt.Errorf("fence: transaction %q is not marked, and could not be: %w", id, refused)
	case err != nil:
		return Unknown, fmt.Errorf("fence: reading transaction %q: %w", id, errors.Join(err, refused))
	case outcome == fenceCommitted:
		return Commit, nil
	case outcome == fenceRolledBack:
		return Rollback, nil
	}
	return Unknown, fmt.Errorf("fence: transaction %q is marked %q, which is neither %q nor %q", id, outcome, fenceCommitted, fenceRolledBack)
}

// CheckDB makes a check function of Check.
func (f Fence) CheckDB(db *sql.DB) CheckFunc {
	return func(ctx context.Context, q Question) Outcome {
		outcome, err := f.Check(ctx, db, q.ID)
		if err != nil {
			return Unknown
		}
		return outcome
	}
}

// run does a local transaction with its mark. Whatever ends before the commit is
// settled by Check and not simply called a rollback: the same id may have been
// committed by an earlier call whose answer got lost.
func (f Fence) run(ctx context.Context, db *sql.DB, id string, work func(context.Context, *sql.Tx) error) (Outcome, error) {
	err := f.attempt(ctx, db, id, work)
	var committing *commitError
	switch {
	case err == nil:
		return Commit, nil
	case errors.As(err, &committing):
		return Unknown, fmt.Errorf("%w (the check-back will settle it): %w", ErrInDoubt, committing.err)
	}
	settle, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer cancel()
	outcome, cerr := f.Check(settle, db, id)
	if outcome == Commit && errors.Is(err, ErrFenced) {
		return Commit, nil // done before: this call has nothing to add
	}
	return outcome, errors.Join(err, cerr)
}

// commitError is a commit whose outcome is not known.
type commitError struct{ err error }

func (e *commitError) Error() string { return "committing: " + e.err.Error() }
func (e *commitError) Unwrap() error { return e.err }

func (f Fence) attempt(ctx context.Context, db *sql.DB, id string, work func(context.Context, *sql.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("beginning: %w", err)
	}
	// Also when work panics; after a commit it does nothing.
	defer tx.Rollback()
	if err := work(ctx, tx); err != nil {
		return err
	}
	if err := f.Committed(ctx, tx, id); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return &commitError{err}
	}
	return nil
}

// duplicate says whether an insert failed because the key is there. database/sql
// has no error for that, so it goes by what the drivers say: SQLSTATE 23505 of
// PostgreSQL's drivers, error 1062 of MySQL's, SQLite's words.
func duplicate(err error) bool {
	var state interface{ SQLState() string }
	if errors.As(err, &state) {
		return state.SQLState() == "23505"
	}
	text := err.Error()
	return strings.Contains(text, "Error 1062") || strings.Contains(text, "UNIQUE constraint failed") || strings.Contains(text, "SQLSTATE 23505")
}

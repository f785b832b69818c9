package sdk

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	_ "modernc.org/sqlite"
)

// openDB is a real database in a file, with the fence's table and one of orders.
func openDB(t *testing.T) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "service.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for range 2 { // the second time it is there
		if err := (Fence{}).CreateTable(t.Context(), db); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec("CREATE TABLE orders (id TEXT PRIMARY KEY)"); err != nil {
		t.Fatal(err)
	}
	return db
}

func orders(t *testing.T, db *sql.DB, id string) (n int) {
	t.Helper()
	if err := db.QueryRow("SELECT count(*) FROM orders WHERE id = ?", id).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func order(id string) func(context.Context, *sql.Tx) error {
	return func(ctx context.Context, tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", id)
		return err
	}
}

func TestACommittedTransactionIsAnsweredWithCommit(t *testing.T) {
	db, f := openDB(t), Fence{}
	if o, err := f.run(t.Context(), db, "txn-1", order("a")); o != Commit || err != nil {
		t.Fatalf("%v, %v", o, err)
	}
	for range 2 {
		if o, err := f.Check(t.Context(), db, "txn-1"); o != Commit || err != nil {
			t.Errorf("check: %v, %v", o, err)
		}
	}
	if o := f.CheckDB(db)(t.Context(), Question{ID: "txn-1"}); o != Commit {
		t.Errorf("check function: %v", o)
	}
}

func TestACheckerThatIsFirstFencesTheLocalTransaction(t *testing.T) {
	db, f := openDB(t), Fence{}
	for range 2 {
		if o, err := f.Check(t.Context(), db, "txn-1"); o != Rollback || err != nil {
			t.Fatalf("check: %v, %v", o, err)
		}
	}
	o, err := f.run(t.Context(), db, "txn-1", order("a"))
	if o != Rollback || !errors.Is(err, ErrFenced) || Retryable(err) {
		t.Errorf("local transaction: %v, %v", o, err)
	}
	if n := orders(t, db, "a"); n != 0 {
		t.Error("the order is there although its message is rolled back")
	}
}

func TestAFailedLocalTransactionIsRolledBackForGood(t *testing.T) {
	db, f := openDB(t), Fence{}
	sorry := errors.New("out of stock")
	o, err := f.run(t.Context(), db, "txn-1", func(ctx context.Context, tx *sql.Tx) error {
		if err := order("a")(ctx, tx); err != nil {
			return err
		}
		return sorry
	})
	if o != Rollback || !errors.Is(err, sorry) || orders(t, db, "a") != 0 {
		t.Errorf("%v, %v, %d orders", o, err, orders(t, db, "a"))
	}
	if o, err := f.run(t.Context(), db, "txn-1", order("b")); o != Rollback || !errors.Is(err, ErrFenced) {
		t.Errorf("again with the same id: %v, %v", o, err)
	}
}

func TestTheSameTransactionAgainTakesEffectOnce(t *testing.T) {
	db, f := openDB(t), Fence{}
	if o, err := f.run(t.Context(), db, "txn-1", order("a")); o != Commit || err != nil {
		t.Fatalf("%v, %v", o, err)
	}
	// The caller did not learn of the commit and tries again; the work must not
	// stay, and the message must not be rolled back.
	if o, err := f.run(t.Context(), db, "txn-1", order("b")); o != Commit || err != nil {
		t.Errorf("the second time: %v, %v", o, err)
	}
	if orders(t, db, "a") != 1 || orders(t, db, "b") != 0 {
		t.Errorf("%d and %d orders", orders(t, db, "a"), orders(t, db, "b"))
	}
	if o, err := f.run(t.Context(), db, "txn-1", order("a")); o != Commit || err == nil {
		t.Errorf("the third time its work fails, and the first one still stands: %v, %v", o, err)
	}
}

func TestLocalTransactionAndCheckerNeverBothWin(t *testing.T) {
	db, f := openDB(t), Fence{}
	var committed, rolledBack int
	for i := range 40 {
		id := fmt.Sprintf("txn-%d", i)
		var local, check Outcome
		var wg sync.WaitGroup
		wg.Go(func() { local, _ = f.run(t.Context(), db, id, order(id)) })
		wg.Go(func() {
			for check == Unknown { // a lock held by the other side
				check, _ = f.Check(t.Context(), db, id)
			}
		})
		wg.Wait()
		if local != check {
			t.Fatalf("%s: the local transaction says %v, the checker says %v", id, local, check)
		}
		if n := orders(t, db, id); (n == 1) != (check == Commit) {
			t.Fatalf("%s: %v, and %d orders", id, check, n)
		}
		if check == Commit {
			committed++
		} else {
			rolledBack++
		}
	}
	t.Logf("committed %d, rolled back %d", committed, rolledBack)
}

// TestCheckerWaitsForATransactionThatIsCommitting is the race in the order that
// matters: the mark is written, the commit is not.
func TestCheckerWaitsForATransactionThatIsCommitting(t *testing.T) {
	db, f := openDB(t), Fence{}
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Committed(t.Context(), tx, "txn-1"); err != nil {
		t.Fatal(err)
	}
	answer := make(chan Outcome)
	go func() {
		for {
			if o, _ := f.Check(context.WithoutCancel(t.Context()), db, "txn-1"); o != Unknown {
				answer <- o
				return
			}
		}
	}()
	select {
	case o := <-answer:
		t.Fatalf("the checker answered %v while the transaction was open", o)
	default:
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if o := <-answer; o != Commit {
		t.Errorf("the checker answered %v", o)
	}
}

func TestTroubleWithTheDatabaseIsNoAnswer(t *testing.T) {
	db, f := openDB(t), Fence{}
	if o, err := (Fence{Table: "elsewhere"}).Check(t.Context(), db, "txn-1"); o != Unknown || err == nil {
		t.Errorf("without the table: %v, %v", o, err)
	}
	if _, err := db.Exec("INSERT INTO splashdam_txn VALUES ('odd', 'perhaps', 0)"); err != nil {
		t.Fatal(err)
	}
	if o, err := f.Check(t.Context(), db, "odd"); o != Unknown || err == nil {
		t.Errorf("an outcome nobody knows: %v, %v", o, err)
	}
	db.Close()
	if o, err := f.Check(t.Context(), db, "txn-1"); o != Unknown || err == nil {
		t.Errorf("without the database: %v, %v", o, err)
	}
	if o, err := f.run(t.Context(), db, "txn-1", order("a")); o != Unknown || err == nil {
		t.Errorf("local transaction without the database: %v, %v", o, err)
	}
	if o := f.CheckDB(db)(t.Context(), Question{ID: "txn-1"}); o != Unknown {
		t.Errorf("check function: %v", o)
	}
}

func TestStatementsNameTheTableAndItsPlaceholders(t *testing.T) {
	const s = "INSERT INTO TABLE (a, b) VALUES (?, ?)"
	for _, c := range []struct {
		fence Fence
		want  string
	}{
		{Fence{}, "INSERT INTO splashdam_txn (a, b) VALUES (?, ?)"},
		{Fence{Table: "shop.txn", Dollar: true}, "INSERT INTO shop.txn (a, b) VALUES ($1, $2)"},
	} {
		if got, err := c.fence.statement(s); got != c.want || err != nil {
			t.Errorf("%+v: %q, %v", c.fence, got, err)
		}
	}
	for _, name := range []string{"a b", "a;b", "1a", "a.b.c.d", "a'"} {
		if _, err := (Fence{Table: name}).statement(s); err == nil {
			t.Errorf("%q was taken as the name of a table", name)
		}
	}
}

type stateError string

func (e stateError) Error() string    { return "pq: " + string(e) }
func (e stateError) SQLState() string { return string(e) }

func TestDriversSayDuplicateInTheirOwnWays(t *testing.T) {
	for err, want := range map[error]bool{
		stateError("23505"): true,
		stateError("40001"): false,
		errors.New("Error 1062 (23000): Duplicate entry 'x' for key 'PRIMARY'"):                true,
		errors.New("Error 1205 (HY000): Lock wait timeout exceeded"):                           false,
		errors.New("constraint failed: UNIQUE constraint failed: splashdam_txn.txn_id (1555)"): true,
		errors.New("ERROR: duplicate key value violates unique constraint (SQLSTATE 23505)"):   true,
		errors.New("database is locked (5) (SQLITE_BUSY)"):                                     false,
	} {
		if duplicate(err) != want {
			t.Errorf("%v: duplicate is %v", err, !want)
		}
	}
}

package integration

import (
	"fmt"
	"math/rand/v2"
)

// shape is tables of a kind, and what happens to them.
type shape struct {
	name   string
	tables []table
	// fill has rows to begin with, of no writer.
	fill []string
	// change is one change of a writer, its n-th.
	change func(rnd *rand.Rand, writer, n int) (query string, args []any)
	// vanish are statements that delete rows without logging them, in turn.
	vanish []string
}

type table struct {
	name   string
	create string
	key    []string // its primary key
}

// manyRows is a SELECT of numbers, id, from 1 to 9000.
const manyRows = ` WITH RECURSIVE d AS (SELECT 0 AS k UNION ALL SELECT k+1 FROM d WHERE k < 8),
	n AS (SELECT 1 AS i UNION ALL SELECT i+1 FROM n WHERE i < 999), many AS (SELECT k*1000 + i AS id FROM d, n) `

// of is a row that the writers share with nobody, and often meet again.
func of(rnd *rand.Rand, writer int) int { return writer + 10*rnd.IntN(400) }

// shapes are what a copy in parts and a following of the log have to do with.
var shapes = []shape{
	{
		name: "orders",
		tables: []table{{"orders", `CREATE TABLE orders (id bigint PRIMARY KEY, writer int unsigned NOT NULL,
			state enum('new','paid','sent'), amount decimal(12,2), note varchar(200))`, []string{"id"}}},
		fill: []string{"REPLACE INTO orders (id, writer, state, amount, note)" + manyRows +
			"SELECT id*1000000, 0, 'new', id/7, repeat('x', id % 100) FROM many"},
		change: func(rnd *rand.Rand, writer, n int) (string, []any) {
			id := of(rnd, writer)
			switch rnd.IntN(5) {
			case 0:
				return "DELETE FROM orders WHERE id = ?", []any{id}
			case 1:
				return "UPDATE orders SET state = 'paid', note = ? WHERE id = ?", []any{fmt.Sprint("note ", n), id}
			case 2: // rows that a copy reads
				first := 1_000_000 * (1 + rnd.IntN(9000))
				if n%2 == 0 {
					return "DELETE FROM orders WHERE id BETWEEN ? AND ? AND id % 6 = ?", []any{first, first + 40_000_000, writer % 6}
				}
				return "UPDATE orders SET amount = ? WHERE id = ?", []any{float64(n) / 4, first}
			}
			return "REPLACE INTO orders (id, writer, state, amount, note) VALUES (?, ?, 'new', ?, NULL)", []any{id, writer, float64(n) / 4}
		},
		vanish: []string{"TRUNCATE TABLE orders"},
	},
	{
		// A key of several columns, most of them text whose order is not that of its
		// bytes, and of which different texts are the same.
		name: "words",
		tables: []table{{"words", `CREATE TABLE words (
			region varchar(12) CHARACTER SET latin1 COLLATE latin1_german1_ci NOT NULL,
			word varchar(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL,
			day datetime(3) NOT NULL, hits int, note varchar(200), PRIMARY KEY (region, word, day))`, []string{"region", "word", "day"}}},
		fill: []string{"REPLACE INTO words (region, word, day, hits)" + manyRows + `SELECT ELT(1 + id % 4, 'Nord', 'Süd', 'ÖST', 'west'),
			CONCAT(ELT(1 + id % 5, 'ä', 'Z', 'ß', 'ø', '日'), id), '2026-01-02 03:04:05.678', id FROM many`},
		change: func(rnd *rand.Rand, writer, n int) (string, []any) {
			region := pick(rnd, "nord", "NÖRD", "süd", "Sud", "öst", "West", "west ")
			text := fmt.Sprint(pick(rnd, "a", "Ä", "b", "ß", "ss", "É", "e", "日", "z"), of(rnd, writer)%97, pick(rnd, "", "x", "X", "😀"))
			day := pick(rnd, "2026-01-02 03:04:05.678", "1999-12-31 23:59:59.999", "2026-01-02 03:04:05")
			switch rnd.IntN(4) {
			case 0:
				return "DELETE FROM words WHERE region = ? AND word = ? AND day = ?", []any{region, text, day}
			case 1:
				return "UPDATE IGNORE words SET word = UPPER(word), day = ?, note = ? WHERE region = ? AND word LIKE ?",
					[]any{day, fmt.Sprint("note ", n), region, text + "%"}
			}
			return "REPLACE INTO words (region, word, day, hits) VALUES (?, ?, ?, ?)", []any{region, text, day, n}
		},
		vanish: []string{"TRUNCATE TABLE words"},
	},
	{
		// A key that no part of a table can be read by.
		name: "states",
		tables: []table{{"states", `CREATE TABLE states (state enum('new','paid','sent') NOT NULL, id int NOT NULL,
			amount decimal(12,2), PRIMARY KEY (state, id))`, []string{"state", "id"}}},
		fill: []string{"REPLACE INTO states (state, id, amount)" + manyRows + "SELECT ELT(1 + id % 3, 'new', 'paid', 'sent'), id*1000, id/7 FROM many"},
		change: func(rnd *rand.Rand, writer, n int) (string, []any) {
			id, state := of(rnd, writer), pick(rnd, "new", "paid", "sent")
			switch rnd.IntN(4) {
			case 0:
				return "DELETE FROM states WHERE id = ?", []any{id}
			case 1:
				return "UPDATE IGNORE states SET state = ? WHERE id = ?", []any{state, id}
			}
			return "REPLACE INTO states (state, id, amount) VALUES (?, ?, ?)", []any{state, id, float64(n) / 4}
		},
		vanish: []string{"TRUNCATE states"},
	},
	{
		name: "partitions",
		tables: []table{{"events", `CREATE TABLE events (id bigint PRIMARY KEY, writer int NOT NULL, note varchar(200))
			PARTITION BY RANGE (id) (PARTITION p0 VALUES LESS THAN (1000), PARTITION p1 VALUES LESS THAN (2000),
			PARTITION p2 VALUES LESS THAN (3000), PARTITION p3 VALUES LESS THAN MAXVALUE)`, []string{"id"}}},
		fill: []string{"REPLACE INTO events (id, writer)" + manyRows + "SELECT id*10, 0 FROM many"},
		change: func(rnd *rand.Rand, writer, n int) (string, []any) {
			id := of(rnd, writer)
			switch rnd.IntN(4) {
			case 0:
				return "DELETE FROM events WHERE id = ?", []any{id}
			case 1: // into another partition, at times
				return "UPDATE IGNORE events SET id = ?, note = ? WHERE id = ?", []any{of(rnd, writer), fmt.Sprint("note ", n), id}
			}
			return "REPLACE INTO events (id, writer) VALUES (?, ?)", []any{id, writer}
		},
		vanish: []string{
			"ALTER TABLE events TRUNCATE PARTITION p1, p3", "ALTER TABLE events DROP PARTITION p1",
			"ALTER TABLE events REORGANIZE PARTITION p2 INTO (PARTITION p1 VALUES LESS THAN (2000), PARTITION p2 VALUES LESS THAN (3000))",
			"TRUNCATE TABLE events",
		},
	},
	{
		name: "invoices",
		tables: []table{
			{"invoices", "CREATE TABLE invoices (id int PRIMARY KEY, total decimal(12,2))", []string{"id"}},
			{"items", "CREATE TABLE items (invoice int, line int unsigned, what varchar(200), PRIMARY KEY (invoice, line))", []string{"invoice", "line"}},
		},
		fill: []string{
			"REPLACE INTO invoices (id, total)" + manyRows + "SELECT id*10000, id/7 FROM many",
			"REPLACE INTO items (invoice, line, what)" + manyRows + "SELECT (id DIV 4)*10000, id % 4, repeat('y', id % 100) FROM many",
		},
		change: func(rnd *rand.Rand, writer, n int) (string, []any) {
			id, line := of(rnd, writer), rnd.IntN(4)
			switch rnd.IntN(6) {
			case 0:
				return "DELETE invoices, items FROM invoices JOIN items ON invoice = id WHERE id = ?", []any{id}
			case 1:
				return "UPDATE invoices JOIN items ON invoice = id SET total = ?, what = ? WHERE id = ?", []any{float64(n) / 4, fmt.Sprint("what ", n), id}
			case 2:
				return "UPDATE IGNORE items SET line = ? WHERE invoice = ? AND line = ?", []any{rnd.IntN(4), id, line}
			case 3:
				return "REPLACE INTO invoices (id, total) VALUES (?, ?)", []any{id, float64(n) / 4}
			}
			return "REPLACE INTO items (invoice, line, what) VALUES (?, ?, NULL)", []any{id, line}
		},
		vanish: []string{"TRUNCATE TABLE items", "TRUNCATE TABLE invoices"},
	},
}

func pick(rnd *rand.Rand, from ...string) string { return from[rnd.IntN(len(from))] }

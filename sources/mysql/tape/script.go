package tape

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

const (
	scriptRows    = 2000
	scriptChanges = 240
	// scriptAlters is the change that adds a column.
	scriptAlters = scriptChanges / 2
)

// Script is a table of orders and what happens to it.
type Script struct {
	Setup   []string
	Changes [][]string // the statements of each transaction
}

// NewScript writes it for a table, whose name may have a database's before it.
func NewScript(table string) Script {
	s := Script{Setup: []string{"CREATE TABLE " + table + ` (
		id BIGINT NOT NULL PRIMARY KEY,
		item VARCHAR(60) NOT NULL,
		price DECIMAL(10,2),
		quantity INT UNSIGNED NOT NULL,
		state ENUM('new', 'paid', 'sent') NOT NULL,
		changed DATETIME(3) NOT NULL) CHARACTER SET utf8mb4`}}
	w := writer{table: table, random: rand.New(rand.NewPCG(10, 11))}
	for range scriptRows / 100 {
		s.Setup = append(s.Setup, w.insert(100))
	}
	for n := range scriptChanges {
		if n == scriptAlters {
			s.Changes = append(s.Changes, []string{"ALTER TABLE " + table + " ADD COLUMN origin VARCHAR(20) NOT NULL DEFAULT 'shop'"})
			w.origin = true
			continue
		}
		s.Changes = append(s.Changes, w.change())
	}
	return s
}

// writer invents changes, the same in every run.
type writer struct {
	table  string
	random *rand.Rand
	last   int // id
	clock  int
	origin bool // the column has been added
}

var items = []string{"tea", "coffee", "crème brûlée", "東京 noodles", "", "O''Hara''s bread", "jam 🍓"}

func (w *writer) insert(rows int) string {
	columns := "id, item, price, quantity, state, changed"
	if w.origin {
		columns += ", origin"
	}
	var values []string
	for range rows {
		w.last += 1 + w.random.IntN(4)
		price := "NULL"
		if cents := w.random.IntN(1_000_000); cents%10 > 0 {
			price = fmt.Sprintf("%d.%02d", (cents-200_000)/100, cents%100)
		}
		row := fmt.Sprintf("%d, '%s', %s, %d, 'new', %s", w.last, items[w.random.IntN(len(items))], price, w.random.Uint32()>>w.random.IntN(32), w.now())
		if w.origin {
			row += ", 'phone'"
		}
		values = append(values, "("+row+")")
	}
	return "INSERT INTO " + w.table + " (" + columns + ") VALUES " + strings.Join(values, ", ")
}

// now is a time of the script's own, so that every run has the same.
func (w *writer) now() string {
	w.clock++
	return fmt.Sprintf("'2026-03-01 %02d:%02d:%02d.%03d'", w.clock/3_600_000, w.clock/60_000%60, w.clock/1000%60, w.clock%1000)
}

// change is one transaction. It has an insert in any case: one that meets no rows is
// not in the binlog.
func (w *writer) change() []string {
	statements := []string{w.insert(1 + w.random.IntN(5))}
	for range w.random.IntN(3) {
		from := 1 + w.random.IntN(w.last)
		some := fmt.Sprintf(" WHERE id BETWEEN %d AND %d", from, from+w.random.IntN(30))
		switch w.random.IntN(4) {
		case 0:
			statements = append(statements, "DELETE FROM "+w.table+some)
		case 1:
			// To a key that no row has, and no later one gets.
			statements = append(statements, fmt.Sprintf("UPDATE %s SET id = -id, changed = %s WHERE id = %d", w.table, w.now(), from))
		default:
			statements = append(statements, "UPDATE "+w.table+" SET quantity = quantity DIV 2, price = price + 1, state = 'paid', changed = "+w.now()+some)
		}
	}
	return statements
}

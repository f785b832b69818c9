package tape

import (
	"database/sql"
	"fmt"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"
	_ "modernc.org/sqlite" // searches and sorts
)

// view answers SELECTs by what there was at a moment. It may be asked concurrently.
type view struct {
	db *sql.DB
}

func newView(r *recording, at int) (_ *view, err error) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1) // each has a memory of its own
	v := &view{db}
	defer func() {
		if err != nil {
			v.close()
		}
	}()
	all := r.relations(at)
	attached := map[string]bool{}
	for _, rel := range all {
		database, _, _ := strings.Cut(rel.Name, ".")
		if attached[database] {
			continue
		}
		attached[database] = true
		if _, err := db.Exec("ATTACH ':memory:' AS " + quoteName(database)); err != nil {
			return nil, err
		}
	}
	tx, err := db.Begin()
	if err != nil {
		return nil, err
	}
	defer tx.Rollback()
	for _, rel := range all {
		if err := insert(tx, rel); err != nil {
			return nil, fmt.Errorf("making %s: %w", rel.Name, err)
		}
	}
	return v, tx.Commit()
}

func (v *view) close() { v.db.Close() } // of memory

func insert(tx *sql.Tx, rel relation) error {
	database, name, _ := strings.Cut(rel.Name, ".")
	table := quoteName(database) + "." + quoteName(name)
	var columns, marks []string
	for _, c := range rel.Columns {
		columns = append(columns, quoteName(c.Name)+" "+declare(c.Type))
		marks = append(marks, "?")
	}
	if _, err := tx.Exec("CREATE TABLE " + table + " (" + strings.Join(columns, ", ") + ")"); err != nil {
		return err
	}
	into, err := tx.Prepare("INSERT INTO " + table + " VALUES (" + strings.Join(marks, ", ") + ")")
	if err != nil {
		return err
	}
	defer into.Close()
	values := make([]any, len(rel.Columns))
	for _, row := range rel.Rows {
		for i, value := range row {
			values[i] = value
		}
		if _, err := into.Exec(values...); err != nil {
			return err
		}
	}
	return nil
}

// asText ends the declaration of a column whose values SQLite must leave alone.
const asText = "TEXT "

// declare makes of a column's type one by which SQLite sorts as the server does.
func declare(sqlType string) string {
	if strings.Contains(sqlType, "INT") || sqlType == "DOUBLE" {
		return sqlType
	}
	return asText + sqlType
}

// query answers in the protocol of prepared statements, binary, or of others.
func (v *view) query(text string, args []any, binary bool) (_ *mysql.Result, err error) {
	rows, err := v.db.Query(text, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return nil, err
	}
	var columns []column
	for _, t := range types {
		columns = append(columns, column{t.Name(), strings.TrimPrefix(t.DatabaseTypeName(), asText)})
	}
	var all [][]any
	for rows.Next() {
		values, to := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		all = append(all, values)
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return result(columns, all, binary)
}

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

package mysql

import "strings"

// tableName is a table in its database.
type tableName struct{ database, table string }

func (t tableName) String() string { return t.database + "." + t.table }

// verb is what a statement of the binlog does, as far as it matters here.
type verb uint8

const (
	nothing  verb = iota // to any table's rows
	begins               // a transaction
	commits              //
	rollback             //
	dml                  // changes rows, and logs the statement in place of them
	create               // a table; its rows, if any, are logged
	alter                //
	truncate             //
	drop                 // tables
	dropAll              // tables of a database
	rename               // tables
	xaStart              // a distributed transaction
	xaEnd                // of its changes
	xaCommit
	xaRollback
)

// statement is a statement of the binlog. The binlog has no rows for what most DDL
// does to them: a new column with a default, a changed type, a dropped partition.
type statement struct {
	verb     verb
	tables   []tableName // that it is about; old names of a rename
	renamed  []tableName // new names, one for each of tables
	database string      // of dropAll
	// reread: rows have changed, or have got values, that the binlog does not have.
	reread bool
	// vanish: rows are gone that the binlog does not name.
	vanish bool
	word   string // the statement's first word
	xid    string // of xaCommit and xaRollback
}

// parseStatement reads a statement as far as it matters. It is not a parser of
// SQL: what it does not know it skips, and where it is in doubt about an ALTER it
// says that the rows have to be read again, which costs time and is never wrong.
func parseStatement(sql, database string) statement {
	w := &words{rest: sql, database: database}
	s := statement{word: strings.ToUpper(w.next())}
	switch s.word {
	case "BEGIN":
		s.verb = begins
	case "START":
		if w.is("TRANSACTION") {
			s.verb = begins
		}
	case "COMMIT":
		s.verb = commits
	case "ROLLBACK":
		if !w.is("TO", "WORK TO", "SAVEPOINT") {
			s.verb = rollback
		}
	case "INSERT", "UPDATE", "DELETE", "REPLACE", "LOAD", "WITH":
		s.verb = dml
	case "CREATE":
		w.createTable(&s)
	case "ALTER":
		w.skip("ONLINE", "OFFLINE", "IGNORE")
		if w.is("TABLE") {
			w.skip("IF", "EXISTS")
			s.verb, s.tables = alter, []tableName{w.table()}
			if w.is("WAIT") {
				w.next()
			}
			w.skip("NOWAIT")
			w.alterations(&s)
		}
	case "TRUNCATE":
		w.skip("TABLE")
		s.verb, s.tables, s.vanish = truncate, []tableName{w.table()}, true
	case "DROP":
		w.dropTables(&s)
	case "RENAME":
		if w.is("TABLE", "TABLES") {
			w.skip("IF", "EXISTS")
			s.verb = rename
			w.renames(&s)
		}
	case "XA":
		w.distributed(&s)
	}
	return s
}

func (w *words) createTable(s *statement) {
	replaces := false
	if w.is("OR") {
		w.next() // REPLACE
		replaces = true
	}
	if w.is("TEMPORARY") {
		return
	}
	if w.is("TABLE") {
		w.skip("IF", "NOT", "EXISTS")
		s.verb, s.tables, s.vanish = create, []tableName{w.table()}, replaces
	}
}

func (w *words) dropTables(s *statement) {
	switch {
	case w.is("TEMPORARY"):
	case w.is("TABLE", "TABLES"):
		w.skip("IF", "EXISTS")
		s.verb, s.vanish = drop, true
		for {
			s.tables = append(s.tables, w.table())
			if w.next() != "," {
				return
			}
		}
	case w.is("DATABASE", "SCHEMA"):
		w.skip("IF", "EXISTS")
		s.verb, s.database, s.vanish = dropAll, w.next(), true
	}
}

func (w *words) renames(s *statement) {
	for {
		from := w.table()
		w.skip("WAIT", "NOWAIT")
		for {
			word := w.next()
			if word == "" {
				return
			}
			if strings.EqualFold(word, "TO") {
				break
			}
		}
		s.tables, s.renamed = append(s.tables, from), append(s.renamed, w.table())
		if w.next() != "," {
			return
		}
	}
}

func (w *words) distributed(s *statement) {
	switch strings.ToUpper(w.next()) {
	case "START", "BEGIN":
		s.verb = xaStart
	case "END":
		s.verb = xaEnd
	case "COMMIT":
		s.verb, s.xid = xaCommit, xid(w.rest)
	case "ROLLBACK":
		s.verb, s.xid = xaRollback, xid(w.rest)
	}
}

// xid is a transaction's name, as servers log it: X'676c6f62616c',X'6272616e6368',1.
func xid(text string) string {
	text, _, _ = strings.Cut(strings.TrimSpace(text), " ")
	prefix := strings.ToLower(text) // the digits
	return strings.ReplaceAll(prefix, "x'", "X'")
}

// alterations reads the clauses behind ALTER TABLE name.
func (w *words) alterations(s *statement) {
	for {
		clause, more := w.clause()
		s.alteration(clause)
		if !more {
			return
		}
	}
}

// alteration says what one clause of ALTER TABLE does to rows.
func (s *statement) alteration(c []string) {
	word := func(i int) string {
		if i < len(c) {
			return strings.ToUpper(c[i])
		}
		return ""
	}
	switch word(0) {
	case "", "WAIT", "NOWAIT", "ALGORITHM", "LOCK", "FORCE", "ENGINE", "COMMENT", "AUTO_INCREMENT", "ROW_FORMAT", "ORDER", "DISABLE",
		"ENABLE", "ANALYZE", "CHECK", "OPTIMIZE", "REBUILD", "REPAIR", "REORGANIZE", "COALESCE", "REMOVE", "PARTITION", "WITHOUT", "WITH",
		"AVG_ROW_LENGTH", "CHECKSUM", "COMPRESSION", "CONNECTION", "DELAY_KEY_WRITE", "INSERT_METHOD", "KEY_BLOCK_SIZE", "MAX_ROWS",
		"MIN_ROWS", "PACK_KEYS", "STATS_AUTO_RECALC", "STATS_PERSISTENT", "STATS_SAMPLE_PAGES", "DEFAULT", "CHARACTER", "CHARSET", "COLLATE",
		"PAGE_CHECKSUM", "TRANSACTIONAL", "SECONDARY_ENGINE", "TABLESPACE":
	case "ADD":
		s.addition(c)
	case "DROP":
		switch word(1) {
		case "PARTITION", "PRIMARY", "SYSTEM":
			s.vanish, s.reread = true, true
		}
	case "TRUNCATE", "EXCHANGE", "DISCARD", "IMPORT":
		s.vanish, s.reread = true, true
	case "ALTER":
		// A new default is for new rows; an index's visibility is for nobody here.
	case "RENAME":
		switch word(1) {
		case "INDEX", "KEY":
		case "COLUMN":
			s.reread = true
		default:
			name := c[1:]
			if word(1) == "TO" || word(1) == "AS" || word(1) == "=" {
				name = c[2:]
			}
			to := tableName{s.tables[0].database, ""}
			switch {
			case len(name) >= 3 && name[1] == ".":
				to = tableName{unquoted(name[0]), unquoted(name[2])}
			case len(name) > 0:
				to.table = unquoted(name[0])
			}
			s.verb, s.renamed = rename, []tableName{to}
		}
	case "CONVERT":
		s.reread = true
		s.vanish = word(1) == "PARTITION" || word(1) == "TABLE"
	default: // MODIFY, CHANGE, and what nobody has heard of yet
		s.reread = true
	}
}

func (s *statement) addition(c []string) {
	for i, text := range c {
		switch strings.ToUpper(text) {
		case "INDEX", "KEY", "UNIQUE", "FULLTEXT", "SPATIAL", "CONSTRAINT", "FOREIGN", "CHECK", "PARTITION", "PERIOD":
			if i == 1 && !strings.EqualFold(text, "CONSTRAINT") {
				return
			}
		case "PRIMARY":
			// Records have other keys from now on.
			s.vanish, s.reread = true, true
			return
		case "SYSTEM", "GENERATED", "AS", "AUTO_INCREMENT", "SERIAL":
			s.reread = true
		case "NOT":
			s.reread = true // a type's own default
		case "DEFAULT":
			if i+1 < len(c) && !strings.EqualFold(c[i+1], "NULL") {
				s.reread = true
			}
		}
	}
}

// words cuts SQL into words: names, numbers, strings, and signs of one character.
// Comments are skipped, but what is in one that a server executes is not.
type words struct {
	rest     string
	database string // the default one
	quoted   bool   // the word that next returned was in quotes
}

func (w *words) next() string {
	w.blank()
	w.quoted = false
	if w.rest == "" {
		return ""
	}
	switch c := w.rest[0]; {
	case c == '`' || c == '"' || c == '\'':
		return w.quote(c)
	case isWord(c):
		n := 1
		for n < len(w.rest) && isWord(w.rest[n]) {
			n++
		}
		return w.take(n)
	}
	return w.take(1)
}

func (w *words) take(n int) string {
	word := w.rest[:n]
	w.rest = w.rest[n:]
	return word
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '$' || c >= 0x80
}

// quote reads a quoted name or string; a quote in it is there twice, or in a
// string behind a backslash.
func (w *words) quote(q byte) string {
	w.quoted = true
	var b strings.Builder
	for i := 1; i < len(w.rest); i++ {
		switch c := w.rest[i]; {
		case c == q && i+1 < len(w.rest) && w.rest[i+1] == q:
			b.WriteByte(q)
			i++
		case c == q:
			w.rest = w.rest[i+1:]
			return b.String()
		case c == '\\' && q != '`' && i+1 < len(w.rest):
			i++
			b.WriteByte(w.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	w.rest = ""
	return b.String()
}

// blank skips white space and comments.
func (w *words) blank() {
	for {
		w.rest = strings.TrimLeft(w.rest, " \t\r\n\f\v")
		switch {
		case strings.HasPrefix(w.rest, "/*!"), strings.HasPrefix(w.rest, "/*M!"):
			_, w.rest, _ = strings.Cut(w.rest, "!")
			w.rest = strings.TrimLeft(w.rest, "0123456789")
		case strings.HasPrefix(w.rest, "*/"): // the end of such a one
			w.rest = w.rest[2:]
		case strings.HasPrefix(w.rest, "/*"):
			_, w.rest, _ = strings.Cut(w.rest[2:], "*/")
		case strings.HasPrefix(w.rest, "#"), strings.HasPrefix(w.rest, "-- "), strings.HasPrefix(w.rest, "--\n"):
			_, w.rest, _ = strings.Cut(w.rest, "\n")
		default:
			return
		}
	}
}

// is takes the next words if they are one of the given, which may have several.
func (w *words) is(any ...string) bool {
	for _, text := range any {
		ahead := *w
		found := true
		for part := range strings.FieldsSeq(text) {
			if !strings.EqualFold(ahead.next(), part) || ahead.quoted {
				found = false
				break
			}
		}
		if found {
			*w = ahead
			return true
		}
	}
	return false
}

// skip takes all of the given words that come next.
func (w *words) skip(any ...string) {
	for w.is(any...) {
	}
}

// table reads a name with or without its database.
func (w *words) table() tableName {
	first := w.next()
	if w.is(".") {
		return tableName{first, w.next()}
	}
	return tableName{w.database, first}
}

// mark is put in front of words that were in quotes, so that none is a keyword.
const mark = "`"

func unquoted(word string) string { return strings.TrimPrefix(word, mark) }

// clause returns the words up to the next comma outside parentheses.
func (w *words) clause() (c []string, more bool) {
	depth := 0
	for {
		word := w.next()
		switch {
		case word == "" && w.rest == "" && !w.quoted:
			return c, false
		case w.quoted:
			c = append(c, mark+word)
			continue
		case word == "(":
			depth++
		case word == ")":
			depth--
		case word == "," && depth == 0:
			return c, true
		}
		c = append(c, word)
	}
}

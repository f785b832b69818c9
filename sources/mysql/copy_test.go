package mysql

import (
	"regexp"
	"strings"
	"testing"
)

// noKey are the types that a primary key cannot have, or not whole.
var noKey = regexp.MustCompile(`^(tiny|medium|long)?(text|blob)|^(json|geometry|point|vector)|compressed`)

// notUnicode are the cases that have characters that are none in Unicode.
var notUnicode = map[string]bool{"gr": true, "u2": true, "su8": true}

// A table is copied row by row, so that each row's key says where the next begins.
func TestATableIsCopiedByAKeyOfAnyType(t *testing.T) {
	for _, server := range liveServers(t) {
		t.Run(server.folder(), func(t *testing.T) {
			conn := server.session(t)
			execute(t, conn, "SET sql_mode='ALLOW_INVALID_DATES', time_zone='+00:00', NAMES utf8mb4")
			want, total := map[string]int{}, 0
			for _, c := range casesOf(server.mariadb, server.version) {
				if noKey.MatchString(c.sql) || notUnicode[c.name] {
					continue
				}
				name, closing := "k_"+c.name, ""
				if strings.HasSuffix(c.sql, ") null") {
					closing = ")"
				}
				execute(t, conn, "CREATE TABLE "+name+" (c "+strings.TrimSuffix(strings.Replace(c.sql, "invisible", "", 1), ") null")+closing+", PRIMARY KEY (c)) CHARACTER SET utf8mb4")
				for _, v := range c.rows {
					execute(t, conn, "INSERT IGNORE INTO "+name+" VALUES ("+v.sql+")")
				}
				var rows int
				if err := conn.QueryRowContext(t.Context(), "SELECT count(*) FROM "+name).Scan(&rows); err != nil {
					t.Fatal(err)
				}
				want["test.splashdam_test."+name] = rows
				total += rows
			}
			s := &privateServer{liveServer: server}
			d := s.try(t, nil, "table.include.list", `splashdam_test\.k_.*`, "incremental.snapshot.chunk.size", "1")
			// Those without a key that chunks can go by have a truncate before their rows.
			for _, c := range casesOf(server.mariadb, server.version) {
				kind := strings.FieldsFunc(c.want, func(r rune) bool { return r == ' ' || r == '(' || r == '!' })[0]
				switch topic := "test.splashdam_test.k_" + c.name; kind {
				case "bool", "float32", "float64", "enum", "set", "bits":
					want[topic]++
					total++
				}
			}
			d.read(total)
			if d.err != nil {
				t.Fatal(d.err)
			}
			for topic, rows := range want {
				if d.of[topic] != rows {
					t.Errorf("%s has %d rows, and %d came", topic, rows, d.of[topic])
				}
			}
			if d.rows != total {
				t.Errorf("%d rows came of %d", d.rows, total)
			}
		})
	}
}

func TestAKeyThatDoesNotComeBackFromUnicodeIsRefused(t *testing.T) {
	for _, server := range liveServers(t) {
		t.Run(server.folder(), func(t *testing.T) {
			conn := server.session(t)
			execute(t, conn, "CREATE TABLE lost (c varchar(9) character set greek primary key)", "INSERT INTO lost VALUES ('a?b'), (x'd2'), ('ω')",
				"CREATE TABLE kept (c varchar(9) character set greek primary key)", "INSERT INTO kept VALUES ('a?b'), ('?'), ('ω')")
			execute(t, conn, "CREATE TABLE halves (c varchar(9) character set ucs2 primary key)", "INSERT INTO halves VALUES (x'd8000062'), ('ω')")
			s := &privateServer{liveServer: server}
			s.try(t, nil, "table.include.list", "splashdam_test.halves", "incremental.snapshot.chunk.size", "1").stops("splashdam_test.halves", "Unicode", "another key")
			s.try(t, nil, "table.include.list", "splashdam_test.kept", "incremental.snapshot.chunk.size", "1").works(3)
			s.try(t, nil, "table.include.list", "splashdam_test.lost", "incremental.snapshot.chunk.size", "1").stops("splashdam_test.lost", "Unicode", "another key")
		})
	}
}

package mysql

import (
	"bytes"
	"database/sql"
	"encoding/hex"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/klauspost/compress/zlib"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// TestCodePagesAgreeWithTheStandardsOfTheWeb is the check that needs no server:
// the characters that these standards and the servers both have are nearly all
// the same. Big5 has its rows C6 and C7 otherwise, EUC of Japan those that users
// define.
func TestCodePagesAgreeWithTheStandardsOfTheWeb(t *testing.T) {
	for name, test := range map[string]struct {
		standard encoding.Encoding
		atLeast  int // codes that both know
		differ   int // of them
	}{
		"latin1":  {charmap.Windows1252, 250, 0},
		"cp1251":  {charmap.Windows1251, 254, 0},
		"koi8r":   {charmap.KOI8R, 255, 0},
		"cp850":   {charmap.CodePage850, 255, 0},
		"big5":    {traditionalchinese.Big5, 13700, 267},
		"cp932":   {japanese.ShiftJIS, 7500, 0},
		"sjis":    {japanese.ShiftJIS, 6900, 7},
		"euckr":   {korean.EUCKR, 17000, 0},
		"gb2312":  {simplifiedchinese.GBK, 7500, 2},
		"gbk":     {simplifiedchinese.GBK, 21000, 0},
		"gb18030": {simplifiedchinese.GB18030, 21999, 1},
		"eucjpms": {japanese.EUCJP, 13000, 375},
		"ujis":    {japanese.EUCJP, 13000, 382},
	} {
		page := codePages()[name]
		known, differ := 0, 0
		for code := range codes(page) {
			ours := page.appendUTF8(nil, code)
			theirs, err := test.standard.NewDecoder().Bytes(code)
			if err != nil || bytes.ContainsRune(theirs, '�') || string(ours) == "?" {
				continue
			}
			known++
			if !bytes.Equal(ours, theirs) {
				differ++
			}
		}
		if known < test.atLeast || differ != test.differ {
			t.Errorf("%s: %d codes that the standard knows too, want at least %d; %d differ, want %d",
				name, known, test.atLeast, differ, test.differ)
		}
	}
}

// codes yields every code of a page that has no more than three bytes.
func codes(p *codePage) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for b, r := range p.one {
			if r != none && !yield([]byte{byte(b)}) {
				return
			}
		}
		for i, r := range p.two {
			if r != 0 && !yield([]byte{byte(leadLow + i/trails), byte(trailLow + i%trails)}) {
				return
			}
		}
		for i, r := range p.three {
			if r != 0 && !yield([]byte{0x8f, byte(leadLow + i/trails), byte(trailLow + i%trails)}) {
				return
			}
		}
	}
}

// TestCodePagesAreThoseOfTheServers compares every code. With -rewrite it writes
// the tables first, from a MySQL server, as MariaDB has no gb18030.
func TestCodePagesAreThoseOfTheServers(t *testing.T) {
	servers := liveServers(t)
	if *rewrite {
		i := slices.IndexFunc(servers, func(s *liveServer) bool { return !s.mariadb })
		if i < 0 {
			t.Fatal("SPLASHDAM_TEST_MYSQL names no MySQL server to take the code pages from")
		}
		writeCodePages(t, servers[i])
	}
	for _, s := range servers {
		for name, page := range codePages() {
			if s.mariadb && name == "gb18030" {
				continue
			}
			compared := 0
			compare := func(code string, r uint16, ok bool) {
				if r == 0 || r == none {
					return // what MariaDB makes of a code that is none is its own affair
				}
				compared++
				if got := string(page.appendUTF8(nil, []byte(code))); !ok || got != string(rune(r)) {
					t.Errorf("%s: %s %x is %q, the server has %q (%v)", s.version, name, code, got, rune(r), ok)
				}
			}
			for code, want := range s.codes(t, name, "", 0, 255, 0) {
				if page.one[code[0]] != none {
					compare(code, want.r, want.ok)
				}
			}
			for plane, prefix := range [][]uint16{page.two, page.three} {
				if prefix == nil {
					continue
				}
				for code, want := range s.codes(t, name, []string{"", "8F"}[plane], leadLow, leadHigh, 1) {
					if pairOf(prefix, []byte(code)[plane:]) != 0 {
						compare(code, want.r, want.ok)
					}
				}
			}
			if compared < 128 {
				t.Errorf("%s: of %s only %d codes were compared", s.version, name, compared)
			}
		}
	}
}

// TestLongCodesOfGB18030AreThoseOfTheServer compares all 39,420 of the first
// plane and some of the others.
func TestLongCodesOfGB18030AreThoseOfTheServer(t *testing.T) {
	page := codePages()["gb18030"]
	for _, s := range liveServers(t) {
		if s.mariadb {
			continue
		}
		for _, span := range [][2]int{{0, 39500}, {189000, 190000}, {1237000, 1237700}} {
			rows, err := s.db.QueryContext(t.Context(), `WITH RECURSIVE n(i) AS (SELECT ? UNION ALL SELECT i+1 FROM n WHERE i < ?),
				c AS (SELECT /*+ SET_VAR(cte_max_recursion_depth=100000) */ UNHEX(CONCAT(HEX(0x81+i DIV 12600), HEX(0x30+i DIV 1260 MOD 10), HEX(0x81+i DIV 10 MOD 126), HEX(0x30+i MOD 10))) AS code FROM n)
				SELECT /*+ SET_VAR(cte_max_recursion_depth=100000) */ code, CONVERT(CAST(code AS CHAR CHARACTER SET gb18030) USING utf8mb4) FROM c`, span[0], span[1])
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for rows.Next() {
				var code []byte
				var want sql.NullString
				if err := rows.Scan(&code, &want); err != nil {
					t.Fatal(err)
				}
				if got := string(page.appendUTF8(nil, code)); want.Valid && got != want.String {
					t.Errorf("gb18030 %x is %q, the server has %q", code, got, want.String)
				}
				n++
			}
			if rows.Err() != nil || n != span[1]-span[0]+1 {
				t.Fatalf("%d codes: %v", n, rows.Err())
			}
		}
	}
}

type codeOnServer struct {
	r  uint16
	ok bool // it is one character
}

// codes asks the server for the character of each code that is a byte, or a pair,
// behind the prefix.
func (s *liveServer) codes(t *testing.T, charset, prefix string, low, high, extra int) map[string]codeOnServer {
	t.Helper()
	trail := "SELECT '' AS h"
	if extra > 0 {
		trail = fmt.Sprintf("SELECT LPAD(HEX(i),2,'0') AS h FROM n WHERE i BETWEEN %d AND %d", trailLow, trailHigh)
	}
	rows, err := s.db.QueryContext(t.Context(), fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM n WHERE i < 255),
		a AS (SELECT LPAD(HEX(i),2,'0') AS h FROM n WHERE i BETWEEN %d AND %d), b AS (%s),
		c AS (SELECT UNHEX(CONCAT('%s', a.h, b.h)) AS code FROM a, b)
		SELECT HEX(code), HEX(CONVERT(CAST(code AS CHAR CHARACTER SET %s) USING utf32)) FROM c`, low, high, trail, prefix, charset))
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	found := map[string]codeOnServer{}
	for rows.Next() {
		var codeHex, runesHex sql.NullString
		if err := rows.Scan(&codeHex, &runesHex); err != nil {
			t.Fatal(err)
		}
		code, err := hex.DecodeString(codeHex.String)
		if err != nil {
			t.Fatal(err)
		}
		c, err := hex.DecodeString(runesHex.String)
		if err != nil {
			t.Fatal(err)
		}
		one := len(c) == 4 && c[0] == 0 && c[1] == 0
		if one {
			found[string(code)] = codeOnServer{uint16(c[2])<<8 | uint16(c[3]), true}
		} else {
			found[string(code)] = codeOnServer{}
		}
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return found
}

func writeCodePages(t *testing.T, s *liveServer) {
	var entries []uint16
	for i, name := range codePageNames {
		single := s.codes(t, name, "", 0, 255, 0)
		for b := range 256 {
			r := uint16(none)
			if c := single[string([]byte{byte(b)})]; c.ok {
				r = c.r
			}
			entries = append(entries, r)
		}
		for plane, from := range []int{firstOfTwo, firstOfThree} {
			if i < from {
				continue
			}
			prefix := []string{"", "\x8f"}[plane]
			found := s.codes(t, name, fmt.Sprintf("%X", prefix), leadLow, leadHigh, 1)
			for p := range pairs {
				code := prefix + string([]byte{byte(leadLow + p/trails), byte(trailLow + p%trails)})
				entries = append(entries, found[code].r)
			}
		}
	}
	lows, highs := make([]byte, len(entries)), make([]byte, len(entries))
	var last uint16
	for i, e := range entries {
		lows[i], highs[i] = byte(e-last), byte((e-last)>>8)
		last = e
	}
	var file bytes.Buffer
	z, err := zlib.NewWriterLevel(&file, zlib.BestCompression)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := z.Write(append(lows, highs...)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile("codepage.bin", file.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Fatalf("codepage.bin is written, %d bytes: run the tests again without -rewrite", file.Len())
}

package mysql

import (
	"testing"
	"unicode/utf8"
)

func TestTextOfAnyCharacterSetBecomesUTF8(t *testing.T) {
	for _, test := range []struct{ charset, bytes, want string }{
		{"utf8mb4", "naïve 🐘", "naïve 🐘"},
		{"utf8mb3", "naïve", "naïve"},
		{"ascii", "plain", "plain"},
		{"ascii", "pl\xe4in", "pl?in"},
		{"binary", "\xff\x00", "\xff\x00"},
		{"utf8mb4", "a\xffb", "a?b"},
		{"utf8mb4", "a\xed\xa0\x80b", "a?b"},
		{"utf8mb4", "a\xf0\x9f\x90", "a???"},
		{"utf8mb4", "�", "�"},
		{"ucs2", "\x00a\x04\x3f", "aп"},
		{"ucs2", "\xd8\x00\x00b\x00", "?b?"},
		{"utf16", "\x00a\xd8\x3d\xdc\x18", "a\U0001f418"},
		{"utf16", "\xd8\x3d\x00a\xdc\x18\xd8", "?a??"},
		{"utf16le", "a\x00\x3d\xd8\x18\xdc", "a\U0001f418"},
		{"utf32", "\x00\x00\x00a\x00\x01\xf4\x18", "a\U0001f418"},
		{"utf32", "\x00\x11\x00\x00\xff\xff\xff\xff\x00\x00\xd8\x00\x00", "????"},
		{"latin1", "caf\xe9 \x80 twelve bytes of ASCII", "café € twelve bytes of ASCII"},
		{"cp1251", "\xef\xf0\xe8\xe2\xe5\xf2", "привет"},
		{"greek", "\xd2", "?"},
		{"swe7", "{}|~", "äåöü"},
		{"sjis", "\x81\x5f\x83\x65\\\xb1\x81", "\\テ\\ｱ?"},
		{"cp932", "\x81\x60\xfa\x40", "～ⅰ"},
		{"gbk", "\xc4\xe3\xba\xc3 \xff", "你好 ?"},
		{"big5", "\xa7\x41\xa6\x6e", "你好"},
		{"euckr", "\xc7\xd1\xb1\xdb", "한글"},
		{"ujis", "\xa4\xa2\x8e\xb1\x8f\xb0\xa1\x8f", "あｱ丂?"},
		{"gb18030", "\xa8\xbc\x81\x35\xf4\x37", "\u1e3f\ue7c7"},
		{"gb18030", "\xc4\xe3\x81\x30\x81\x30\x90\x30\x81\x30\xe3\x32\x9a\x35\x84\x31\xa4\x39\x81", "你\u0080\U00010000\U0010ffff\uffff?"},
	} {
		c, err := findCharset(test.charset)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(c.appendUTF8([]byte("before "), []byte(test.bytes))); got != "before "+test.want {
			t.Errorf("%s %x: %q, want %q", test.charset, test.bytes, got, "before "+test.want)
		}
	}
}

func TestAnUnknownCharacterSetIsAnError(t *testing.T) {
	if _, err := findCharset("utf9"); err == nil {
		t.Error("utf9 is known")
	}
	if name, err := charsetOf(700, nil); err == nil {
		t.Errorf("collation 700 is one of %s", name)
	}
	if name, err := charsetOf(700, map[int]string{700: "utf9"}); name != "utf9" || err != nil {
		t.Errorf("collation 700, which the server lists, is one of %q: %v", name, err)
	}
}

func TestEveryCollationOfTheServersIsKnown(t *testing.T) {
	for _, s := range liveServers(t) {
		// MariaDB lists the collations that go with many character sets here only.
		query := "SELECT c.id, c.character_set_name FROM information_schema.collations c"
		if s.mariadb {
			query = "SELECT id, character_set_name FROM information_schema.collation_character_set_applicability"
		}
		rows, err := s.db.QueryContext(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for rows.Next() {
			var id int
			var want string
			if err := rows.Scan(&id, &want); err != nil {
				t.Fatal(err)
			}
			got, err := charsetOf(id, nil)
			if err != nil || got != want {
				t.Errorf("%s: collation %d is one of %q (%v), want %q", s.version, id, got, err, want)
			}
			if _, err := findCharset(want); err != nil {
				t.Errorf("%s: %v", s.version, err)
			}
			n++
		}
		if rows.Err() != nil || n < 200 {
			t.Fatalf("%s: %d collations: %v", s.version, n, rows.Err())
		}
	}
}

// TestStoredTextIsWhatASelectGives has servers convert text that is well-formed
// in its character set but not in Unicode.
func TestStoredTextIsWhatASelectGives(t *testing.T) {
	for _, s := range liveServers(t) {
		for _, test := range []struct{ charset, hex string }{
			{"utf8mb4", "61EDA08062"}, {"utf8mb3", "61EDA08062"}, {"utf16", "0061DC18"}, {"utf32", "0000D800"},
			{"greek", "61D262"}, {"cp1257", "61A162"}, {"big5", "A15A"}, {"sjis", "8740"}, {"gbk", "A2A1"},
		} {
			var bytes, want []byte
			err := s.db.QueryRowContext(t.Context(), "SELECT CAST(CONVERT(CAST(x'"+test.hex+"' AS CHAR CHARACTER SET "+test.charset+
				") USING "+test.charset+") AS BINARY), CONVERT(CAST(x'"+test.hex+"' AS CHAR CHARACTER SET "+test.charset+") USING utf8mb4)").Scan(&bytes, &want)
			if err != nil {
				t.Fatalf("%s: %s %s: %v", s.version, test.charset, test.hex, err)
			}
			c, err := findCharset(test.charset)
			if err != nil {
				t.Fatal(err)
			}
			got := string(c.appendUTF8(nil, bytes))
			if !utf8.Valid(want) {
				want = appendUTF8(nil, want) // as a SELECT's result is read
			}
			if got != string(want) {
				t.Errorf("%s: %s %x is %q, the server gives %q", s.version, test.charset, bytes, got, want)
			}
		}
	}
}

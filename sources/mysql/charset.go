package mysql

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// charset is a character set of the servers: how wide its characters are and how
// they become UTF-8. The result is what a SELECT gives, so what is no character,
// or none that Unicode has, becomes a question mark.
type charset struct {
	width      int // the most bytes that a character takes
	appendUTF8 func(dst, src []byte) []byte
}

// findCharset knows every character set of MySQL and MariaDB by its name.
func findCharset(name string) (charset, error) {
	switch name {
	case "binary":
		return charset{1, appendBytes}, nil
	case "ascii", "utf8mb3", "utf8mb4", "utf8":
		return charset{unicodeWidth(name), appendUTF8}, nil
	case "ucs2":
		return charset{2, appendUCS2}, nil
	case "utf16":
		return charset{4, func(dst, src []byte) []byte { return appendUTF16(dst, src, binary.BigEndian.Uint16) }}, nil
	case "utf16le":
		return charset{4, func(dst, src []byte) []byte { return appendUTF16(dst, src, binary.LittleEndian.Uint16) }}, nil
	case "utf32":
		return charset{4, appendUTF32}, nil
	}
	if t, ok := codePages()[name]; ok {
		return charset{t.width(), t.appendUTF8}, nil
	}
	return charset{}, fmt.Errorf("the character set %q is none that MySQL 9 or MariaDB 11 has", name)
}

func unicodeWidth(name string) int {
	switch name {
	case "ascii":
		return 1
	case "utf8mb4":
		return 4
	}
	return 3
}

func appendBytes(dst, src []byte) []byte { return append(dst, src...) }

// appendUTF8 copies what is UTF-8 already. MariaDB stores surrogates in it, which
// Unicode forbids.
func appendUTF8(dst, src []byte) []byte {
	if utf8.Valid(src) {
		return append(dst, src...)
	}
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		if r == utf8.RuneError && n == 1 {
			r, n = '?', brokenLength(src)
		}
		dst = utf8.AppendRune(dst, r)
		src = src[n:]
	}
	return dst
}

// brokenLength is how many bytes of src the one question mark stands for: a
// surrogate's three, else one.
func brokenLength(src []byte) int {
	if len(src) >= 3 && src[0] == 0xed && src[1]&0xe0 == 0xa0 && src[2]&0xc0 == 0x80 {
		return 3
	}
	return 1
}

func appendUCS2(dst, src []byte) []byte {
	for len(src) >= 2 {
		dst = appendRune(dst, rune(binary.BigEndian.Uint16(src)))
		src = src[2:]
	}
	return appendRest(dst, src)
}

func appendUTF16(dst, src []byte, unit func([]byte) uint16) []byte {
	for len(src) >= 2 {
		r, n := rune(unit(src)), 2
		if r>>10 == 0xd800>>10 && len(src) >= 4 {
			if low := rune(unit(src[2:])); low>>10 == 0xdc00>>10 {
				r, n = 0x10000+(r&0x3ff)<<10+low&0x3ff, 4
			}
		}
		dst = appendRune(dst, r)
		src = src[n:]
	}
	return appendRest(dst, src)
}

func appendUTF32(dst, src []byte) []byte {
	for len(src) >= 4 {
		r := binary.BigEndian.Uint32(src)
		if r > utf8.MaxRune {
			r = '?'
		}
		dst = appendRune(dst, rune(r))
		src = src[4:]
	}
	return appendRest(dst, src)
}

func appendRune(dst []byte, r rune) []byte {
	if !utf8.ValidRune(r) {
		r = '?'
	}
	return utf8.AppendRune(dst, r)
}

// appendRest stands for what is too short to be a character.
func appendRest(dst, src []byte) []byte {
	if len(src) > 0 {
		dst = append(dst, '?')
	}
	return dst
}

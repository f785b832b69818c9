package mysql

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
)

// collations are the numbers of each character set's collations on both servers,
// but for those that follow by a rule (charsetOf).
const collations = `
armscii8 32 64
ascii 11 65
big5 1 84
binary 63
cp1250 26 34 44 66 99
cp1251 14 23 50-52
cp1256 57 67
cp1257 29 58-59
cp850 4 80
cp852 40 81
cp866 36 68
cp932 95-96
dec8 3 69
eucjpms 97-98
euckr 19 85
gb18030 248-250
gb2312 24 86
gbk 28 87
geostd8 92-93
greek 25 70
hebrew 16 71
hp8 6 72
keybcs2 37 73
koi8r 7 74
koi8u 22 75
latin1 5 8 15 31 47-49 94
latin2 2 9 21 27 77
latin5 30 78
latin7 20 41-42 79
macce 38 43
macroman 39 53
sjis 13 88
swe7 10 82
tis620 18 89
ucs2 35 90 128-151 159 640-642
ujis 12 91
utf16 54-55 101-124 672-674
utf16le 56 62
utf32 60-61 160-183 736-738
utf8mb3 33 76 83 192-215 223 576-579
utf8mb4 45-46 224-247 255-323 608-611
`

var charsetByCollation = sync.OnceValue(func() map[int]string {
	all := map[int]string{}
	for line := range strings.Lines(collations) {
		words := strings.Fields(line)
		for i := 1; i < len(words); i++ {
			first, last, isRange := strings.Cut(words[i], "-")
			if !isRange {
				last = first
			}
			from, _ := strconv.Atoi(first)
			to, _ := strconv.Atoi(last)
			for id := from; id <= to; id++ {
				all[id] = words[0]
			}
		}
	}
	return all
})

// MariaDB numbers the collation that does not pad, of each that does, nopad above
// it, and the Unicode collations of its version 14 from uca1400 on: as many of each
// of these character sets.
const nopad, uca1400, ofEachCharset = 1024, 2048, 256

var uca1400Charsets = []string{"utf8mb3", "utf8mb4", "ucs2", "utf16", "utf32"}

// charsetOf is the character set of a collation, by what the server lists and
// else by what is known of both servers.
func charsetOf(collation int, listed map[int]string) (string, error) {
	if name, ok := listed[collation]; ok {
		return name, nil
	}
	if i := (collation - uca1400) / ofEachCharset; collation >= uca1400 && i < len(uca1400Charsets) {
		return uca1400Charsets[i], nil
	}
	if collation >= nopad {
		collation -= nopad
	}
	if name, ok := charsetByCollation()[collation]; ok {
		return name, nil
	}
	return "", fmt.Errorf("the collation %d is unknown", collation)
}

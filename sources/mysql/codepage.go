package mysql

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"io"
	"sync"
	"unicode/utf8"

	"github.com/klauspost/compress/zlib"

	"github.com/splashdam/splashdam/internal/invariant"
)

// codePage is a character set that is no form of Unicode: tables of the runes
// that its codes stand for, as the servers have them. Other tables, those of
// browsers among them, differ in hundreds of codes.
type codePage struct {
	one   []uint16 // by byte; none where no character is a byte long
	two   []uint16 // by the place of a pair; 0 where no character is
	three []uint16 // likewise, of the pair behind a byte 8F
	four  []uint16 // gb18030: in the order of its codes of four bytes
	ascii bool     // whether bytes below 80 are ASCII
}

const (
	none = 0xffff

	// Pairs lie between these.
	leadLow, leadHigh   = 0x81, 0xfe
	trailLow, trailHigh = 0x40, 0xfe
	trails              = trailHigh - trailLow + 1
	pairs               = (leadHigh - leadLow + 1) * trails
)

// codePageNames are the code pages in the order of codepage.bin.
var codePageNames = []string{
	"armscii8", "cp1250", "cp1251", "cp1256", "cp1257", "cp850", "cp852", "cp866", "dec8", "geostd8", "greek", "hebrew",
	"hp8", "keybcs2", "koi8r", "koi8u", "latin1", "latin2", "latin5", "latin7", "macce", "macroman", "swe7", "tis620",
	"big5", "cp932", "euckr", "gb18030", "gb2312", "gbk", "sjis",
	"eucjpms", "ujis",
}

// Of codePageNames, from where on characters have two bytes, and three.
const firstOfTwo, firstOfThree = 24, 31

// codePageTables is, compressed, all lows and then all highs of the differences
// from one entry of the tables to the next. The test of the code pages writes it
// from a server.
//
//go:embed codepage.bin
var codePageTables []byte

var codePages = sync.OnceValue(func() map[string]*codePage {
	r, err := zlib.NewReader(bytes.NewReader(codePageTables))
	invariant.That(err == nil, "codepage.bin: %v", err)
	deltas, err := io.ReadAll(r)
	invariant.That(err == nil, "codepage.bin: %v", err)
	entries := make([]uint16, len(deltas)/2)
	var last uint16
	for i := range entries {
		last += uint16(deltas[i]) | uint16(deltas[len(entries)+i])<<8
		entries[i] = last
	}
	next := func(n int) []uint16 {
		taken := entries[:n]
		entries = entries[n:]
		return taken
	}
	pages := map[string]*codePage{}
	for i, name := range codePageNames {
		p := &codePage{one: next(256), ascii: true}
		for b, r := range p.one[:utf8.RuneSelf] {
			p.ascii = p.ascii && r == uint16(b)
		}
		if i >= firstOfTwo {
			p.two = next(pairs)
		}
		if i >= firstOfThree {
			p.three = next(pairs)
		}
		if name == "gb18030" {
			p.four = fourByteCodes(p.two)
		}
		pages[name] = p
	}
	return pages
})

// fourByteCodes lists what no pair of gb18030 stands for in the order of Unicode,
// which is how its longer codes begin. Its edition of 2005 swapped two.
func fourByteCodes(two []uint16) []uint16 {
	const swapped, forIt = 0x1e3f, 0xe7c7
	known := map[uint16]bool{forIt: true}
	for _, r := range two {
		known[r] = true
	}
	var codes []uint16
	for r := utf8.RuneSelf; r <= 0xffff; r++ {
		switch {
		case r == swapped:
			codes = append(codes, forIt)
		case !known[uint16(r)] && utf8.ValidRune(rune(r)):
			codes = append(codes, uint16(r))
		}
	}
	return codes
}

// width is the most bytes that a character takes.
func (p *codePage) width() int {
	switch {
	case p.four != nil:
		return 4
	case p.three != nil:
		return 3
	case p.two != nil:
		return 2
	}
	return 1
}

func (p *codePage) appendUTF8(dst, src []byte) []byte {
	for len(src) > 0 {
		if p.ascii {
			n := asciiPrefix(src)
			dst = append(dst, src[:n]...)
			if src = src[n:]; len(src) == 0 {
				break
			}
		}
		r, n := p.first(src)
		dst = utf8.AppendRune(dst, r)
		src = src[n:]
	}
	return dst
}

// first is the first character of src, and its length.
func (p *codePage) first(src []byte) (rune, int) {
	if r := p.one[src[0]]; r != none {
		return rune(r), 1
	}
	if r := pairOf(p.two, src); r != 0 {
		return r, 2
	}
	if src[0] == 0x8f {
		if r := pairOf(p.three, src[1:]); r != 0 {
			return r, 3
		}
	}
	if p.four != nil && len(src) >= 4 {
		if r := p.long(src); r != 0 {
			return r, 4
		}
	}
	return '?', 1
}

func pairOf(table []uint16, src []byte) rune {
	if table == nil || len(src) < 2 {
		return 0
	}
	lead, trail := src[0], src[1]
	if lead < leadLow || lead > leadHigh || trail < trailLow || trail > trailHigh {
		return 0
	}
	return rune(table[int(lead-leadLow)*trails+int(trail-trailLow)])
}

// long is a character of four bytes. In their order come first those of the plane
// that pairs are of too, and from 90308130 on all the others.
func (p *codePage) long(src []byte) rune {
	const beyond = (0x90 - 0x81) * 12600
	a, b, c, d := int(src[0])-0x81, int(src[1])-'0', int(src[2])-0x81, int(src[3])-'0'
	if a < 0 || a > 125 || b < 0 || b > 9 || c < 0 || c > 125 || d < 0 || d > 9 {
		return 0
	}
	switch place := ((a*10+b)*126+c)*10 + d; {
	case place < len(p.four):
		return rune(p.four[place])
	case place >= beyond && place-beyond <= utf8.MaxRune-0x10000:
		return rune(0x10000 + place - beyond)
	}
	return '?'
}

// asciiPrefix is how many bytes at the start of src are ASCII.
func asciiPrefix(src []byte) int {
	n := 0
	for len(src)-n >= 8 && binary.LittleEndian.Uint64(src[n:])&0x8080808080808080 == 0 {
		n += 8
	}
	for n < len(src) && src[n] < utf8.RuneSelf {
		n++
	}
	return n
}

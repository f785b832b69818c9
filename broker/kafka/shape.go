package kafka

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kbin"

	"github.com/splashdam/splashdam/internal/invariant"
)

// A shape is the form of a request body in all its versions. It is walked before
// kmsg decodes, because kmsg trusts two things that a stranger wrote: it sets
// memory aside for as many array elements as there are bytes left (dozens of times
// the size of the request), and it goes once around a loop for every tagged field
// that a count claims (four billion, out of five bytes). After walk, every element
// that is counted is there. Bytes behind the request are ignored, as in Kafka: there
// are clients that send one too many (librdkafka, in AlterUserScramCredentials).
//
// A shape is written as one line, in the order of the wire:
//
//	1 2 4 8 16   a number, bool or uuid of so many bytes
//	s S          a string; a string or null
//	b            bytes or null
//	(4) (s)      an array of those
//	[4 s]        an array of structs
//	<4 s>        a struct or null, behind a byte that says which (-1 is null)
//	{1 4 8}      not a field: tagged field 1 is the struct 4 8
//	x:3 x:3-7    x, from version 3 on; from version 3 to 7
//
// Structs of flexible versions end in tagged fields (KIP-482), which is not
// written down. Where null is not allowed for an array or bytes, kmsg reads it as
// empty.
type shape struct {
	fields   []field
	flexible int16 // the first flexible version
}

type field struct {
	kind     byte // one of: n (number), s, S, b, a (array of plain), t (array of structs), g (tagged)
	size     int  // n: bytes; g: number of the tag
	min, max int16
	elem     []field // a, t, g
}

const endOfVersions = 1<<15 - 1

// parseShape panics where the text is wrong: shapes are written in this package.
func parseShape(text string, flexible int16) shape {
	p := shapeParser{rest: text}
	fs := p.fields(0)
	return shape{fields: fs, flexible: flexible}
}

type shapeParser struct{ rest string }

func (p *shapeParser) fields(end byte) []field {
	var fs []field
	for {
		p.rest = strings.TrimLeft(p.rest, " ")
		if p.rest == "" {
			invariant.That(end == 0, "shape ends inside a bracket")
			return fs
		}
		c := p.rest[0]
		f := field{kind: c, max: endOfVersions}
		switch {
		case c == end:
			p.rest = p.rest[1:]
			return fs
		case c == '(':
			p.rest = p.rest[1:]
			f.kind, f.elem = 'a', p.fields(')')
		case c == '[':
			p.rest = p.rest[1:]
			f.kind, f.elem = 't', p.fields(']')
		case c == '<':
			p.rest = p.rest[1:]
			f.kind, f.elem = 'o', p.fields('>')
		case c == '{':
			p.rest = p.rest[1:]
			f.kind, f.size = 'g', p.number()
			f.elem = p.fields('}')
		case c >= '0' && c <= '9':
			f.kind, f.size = 'n', p.number()
		default:
			invariant.That(strings.IndexByte("sSb", c) >= 0, "shape has %q", p.rest)
			p.rest = p.rest[1:]
		}
		if strings.HasPrefix(p.rest, ":") {
			p.rest = p.rest[1:]
			f.min = int16(p.number())
			if strings.HasPrefix(p.rest, "-") {
				p.rest = p.rest[1:]
				f.max = int16(p.number())
			}
		}
		fs = append(fs, f)
	}
}

func (p *shapeParser) number() int {
	end := 0
	for end < len(p.rest) && p.rest[end] >= '0' && p.rest[end] <= '9' {
		end++
	}
	n, err := strconv.Atoi(p.rest[:end])
	invariant.That(err == nil, "shape has %q where a number belongs", p.rest)
	p.rest = p.rest[end:]
	return n
}

// walk checks that body begins with one whole request of a version, with at most so many
// array elements and tagged fields, and counts them. It errors with ErrRequest.
func (s shape) walk(body []byte, version int16, most int) (elements int, err error) {
	w := walker{r: kbin.Reader{Src: body}, version: version, flexible: version >= s.flexible, left: most}
	w.structure(s.fields)
	return most - w.left, w.err
}

type walker struct {
	r        kbin.Reader
	version  int16
	flexible bool
	left     int
	err      error
}

func (w *walker) fail(format string, args ...any) {
	if w.err == nil {
		w.err = fmt.Errorf("%w: %s", ErrRequest, fmt.Sprintf(format, args...))
	}
}

func (w *walker) skip(n int) {
	if w.r.Span(n); !w.r.Ok() {
		w.fail("it is cut off")
	}
}

// length reads a length or count; -1 is null.
func (w *walker) length(wide bool) int {
	var n int
	switch {
	case w.flexible:
		n = int(w.r.Uvarint()) - 1
	case wide:
		n = int(w.r.Int32())
	default:
		n = int(w.r.Int16())
	}
	switch {
	case !w.r.Ok():
		w.fail("it is cut off")
	case n < -1:
		w.fail("a length of %d", n)
	case n > len(w.r.Src):
		w.fail("a length of %d, %d bytes are left", n, len(w.r.Src))
	default:
		return n
	}
	return -1
}

func (w *walker) count(n int) bool {
	if w.left -= max(n, 0); w.left < 0 {
		w.fail("it has too many elements")
	}
	return w.err == nil
}

func (w *walker) plain(fs []field) {
	for _, f := range fs {
		if w.err != nil {
			return
		}
		if w.version < f.min || w.version > f.max {
			continue
		}
		switch f.kind {
		case 'n':
			w.skip(f.size)
		case 's':
			if n := w.length(false); n >= 0 {
				w.skip(n)
			} else {
				w.fail("null for a string that must be there")
			}
		case 'S':
			w.skip(max(w.length(false), 0))
		case 'b':
			w.skip(max(w.length(true), 0))
		case 'o':
			if present := w.r.Int8(); !w.r.Ok() {
				w.fail("it is cut off")
			} else if present != -1 {
				w.structure(f.elem)
			}
		case 'a', 't':
			n := w.length(true)
			if !w.count(n) {
				return
			}
			for i := 0; i < n && w.err == nil; i++ {
				if f.kind == 't' {
					w.structure(f.elem)
				} else {
					w.plain(f.elem)
				}
			}
		}
	}
}

func (w *walker) structure(fs []field) {
	w.plain(fs)
	if !w.flexible || w.err != nil {
		return
	}
	n := int(w.r.Uvarint())
	if !w.count(n) {
		return
	}
	for range n {
		tag, size := int(w.r.Uvarint()), int(w.r.Uvarint())
		content := w.r.Span(size)
		if !w.r.Ok() {
			w.fail("its tagged fields are cut off")
			return
		}
		w.tagged(fs, tag, content)
	}
	if !w.r.Ok() {
		w.fail("it is cut off")
	}
}

// tagged walks the content of a tagged field that kmsg will decode.
func (w *walker) tagged(fs []field, tag int, content []byte) {
	for _, f := range fs {
		if f.kind != 'g' || f.size != tag {
			continue
		}
		rest := w.r
		w.r = kbin.Reader{Src: content}
		w.structure(f.elem)
		if w.err == nil && len(w.r.Src) > 0 {
			w.fail("%d bytes follow the content of tagged field %d", len(w.r.Src), tag)
		}
		w.r = rest
	}
}

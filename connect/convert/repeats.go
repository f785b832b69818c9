package convert

// repeats remembers the members that were skipped in the last record, because most
// of what an envelope says of a row's origin it says of the next row too: what has
// the same bytes needs no second look. Each text reaches over the comma or the
// brace behind the member, and so cannot be the beginning of another value.
type repeats struct {
	members []repeat
	next    int // of those, which one is expected
}

type repeat struct {
	text []byte // empty if it was too long
	more bool   // whether another member follows
}

// Limits of what is remembered. The members of an envelope are fewer and shorter.
const (
	maxRepeats = 64
	maxRepeat  = 256 // bytes
)

// skipAgain goes over the expected member, if it is there.
func (r *repeats) skipAgain(b []byte, i int) (end int, more, again bool) {
	if r.next == len(r.members) {
		return i, false, false
	}
	m := &r.members[r.next]
	end = i + len(m.text)
	if end == i || end > len(b) || string(b[i:end]) != string(m.text) {
		return i, false, false
	}
	r.next++
	if m.more {
		end = skipSpace(b, end)
	}
	return end, m.more, true
}

// skipMember goes over a member, and to the name of the next one or behind the end
// of the object.
func (r *repeats) skipMember(b []byte, i int) (end int, more bool, f fault) {
	if end, more, again := r.skipAgain(b, i); again {
		return end, more, 0
	}
	start := i
	if i, f = skipKey(b, i); f != 0 {
		return i, false, f
	}
	if i, f = skipValue(b, i); f != 0 {
		return i, false, f
	}
	if i, more, f = skipComma(b, i); f != 0 || r.next == maxRepeats {
		return i, more, f
	}
	if r.next == len(r.members) {
		r.members = append(r.members, repeat{})
	}
	m := &r.members[r.next]
	r.next++
	m.text, m.more = m.text[:0], more
	if i-start <= maxRepeat {
		m.text = append(m.text, b[start:i]...)
	}
	return i, more, 0
}

// skipObject goes over a value, an object by its members.
func (r *repeats) skipObject(b []byte, i int) (int, fault) {
	if i == len(b) || b[i] != '{' {
		return skipValue(b, i)
	}
	i, more, f := openObject(b, i)
	for more && f == 0 {
		i, more, f = r.skipMember(b, i)
	}
	return i, f
}

package commitlog

import (
	"github.com/splashdam/splashdam/broker/record"
)

// Handle stands for an entry in Raft's messages and memory.
type Handle struct {
	Term record.Term
	// Length of the entry in bytes, and the checksum in its header.
	Length   uint32
	Checksum uint32
	// ConfChange says that the entry changes the Raft group's members, whose
	// content Raft must see itself.
	ConfChange bool
}

// placed is an entry of the window: 24 bytes.
type placed struct {
	term     record.Term
	at       Address // of the frame
	size     uint32  // in bytes, and confChangeBit, which no size reaches
	checksum uint32
}

const confChangeBit = 1 << 31 // record.MaxEntrySize is less

func place(e record.Entry, at Address) placed {
	size := uint32(len(e))
	if e.IsConfChange() {
		size |= confChangeBit
	}
	return placed{term: e.Term(), at: at, size: size, checksum: e.Checksum()}
}

func (p placed) length() int { return int(p.size &^ confChangeBit) }

// window is what Raft may ask for: entries by index, entries[0] that of first. The
// one before first is known by its term only.
type window struct {
	first    record.Index
	prevTerm record.Term
	entries  []placed
}

func (w *window) last() record.Index { return w.first + record.Index(len(w.entries)) - 1 }

func (w *window) at(i record.Index) (placed, bool) {
	if i < w.first || i > w.last() {
		return placed{}, false
	}
	return w.entries[i-w.first], true
}

func (w *window) termOf(i record.Index) (record.Term, bool) {
	if i+1 == w.first {
		return w.prevTerm, true
	}
	p, ok := w.at(i)
	return p.term, ok
}

// trim forgets the entries up to and including i, but for the term of i.
func (w *window) trim(i record.Index) {
	p, ok := w.at(i)
	if !ok {
		return
	}
	rest := w.entries[i+1-w.first:]
	if len(rest) < cap(w.entries)/2 {
		rest = append([]placed(nil), rest...)
	}
	w.first, w.prevTerm, w.entries = i+1, p.term, rest
}

// cut forgets the entries behind last.
func (w *window) cut(last record.Index) { w.entries = w.entries[:last+1-w.first] }

// First is the lowest index in the Raft window. What is older reads as compacted
// for Raft; the batches are still there.
func (l *Log) First() record.Index {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.win.first
}

// Last is the highest index that was appended, 0 in an empty log.
func (l *Log) Last() record.Index {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.win.last()
}

// Term is the term of an entry in the window or just before it; term 0 at index 0.
func (l *Log) Term(i record.Index) (record.Term, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.win.termOf(i)
}

// Handle is that of an entry in the window.
func (l *Log) Handle(i record.Index) (Handle, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	p, ok := l.win.at(i)
	return Handle{Term: p.term, Length: uint32(p.length()), Checksum: p.checksum, ConfChange: p.size&confChangeBit != 0}, ok
}

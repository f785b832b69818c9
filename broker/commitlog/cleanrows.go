package commitlog

import "github.com/splashdam/splashdam/broker/record"

// livingRows goes through the living batches of neighbouring segments, by partition
// and offset.
type livingRows struct {
	judge    Judge
	segments []*segment
	scans    []*indexScan
	heads    []rowHead
	current  int // which of the scans

	partition record.PartitionID
	verdict   Verdict
	row       row
}

// rowHead is the next row of a scan.
type rowHead struct {
	partition record.PartitionID
	row       row
	ok        bool
}

func (c *cleaning) living(segments []*segment) *livingRows {
	l := &livingRows{judge: c.judge, segments: segments, current: -1}
	for _, s := range segments {
		l.scans = append(l.scans, s.index.Load().scanRows(c.Pace))
	}
	return l
}

// next goes to the next living batch and returns its segment; false behind the last.
func (l *livingRows) next() (*segment, bool, error) {
	if l.heads == nil {
		l.heads = make([]rowHead, len(l.scans))
		for i := range l.scans {
			if err := l.advance(i); err != nil {
				return nil, false, err
			}
		}
	}
	for {
		at := -1
		for i, h := range l.heads {
			if h.ok && (at < 0 || h.partition < l.heads[at].partition) {
				at = i
			}
		}
		if at < 0 {
			return nil, false, nil
		}
		h := l.heads[at]
		if l.current < 0 || h.partition != l.partition {
			l.partition, l.verdict = h.partition, l.judge.Judge(h.partition)
		}
		l.current, l.row = at, h.row
		if err := l.advance(at); err != nil {
			return nil, false, err
		}
		if l.verdict.lives(l.row) {
			return l.segments[at], true, nil
		}
	}
}

func (l *livingRows) advance(i int) error {
	b, err := l.scans[i].read()
	if err != nil {
		return err
	}
	l.heads[i] = rowHead{}
	if b != nil {
		p, r := getRow(b)
		l.heads[i] = rowHead{p, r, true}
	}
	return nil
}

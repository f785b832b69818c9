package commitlog

// indexScan reads the rows of an index one behind the other, with a buffer of its own: what
// is read once must not drive out of the cache what is read often.
type indexScan struct {
	x    *indexFile
	kind blockKind
	rows int64 // left
	size int   // of a row
	most int   // in a block
	buf  []byte
	rest []byte // of the block that is being read
	next uint32 // block to read
	at   int    // in buf
	pace func(bytes int) error
}

// indexScanBuffer is what a scan holds, in bytes.
const indexScanBuffer = 16 * blockSize

// scanRows begins at the first row.
func (x *indexFile) scanRows(pace func(int) error) *indexScan {
	return &indexScan{x: x, kind: rowBlock, rows: x.rows, size: rowSize, most: rowsPerBlock, next: 1, pace: pace}
}

// scanDirectory begins at the first row of the directory.
func (x *indexFile) scanDirectory(pace func(int) error) *indexScan {
	return &indexScan{x: x, kind: directoryBlock, rows: x.dirs, size: directoryRowSize, most: dirRowsPerBlock, next: uint32(1 + x.rowBlocks()), pace: pace}
}

// read returns the bytes of the next row, valid until the call after it; nil behind the
// last one.
func (s *indexScan) read() ([]byte, error) {
	if s.rows == 0 {
		return nil, nil
	}
	if len(s.rest) < s.size {
		if s.at == len(s.buf) {
			left := (s.rows + int64(s.most) - 1) / int64(s.most) * blockSize
			if s.buf == nil {
				s.buf = make([]byte, min(left, indexScanBuffer))
			}
			s.buf = s.buf[:min(left, int64(len(s.buf)))]
			if err := s.pace(len(s.buf)); err != nil {
				return nil, err
			}
			if err := s.x.read(s.buf, s.next); err != nil {
				return nil, err
			}
			s.at = 0
		}
		b := s.buf[s.at:][:blockSize]
		if err := checkBlock(b, s.kind, s.next); err != nil {
			return nil, s.x.bad(s.next, err)
		}
		s.at += blockSize
		s.next++
		s.rest = b[blockHeaderSize:][:s.most*s.size]
	}
	b := s.rest[:s.size]
	s.rest = s.rest[s.size:]
	s.rows--
	return b, nil
}

package commitlog

import (
	"fmt"
	"io"
	"path"
	"strings"
)

// stagedSegments picks the segments of a generation, by first index.
func stagedSegments(names []string, generation uint32) []string {
	var list []string
	for _, name := range names {
		if m, ok := parseSegmentName(name); ok && generation > 0 && m.generation == generation {
			list = append(list, name)
		}
	}
	return list // the names were sorted, and so are the first indexes
}

// stagedFiles picks all files of a receipt: segments, their indexes, snapshots.
func stagedFiles(names []string, generation uint32) []string {
	var list []string
	for _, name := range names {
		parts := strings.Split(strings.TrimSuffix(name, path.Ext(name)), "-")
		if generation > 0 && len(parts) > 1 && parts[1] == fmt.Sprintf("%08x", generation) {
			list = append(list, name)
		}
	}
	return list
}

// adopt takes up what an earlier receipt has left, up to the first file that does not
// belong here, and deletes the rest.
func (s *Stage) adopt() error {
	names, err := s.log.fs.List(s.log.dir)
	if err != nil {
		return err
	}
	left := stagedSegments(names, s.generation)
	adopted := 0
	for adopted < len(left) && s.part == nil && s.next.Object < s.list.snapshotObject() {
		ok, err := s.adoptSegment(left[adopted])
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		adopted++
	}
	keep := make(map[string]bool)
	for _, name := range left[:adopted] {
		keep[name], keep[indexName(name)] = true, true
	}
	removed := false
	for _, name := range stagedFiles(names, s.generation) {
		if keep[name] {
			continue
		}
		if err := s.log.fs.Remove(s.log.path(name)); err != nil {
			return err
		}
		removed = true
	}
	if removed {
		return s.syncDir()
	}
	return nil
}

// syncDir makes the names of the files durable. If that fails the log is fenced: others
// rely on the same directory.
func (s *Stage) syncDir() error {
	if err := syncDir(s.log.fs, s.log.dir); err != nil {
		return s.log.fail("receiving a shipment", err)
	}
	return nil
}

// adoptSegment takes up a file if it is of the segment that is needed next.
func (s *Stage) adoptSegment(name string) (bool, error) {
	d := s.needed()
	m, _ := parseSegmentName(name)
	if m.first != d.First || m.edition != d.Edition {
		return false, nil
	}
	f, err := s.log.fs.OpenWrite(s.log.path(name))
	if err != nil {
		return false, err
	}
	head, size, err := m.readHeader(f)
	begins := s.base
	if len(s.received) == 0 && head.base > begins-stageGap {
		begins = head.base // the first one says where they begin
	}
	if err != nil || head.base != begins {
		_ = f.Close()
		if err == nil || isDamage(err) {
			return false, nil
		}
		return false, err
	}
	s.base = begins
	head.last, head.sealed, head.size = d.Last, true, size
	if x, err := openIndex(s.log.fs, s.log.dir, head, newBlockCache(1)); err == nil {
		whole := held{head, x}.equal(d)
		if whole {
			s.directory, err = x.directory()
		}
		_ = x.file.Close()
		_ = f.Close()
		if whole && err == nil {
			s.took(head)
		}
		return whole && err == nil, nil
	}
	head.last, head.sealed = 0, false
	s.part = s.newSegment(d, &segment{segmentMeta: head, file: f, mem: newMemIndex()})
	return true, s.rescan(size)
}

// rescan reads the frames of a segment that was not whole. Where they end, receiving
// goes on.
func (s *Stage) rescan(size int64) error {
	p := s.part
	scan := newScanner(p.file, p.base, segmentHeaderSize, size)
	for !p.full() {
		f, err := scan.next()
		if err == nil && f.header.generation == s.generation {
			if p.admit(f.entry) == nil && p.index(f.entry) == nil {
				p.size = f.end()
				continue
			}
		}
		if err != nil && err != io.EOF && !isDamage(err) {
			return err
		}
		break
	}
	p.frames.pos = p.size
	if size > p.size {
		if err := p.file.Truncate(p.size); err != nil {
			return err
		}
	}
	s.next.Offset = p.digest.Bytes
	return s.finishSegment()
}

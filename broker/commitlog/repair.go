package commitlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

const (
	// quarantineName is the directory beside the segments where Repair puts what it
	// takes out of the log, and a list of what it did.
	quarantineName = "quarantine"
	auditName      = "repairs.jsonl"
	// maxQuarantined bounds how often a name is tried with another number behind it.
	maxQuarantined = 1000
)

// ErrNotRepairable is a log that Repair cannot make one that opens, or need not.
var ErrNotRepairable = errors.New("there is nothing that a repair could do")

// Repaired is what Repair did: one line of the file quarantine/repairs.jsonl.
type Repaired struct {
	Time int64 `json:"time"` // ms
	// Last is the last entry that was kept, of those up to End that there were; both are
	// 0 if nothing was cut.
	Last record.Index `json:"last,omitempty"`
	End  record.Index `json:"end,omitempty"`
	// Lost is the offsets that are known to be lost, a text for each partition.
	Lost []string `json:"lost,omitempty"`
	// Term is that of a hard state that was made anew, whose vote is not known.
	Term record.Term `json:"term,omitempty"`
	// Kept is the files in quarantine that hold what was taken out.
	Kept []string `json:"kept"`
}

// Repair makes a log that Open refuses one that it opens, and loses what has to be
// lost for it: what Verify's Report calls Cut and Term. It goes for a shard that has
// no other replica. now is the time in ms.
//
// In this order: what is taken out is put aside and durable; a line says so; the
// manifest names what is left, one generation up; the damaged segment is cut; the log
// is opened. A crash before the manifest leaves a log that Open refuses as before. One
// behind it leaves a log that opens without what was to be lost, or, if the segment is
// missing or has no good header, one that is to be repaired once more.
func Repair(fsys vfs.FS, dir string, now int64) (Repaired, error) {
	v := verifier{fs: fsys, dir: dir, directory: newDirectory()}
	if err := v.run(); err != nil {
		return Repaired{}, err
	}
	if v.failed != nil {
		return Repaired{}, v.failed
	}
	if v.Cut == nil && v.Term == 0 {
		return Repaired{}, fmt.Errorf("%s: %w", dir, ErrNotRepairable)
	}
	r := repair{verifier: &v, done: Repaired{Time: now, Term: v.Term, Kept: []string{}}}
	if err := r.run(); err != nil {
		return Repaired{}, fmt.Errorf("repairing log %s: %w", dir, err)
	}
	l, err := Open(fsys, dir, Options{})
	if err != nil {
		return r.done, fmt.Errorf("after the repair: %w", err)
	}
	return r.done, l.Close()
}

type repair struct {
	*verifier
	done Repaired
}

func (r *repair) run() error {
	if err := r.fs.MkdirAll(path.Join(r.dir, quarantineName)); err != nil {
		return err
	}
	if err := syncDir(r.fs, r.dir); err != nil {
		return err
	}
	if err := r.putAside(); err != nil {
		return fmt.Errorf("putting aside what is taken out: %w", err)
	}
	if err := r.audit(); err != nil {
		return fmt.Errorf("writing down what is done: %w", err)
	}
	if r.Cut != nil {
		if err := r.cutOff(); err != nil {
			return err
		}
	}
	if r.Term == 0 {
		return nil
	}
	h := hardStateRecord{HardState: HardState{Term: r.Term}, sequence: 1, generation: r.layout.generation}
	return writeHardState(r.fs, r.dir, h)
}

// putAside keeps what is taken out of the log.
func (r *repair) putAside() error {
	if r.Term > 0 {
		if err := r.keep(hardStateName, 0); err != nil {
			return err
		}
	}
	if c := r.Cut; c != nil {
		r.done.Last, r.done.End = c.Last, c.End
		for _, o := range c.Offsets {
			r.done.Lost = append(r.done.Lost, o.String())
		}
		from := c.pos
		for _, m := range r.layout.segments[c.segment:] {
			if err := r.keep(m.name(), from); err != nil {
				return err
			}
			from = 0
		}
	}
	return syncDir(r.fs, path.Join(r.dir, quarantineName))
}

// keep copies a file, from a position on. What the disk does not read is zeros.
func (r *repair) keep(name string, from int64) error {
	in, err := r.fs.Open(path.Join(r.dir, name))
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer in.Close()
	size, err := in.Size()
	if err != nil || size <= from {
		return err
	}
	if from > 0 {
		name = fmt.Sprintf("%s.from-%d", name, from)
	}
	out, name, err := r.newFile(name)
	if err != nil {
		return err
	}
	r.done.Kept = append(r.done.Kept, path.Join(quarantineName, name))
	buf := make([]byte, sector)
	for pos := from; pos < size && err == nil; pos += sector {
		part := buf[:min(sector, size-pos)]
		if readFull(in, part, pos) != nil {
			clear(part)
		}
		_, err = out.WriteAt(part, pos-from)
	}
	if err == nil {
		err = out.Sync()
	}
	return errors.Join(err, out.Close())
}

// newFile makes a file in quarantine, under a name that was not used there.
func (r *repair) newFile(name string) (vfs.File, string, error) {
	for n := 1; ; n++ {
		try := name
		if n > 1 {
			try = fmt.Sprintf("%s.%d", name, n)
		}
		f, err := r.fs.Create(path.Join(r.dir, quarantineName, try))
		if err == nil || !errors.Is(err, vfs.ErrExist) || n == maxQuarantined {
			return f, try, err
		}
	}
}

// audit writes a line behind those that are there.
func (r *repair) audit() error {
	line, err := json.Marshal(r.done)
	if err != nil {
		return err
	}
	name := path.Join(r.dir, quarantineName, auditName)
	f, err := r.fs.OpenWrite(name)
	if errors.Is(err, vfs.ErrNotExist) {
		f, err = r.fs.Create(name)
	}
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err == nil {
		_, err = f.WriteAt(append(line, '\n'), size)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return syncDir(r.fs, path.Join(r.dir, quarantineName))
}

// cutOff has the manifest name what is in front of the damage, and cuts the segment in
// which it begins, in the order of every cut: as long as the old manifest stands, the
// damage does too.
func (r *repair) cutOff() error {
	c, l := r.Cut, r.layout
	m := l.segments[c.segment]
	l.segments = l.segments[:c.segment:c.segment]
	l.generation, l.cutLast = l.nextGeneration(), c.Last
	m.sealed, m.last, m.size = false, 0, 0
	l.segments = append(l.segments, m)
	if c.at < c.Last {
		// The entries between the cut and the snapshot are lost, and stay in the range of
		// the segment: whoever reads there gets an error. A new one begins behind them.
		next := segmentMeta{first: c.Last + 1, generation: l.generation, base: m.base + Address(c.pos)}
		l.segments = append(l.segments, next)
		if err := r.makeSegment(next, segmentHeaderSize); err != nil {
			return err
		}
	}
	if err := syncDir(r.fs, r.dir); err != nil {
		return err
	}
	if err := createManifest(r.fs, r.dir, l); err != nil {
		return err
	}
	r.layout = l
	if err := r.makeSegment(m, c.pos); err != nil {
		return err
	}
	return syncDir(r.fs, r.dir)
}

// makeSegment gives a segment, which may be missing, its header and its length.
func (r *repair) makeSegment(m segmentMeta, size int64) error {
	name := path.Join(r.dir, m.name())
	f, err := r.fs.OpenWrite(name)
	if errors.Is(err, vfs.ErrNotExist) {
		f, err = r.fs.Create(name)
	}
	if err != nil {
		return err
	}
	if _, err = f.WriteAt(m.header(), 0); err == nil {
		err = f.Truncate(size)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

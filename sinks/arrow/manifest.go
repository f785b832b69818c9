package arrow

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
)

// errFenced is that another sink has written to a partition since this one opened
// it. Nothing of what this one had pending is, or will be, visible.
var errFenced = errors.New("another sink has taken the partition over")

// maxClaims bounds how often others may be faster at the start.
const maxClaims = 16

// manifest is what one partition's newest entry says, and the way to the next.
// After an error it must be opened anew: only that finds out what came to be.
type manifest struct {
	fs     vfs.FS
	dir    string // where entries and pending files are
	data   string // where readers look
	owner  owner
	last   entry
	number int64 // of the last entry
}

// owner is who writes a partition.
type owner struct {
	connector string
	writer    string // differs from run to run
	partition connect.Partition
	format    string
}

// openManifest takes a partition over: it finishes or drops what a former owner
// left, and links an entry of its own, behind which no former owner can write.
func openManifest(fsys vfs.FS, root string, o owner, now string) (*manifest, error) {
	sub := path.Join(o.partition.Topic, partitionDir(o.partition.Partition))
	m := &manifest{fs: fsys, dir: path.Join(root, hiddenDir, sub), data: path.Join(root, sub), owner: o}
	for _, dir := range []string{m.dir, m.data} {
		if err := makeDirs(fsys, root, dir); err != nil {
			return nil, fmt.Errorf("making directory %s: %w", dir, err)
		}
	}
	for range maxClaims {
		err := m.load()
		if err == nil {
			err = m.claim(now)
		}
		switch {
		case err == nil:
			return m, m.sweep()
		case !errors.Is(err, errFenced):
			return nil, err
		}
	}
	return nil, fmt.Errorf("taking over %s: %w, %d times in a row", m.data, errFenced, maxClaims)
}

// load reads the newest entry and puts its file into its place.
func (m *manifest) load() error {
	names, err := m.fs.List(m.dir)
	if err != nil {
		return err
	}
	m.number = newest(names)
	m.last = entry{Base: nothingDurable, Next: nothingDurable}
	// A former owner may have died between a link and its fsync. What is built on from
	// here on must stay.
	if err := m.fs.SyncDir(m.dir); err != nil {
		return fmt.Errorf("syncing %s: %w", m.dir, err)
	}
	if m.number > 0 {
		name := path.Join(m.dir, entryName(m.number))
		text, err := readFile(m.fs, name, maxEntry)
		if errors.Is(err, vfs.ErrNotExist) {
			return errFenced // a newer one has made it go
		}
		if err != nil {
			return fmt.Errorf("reading manifest entry %s: %w", name, err)
		}
		if m.last, err = decodeEntry(text); err != nil {
			return connect.Permanent(fmt.Errorf("manifest entry %s: %w", name, err),
				"if the file is damaged, bring it back from a copy: it says which offset the files end at")
		}
	}
	if err := m.check(); err != nil {
		return err
	}
	return m.publish(m.last)
}

// check holds what is there against who wants to go on with it.
func (m *manifest) check() error {
	o, e := m.owner, m.last
	here := fmt.Sprintf("partition %d of topic %s in %s", o.partition.Partition, o.partition.Topic, m.data)
	away := fmt.Sprintf("move %s and %s away, or give the sink another dir", m.data, m.dir)
	names, err := m.fs.List(m.data)
	if err != nil {
		return err
	}
	for _, name := range names {
		n, ok := parseFileName(name)
		switch {
		case !ok:
		case m.number == 0:
			return connect.Permanent(fmt.Errorf("%s has files, as %s, and no manifest that says how far they go", here, name), away)
		case n.next > e.Next:
			return connect.Permanent(fmt.Errorf("%s has file %s, beyond offset %d, where its manifest ends", here, name, e.Next), away)
		}
	}
	if m.number == 0 {
		return nil
	}
	var none [16]byte
	id := fmt.Sprintf("%x", o.partition.TopicID)
	switch {
	case e.Topic != o.partition.Topic || e.Partition != o.partition.Partition:
		return connect.Permanent(fmt.Errorf("%s: the manifest there is that of partition %d of topic %s", here, e.Partition, e.Topic), away)
	case e.Connector != o.connector:
		return connect.Permanent(fmt.Errorf("%s belongs to connector %s, not to %s", here, e.Connector, o.connector),
			"two sinks must not write to one directory: give each a dir of its own")
	case e.TopicID != id && e.TopicID != fmt.Sprintf("%x", none) && o.partition.TopicID != none:
		return connect.Permanent(fmt.Errorf("topic %s was deleted and created again: %s holds rows of the one with id %s, and now it is %s",
			o.partition.Topic, m.data, e.TopicID, id), away)
	case e.Format != o.format:
		return connect.Permanent(fmt.Errorf("%s holds %s files, and the sink's format is %s", here, e.Format, o.format),
			"keep the format, or give the sink another dir: readers look for one of them")
	}
	return nil
}

func (m *manifest) claim(now string) error {
	e := m.last
	e.Connector, e.Writer, e.Time = m.owner.connector, m.owner.writer, now
	e.Topic, e.TopicID, e.Partition = m.owner.partition.Topic, fmt.Sprintf("%x", m.owner.partition.TopicID), m.owner.partition.Partition
	e.Format = m.owner.format
	e.Base = e.Next
	e.Schema, e.File, e.Pending, e.Rows, e.Bytes = "", "", "", 0, 0
	return m.append(e)
}

// commit adds an entry, and the file it names, which must be synced. When it
// returns without an error both are durable, and the file is in its place.
func (m *manifest) commit(e entry) error {
	invariant.That(e.Base == m.last.Next || m.last.Next == nothingDurable,
		"an entry begins at offset %d, and the one before it ends at %d", e.Base, m.last.Next)
	if e.Pending != "" {
		// The entry must not be found without the file.
		if err := m.fs.SyncDir(m.dir); err != nil {
			return fmt.Errorf("syncing %s: %w", m.dir, err)
		}
	}
	if err := m.append(e); err != nil {
		return err
	}
	if err := m.publish(e); err != nil {
		return err
	}
	return m.sweep()
}

// append makes e the newest entry, unless another one is.
func (m *manifest) append(e entry) error {
	text, err := e.encode()
	if err != nil {
		return fmt.Errorf("encoding a manifest entry: %w", err)
	}
	number := m.number + 1
	name := path.Join(m.dir, entryName(number))
	draft := m.own(number, "draft")
	if err := writeFile(m.fs, draft, text); err != nil {
		return fmt.Errorf("writing manifest entry %s: %w", draft, err)
	}
	err = m.fs.Link(draft, name)
	if errors.Is(err, vfs.ErrExist) || errors.Is(err, vfs.ErrNotExist) { // or a newer owner has swept the draft away
		return m.fenced(number)
	}
	if err != nil {
		return fmt.Errorf("linking manifest entry %s: %w", name, err)
	}
	if err := m.fs.SyncDir(m.dir); err != nil {
		return fmt.Errorf("syncing %s: %w", m.dir, err)
	}
	// Old entries go, so the number may have been free though it was used before:
	// then there is a higher one, and ours means nothing.
	names, err := m.fs.List(m.dir)
	if err != nil {
		return err
	}
	if highest := newest(names); highest != number {
		return m.fenced(highest)
	}
	m.last, m.number = e, number
	return nil
}

func (m *manifest) fenced(by int64) error {
	return fmt.Errorf("partition %d of topic %s in %s: %w (manifest entry %s); unless partitions have just moved, two sinks write to one directory: give each its own",
		m.owner.partition.Partition, m.owner.partition.Topic, m.data, errFenced, path.Join(m.dir, entryName(by)))
}

// publish puts the file of the newest entry where readers look. A link, not a
// rename: so there is no moment at which a power loss finds the file in neither
// directory, whoever else syncs one of them. Without the pending name the file was
// in its place already.
func (m *manifest) publish(e entry) error {
	if e.File == "" {
		return nil
	}
	pending, file := path.Join(m.dir, e.Pending), path.Join(m.data, e.File)
	err := m.fs.Link(pending, file)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil
	}
	if err != nil && !errors.Is(err, vfs.ErrExist) {
		return fmt.Errorf("putting %s into its place: %w", file, err)
	}
	if err := m.fs.SyncDir(m.data); err != nil {
		return fmt.Errorf("syncing %s: %w", m.data, err)
	}
	return nil
}

// sweep removes what the newest entry makes superfluous: older entries, drafts and
// pending files, except those of a newer owner.
func (m *manifest) sweep() error {
	names, err := m.fs.List(m.dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		if number, ok := m.numberOf(name); !ok || number > m.number || name == entryName(m.number) {
			continue
		}
		if err := m.fs.Remove(path.Join(m.dir, name)); err != nil && !errors.Is(err, vfs.ErrNotExist) {
			return fmt.Errorf("removing %s: %w", path.Join(m.dir, name), err)
		}
	}
	return nil
}

// own is a name that no other writer uses, for what belongs to an entry.
func (m *manifest) own(number int64, kind string) string {
	return path.Join(m.dir, fmt.Sprintf("%012d-%s.%s", number, m.owner.writer, kind))
}

// pendingName is what the next entry's file is called until it is in its place.
func (m *manifest) pendingName() string { return m.own(m.number+1, "pending") }

// numberOf returns the number of the entry that a file belongs to.
func (m *manifest) numberOf(name string) (int64, bool) {
	if n, ok := parseEntryName(name); ok {
		return n, true
	}
	digits, _, ok := strings.Cut(name, "-")
	n, valid := parseEntryName(digits + ".json")
	return n, ok && valid
}

func newest(names []string) int64 {
	var highest int64
	for _, name := range names {
		if n, ok := parseEntryName(name); ok {
			highest = max(highest, n)
		}
	}
	return highest
}

// makeDirs makes a directory below root, and root itself if need be, all of them
// durable: also those that are there, since who made them may have died before the
// fsync.
func makeDirs(fsys vfs.FS, root, dir string) error {
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	below := true
	for dir != path.Dir(dir) {
		below = below && dir != path.Dir(root)
		dir = path.Dir(dir)
		err := fsys.SyncDir(dir)
		if !below && errors.Is(err, fs.ErrPermission) {
			return nil // not our business: whoever made it may not have been us
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func readFile(fsys vfs.FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // it was only read
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%d bytes are more than such a file has (%d)", size, limit)
	}
	text := make([]byte, size)
	if _, err := f.ReadAt(text, 0); err != nil && err != io.EOF {
		return nil, err
	}
	return text, nil
}

// writeFile makes a file whose content is durable; its name is not yet.
func writeFile(fsys vfs.FS, name string, content []byte) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(content, 0)
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

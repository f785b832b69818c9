package commitlog

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
)

// manifest is the open file. The appender and the cleaner write records; whoever
// does holds mu, also over the sync. Nothing else is locked inside of it.
type manifest struct {
	mu sync.Mutex
	layout
	fs      vfs.FS
	dir     string
	file    vfs.File
	records uint64
	// failed is the first error after which nobody knows what is in the file.
	failed error
}

func createManifest(fsys vfs.FS, dir string, l layout) error {
	return replaceFile(fsys, dir, manifestName, func(f vfs.File) error {
		_, err := f.WriteAt(l.encode(), 0)
		return err
	})
}

// openManifest reads the manifest and makes it durable. torn is that a record at
// its end was not whole; it is still there.
func openManifest(fsys vfs.FS, dir string) (m *manifest, torn bool, err error) {
	f, err := fsys.OpenWrite(path.Join(dir, manifestName))
	if err != nil {
		return nil, false, err
	}
	defer func() {
		if err != nil {
			_ = f.Close()
		}
	}()
	b, err := readAll(f, maxManifestSize)
	if isDamage(err) {
		return nil, false, &CorruptionError{manifestName, 0, err}
	}
	if err != nil {
		return nil, false, fmt.Errorf("%s: %w", manifestName, err)
	}
	l, n, err := decodeManifest(b)
	if err != nil {
		return nil, false, err
	}
	if err := syncFile(f); err != nil {
		return nil, false, fmt.Errorf("%s: %w", manifestName, err)
	}
	return &manifest{layout: l, fs: fsys, dir: dir, file: f, records: n}, int64(len(b)) > int64(n+1)*manifestRecord, nil
}

// dropTorn makes durable that a record at the end, which was not whole when the
// manifest was opened, does not count.
func (m *manifest) dropTorn() error {
	err := m.file.Truncate(int64(m.records+1) * manifestRecord)
	if err == nil {
		err = syncFile(m.file)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", manifestName, err)
	}
	return nil
}

// record makes a change durable. If the disk is full nothing has changed, and it
// may be tried again; after any other error the log must be fenced.
func (m *manifest) record(c change) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return m.failed
	}
	err := m.write(c)
	if err != nil && !retryable(err) {
		m.failed = err
	}
	return err
}

func (m *manifest) write(c change) error {
	next := m.layout
	next.segments = append([]segmentMeta(nil), m.segments...)
	if err := next.apply(c); err != nil {
		invariant.That(false, "%v", err)
	}
	if m.records >= uint64(4*len(m.segments)+64) {
		if err := m.rewrite(next); err != nil {
			return fmt.Errorf("rewriting the manifest: %w", err)
		}
		return nil
	}
	_, err := m.file.WriteAt(c.encode(m.records+1), int64(m.records+1)*manifestRecord)
	if err == nil {
		err = syncFile(m.file)
	}
	if err != nil {
		return fmt.Errorf("writing the manifest: %w", err)
	}
	m.layout, m.records = next, m.records+1
	return nil
}

// next is nextGeneration of the manifest as it stands.
func (m *manifest) next() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nextGeneration()
}

// installedIndex is that of the snapshot that was installed last, 0 if none was.
func (m *manifest) installedIndex() record.Index {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.installed
}

// now is the log's generation.
func (m *manifest) now() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.generation
}

// stagedGeneration is that of the files of a receipt, 0 if there are none.
func (m *manifest) stagedGeneration() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.staged
}

// reserve returns the generation of the files of a receipt, which is the same until
// one is installed.
func (m *manifest) reserve() (uint32, error) {
	m.mu.Lock()
	staged, next := m.staged, m.nextGeneration()
	m.mu.Unlock()
	if staged > 0 {
		return staged, nil
	}
	return next, m.record(change{kind: receiptBegun, generation: next})
}

// install makes the log one of the given segments: those that it has, and those of the
// receipt. In the same step the snapshot up to which they go becomes the oldest that
// counts, and the generation rises. Errors as record.
func (m *manifest) install(kept, received []segmentMeta, index record.Index) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.failed != nil {
		return m.failed
	}
	for _, k := range kept {
		invariant.That(slices.Contains(m.segments, k), "segment %s has gone while a shipment was received", k.name())
	}
	err := m.rewrite(layout{
		generation: m.nextGeneration(), cutLast: index,
		installed: index, installedGeneration: m.staged,
		segments: slices.Concat(kept, received),
	})
	if err != nil && !retryable(err) {
		m.failed = err
	}
	return err
}

// rewrite replaces the file by the shortest one that says the same.
func (m *manifest) rewrite(next layout) error {
	if err := createManifest(m.fs, m.dir, next); err != nil {
		return err
	}
	f, err := m.fs.OpenWrite(path.Join(m.dir, manifestName))
	if err != nil {
		// The old descriptor belongs to a file without a name.
		return &syncError{err}
	}
	err = m.file.Close()
	m.file, m.layout, m.records = f, next, uint64(len(next.changes()))
	if err != nil && !errors.Is(err, vfs.ErrNoSpace) {
		return err
	}
	return nil
}

// check verifies the file on the disk and returns how much was read.
func (m *manifest) check() (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := readAll(m.file, maxManifestSize)
	if err != nil {
		return 0, err
	}
	_, n, err := decodeManifest(b)
	if err == nil && n != m.records {
		err = &CorruptionError{manifestName, Address(n+1) * manifestRecord, damagef("it ends behind record %d, not %d", n, m.records)}
	}
	return int64(len(b)), err
}

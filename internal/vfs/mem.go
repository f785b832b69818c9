package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
)

// Mem is a file system in memory that knows which part of itself a power loss
// would spare: see Crash and CrashClean. It is for tests. All names lead from one
// root, which always exists: "/a", "a" and "./a" are the same file.
//
// Safe for concurrent use.
type Mem struct {
	mu       sync.RWMutex
	root     *memDir
	capacity int64 // bytes, or unlimited
	used     int64 // sum of the lengths of all files that have a name or are open
	changes  uint64
}

const unlimited = -1

// memFree is what Free answers where there is no limit: more than any test needs,
// and far from overflowing in a caller's arithmetic.
const memFree = 1 << 50

// NewMem returns an empty tree without a limit on its size.
func NewMem() *Mem { return &Mem{root: newMemDir(), capacity: unlimited} }

// SetCapacity makes writes fail with ErrNoSpace where the lengths of all files
// would come to exceed bytes. What is there stays. A negative number lifts the limit.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = max(bytes, unlimited)
}

// memNode is a *memDir or a *memInode.
type memNode any

// memDir is a directory: its entries as calls see them, as of the last SyncDir,
// and the changes between the two, in order.
type memDir struct {
	entries map[string]memNode
	durable map[string]memNode
	pending []dirChange
}

func newMemDir() *memDir {
	return &memDir{entries: map[string]memNode{}, durable: map[string]memNode{}}
}

// dirChange gives name a new meaning, or none where node is nil. Changes with the
// same id were made by one call and are there together or not at all, as long as
// none of them has been synced alone.
type dirChange struct {
	id   uint64
	name string
	node memNode
}

func (d *memDir) set(id uint64, name string, n memNode) {
	setEntry(d.entries, name, n)
	d.pending = append(d.pending, dirChange{id, name, n})
}

func setEntry(entries map[string]memNode, name string, n memNode) {
	if n == nil {
		delete(entries, name)
	} else {
		entries[name] = n
	}
}

// memInode is a file, whatever its names: content as calls see it, as of the last
// Sync, and the changes between the two, in order.
type memInode struct {
	data    []byte
	durable []byte
	pending []fileChange
	names   int
	handles int
	locked  bool
}

// fileChange is a write at an offset or, where data is nil, a new length.
type fileChange struct {
	at   int64
	data []byte
}

func (c fileChange) apply(content []byte) []byte {
	if c.data == nil {
		return resize(content, c.at)
	}
	if end := c.at + int64(len(c.data)); end > int64(len(content)) {
		content = resize(content, end)
	}
	copy(content[c.at:], c.data)
	return content
}

func resize(b []byte, size int64) []byte {
	old := int64(len(b))
	if size <= old {
		return b[:size]
	}
	b = slices.Grow(b, int(size-old))[:size]
	clear(b[old:]) // a shrunken slice still holds what was cut off
	return b
}

func (f *memInode) change(c fileChange) {
	f.data = c.apply(f.data)
	f.pending = append(f.pending, c)
}

// splitName gives the elements of a path; none for the root.
func splitName(name string) []string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return nil
	}
	return strings.Split(name, "/")
}

var (
	errNotDir   = errors.New("not a directory")
	errIsDir    = errors.New("is a directory")
	errNotEmpty = errors.New("directory not empty")
	errReadOnly = errors.New("file was opened for reading only")
	errNegative = errors.New("negative offset")
)

// findLocked returns what a name means: ErrNotExist if nothing.
func (m *Mem) findLocked(name string) (memNode, error) {
	var n memNode = m.root
	for _, elem := range splitName(name) {
		d, ok := n.(*memDir)
		if !ok {
			return nil, errNotDir
		}
		if n = d.entries[elem]; n == nil {
			return nil, ErrNotExist
		}
	}
	return n, nil
}

func (m *Mem) dirLocked(name string) (*memDir, error) {
	n, err := m.findLocked(name)
	if err != nil {
		return nil, err
	}
	d, ok := n.(*memDir)
	if !ok {
		return nil, errNotDir
	}
	return d, nil
}

func (m *Mem) fileLocked(name string) (*memInode, error) {
	n, err := m.findLocked(name)
	if err != nil {
		return nil, err
	}
	f, ok := n.(*memInode)
	if !ok {
		return nil, errIsDir
	}
	return f, nil
}

// parentLocked returns the directory that holds (or would hold) a name, and the
// name's last element.
func (m *Mem) parentLocked(name string) (*memDir, string, error) {
	elems := splitName(name)
	if len(elems) == 0 {
		return nil, "", errIsDir
	}
	last := len(elems) - 1
	d, err := m.dirLocked(strings.Join(elems[:last], "/"))
	return d, elems[last], err
}

func (m *Mem) nextChangeLocked() uint64 {
	m.changes++
	return m.changes
}

// reapLocked gives back the space of a file that has neither a name nor a handle.
func (m *Mem) reapLocked(f *memInode) {
	if f.names == 0 && f.handles == 0 {
		m.used -= int64(len(f.data))
	}
}

func (m *Mem) createLocked(name string) (*memInode, error) {
	d, elem, err := m.parentLocked(name)
	if err != nil {
		return nil, err
	}
	if d.entries[elem] != nil {
		return nil, ErrExist
	}
	f := &memInode{names: 1}
	d.set(m.nextChangeLocked(), elem, f)
	return f, nil
}

// Create is FS.Create.
func (m *Mem) Create(name string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.createLocked(name)
	if err != nil {
		return nil, &fs.PathError{Op: "create", Path: name, Err: err}
	}
	f.handles++
	return &memFile{mem: m, inode: f, name: name, write: true}, nil
}

// Open is FS.Open.
func (m *Mem) Open(name string) (File, error) { return m.open(name, false) }

// OpenWrite is FS.OpenWrite.
func (m *Mem) OpenWrite(name string) (File, error) { return m.open(name, true) }

func (m *Mem) open(name string, write bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.fileLocked(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	f.handles++
	return &memFile{mem: m, inode: f, name: name, write: write}, nil
}

// Remove is FS.Remove.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.removeLocked(name); err != nil {
		return &fs.PathError{Op: "remove", Path: name, Err: err}
	}
	return nil
}

func (m *Mem) removeLocked(name string) error {
	d, elem, err := m.parentLocked(name)
	if err != nil {
		return err
	}
	switch n := d.entries[elem].(type) {
	case nil:
		return ErrNotExist
	case *memDir:
		if len(n.entries) > 0 {
			return errNotEmpty
		}
		d.set(m.nextChangeLocked(), elem, nil)
	case *memInode:
		d.set(m.nextChangeLocked(), elem, nil)
		n.names--
		m.reapLocked(n)
	}
	return nil
}

// Rename is FS.Rename, for files only. A rename from one directory to another is
// one change until one of the two is synced: sync the new one first, as on a real
// disk, or a power loss may find the file in neither.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.renameLocked(oldName, newName); err != nil {
		return &os.LinkError{Op: "rename", Old: oldName, New: newName, Err: err}
	}
	return nil
}

func (m *Mem) renameLocked(oldName, newName string) error {
	f, err := m.fileLocked(oldName)
	if err != nil {
		return err
	}
	from, oldElem, err := m.parentLocked(oldName)
	if err != nil {
		return err
	}
	to, newElem, err := m.parentLocked(newName)
	if err != nil {
		return err
	}
	replaced := to.entries[newElem]
	if replaced == memNode(f) {
		return nil // POSIX: two names of one file, both stay
	}
	if _, ok := replaced.(*memDir); ok {
		return errIsDir
	}
	id := m.nextChangeLocked()
	to.set(id, newElem, f)
	from.set(id, oldElem, nil)
	if old, ok := replaced.(*memInode); ok {
		old.names--
		m.reapLocked(old)
	}
	return nil
}

// Link is FS.Link.
func (m *Mem) Link(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.linkLocked(oldName, newName); err != nil {
		return &os.LinkError{Op: "link", Old: oldName, New: newName, Err: err}
	}
	return nil
}

func (m *Mem) linkLocked(oldName, newName string) error {
	f, err := m.fileLocked(oldName)
	if err != nil {
		return err
	}
	d, elem, err := m.parentLocked(newName)
	if err != nil {
		return err
	}
	if d.entries[elem] != nil {
		return ErrExist
	}
	f.names++
	d.set(m.nextChangeLocked(), elem, f)
	return nil
}

// MkdirAll is FS.MkdirAll.
func (m *Mem) MkdirAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d := m.root
	for _, elem := range splitName(name) {
		switch n := d.entries[elem].(type) {
		case nil:
			sub := newMemDir()
			d.set(m.nextChangeLocked(), elem, sub)
			d = sub
		case *memDir:
			d = n
		default:
			return &fs.PathError{Op: "mkdir", Path: name, Err: errNotDir}
		}
	}
	return nil
}

// List is FS.List.
func (m *Mem) List(dir string) ([]string, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	d, err := m.dirLocked(dir)
	if err != nil {
		return nil, &fs.PathError{Op: "list", Path: dir, Err: err}
	}
	return slices.Sorted(maps.Keys(d.entries)), nil
}

// Exists is FS.Exists.
func (m *Mem) Exists(name string) (bool, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, err := m.findLocked(name)
	if errors.Is(err, ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, &fs.PathError{Op: "stat", Path: name, Err: err}
	}
	return true, nil
}

// SyncDir is FS.SyncDir.
func (m *Mem) SyncDir(dir string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	d, err := m.dirLocked(dir)
	if err != nil {
		return &fs.PathError{Op: "syncdir", Path: dir, Err: err}
	}
	for _, c := range d.pending {
		setEntry(d.durable, c.name, c.node)
	}
	d.pending = nil
	return nil
}

// Lock is FS.Lock. A lock holds in this Mem and not in its crash clones.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f, err := m.fileLocked(name)
	if errors.Is(err, ErrNotExist) {
		f, err = m.createLocked(name)
	}
	if err == nil && f.locked {
		err = ErrLocked
	}
	if err != nil {
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	f.locked = true
	f.handles++
	return &memFile{mem: m, inode: f, name: name, lock: true}, nil
}

// Free is FS.Free: what SetCapacity leaves, or a large number.
func (m *Mem) Free(dir string) (int64, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, err := m.dirLocked(dir); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: dir, Err: err}
	}
	return m.freeLocked(), nil
}

func (m *Mem) freeLocked() int64 {
	if m.capacity == unlimited {
		return memFree
	}
	return max(0, m.capacity-m.used)
}

// memFile is a handle.
type memFile struct {
	mem    *Mem
	inode  *memInode
	name   string
	write  bool
	lock   bool
	closed bool // guarded by mem.mu
}

func (f *memFile) failed(op string, err error) error {
	return &fs.PathError{Op: op, Path: f.name, Err: err}
}

// checkLocked says whether the handle may be used, for writing or only for reading.
func (f *memFile) checkLocked(write bool) error {
	if f.closed {
		return fs.ErrClosed
	}
	if write && !f.write {
		return errReadOnly
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.mem.mu.RLock()
	defer f.mem.mu.RUnlock()
	if err := f.checkLocked(false); err != nil {
		return 0, f.failed("read", err)
	}
	if off < 0 {
		return 0, f.failed("read", errNegative)
	}
	if off >= int64(len(f.inode.data)) {
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	n := copy(p, f.inode.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) ReadOnce(p []byte, off int64) (int, error) { return f.ReadAt(p, off) }

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.checkLocked(true); err != nil {
		return 0, f.failed("write", err)
	}
	if off < 0 {
		return 0, f.failed("write", errNegative)
	}
	if len(p) == 0 {
		return 0, nil
	}
	// As on a disk, what fits is written before the error.
	var err error
	size := int64(len(f.inode.data))
	if limit := size + f.mem.freeLocked(); off+int64(len(p)) > limit {
		p = p[:max(0, max(size, limit)-off)]
		err = f.failed("write", fmt.Errorf("%w: capacity of %d bytes", ErrNoSpace, f.mem.capacity))
	}
	if len(p) > 0 {
		f.inode.change(fileChange{at: off, data: slices.Clone(p)})
		f.mem.used += int64(len(f.inode.data)) - size
	}
	return len(p), err
}

func (f *memFile) Size() (int64, error) {
	f.mem.mu.RLock()
	defer f.mem.mu.RUnlock()
	if err := f.checkLocked(false); err != nil {
		return 0, f.failed("stat", err)
	}
	return int64(len(f.inode.data)), nil
}

func (f *memFile) Truncate(size int64) error { return f.resize("truncate", size, true) }

func (f *memFile) Allocate(size int64) error { return f.resize("allocate", size, false) }

func (f *memFile) resize(op string, size int64, shrink bool) error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.checkLocked(true); err != nil {
		return f.failed(op, err)
	}
	grown := size - int64(len(f.inode.data))
	if grown <= 0 && !shrink {
		return nil
	}
	if size < 0 {
		return f.failed(op, errNegative)
	}
	if grown > f.mem.freeLocked() {
		return f.failed(op, fmt.Errorf("%w: capacity of %d bytes", ErrNoSpace, f.mem.capacity))
	}
	f.inode.change(fileChange{at: size})
	f.mem.used += grown
	return nil
}

func (f *memFile) Sync() error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if err := f.checkLocked(false); err != nil {
		return f.failed("sync", err)
	}
	for _, c := range f.inode.pending {
		f.inode.durable = c.apply(f.inode.durable)
	}
	f.inode.pending = nil
	return nil
}

func (f *memFile) Close() error {
	f.mem.mu.Lock()
	defer f.mem.mu.Unlock()
	if f.closed {
		return f.failed("close", fs.ErrClosed)
	}
	f.closed = true
	f.inode.handles--
	if f.lock {
		f.inode.locked = false
	}
	f.mem.reapLocked(f.inode)
	return nil
}

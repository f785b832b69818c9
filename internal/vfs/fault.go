package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
)

// ErrCrashed is what CrashAt makes every call fail with.
var ErrCrashed = errors.New("the machine has crashed")

// OpKind names a call of FS or File. Close is none of them: it cannot fail here.
type OpKind int

const (
	OpCreate OpKind = iota + 1
	OpOpen
	OpOpenWrite
	OpRemove
	OpRename
	OpLink
	OpMkdirAll
	OpList
	OpExists
	OpSyncDir
	OpLock
	OpFree
	OpRead
	OpWrite
	OpSize
	OpTruncate
	OpAllocate
	OpSync
)

var opNames = [...]string{
	OpCreate: "create", OpOpen: "open", OpOpenWrite: "openwrite", OpRemove: "remove", OpRename: "rename",
	OpLink: "link", OpMkdirAll: "mkdirall", OpList: "list", OpExists: "exists", OpSyncDir: "syncdir",
	OpLock: "lock", OpFree: "free", OpRead: "read", OpWrite: "write", OpSize: "size",
	OpTruncate: "truncate", OpAllocate: "allocate", OpSync: "sync",
}

func (k OpKind) String() string {
	if k <= 0 || int(k) >= len(opNames) {
		return fmt.Sprintf("op%d", int(k))
	}
	return opNames[k]
}

// Op is one call, about to be made.
type Op struct {
	Kind    OpKind
	Name    string // as the caller gave it; of a File, the name it was opened by
	NewName string // of a Rename or a Link
	Bytes   int    // of a Read or a Write
	Offset  int64  // of a Read or a Write
	N       int    // running number of the call in this Fault, from 1
}

// String is the call on one line, as "write log/0001 4096".
func (o Op) String() string {
	switch o.Kind {
	case OpRename, OpLink:
		return fmt.Sprintf("%v %s %s", o.Kind, o.Name, o.NewName)
	case OpRead, OpWrite:
		return fmt.Sprintf("%v %s %d", o.Kind, o.Name, o.Bytes)
	default:
		return fmt.Sprintf("%v %s", o.Kind, o.Name)
	}
}

// Fault passes every call on to another file system unless a hook objects. Safe
// for concurrent use.
type Fault struct {
	inner FS
	hook  func(Op) error
	calls atomic.Int64
}

// NewFault wraps inner. The hook is asked before each call, by the goroutine that
// makes it, so perhaps concurrently; an error makes the call fail with it and
// without effect (but see ShortWrite). A nil hook never objects.
func NewFault(inner FS, hook func(Op) error) *Fault { return &Fault{inner: inner, hook: hook} }

// Calls returns how many calls there have been, failed ones included.
func (f *Fault) Calls() int { return int(f.calls.Load()) }

// FailAt is a hook that fails the n-th call only.
func FailAt(n int, err error) func(Op) error {
	return func(op Op) error {
		if op.N == n {
			return err
		}
		return nil
	}
}

// CrashAt is a hook that fails the n-th call and all later ones with ErrCrashed,
// so that the code under test gets no further. Then see what it left:
//
//	mem := vfs.NewMem()
//	run(vfs.NewFault(mem, vfs.CrashAt(n)))
//	check(mem.Crash(rnd))
func CrashAt(n int) func(Op) error {
	return func(op Op) error {
		if op.N >= n {
			return ErrCrashed
		}
		return nil
	}
}

// ShortWrite is an error for a hook to return: a Write it objects to still writes
// the first n bytes. To other calls it is just err.
func ShortWrite(n int, err error) error { return &shortWrite{n, err} }

// ShortRead is an error for a hook to return: a Read it objects to still reads the first
// n bytes. To other calls it is just err.
func ShortRead(n int, err error) error { return &shortRead{n, err} }

type shortRead struct {
	n   int
	err error
}

func (s *shortRead) Error() string { return s.err.Error() }
func (s *shortRead) Unwrap() error { return s.err }

// FlipBit is for a hook to return: a Read is made and succeeds, but with one bit of
// what it read inverted, counted from the beginning of its buffer and as often around
// as need be. Other calls are not changed.
func FlipBit(bit int) error { return flipBit(bit) }

type flipBit int

func (f flipBit) Error() string { return fmt.Sprintf("bit %d is flipped", int(f)) }

type shortWrite struct {
	n   int
	err error
}

func (s *shortWrite) Error() string { return s.err.Error() }
func (s *shortWrite) Unwrap() error { return s.err }

func (f *Fault) ask(op Op) error {
	op.N = int(f.calls.Add(1))
	if f.hook == nil {
		return nil
	}
	err := f.hook(op)
	if _, ok := errors.AsType[flipBit](err); ok && op.Kind != OpRead {
		return nil
	}
	if err != nil {
		return &fs.PathError{Op: op.Kind.String(), Path: op.Name, Err: err}
	}
	return nil
}

func (f *Fault) file(name string, file File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &faultFile{fault: f, inner: file, name: name}, nil
}

// Create is FS.Create.
func (f *Fault) Create(name string) (File, error) {
	if err := f.ask(Op{Kind: OpCreate, Name: name}); err != nil {
		return nil, err
	}
	file, err := f.inner.Create(name)
	return f.file(name, file, err)
}

// Open is FS.Open.
func (f *Fault) Open(name string) (File, error) {
	if err := f.ask(Op{Kind: OpOpen, Name: name}); err != nil {
		return nil, err
	}
	file, err := f.inner.Open(name)
	return f.file(name, file, err)
}

// OpenWrite is FS.OpenWrite.
func (f *Fault) OpenWrite(name string) (File, error) {
	if err := f.ask(Op{Kind: OpOpenWrite, Name: name}); err != nil {
		return nil, err
	}
	file, err := f.inner.OpenWrite(name)
	return f.file(name, file, err)
}

// Remove is FS.Remove.
func (f *Fault) Remove(name string) error {
	if err := f.ask(Op{Kind: OpRemove, Name: name}); err != nil {
		return err
	}
	return f.inner.Remove(name)
}

// Rename is FS.Rename.
func (f *Fault) Rename(oldName, newName string) error {
	if err := f.ask(Op{Kind: OpRename, Name: oldName, NewName: newName}); err != nil {
		return err
	}
	return f.inner.Rename(oldName, newName)
}

// Link is FS.Link.
func (f *Fault) Link(oldName, newName string) error {
	if err := f.ask(Op{Kind: OpLink, Name: oldName, NewName: newName}); err != nil {
		return err
	}
	return f.inner.Link(oldName, newName)
}

// MkdirAll is FS.MkdirAll.
func (f *Fault) MkdirAll(name string) error {
	if err := f.ask(Op{Kind: OpMkdirAll, Name: name}); err != nil {
		return err
	}
	return f.inner.MkdirAll(name)
}

// List is FS.List.
func (f *Fault) List(dir string) ([]string, error) {
	if err := f.ask(Op{Kind: OpList, Name: dir}); err != nil {
		return nil, err
	}
	return f.inner.List(dir)
}

// Exists is FS.Exists.
func (f *Fault) Exists(name string) (bool, error) {
	if err := f.ask(Op{Kind: OpExists, Name: name}); err != nil {
		return false, err
	}
	return f.inner.Exists(name)
}

// SyncDir is FS.SyncDir.
func (f *Fault) SyncDir(dir string) error {
	if err := f.ask(Op{Kind: OpSyncDir, Name: dir}); err != nil {
		return err
	}
	return f.inner.SyncDir(dir)
}

// Lock is FS.Lock.
func (f *Fault) Lock(name string) (io.Closer, error) {
	if err := f.ask(Op{Kind: OpLock, Name: name}); err != nil {
		return nil, err
	}
	return f.inner.Lock(name)
}

// Free is FS.Free.
func (f *Fault) Free(dir string) (int64, error) {
	if err := f.ask(Op{Kind: OpFree, Name: dir}); err != nil {
		return 0, err
	}
	return f.inner.Free(dir)
}

type faultFile struct {
	fault *Fault
	inner File
	name  string
}

func (f *faultFile) ReadAt(p []byte, off int64) (int, error) {
	return f.read(p, off, f.inner.ReadAt)
}

// ReadOnce is a read like any other to a hook.
func (f *faultFile) ReadOnce(p []byte, off int64) (int, error) {
	return f.read(p, off, f.inner.ReadOnce)
}

func (f *faultFile) read(p []byte, off int64, read func([]byte, int64) (int, error)) (int, error) {
	err := f.fault.ask(Op{Kind: OpRead, Name: f.name, Bytes: len(p), Offset: off})
	if err == nil {
		return read(p, off)
	}
	if flip, ok := errors.AsType[flipBit](err); ok {
		n, err := read(p, off)
		if n > 0 {
			bit := int(flip) % (8 * n)
			p[bit/8] ^= 1 << (bit % 8)
		}
		return n, err
	}
	short, ok := errors.AsType[*shortRead](err)
	if !ok || short.n <= 0 {
		return 0, err
	}
	n, innerErr := read(p[:min(short.n, len(p))], off)
	if innerErr != nil {
		err = innerErr
	}
	return n, err
}

func (f *faultFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.fault.ask(Op{Kind: OpWrite, Name: f.name, Bytes: len(p), Offset: off})
	if err == nil {
		return f.inner.WriteAt(p, off)
	}
	var short *shortWrite
	if !errors.As(err, &short) || short.n <= 0 {
		return 0, err
	}
	n, innerErr := f.inner.WriteAt(p[:min(short.n, len(p))], off)
	if innerErr != nil {
		err = innerErr
	}
	return n, err
}

func (f *faultFile) Size() (int64, error) {
	if err := f.fault.ask(Op{Kind: OpSize, Name: f.name}); err != nil {
		return 0, err
	}
	return f.inner.Size()
}

func (f *faultFile) Truncate(size int64) error {
	if err := f.fault.ask(Op{Kind: OpTruncate, Name: f.name}); err != nil {
		return err
	}
	return f.inner.Truncate(size)
}

func (f *faultFile) Allocate(size int64) error {
	if err := f.fault.ask(Op{Kind: OpAllocate, Name: f.name}); err != nil {
		return err
	}
	return f.inner.Allocate(size)
}

func (f *faultFile) Sync() error {
	if err := f.fault.ask(Op{Kind: OpSync, Name: f.name}); err != nil {
		return err
	}
	return f.inner.Sync()
}

func (f *faultFile) Close() error { return f.inner.Close() }

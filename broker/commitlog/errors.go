package commitlog

import (
	"errors"
	"fmt"

	"github.com/splashdam/splashdam/internal/vfs"
)

var (
	// ErrClosed is what every call after Close gets.
	ErrClosed = errors.New("log is closed")
	// ErrFenced is a log that writes no more since an earlier error left the disk
	// in doubt. The chain holds that first error. Reading goes on; only opening
	// the log anew finds out what is there.
	ErrFenced = errors.New("log is fenced")
	// ErrFutureVersion is a file of a newer version of this program. Nothing is
	// wrong with it; this binary is too old.
	ErrFutureVersion = errors.New("format of a future version")
	// ErrStale is a snapshot, or a shipment with one, which the log has overtaken.
	ErrStale = errors.New("overtaken by the log")
	// ErrNoEntry is an index outside of the Raft window.
	ErrNoEntry = errors.New("entry is not in the log window")
)

// CorruptionError is bytes that were durable and are not what was written, or that
// the disk does not give back.
type CorruptionError struct {
	// Segment is the name of the file, without its directory: a segment or, for
	// damage elsewhere, an index, a snapshot, the manifest or the hard state.
	Segment string
	// Address is where in the log; in a file that is not a segment, where in it.
	Address Address
	Err     error
}

func (e *CorruptionError) Error() string {
	return fmt.Sprintf("corruption in %s at %s: %v", e.Segment, e.Address, e.Err)
}

func (e *CorruptionError) Unwrap() error { return e.Err }

func isCorrupt(err error) bool {
	_, ok := errors.AsType[*CorruptionError](err)
	return ok
}

// errDamage marks bytes that are not a frame, a record, a block, a section.
var errDamage = errors.New("damaged")

// damagef is an errDamage with what is wrong.
func damagef(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errDamage, fmt.Errorf(format, args...))
}

func futureVersion(file string, got, known uint16) error {
	return fmt.Errorf("%w: %s has version %d, this binary knows up to %d", ErrFutureVersion, file, got, known)
}

// syncError marks a failed sync of a file that stays in use: whatever the errno,
// it must not be tried again.
type syncError struct{ err error }

func (e *syncError) Error() string { return "syncing: " + e.err.Error() }
func (e *syncError) Unwrap() error { return e.err }

func syncFile(f vfs.File) error {
	if err := f.Sync(); err != nil {
		return &syncError{err}
	}
	return nil
}

func syncDir(fsys vfs.FS, dir string) error {
	if err := fsys.SyncDir(dir); err != nil {
		return &syncError{err}
	}
	return nil
}

// retryable reports whether err is a write that found the disk full.
func retryable(err error) bool {
	var failed *syncError
	return errors.Is(err, vfs.ErrNoSpace) && !errors.As(err, &failed)
}

func isDamage(err error) bool { return errors.Is(err, errDamage) }

package connect

import (
	"errors"
	"fmt"
	"time"
)

// Errors by which a connector steers what runs it. Anything else is taken for a
// fault that may pass: the task is closed and started again, later every time.
var (
	// ErrNotConnected: the connection is gone; Connect again at once, then slower.
	ErrNotConnected = errors.New("not connected")
	// ErrEndOfInput: there is nothing more to read, ever. The task ends well.
	ErrEndOfInput = errors.New("end of input")
)

// PermanentError will not pass by itself: the task stops until somebody has done
// what Next says.
type PermanentError struct {
	Err  error
	Next string // what to do, a sentence
}

// Permanent wraps an error that only a person can cure.
func Permanent(err error, next string) error { return &PermanentError{err, next} }

func (e *PermanentError) Error() string {
	if e.Next == "" {
		return e.Err.Error()
	}
	return fmt.Sprintf("%v; %s", e.Err, e.Next)
}
func (e *PermanentError) Unwrap() error { return e.Err }

// RetryAfterError says when it is worth trying again.
type RetryAfterError struct {
	Err  error
	Wait time.Duration
}

func (e *RetryAfterError) Error() string { return e.Err.Error() }
func (e *RetryAfterError) Unwrap() error { return e.Err }

// RecordError blames one record of those that a sink was given: the rest is well.
type RecordError struct {
	Topic     string
	Partition int32
	Offset    int64
	Err       error
}

func (e *RecordError) Error() string {
	return fmt.Sprintf("record %s-%d-%d: %v", e.Topic, e.Partition, e.Offset, e.Err)
}
func (e *RecordError) Unwrap() error { return e.Err }

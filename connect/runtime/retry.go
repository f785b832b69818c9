package runtime

import (
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/connect"
)

// What a task's error leads to.
type next uint8

const (
	again  next = iota // after a wait
	ended              // well: there is nothing more to do
	failed             // until somebody cures the cause
)

const (
	firstWait    = 250 * time.Millisecond
	mostWait     = 30 * time.Second
	steadyBefore = time.Minute // a task that ran so long has nothing to do with the last failure
)

// refusals are the cluster's answers that stay the same until somebody changes its
// rules or the pipeline.
var refusals = []error{
	kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.SaslAuthenticationFailed,
	kerr.InvalidTopicException, kerr.PolicyViolation, kerr.UnsupportedVersion,
}

// retries decides what becomes of a task that has ended. It is told how long the
// task ran.
type retries struct {
	failures int // in a row
}

func (r *retries) after(err error, ran time.Duration) (next, time.Duration) {
	if errors.Is(err, connect.ErrEndOfInput) {
		return ended, 0
	}
	if _, ok := errors.AsType[*connect.PermanentError](err); ok || slices.ContainsFunc(refusals, func(r error) bool { return errors.Is(err, r) }) {
		return failed, 0
	}
	if ran >= steadyBefore {
		r.failures = 0
	}
	r.failures++
	if e, ok := errors.AsType[*connect.RetryAfterError](err); ok {
		return again, min(max(e.Wait, 0), mostWait)
	}
	if r.failures == 1 && errors.Is(err, connect.ErrNotConnected) {
		return again, 0
	}
	wait := firstWait
	for n := r.failures; n > 1 && wait < mostWait; n-- {
		wait *= 2
	}
	return again, min(wait, mostWait)
}

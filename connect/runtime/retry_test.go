package runtime

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/connect"
)

func TestWhatBecomesOfATaskDependsOnItsError(t *testing.T) {
	passing := errors.New("a server said no")
	lost := fmt.Errorf("reading: %w", connect.ErrNotConnected)
	for _, c := range []struct {
		name     string
		errors   []error
		ran      time.Duration
		want     next
		wantWait time.Duration
	}{
		{"the end", []error{fmt.Errorf("done: %w", connect.ErrEndOfInput)}, 0, ended, 0},
		{"permanent", []error{fmt.Errorf("x: %w", connect.Permanent(passing, "do something"))}, 0, failed, 0},
		{"a refusal by the cluster's rules", []error{fmt.Errorf("creating a topic: %w", kerr.TopicAuthorizationFailed)}, 0, failed, 0},
		{"a cluster that is not well", []error{fmt.Errorf("creating a topic: %w", kerr.NotController)}, 0, again, 250 * time.Millisecond},
		{"a lost connection is tried at once", []error{lost}, 0, again, 0},
		{"but not twice", []error{lost, lost}, 0, again, 500 * time.Millisecond},
		{"others wait", []error{passing}, 0, again, 250 * time.Millisecond},
		{"longer every time", []error{passing, passing, passing}, 0, again, time.Second},
		{"up to a limit", make([]error, 40), 0, again, 30 * time.Second},
		{"not after a steady minute", []error{passing, passing, passing}, time.Minute, again, 250 * time.Millisecond},
		{"as long as was asked for", []error{&connect.RetryAfterError{Err: passing, Wait: 3 * time.Second}}, 0, again, 3 * time.Second},
		{"within reason", []error{&connect.RetryAfterError{Err: passing, Wait: time.Hour}}, 0, again, 30 * time.Second},
	} {
		var r retries
		var what next
		var wait time.Duration
		for _, err := range c.errors {
			if err == nil {
				err = passing
			}
			what, wait = r.after(err, c.ran)
		}
		if what != c.want || wait != c.wantWait {
			t.Errorf("%s: %d after %v, want %d after %v", c.name, what, wait, c.want, c.wantWait)
		}
	}
}

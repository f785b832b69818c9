package auth

import (
	"context"
	"time"
)

// Run keeps a key set fresh until ctx ends: at once, at its interval, and earlier
// where a token names a key that it does not have. A look that fails is repeated
// after a pause.
func (k *KeySet) Run(ctx context.Context) {
	for {
		err := k.load(ctx, time.Now())
		if ctx.Err() != nil {
			return
		}
		k.outcome(err)
		pause := k.refresh
		if err != nil {
			pause = min(pause, refreshPause)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		case <-k.hurry:
		}
	}
}

package sdk

import "time"

const (
	retryFirst = 200 * time.Millisecond
	retryMost  = 30 * time.Second
)

// retryDelay is how long a message rests after its handler has failed for the
// attempt-th time, from 1: twice as long after every failure, up to retryMost.
func retryDelay(attempt int) time.Duration {
	return doubled(attempt, retryFirst, retryMost)
}

const (
	routeFirst = 20 * time.Millisecond
	routeMost  = time.Second
)

// routeDelay is how long a decision waits for a new leader, after its attempt-th try.
func routeDelay(attempt int) time.Duration {
	return doubled(attempt, routeFirst, routeMost)
}

func doubled(attempt int, first, most time.Duration) time.Duration {
	d := first
	for ; attempt > 1 && d < most; attempt-- {
		d *= 2
	}
	return min(d, most)
}

package broker

import (
	"net"
	"sync"
	"time"

	"github.com/splashdam/splashdam/broker/kafka"
)

const (
	// logWindow is for how long the same thing is not logged again, and maxLogged how many
	// different things are logged within: what clients can have logged as often as they
	// like, 2 KB a second of each kind at most, must not fill the disk.
	logWindow = 10 * time.Second
	maxLogged = 100
)

// logPace bounds how often something is logged. The zero value is ready.
type logPace struct {
	mu     sync.Mutex
	began  time.Time
	logged map[any]bool // in this window
	// omitted is how many were not logged since the last one that was.
	omitted int
}

// tell calls log, unless the same, by its key, was logged in this window, or too much.
// What it gives log belongs to the line: how many were left out before it.
func (l *logPace) tell(key any, log func(more []any)) {
	if omitted, ok := l.admits(key, time.Now()); ok {
		var more []any
		if omitted > 0 {
			more = []any{"omitted", omitted}
		}
		log(more)
	}
}

func (l *logPace) admits(key any, now time.Time) (omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.logged == nil || now.Sub(l.began) >= logWindow {
		l.began, l.logged = now, make(map[any]bool)
	}
	if l.logged[key] || len(l.logged) == maxLogged {
		l.omitted++
		return 0, false
	}
	l.logged[key] = true
	omitted, l.omitted = l.omitted, 0
	return omitted, true
}

// denied logs what a client may not do: who, from where, what, on what.
func (b *Broker) denied(d kafka.Denial) {
	host, _, err := net.SplitHostPort(d.Addr)
	if err != nil {
		host = d.Addr
	}
	key := d
	key.Version, key.Addr = 0, host // as often as it tries, in whatever connection
	b.log.denied.tell(key, func(more []any) {
		b.loggers.Of(authorizerLogger).Info("denied", append([]any{
			"principal", d.Principal, "from", host, "listener", d.Listener, "client", clip(d.ClientID), "request", d.Key.Name(),
			"operation", d.Operation, "resource", d.Resource, "name", d.Name,
		}, more...)...)
	})
}

// clip bounds what a client wrote.
func clip(s string) string { return s[:min(len(s), 100)] }

package kafka

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/quota"
)

// throttle holds the meter of all connections. Where no quotas are set it costs a look
// at an empty table.
type throttle struct {
	quotas func() quota.Table

	mu    sync.Mutex
	meter *quota.Meter
}

// measure calls f with the meter if there are quotas.
func (t *throttle) measure(f func(*quota.Meter, quota.Table)) {
	table := t.quotas()
	if len(table) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f(t.meter, table)
}

// works are the APIs whose replies work and do not wait for others, or say themselves
// for how long they waited; the time of these replies counts for request_percentage.
// Of the others what their connection's reader does counts: they wait for a commit or
// a rebalance.
var works = map[kmsg.Key]bool{
	kmsg.Produce: true, kmsg.Fetch: true, kmsg.ListOffsets: true, kmsg.Metadata: true, kmsg.OffsetForLeaderEpoch: true,
	kmsg.ApiVersions: true, kmsg.DescribeConfigs: true, kmsg.DescribeCluster: true, kmsg.DescribeACLs: true, kmsg.DescribeClientQuotas: true,
}

// orSeconds are windows, Kafka's default if there are none.
func orSeconds(w quota.Windows) quota.Windows {
	if w.Number == 0 {
		return quota.Windows{Number: 11, Size: time.Second}
	}
	return w
}

// pause waits, or less if ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// mute has the connection's reader wait until a time.
func (c *conn) mute(until time.Time) {
	for ns := until.UnixNano(); ; {
		old := c.muted.Load()
		if old >= ns || c.muted.CompareAndSwap(old, ns) {
			return
		}
	}
}

// awaitVoice waits until the connection is not muted. What was read before goes on, but
// each fetch in it finds the quota used up.
func (c *conn) awaitVoice() error {
	for {
		left := time.Until(time.Unix(0, c.muted.Load()))
		if left <= 0 {
			return nil
		}
		if pause(c.leaving, left); c.leaving.Err() != nil {
			return context.Cause(c.leaving)
		}
	}
}

// user is the name by which quotas know the client: its principal without the type.
func (c *call) user() string {
	_, name, _ := strings.Cut(c.client.Principal, ":")
	return name
}

// take records what the client took, and has it wait if that is more than its share.
func (c *call) take(k quota.Key, amount float64) {
	c.throttle.measure(func(m *quota.Meter, t quota.Table) {
		c.hold(m.Record(t, k, c.user(), c.client.ID, amount, time.Now()))
	})
}

// hold has the client wait: nothing is read from its connection before that is over,
// and its answer, which goes out at once, says for how long (KIP-219).
func (c *call) hold(wait time.Duration) {
	if wait <= c.wait {
		return
	}
	c.wait = wait
	c.conn.mute(time.Now().Add(wait))
}

// worked records time of a processor.
func (c *call) worked(d time.Duration) {
	if d > 0 {
		c.take(quota.RequestPercentage, 100*d.Seconds())
	}
}

// told writes into an answer how long the client has to wait.
func (c *call) told(resp kmsg.Response) {
	if c.wait == 0 {
		return
	}
	if t, ok := resp.(kmsg.SetThrottleResponse); ok {
		t.SetThrottle(int32(c.wait.Milliseconds()))
	}
}

// mutating asks whether the client may change so many partitions now. A version that
// knows how is refused (kerr.ThrottlingQuotaExceeded), an older one waits (KIP-599).
func (c *call) mutating(partitions int, strict bool) (refused bool) {
	c.throttle.measure(func(m *quota.Meter, t quota.Table) {
		var wait time.Duration
		wait, refused = m.Mutate(t, c.user(), c.client.ID, float64(partitions), strict, time.Now())
		c.hold(wait)
	})
	return refused
}

// fetched records what a fetch has read. Where it is too much the client gets nothing
// of it yet.
func (c *call) fetched(bytes int) (given bool) {
	given = true
	c.throttle.measure(func(m *quota.Meter, t quota.Table) {
		var wait time.Duration
		wait, given = m.RecordUnlessOver(t, quota.ConsumerByteRate, c.user(), c.client.ID, float64(bytes), time.Now())
		c.hold(wait)
	})
	return given
}

// fetchableBytes is how many bytes a fetch may read at once: what the quota's windows hold,
// or else it would have to wait in any case.
func (c *call) fetchableBytes(most int) int {
	c.throttle.measure(func(m *quota.Meter, t quota.Table) {
		if share, ok := m.Most(t, quota.ConsumerByteRate, c.user(), c.client.ID); ok && share < float64(most) {
			most = int(share)
		}
	})
	return most
}

// connecting is for how long a connection is held before it is closed, because there
// are too many from its address (KIP-612); 0 lets it in.
func (t *throttle) connecting(addr string) (wait time.Duration) {
	t.measure(func(m *quota.Meter, table quota.Table) {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			host = addr
		}
		if ip := acl.ParseHost(host); ip.IsValid() {
			host = ip.String()
		}
		wait = m.Connect(table, host, time.Now())
	})
	return wait
}

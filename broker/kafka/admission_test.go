package kafka

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Whoever can reach the port could keep everybody out by opening connections, and nothing
// more.
func TestAStrangerGivesWayToWhoComesAndAClientDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := serverOn(t, newFake(), Limits{Connections: ConnectionLimits{All: 3}}, Events{}, loginListener(t, 0))
		come := func() *wire {
			w := connect(t, context.Background(), srv)
			w.nc.SetDeadline(time.Time{})
			synctest.Wait()
			return w
		}
		client := come()
		client.logIn("alice")
		first, second := come(), come()
		if err := come().end(); !errors.Is(err, ErrTooManyConnections) {
			t.Errorf("one more, while the strangers have their time: %v", err)
		}
		time.Sleep(strangerTime)
		bob := come()
		if err := first.end(); !errors.Is(err, ErrGaveWay) {
			t.Errorf("the first stranger: %v", err)
		}
		if r := bob.logIn("bob"); r.ErrorCode != 0 {
			t.Errorf("who came instead: error %d", r.ErrorCode)
		}
		eve := come()
		if err := second.end(); !errors.Is(err, ErrGaveWay) {
			t.Errorf("the second stranger: %v", err)
		}
		eve.logIn("alice")
		time.Sleep(strangerTime)
		if err := come().end(); !errors.Is(err, ErrTooManyConnections) {
			t.Errorf("one more, where all have logged in: %v", err)
		}
		for _, w := range []*wire{client, bob, eve} {
			ask[*kmsg.MetadataResponse](w, at(kmsg.NewPtrMetadataRequest(), 9))
			w.nc.Close()
			w.end()
		}
		if srv.admission.all != 0 || srv.admission.strangers.Len() != 0 {
			t.Errorf("%d connections are left, %d strangers", srv.admission.all, srv.admission.strangers.Len())
		}
	})
}

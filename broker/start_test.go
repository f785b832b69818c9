package broker

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/internal/vfs"
)

// TestWhoComesBeforeTheNodeIsReadyWaits sends the first request while the node
// cannot lead yet: nothing is refused, it is answered when the node is ready.
func TestWhoComesBeforeTheNodeIsReadyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		fs := newGate(vfs.NewMem(), "data/shards/0001")
		fs.shut.Store(true)
		n, err := open(t, Config{FS: fs, Settings: settings(t, nil)})
		must(t, err)
		ask := n.asker(t)
		created := make(chan error, 1)
		go func() { created <- ask.createTopic(ctx, orders, 1) }()
		synctest.Wait()
		select {
		case err := <-created:
			t.Errorf("a node that is not ready answers %v", err)
		case <-n.Ready():
			t.Error("a node is ready whose shard cannot write")
		default:
		}
		fs.pass()
		must(t, <-created)
		n.shut(t)
	})
}

// TestPartitionsThatACrashLeftUnopenedAreOpenWhenTheNodeIsReady loses the power when
// the topic is in the metadata, and its partitions are not open.
func TestPartitionsThatACrashLeftUnopenedAreOpenWhenTheNodeIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		fs := newGate(mem, "data/shards/0001")
		n := run(t, Config{FS: fs, Settings: settings(t, nil)})
		fs.shut.Store(true)
		if err := n.asker(t).createTopic(context.Background(), orders, 3); !errors.Is(err, kerr.RequestTimedOut) {
			t.Errorf("creating a topic whose partitions cannot be opened: %v", err)
		}
		left := mem.CrashClean()
		fs.pass()
		must(t, n.end())

		// The shard's first entry is that of its new term, the second opens the partitions.
		second, writes := make(chan struct{}), 0
		n, err := open(t, Config{Settings: settings(t, nil), FS: vfs.NewFault(left, func(op vfs.Op) error {
			if op.Kind == vfs.OpWrite && strings.HasPrefix(op.Name, "data/shards/0001/") && strings.HasSuffix(op.Name, ".log") {
				if writes++; writes == 2 {
					<-second
				}
			}
			return nil
		})})
		must(t, err)
		synctest.Wait()
		select {
		case <-n.Ready():
			t.Error("the node is ready, its partitions are not open")
		default:
		}
		close(second)
		must(t, n.up())
		topic, ok := n.view().Topic(orders)
		if !ok {
			t.Fatal("the topic is not there")
		}
		for _, p := range topic.Partitions {
			if !n.shards[p.Shard].isOpen(p.ID) {
				t.Errorf("partition %v is not open", p.ID)
			}
		}
		n.shut(t)
	})
}

func TestANodeThatCannotStartTurnsClientsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fs := vfs.NewFault(vfs.NewMem(), func(op vfs.Op) error {
			if op.Kind == vfs.OpSync && strings.HasPrefix(op.Name, "data/shards/0001/hardstate") {
				return syscall.EIO
			}
			return nil
		})
		n, err := open(t, Config{FS: fs, Settings: settings(t, nil)})
		must(t, err)
		if err := n.up(); !errors.Is(err, syscall.EIO) {
			t.Errorf("the node ended with %v", err)
		}
		if _, err := n.wire.dial(context.Background(), "", ""); err == nil {
			t.Error("its listener is still open")
		}
		if err := n.end(); !errors.Is(err, syscall.EIO) {
			t.Errorf("the node ended with %v", err)
		}
	})
}

// TestANodeThatIsStoppedBeforeItIsReadyEndsInOrder stops a node that waits for room
// on its disk.
func TestANodeThatIsStoppedBeforeItIsReadyEndsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		run(t, Config{FS: mem, Settings: settings(t, nil)}).shut(t)
		mem.SetCapacity(0)
		n, err := open(t, Config{FS: mem, Settings: settings(t, nil)})
		must(t, err)
		synctest.Wait()
		n.stop()
		must(t, promptly(t, "to end", func() error {
			err := <-n.ended
			n.ended <- err
			return err
		}))
		if _, err := n.wire.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("its listener is still open: %v", err)
		}
		mem.SetCapacity(-1)
		must(t, n.end())
	})
}

func TestAFullDiskIsNamedWhereANodeCannotStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		run(t, Config{FS: mem, Settings: settings(t, nil)}).shut(t)
		mem.SetCapacity(0)
		n, err := open(t, Config{FS: mem, Settings: settings(t, nil)})
		must(t, err)
		err = n.up()
		if err == nil || !strings.Contains(err.Error(), "there is no room for a node to start in data: make some: not ready after 1m0s") {
			t.Errorf("the node says %v", err)
		}
		_ = n.end() // what could not be written is not at the end either
	})
}

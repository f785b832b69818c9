package integration

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func TestANodeOutlivesTheThreadThatStartedIt(t *testing.T) {
	n := Start(t)
	n.Stop()
	var thread int
	started, ended := make(chan error), make(chan struct{})
	defer close(ended)
	var begin func()
	begin = func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		if thread = syscall.Gettid(); thread == os.Getpid() {
			go begin() // on another one: Go never ends the program's first
			<-ended
			return
		}
		started <- n.start(n.Addr)
	}
	go begin()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	ctx := testContext(t, 30*time.Second)
	eventually(ctx, t, "waiting for the thread's end", func() error {
		_, err := os.Stat(filepath.Join("/proc/self/task", strconv.Itoa(thread)))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return errors.Join(errors.New("it still runs"), err)
	})
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	if err := cl.Ping(ctx); err != nil {
		t.Fatalf("the node is gone: %v", err)
	}
}

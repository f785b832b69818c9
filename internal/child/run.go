package child

import (
	"os/exec"
	"runtime"
	"sync"
)

// Start starts a command. Its process group is its own, so that an interrupt from
// the terminal reaches only this process, which then ends it.
func Start(cmd *exec.Cmd) error {
	bind(cmd)
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	return <-started
}

// Linux ends a process with the thread that started it, and Go's threads come and
// go: so that is a thread of its own, kept for good.
var starter = sync.OnceValue(func() chan<- func() {
	starts := make(chan func())
	go func() {
		runtime.LockOSThread()
		for start := range starts {
			start()
		}
	}()
	return starts
})

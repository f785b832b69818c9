package child_test

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/splashdam/splashdam/internal/child"
)

// parent is set in the process that is killed; it has a child of its own.
const parent = "SPLASHDAM_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(parent) != "" {
		sleeper := exec.Command("sleep", "60")
		if err := child.Start(sleeper); err != nil {
			os.Stdout.WriteString(err.Error() + "\n")
		}
		os.Stdout.WriteString(strconv.Itoa(sleeper.Process.Pid) + "\n")
		select {}
	}
	os.Exit(m.Run())
}

func TestAProcessDoesNotOutliveOneThatIsKilled(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), parent+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(cmd); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, 0); err != nil {
		t.Fatalf("the child is not there: %v", err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	for deadline := time.Now().Add(10 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the child lives on")
		}
	}
}

// alive says whether the process runs; one that has ended may wait for somebody to
// take its exit code.
func alive(pid int) bool {
	status, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return !errors.Is(err, os.ErrNotExist) && !strings.Contains(string(status), ") Z ")
}

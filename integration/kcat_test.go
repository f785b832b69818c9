package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestKcatDoesWhatItsManualSays goes through what a user of kcat, and of librdkafka
// under it, does at a prompt.
func TestKcatDoesWhatItsManualSays(t *testing.T) {
	program := NeedProgram(t, "kcat")
	eachShards(t, func(t *testing.T, n *Node) {
		ctx := testContext(t, 2*time.Minute)
		kcat := func(in string, args ...string) string {
			t.Helper()
			return string(run(ctx, t, strings.NewReader(in), program, append([]string{"-b", n.Addr, "-X", "fetch.wait.max.ms=20"}, args...)...))
		}
		is := func(what, got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("%s: %.200q, want %.200q", what, got, want)
			}
		}

		var metadata struct{ Brokers []struct{ Name string } }
		if err := json.Unmarshal([]byte(kcat("", "-L", "-J")), &metadata); err != nil {
			t.Error(err)
		} else if len(metadata.Brokers) != 1 || metadata.Brokers[0].Name != n.Addr {
			t.Errorf("the brokers are %v, want %s", metadata.Brokers, n.Addr)
		}

		thousand := numbers(1000)
		for _, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
			topic := "codec-" + codec
			kcat(thousand, "-P", "-t", topic, "-p", "0", "-z", codec)
			is(codec, kcat("", "-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-q"), thousand)
		}

		kcat("k1:v1\nk2:v2\n", "-P", "-t", "pairs", "-p", "0", "-K:", "-H", "h=1")
		read := []string{"-C", "-t", "pairs", "-p", "0", "-e", "-q"}
		is("keys and headers", kcat("", append(read, "-o", "beginning", "-f", "%k=%s %h;")...), "k1=v1 h=1;k2=v2 h=1;")
		kcat("k1:\n", "-P", "-t", "pairs", "-p", "0", "-K:", "-Z")
		is("the length of a null value", kcat("", append(read, "-o", "2", "-f", "%S")...), "-1")
		is("the last record", kcat("", append(read, "-o", "-1", "-f", "%k %o")...), "k1 2")

		at, err := strconv.ParseInt(kcat("", "-C", "-t", "pairs", "-p", "0", "-o", "1", "-c", "1", "-q", "-f", "%T"), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		query := func(ms int64) string { return strings.TrimSpace(kcat("", "-Q", "-t", fmt.Sprintf("pairs:0:%d", ms))) }
		// Both records of the first call may have been sent in the same millisecond.
		if got := query(at); got != "pairs [0] offset 0" && got != "pairs [0] offset 1" {
			t.Errorf("the offset of the second record's time: %q", got)
		}
		is("the offset of a time to come", query(at+time.Hour.Milliseconds()), "pairs [0] offset -1")

		member := []string{"-G", "prompt", "-X", "auto.offset.reset=earliest", "-q", "-c"}
		is("a group", kcat("", append(member, "1000", "codec-none")...), thousand)
		kcat("1001\n", "-P", "-t", "codec-none", "-p", "0")
		is("a group goes on behind its commit", kcat("", append(member, "1", "codec-none")...), "1001\n")

		many := numbers(5000)
		kcat(many, "-P", "-t", "idempotent", "-p", "1", "-X", "enable.idempotence=true")
		is("an idempotent producer", kcat("", "-C", "-t", "idempotent", "-p", "1", "-o", "beginning", "-e", "-q"), many)

		is("an offset out of range", kcat("", "-C", "-t", "codec-gzip", "-p", "0", "-o", "5000", "-X", "auto.offset.reset=earliest", "-e", "-q"), thousand)

		tooLarge(ctx, t, program, n.Addr)
	})
}

// tooLarge sends a message that the client may send and the topic does not take.
func tooLarge(ctx context.Context, t *testing.T, program, addr string) {
	t.Helper()
	run(ctx, t, strings.NewReader("first\n"), program, "-b", addr, "-P", "-t", "large", "-p", "0")
	cmd := exec.CommandContext(ctx, program, "-b", addr, "-P", "-t", "large", "-p", "0", "-X", "message.max.bytes=10000000")
	cmd.Stdin = bytes.NewReader(bytes.Repeat([]byte("x"), 5_000_000))
	said, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(said), "too large") {
		t.Errorf("a message that is too large: %v, %.500q", err, said)
	}
}

// numbers are the lines 1 to n.
func numbers(n int) string {
	var b strings.Builder
	for i := 1; i <= n; i++ {
		fmt.Fprintln(&b, i)
	}
	return b.String()
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// served runs a node as the binary does, with settings NAME=VALUE, until the test ends.
func served(t *testing.T, settings ...string) live {
	t.Helper()
	dir := t.TempDir()
	ready := filepath.Join(dir, "ready.json")
	args := []string{"serve", "--data", filepath.Join(dir, "data"), "--listeners", "PLAINTEXT://127.0.0.1:0", "--ready-file", ready}
	for _, s := range settings {
		args = append(args, "--set", s)
	}
	ctx, stop := context.WithCancel(t.Context())
	var log bytes.Buffer
	exit := make(chan int, 1)
	go func() { exit <- Run(ctx, args, strings.NewReader(""), &log, &log, nil) }()
	t.Cleanup(func() {
		stop()
		if code := <-exit; code != exitOK && code != exitInterrupted {
			t.Errorf("serve: exit code %d\n%s", code, log.String())
		}
	})
	for {
		var r readiness
		if text, err := os.ReadFile(ready); err == nil && json.Unmarshal(text, &r) == nil {
			return live{t, net.JoinHostPort(r.Listeners[0].Host, strconv.Itoa(r.Listeners[0].Port))}
		}
		select {
		case code := <-exit:
			exit <- code
			t.Fatalf("serve: exit code %d\n%s", code, log.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

const authorizer = "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer"

func TestAccessIsGivenListedAndTaken(t *testing.T) {
	l := served(t, authorizer, "super.users=User:ANONYMOUS")
	l.ok("", "acl", "add", "--allow", "User:alice", "--operation", "read,write", "--topic", "orders", "--group", "g")
	l.ok("", "acl", "add", "--deny", "User:*", "--operation", "delete", "--topic", "team-", "--pattern", "prefixed", "--cluster")
	list := func(args ...string) (all []describedACL) {
		t.Helper()
		if err := json.Unmarshal([]byte(l.ok("", append(append([]string{"acl"}, args...), "-o", "json")...)), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := list("list"); len(all) != 6 {
		t.Errorf("%+v", all)
	}
	if about := list("list", "--topic", "team-x", "--pattern", "match"); len(about) != 1 || about[0].Pattern != "prefixed" || about[0].Permission != "deny" {
		t.Errorf("%+v", about)
	}
	if gone := list("remove", "--principal", "User:alice", "--operation", "write"); len(gone) != 2 {
		t.Errorf("%+v", gone)
	}
	if left := list("list"); len(left) != 4 {
		t.Errorf("%+v", left)
	}
	if table := l.ok("", "acl", "list", "--group", "g"); !strings.Contains(table, "User:alice") || strings.Contains(table, "team-") {
		t.Error(table)
	}
	for _, args := range [][]string{
		{"acl", "add", "--topic", "t"}, {"acl", "remove"}, {"acl", "list", "--operation", "dance"},
		{"acl", "add", "--allow", "User:a", "--operation", "read", "--topic", "t", "--pattern", "match"},
	} {
		if _, stderr, code := l.run("", args...); code != exitUsage {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
	if _, stderr, code := l.run("", "acl", "add", "--allow", "alice", "--operation", "read", "--topic", "t"); code != exitFailed || !strings.Contains(stderr, "type:name") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestWhoMayNotChangeTheListIsToldWhoMay(t *testing.T) {
	l := served(t, authorizer)
	if _, stderr, code := l.run("", "acl", "list"); code != exitFailed || !strings.Contains(stderr, "super.users") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
	open := served(t)
	if _, stderr, code := open.run("", "acl", "list"); code != exitFailed || !strings.Contains(stderr, authorizer) {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

func TestQuotasAreSetListedAndRemoved(t *testing.T) {
	l := served(t)
	l.ok("", "quota", "set", "--user", "alice", "producer_byte_rate=1000", "request_percentage=12.5")
	l.ok("", "quota", "set", "--default-user", "--client-id", "app", "consumer_byte_rate=5")
	l.ok("", "quota", "set", "--ip", "::1", "connection_creation_rate=7")
	list := func(args ...string) (all []describedQuota) {
		t.Helper()
		if err := json.Unmarshal([]byte(l.ok("", append([]string{"quota", "list", "-o", "json"}, args...)...)), &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := list(); len(all) != 3 {
		t.Errorf("%+v", all)
	}
	if a := list("--user", "alice"); len(a) != 1 || *a[0].Entity["user"] != "alice" || a[0].Quotas["producer_byte_rate"] != 1000 || a[0].Quotas["request_percentage"] != 12.5 {
		t.Errorf("%+v", a)
	}
	if table := l.ok("", "quota", "list", "--default-user"); !strings.Contains(table, "default-user client-id=app") {
		t.Error(table)
	}
	l.ok("", "quota", "remove", "--user", "alice", "producer_byte_rate")
	if a := list("--user", "alice"); len(a) != 1 || len(a[0].Quotas) != 1 {
		t.Errorf("%+v", a)
	}
	l.ok("", "quota", "remove", "--user", "alice")
	if a := list("--user", "alice"); len(a) != 0 {
		t.Errorf("%+v", a)
	}
	for _, args := range [][]string{
		{"quota", "set", "x=1"}, {"quota", "set", "--user", "a", "x"}, {"quota", "remove"}, {"quota", "list", "--user", "a", "--default-user"},
	} {
		if _, stderr, code := l.run("", args...); code != exitUsage {
			t.Errorf("%v: exit code %d, %s", args, code, stderr)
		}
	}
	if _, stderr, code := l.run("", "quota", "set", "--user", "a", "speed=1"); code != exitFailed || !strings.Contains(stderr, "speed") {
		t.Errorf("exit code %d, %s", code, stderr)
	}
}

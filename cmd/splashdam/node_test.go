package main

import (
	"bytes"
	"context"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// untilReady keeps what serve says, and stops it when it is ready.
type untilReady struct {
	bytes.Buffer
	stop context.CancelFunc
}

func (w *untilReady) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("ready in")) {
		w.stop()
	}
	return w.Buffer.Write(b)
}

func TestSettingsThatBoundEachOtherAreCheckedTogether(t *testing.T) {
	const beat, least = "group.consumer.heartbeat.interval.ms=100", "group.consumer.min.heartbeat.interval.ms=100"
	for _, c := range []struct {
		set  []string
		code int
		said string
	}{
		{[]string{"--set", beat, "--set", least}, exitOK, "ready in"},
		{[]string{"--set", least, "--set", beat}, exitOK, "ready in"},
		{[]string{"--set", beat}, exitUsage, "group.consumer.heartbeat.interval.ms: 100 is not between"},
		{[]string{"--set", beat, "--set", "group.consumer.heartbeats=1"}, exitUsage, "group.consumer.heartbeats"},
	} {
		ctx, stop := context.WithCancel(t.Context())
		said := &untilReady{stop: stop}
		args := append([]string{"serve", "--data", filepath.Join(t.TempDir(), "data"), "--listeners", "PLAINTEXT://127.0.0.1:0"}, c.set...)
		code := Run(ctx, args, strings.NewReader(""), io.Discard, said, nil)
		stop()
		if code != c.code || !strings.Contains(said.String(), c.said) {
			t.Errorf("%q: exit code %d, want %d\n%s", c.set, code, c.code, said)
		}
	}
}

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// dataDir makes a data directory whose shard 1 holds three entries of one command
// each, and returns it with the path of the segment.
func dataDir(t *testing.T) (dir, segment string) {
	t.Helper()
	dir = t.TempDir()
	shard := filepath.Join(dir, "shards", "0001")
	if err := os.MkdirAll(shard, 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := commitlog.Open(vfs.OS(), shard, commitlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.SetHardState(commitlog.HardState{Term: 1}); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		var b record.EntryBuilder
		b.Add(record.KindCommand, 7, record.NewCommand(record.OwnerShard, 1, 0))
		if err := log.Append([]record.Entry{b.Finish(record.Index(i+1), 1, 1771070400000, false)}); err != nil {
			t.Fatal(err)
		}
		if err := log.Sync(); err != nil {
			t.Fatal(err)
		}
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	found, err := filepath.Glob(filepath.Join(shard, "*"+segmentSuffix))
	if err != nil || len(found) != 1 {
		t.Fatalf("segments %v, %v", found, err)
	}
	return dir, found[0]
}

// damage changes a byte in the second of the three entries.
func damage(t *testing.T, segment string) {
	t.Helper()
	b, err := os.ReadFile(segment)
	if err != nil {
		t.Fatal(err)
	}
	first := bytes.Index(b, []byte{byte(record.KindCommand), 0, 0, 0, 7, 0, 0, 0})
	second := first + 1 + bytes.Index(b[first+1:], []byte{byte(record.KindCommand), 0, 0, 0, 7, 0, 0, 0})
	b[second+4] ^= 1
	if err := os.WriteFile(segment, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func runOnDisk(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	code = Run(t.Context(), args, strings.NewReader(""), &out, &errs, nil)
	return out.String(), errs.String(), code
}

func TestDumpPrintsEveryFrame(t *testing.T) {
	dir, segment := dataDir(t)
	for _, name := range []string{segment, filepath.Dir(segment), dir} {
		out, errs, code := runOnDisk(t, "dump", name)
		if code != exitOK || strings.Count(out, "  index ") != 3 || strings.Count(out, "command  p7  3 bytes") != 3 ||
			!strings.Contains(out, "2026-02-14T12:00:00.000Z") {
			t.Errorf("dump %s: exit code %d\n%s%s", name, code, out, errs)
		}
	}
	out, _, _ := runOnDisk(t, "dump", "-o", "json", dir)
	var last dumpedFrame
	for line := range strings.Lines(out) {
		if err := json.Unmarshal([]byte(line), &last); err != nil {
			t.Fatal(err)
		}
	}
	if last.Index != 3 || last.Term != 1 || last.File != segment || len(last.Parts) != 1 || last.Parts[0].Kind != "command" {
		t.Errorf("the last frame is %+v", last)
	}
}

func TestDumpShowsDamageAndGoesOn(t *testing.T) {
	_, segment := dataDir(t)
	damage(t, segment)
	out, errs, code := runOnDisk(t, "dump", segment)
	if code != exitFailed || strings.Count(out, "  index ") != 2 || strings.Count(out, "that are no frame") != 1 || !strings.Contains(errs, "splashdam verify") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestVerifyFindsNothingInASoundDirectory(t *testing.T) {
	dir, _ := dataDir(t)
	out, errs, code := runOnDisk(t, "verify", dir)
	if code != exitOK || !strings.Contains(out, "0001") || !strings.Contains(out, "ok") || errs != "" {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

func TestVerifySaysWhatIsDamagedAndWhatToDo(t *testing.T) {
	dir, segment := dataDir(t)
	damage(t, segment)
	out, errs, code := runOnDisk(t, "verify", dir)
	if code != exitFailed || !strings.Contains(out, filepath.Base(segment)) || !strings.Contains(out, "to do: ") || !strings.Contains(errs, "1 finding in "+dir) {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	out, _, code = runOnDisk(t, "verify", dir, "--json")
	var all []verified
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != exitFailed || len(all) != 1 || len(all[0].Findings) != 1 || all[0].Findings[0].Do == "" {
		t.Errorf("exit code %d, %v, %+v", code, err, all)
	}
}

func TestVerifyWantsTheNodeStopped(t *testing.T) {
	dir, _ := dataDir(t)
	held, err := vfs.OS().Lock(filepath.Join(dir, lockName))
	if err != nil {
		t.Fatal(err)
	}
	_, errs, code := runOnDisk(t, "verify", dir)
	if code != exitFailed || !strings.Contains(errs, "is in use: a node writes to it") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if _, errs, code := runOnDisk(t, "verify", dir); code != exitOK {
		t.Errorf("stopped: exit code %d\n%s", code, errs)
	}
}

func TestADirectoryThatIsNotOursIsRefused(t *testing.T) {
	empty := t.TempDir()
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"verify", empty}, "is not a data directory"},
		{[]string{"verify", empty + "/none"}, "does not exist"},
		{[]string{"dump", empty}, "there is no segment"},
		{[]string{"dump", empty + "/none"}, "does not exist"},
		{[]string{"dump", "verify_test.go"}, "verify_test.go: "},
	} {
		if _, errs, code := runOnDisk(t, c.args...); code != exitFailed || !strings.Contains(errs, c.want) {
			t.Errorf("%v: exit code %d, %s", c.args, code, errs)
		}
	}
}

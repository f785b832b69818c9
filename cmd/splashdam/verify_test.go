package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	metadata "github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// dataDir makes a data directory whose shard 1 holds three entries of one command
// each, and returns it with the path of the segment. Shard 0 is empty.
func dataDir(t *testing.T) (dir, segment string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "node.json"), []byte(`{"version":1,"node_id":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"0000", "0001"} {
		if err := os.MkdirAll(filepath.Join(dir, "shards", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	empty, err := commitlog.Open(vfs.OS(), filepath.Join(dir, "shards", "0000"), commitlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := empty.Close(); err != nil {
		t.Fatal(err)
	}
	shard := filepath.Join(dir, "shards", "0001")
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
	out, _, _ := runOnDisk(t, "dump", "-o", "json", segment)
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
	var all verification
	if err := json.Unmarshal([]byte(out), &all); err != nil || code != exitFailed || len(all.Shards) != 2 || len(all.Shards[1].Findings) != 1 || all.Shards[1].Findings[0].Do == "" {
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
		{[]string{"dump", empty}, "there is no file of a shard"},
		{[]string{"dump", empty + "/none"}, "does not exist"},
		{[]string{"dump", "verify_test.go"}, "1 run of bytes are not what they should be"},
	} {
		if _, errs, code := runOnDisk(t, c.args...); code != exitFailed || !strings.Contains(errs, c.want) {
			t.Errorf("%v: exit code %d, %s", c.args, code, errs)
		}
	}
}

// each file of a shard is printed as what it is, and one that is damaged as that.
func TestDumpPrintsEachKindOfFile(t *testing.T) {
	dir, segment := sealedDir(t)
	shard := filepath.Dir(segment)
	for _, c := range []struct {
		file string
		want []string
		at   int // where a flip is found
	}{
		{"manifest", []string{"0  header  version 1", "64  added  number 1", "  sealed  number 3", "  size "}, 70},
		{"hardstate", []string{"0  slot  sequence ", "512  slot  sequence ", "  term 1  vote 0  commit "}, 20},
		{"00000000000000000003.snap", []string{"section  name members  size 7", "section  name partitions  size 4", "0  snapshot  index 3  term 1  time 1771070400000  level 3"}, 100},
		{strings.TrimSuffix(filepath.Base(segment), segmentSuffix) + ".idx", []string{"0  index  first 1  last 3", "4112  row  partition p7  base_offset 0  offsets 1", "  directory  partition p7  next_offset 3"}, 5000},
		{filepath.Base(segment), []string{"  index 1  term 1", "batch    p7", "ends the segment"}, 200},
	} {
		name := filepath.Join(shard, c.file)
		out, errs, code := runOnDisk(t, "dump", name)
		if code != exitOK {
			t.Errorf("%s: exit code %d\n%s", c.file, code, errs)
		}
		for _, want := range c.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", c.file, want, out)
			}
		}
		asJSON, _, code := runOnDisk(t, "dump", "-o", "json", name)
		if n := strings.Count(asJSON, "\n"); code != exitOK || n == 0 || strings.Contains(asJSON, `"error"`) {
			t.Errorf("%s as JSON: exit code %d, %d lines", c.file, code, n)
		}
		for line := range strings.Lines(asJSON) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s: no JSON: %s", c.file, line)
			}
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		bad := filepath.Join(t.TempDir(), c.file)
		b[c.at] ^= 1
		if err := os.WriteFile(bad, b, 0o600); err != nil {
			t.Fatal(err)
		}
		damaged, errs, code := runOnDisk(t, "dump", bad)
		if code != exitFailed || !strings.Contains(damaged, "damaged") || !strings.Contains(errs, "1 run of bytes") || strings.Count(damaged, "\n") < strings.Count(out, "\n")/3 {
			t.Errorf("%s, damaged: exit code %d, %s\n%s", c.file, code, errs, damaged)
		}
	}
	// All of it.
	if out, errs, code := runOnDisk(t, "dump", dir); code != exitOK || strings.Count(out, dir) != 2+2+4+1 {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
}

// sealedDir makes a data directory in which shard 1 has a segment of three entries, the
// last of which is a batch, with its index, a snapshot behind it and an open segment.
func sealedDir(t *testing.T) (dir, segment string) {
	t.Helper()
	dir, segment = dataDir(t)
	shard := filepath.Dir(segment)
	if err := os.RemoveAll(shard); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(shard, 0o700); err != nil {
		t.Fatal(err)
	}
	log, err := commitlog.Open(vfs.OS(), shard, commitlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	steps := []func() error{func() error { return log.SetHardState(commitlog.HardState{Term: 1}) }}
	for i := range 5 {
		var b record.EntryBuilder
		b.Add(record.KindBatch, 7, record.Build(record.BuildOptions{BaseOffset: int64(i), BaseTimestamp: 1771070400000, ProducerID: -1, ProducerEpoch: -1, BaseSequence: -1},
			[]record.Record{{Value: []byte("value")}}))
		e := slices.Clone(b.Finish(record.Index(i+1), 1, 1771070400000, i == 2))
		steps = append(steps, func() error { return log.Append([]record.Entry{e}) }, log.Sync, func() error { log.Committed(e); return nil })
	}
	steps = append(steps, log.Seal, func() error {
		return log.WriteSnapshot(&commitlog.Snapshot{
			Index: 3, Term: 1, Level: 3, Time: 1771070400000, ConfState: []byte("members"),
			Sections: []commitlog.Section{{Name: "partitions", Data: []byte("some")}},
		})
	}, log.Close)
	for _, step := range steps {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	return dir, segment
}

func TestVerifyLooksAtTheWholeDirectory(t *testing.T) {
	dir, _ := sealedDir(t)
	if out, errs, code := runOnDisk(t, "verify", dir); code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	for _, c := range []struct {
		spoil func() error
		want  string
	}{
		{func() error { return os.WriteFile(filepath.Join(dir, "core.1234"), nil, 0o600) }, "core.1234\n  it is not part of a data directory"},
		{func() error { return os.Mkdir(filepath.Join(dir, "shards", "0003"), 0o700) }, "shards/0002\n  the data directory is damaged: it is missing"},
		{func() error {
			return os.Rename(filepath.Join(dir, "shards", "0003"), filepath.Join(dir, "shards", "old"))
		}, "shards/old\n  it is not the directory of a shard"},
		{func() error { return os.WriteFile(filepath.Join(dir, "shards", "0001", "x.log.tmp"), nil, 0o600) }, "shard 0001: the next start deletes what a crash left: x.log.tmp"},
		{func() error { return os.WriteFile(filepath.Join(dir, "node.json"), []byte(`{"version":2}`), 0o600) }, "newer version of splashdam"},
		{func() error { return os.WriteFile(filepath.Join(dir, "node.json"), []byte(`{`), 0o600) }, "not a node's identity"},
		{func() error { return os.Remove(filepath.Join(dir, "node.json")) }, "node.json\n  the data directory is damaged: it is missing"},
	} {
		if err := c.spoil(); err != nil {
			t.Fatal(err)
		}
		if out, _, code := runOnDisk(t, "verify", dir); code != exitFailed || !strings.Contains(out, c.want) {
			t.Errorf("no %q, exit code %d\n%s", c.want, code, out)
		}
	}
}

// nameOrders makes partition 7 of a data directory number 6 of the topic "orders".
func nameOrders(t *testing.T, dir string) {
	t.Helper()
	log, err := commitlog.Open(vfs.OS(), filepath.Join(dir, "shards", "0000"), commitlog.Options{})
	if err != nil {
		t.Fatal(err)
	}
	lead := metadata.Lead(metadata.Empty())
	first, err := lead.Bootstrap("test", []record.ShardID{1})
	if err != nil {
		t.Fatal(err)
	}
	node, err := lead.RegisterNode(metadata.Node{ID: 1, Endpoints: []metadata.Endpoint{{Listener: "plain", Host: "localhost", Port: 9092}}})
	if err != nil {
		t.Fatal(err)
	}
	topic, _, err := lead.CreateTopic(metadata.NewTopic{Name: "orders", Partitions: 8, ReplicationFactor: 1}, metadata.DefaultBrokerSettings(), func() [16]byte { return [16]byte{1} })
	if err != nil {
		t.Fatal(err)
	}
	err = log.SetHardState(commitlog.HardState{Term: 1})
	for i, c := range []record.Command{first, node, topic} {
		var b record.EntryBuilder
		b.Add(record.KindCommand, 0, c)
		err = errors.Join(err, log.Append([]record.Entry{b.Finish(record.Index(i+1), 1, 1771070400000, false)}))
	}
	if err := errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsLostIsNamedAsClientsNameIt(t *testing.T) {
	dir, segment := sealedDir(t)
	nameOrders(t, dir)
	open := filepath.Join(filepath.Dir(segment), "00000000000000000004-00000001.log")
	b, err := os.ReadFile(open)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(open, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, _, _ := runOnDisk(t, "verify", dir, "--repair"); !strings.Contains(out, "orders, partition 6 (p7): offsets 3 to 4") {
		t.Errorf("%s", out)
	}
	if out, _, _ := runOnDisk(t, "verify", dir, "--repair", "-o", "json"); !strings.Contains(strings.Join(strings.Fields(out), ""), `{"partition":"p7","topic":"orders","number":6,"from":3,"to":4}`) {
		t.Errorf("%s", out)
	}
}

func TestARepairSaysWhatItWouldLoseBeforeItLosesIt(t *testing.T) {
	dir, segment := sealedDir(t)
	shard := filepath.Dir(segment)
	open := filepath.Join(shard, "00000000000000000004-00000001.log")
	b, err := os.ReadFile(open)
	if err != nil {
		t.Fatal(err)
	}
	b[100] ^= 1
	if err := os.WriteFile(open, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := commitlog.Open(vfs.OS(), shard, commitlog.Options{}); err == nil {
		t.Fatal("the log opens")
	}
	out, errs, code := runOnDisk(t, "verify", dir, "--repair")
	if code != exitFailed || !strings.Contains(out, "the repair would lose\n  entries 4 to 5; 1 of them can be read") ||
		!strings.Contains(out, "partition p7: offsets 3 to 4") || !strings.Contains(errs, "nothing was changed") || !strings.Contains(errs, "--accept-loss "+dir) {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if after, err := os.ReadFile(open); err != nil || !bytes.Equal(after, b) {
		t.Errorf("something was changed: %v", err)
	}
	if _, errs, code := runOnDisk(t, "verify", dir, "--accept-loss"); code != exitUsage || !strings.Contains(errs, "--accept-loss goes with --repair") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
	out, errs, code = runOnDisk(t, "verify", dir, "--repair", "--accept-loss")
	if code != exitFailed || !strings.Contains(out, "the repair has lost\n  entries 4 to 5") || !strings.Contains(out, "kept in quarantine/") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if out, errs, code := runOnDisk(t, "verify", dir); code != exitOK {
		t.Errorf("repaired: exit code %d\n%s%s", code, out, errs)
	}
	line, err := os.ReadFile(filepath.Join(shard, "quarantine", "repairs.jsonl"))
	if err != nil || !strings.Contains(string(line), `"last":3,"end":5,"lost":["p7: 3 to 4"]`) {
		t.Errorf("%s, %v", line, err)
	}
	log, err := commitlog.Open(vfs.OS(), shard, commitlog.Options{})
	if err != nil || log.Last() != 3 {
		t.Fatalf("%v", err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

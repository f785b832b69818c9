package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *rewrite {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}

// load is what serve would be started with.
func load(t *testing.T, file string, env []string, args ...string) (ServeConfig, error) {
	t.Helper()
	if file != "" {
		path := filepath.Join(t.TempDir(), "splashdam.yaml")
		if err := os.WriteFile(path, []byte(file), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--config", path)
	}
	p := &program{env: newEnvironment(env)}
	cmd := p.serveCommand()
	if err := cmd.ParseFlags(args); err != nil {
		t.Fatal(err)
	}
	return loadConfig(cmd, p.env, checkKnown)
}

// checkKnown stands for the broker, which knows its settings.
func checkKnown(name, value string) error {
	if !strings.HasPrefix(name, "log.") && name != "flush" && !strings.HasSuffix(name, "ssl.client.auth") {
		return fmt.Errorf("there is no setting %q", name)
	}
	return nil
}

func TestDefaultsAreANodeForThisMachineOnly(t *testing.T) {
	c, err := load(t, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if c.Data != filepath.Join(here, "splashdam-data") || c.NodeID != 1 || c.Shards != 0 || c.ReadyFile != "" || len(c.Settings) != 0 ||
		len(c.Listeners) != 1 || c.Listeners[0].String() != "PLAINTEXT://127.0.0.1:9092" || c.Listeners[0].Protocol != "PLAINTEXT" {
		t.Errorf("got %+v", c)
	}
}

func TestFlagBeatsEnvironmentBeatsFileBeatsDefault(t *testing.T) {
	file := "node-id: 2\ndata: /file\nshards: 2\nlisteners: [PLAINTEXT://127.0.0.1:2]\n" +
		"settings:\n  log.a: file\n  log.b: file\n  log.c: file\n"
	env := []string{"SPLASHDAM_NODE_ID=3", "SPLASHDAM_DATA=/env", "SPLASHDAM_SHARDS=", "SPLASHDAM_LISTENERS=PLAINTEXT://127.0.0.1:3,LOCAL://127.0.0.1:33",
		"SPLASHDAM_SET_LOG_B=env", "SPLASHDAM_SET_LOG_C=env", "SPLASHDAM_SET_LISTENER_SECURITY_PROTOCOL_MAP=LOCAL:PLAINTEXT"}
	c, err := load(t, file, env, "--node-id", "4", "--set", "log.c=flag", "--set", "log.d=x=y")
	if err != nil {
		t.Fatal(err)
	}
	if c.NodeID != 4 || c.Data != "/env" || c.Shards != 2 {
		t.Errorf("got node %d (flag 4), data %s (environment /env), shards %d (file 2)", c.NodeID, c.Data, c.Shards)
	}
	if got := fmt.Sprint(c.Listeners); got != "[PLAINTEXT://127.0.0.1:3 LOCAL://127.0.0.1:33]" {
		t.Errorf("listeners %s: a list is taken from one source, whole", got)
	}
	want := map[string]string{"log.a": "file", "log.b": "env", "log.c": "flag", "log.d": "x=y"}
	if !maps.Equal(c.Settings, want) {
		t.Errorf("settings %v, want %v: they are decided one by one", c.Settings, want)
	}
}

func TestEveryKeyCanBeGivenInEachWay(t *testing.T) {
	for _, k := range keys {
		in := map[string]string{
			"data": "d", "node-id": "7", "shards": "7", "connect": "p", "ready-file": "r",
			"listeners": "PLAINTEXT://localhost:7", "advertised-listeners": "PLAINTEXT://h:7", "settings": "v", "users": "alice:a,b:c",
		}[k.name]
		if in == "" {
			t.Errorf("key %s is not in this test", k.name)
			continue
		}
		file, env, arg := k.name+": "+in+"\n", k.variable()+"="+in, in
		if k.form == mapping {
			file, env, arg = k.name+": {log.x: "+in+"}\n", variable(k.flagName())+"_LOG_X="+in, "log.x="+in
		}
		byFile, err1 := load(t, file, nil)
		byEnv, err2 := load(t, "", []string{env})
		byFlag, err3 := load(t, "", nil, "--"+k.flagName(), arg)
		byDefault, err4 := load(t, "", nil)
		if err := errors.Join(err1, err2, err3, err4); err != nil {
			t.Errorf("key %s: %v", k.name, err)
			continue
		}
		byFile.Config = ""
		plain := func(c ServeConfig) string { c.places = nil; return fmt.Sprintf("%+v", c) }
		if plain(byFile) != plain(byEnv) || plain(byEnv) != plain(byFlag) || plain(byFile) == plain(byDefault) {
			t.Errorf("key %s:\nfile        %s\nenvironment %s\nflag        %s\ndefault     %s",
				k.name, plain(byFile), plain(byEnv), plain(byFlag), plain(byDefault))
		}
	}
}

func TestConfigurationErrorsPointIntoTheFile(t *testing.T) {
	var all strings.Builder
	for _, c := range []struct{ name, file string }{
		{"a key that does not exist", "data: ./d\nlistners:\n  - PLAINTEXT://127.0.0.1:9092\n"},
		{"a key nobody could mean", "data: ./d\nqqq: 1\n"},
		{"a number that is none", "# a comment\nnode-id: one\n"},
		{"a number out of range", "shards: 5000\n"},
		{"a port out of range", "listeners:\n  - INTERNAL://127.0.0.1:9092\n  - EXTERNAL://127.0.0.1:99092\n"},
		{"a listener without a name", "listeners: 127.0.0.1:9092\n"},
		{"a name twice", "listeners:\n  - PLAINTEXT://127.0.0.1:9092\n  - plaintext://127.0.0.1:9093\n"},
		{"a place twice", "listeners: [PLAINTEXT://127.0.0.1:9092, B://127.0.0.1:9092]\n"},
		{"an address for no listener", "advertised-listeners: [EXTERNAL://example.org:9092]\n"},
		{"a wildcard as an address", "advertised-listeners: [PLAINTEXT://0.0.0.0:9092]\n"},
		{"a list where a value belongs", "data: [a, b]\n"},
		{"a mapping where a list belongs", "listeners:\n  PLAINTEXT: 127.0.0.1:9092\n"},
		{"a value where a mapping belongs", "settings: log.retention.ms=5\n"},
		{"a nested setting", "settings:\n  log:\n    retention.ms: 5\n"},
		{"a setting that does not exist", "settings:\n  log.retention.ms: 5\n  lag.retention.ms: 6\n"},
		{"a protocol that does not exist", "settings:\n  listener.security.protocol.map: PLAINTEXT:PLAIN\n"},
		{"a truth value that is none", "settings:\n  insecure.listeners.allow: perhaps\n"},
		{"a key twice", "data: a\nnode-id: 1\ndata: b\n"},
		{"two documents", "data: a\n---\ndata: b\n"},
		{"a file that is a list", "- data\n"},
		{"a file that is no YAML", "data: 'a\n"},
		{"a wrong indent", "data: a\n  node-id: 1\n"},
	} {
		_, err := load(t, c.file, nil)
		if err == nil {
			t.Errorf("%s was accepted", c.name)
			continue
		}
		if !errors.Is(err, errUsage) {
			t.Errorf("%s: not a usage error: %v", c.name, err)
		}
		var b bytes.Buffer
		(&program{stderr: &b}).printError(err)
		printed := strings.ReplaceAll(b.String(), filepath.Dir(pathIn(b.String()))+"/", "")
		fmt.Fprintf(&all, "--- %s\n%s", c.name, printed)
	}
	golden(t, "config_errors.txt", all.String())
}

// pathIn finds the path of the configuration in an error.
func pathIn(s string) string {
	for word := range strings.FieldsSeq(s) {
		if before, _, ok := strings.Cut(word, "splashdam.yaml"); ok {
			return before + "splashdam.yaml"
		}
	}
	return "/"
}

func TestErrorsNameTheFlagOrTheVariable(t *testing.T) {
	for _, c := range []struct {
		env, args []string
		want      string
	}{
		{nil, []string{"--node-id", "x"}, `--node-id: "x"`},
		{nil, []string{"--set", "x"}, `--set: "x"`},
		{nil, []string{"--set", "x.y=1"}, `--set: there is no setting "x.y"`},
		{[]string{"SPLASHDAM_NODE_ID=0"}, nil, `SPLASHDAM_NODE_ID: "0"`},
		{[]string{"SPLASHDAM_SET_X_Y=1"}, nil, `SPLASHDAM_SET_X_Y: there is no setting "x.y"`},
		{[]string{"SPLASHDAM_LISTENERS=A"}, nil, `SPLASHDAM_LISTENERS: "A"`},
		{nil, []string{"--config", "/no/such/file"}, `configuration /no/such/file: no such file or directory`},
		{[]string{"SPLASHDAM_CONFIG=/no/such/file"}, nil, `configuration /no/such/file`},
	} {
		_, err := load(t, "", c.env, c.args...)
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, errUsage) {
			t.Errorf("%v %v: got %v, want %s...", c.env, c.args, err, c.want)
		}
	}
}

func TestNothingIsServedBeyondLoopbackUnlessAllowed(t *testing.T) {
	allow := []string{"--set", "insecure.listeners.allow=true"}
	for _, c := range []struct {
		listener string
		more     []string
		want     string // of the error
	}{
		{"PLAINTEXT://127.0.0.1:1", nil, ""},
		{"PLAINTEXT://127.8.8.8:1", nil, ""},
		{"PLAINTEXT://localhost:1", nil, ""},
		{"PLAINTEXT://[::1]:1", nil, ""},
		{"PLAINTEXT://127.0.0.1:0", nil, ""},
		{"PLAINTEXT://10.0.0.1:1", nil, "would serve everyone"},
		{"PLAINTEXT://example.org:1", nil, "would serve everyone"},
		{"PLAINTEXT://0.0.0.0:1", nil, "would serve everyone"},
		{"PLAINTEXT://:1", nil, "would serve everyone"},
		{"PLAINTEXT://10.0.0.1:1", allow, ""},
		{"PLAINTEXT://10.0.0.1:1", []string{"--set", "insecure.listeners.allow=false"}, "would serve everyone"},
		{"PLAINTEXT://0.0.0.0:1", allow, "have to be told"},
		{"PLAINTEXT://[::]:1", allow, "have to be told"},
		{"PLAINTEXT://:1", allow, "have to be told"},
		{"PLAINTEXT://0.0.0.0:1", append(allow, "--advertised-listeners", "PLAINTEXT://example.org:1"), ""},
		{"INTERNAL://127.0.0.1:1", nil, "nothing says which protocol"},
		{"INTERNAL://127.0.0.1:1", []string{"--set", "listener.security.protocol.map=INTERNAL:PLAINTEXT"}, ""},
		{"INTERNAL://127.0.0.1:1", []string{"--set", "listener.security.protocol.map=INTERNAL:SASL_SSL"}, ""},
		{"SASL_PLAINTEXT://127.0.0.1:1", nil, ""},
		{"SASL_SSL://10.0.0.1:1", nil, ""},
		{"INTERNAL://10.0.0.1:1", []string{"--set", "listener.security.protocol.map=INTERNAL:SASL_SSL"}, ""},
		{"SSL://10.0.0.1:1", nil, "nobody has to log in"},
		{"SSL://10.0.0.1:1", []string{"--set", "ssl.client.auth=requested"}, "nobody has to log in"},
		{"SSL://10.0.0.1:1", []string{"--set", "ssl.client.auth=required", "--set", "listener.name.ssl.ssl.client.auth=none"}, "nobody has to log in"},
		{"SSL://10.0.0.1:1", []string{"--set", "listener.name.other.ssl.client.auth=required"}, "nobody has to log in"},
		{"SSL://10.0.0.1:1", []string{"--set", "ssl.client.auth=required"}, ""},
		{"SSL://10.0.0.1:1", []string{"--set", "listener.name.ssl.ssl.client.auth=required"}, ""},
		{"SASL_PLAINTEXT://10.0.0.1:1", nil, "nothing is encrypted"},
		{"SASL_PLAINTEXT://10.0.0.1:1", allow, ""},
	} {
		got, err := load(t, "", nil, append([]string{"--listeners", c.listener}, c.more...)...)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s %v: %v", c.listener, c.more, err)
		case c.want == "" && (got.Listeners[0].Protocol == "" || got.Settings[protocolMap]+got.Settings[allowInsecure] != ""):
			t.Errorf("%s %v: got %+v: what is about listeners is used up", c.listener, c.more, got)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s %v: got %v, want ...%s...", c.listener, c.more, err, c.want)
		}
	}
}

func TestListenersAreReadOrRefused(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"PLAINTEXT://127.0.0.1:9092", "PLAINTEXT 127.0.0.1:9092"},
		{"internal://[::1]:1", "INTERNAL [::1]:1"},
		{"A://:0", "A :0"},
		{"A-1_b://h.example:65535", "A-1_B h.example:65535"},
		{"", ""}, {"127.0.0.1:9092", ""}, {"://h:1", ""}, {"A B://h:1", ""}, {"Ä://h:1", ""}, {"A://h", ""}, {"A://h:", ""},
		{"A://h:x", ""}, {"A://h:-1", ""}, {"A://h:65536", ""}, {"A://::1:9", ""}, {"A://h/x:1", ""}, {"A://h:1/", ""},
	} {
		name, at, err := parseListener(c.in)
		if got := name + " " + at.String(); err == nil && got != c.want {
			t.Errorf("%q: got %s, want %q", c.in, got, c.want)
		} else if err != nil && c.want != "" {
			t.Errorf("%q: %v", c.in, err)
		}
	}
}

func FuzzListener(f *testing.F) {
	for _, s := range []string{"PLAINTEXT://127.0.0.1:9092", "A://[::1]:0", "A://::1:9", "A://", "://", "a://[fe80::1%eth0]:1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, at, err := parseListener(s)
		if err != nil {
			return
		}
		again, at2, err := parseListener(Listener{Name: name, HostPort: at}.String())
		if err != nil || again != name || at2 != at {
			t.Fatalf("%q is %s at %+v; printed and read again %s at %+v, %v", s, name, at, again, at2, err)
		}
	})
}

func FuzzConfigFile(f *testing.F) {
	for _, s := range []string{"data: a", "settings: {a: 1}", "listeners:\n- A://h:1", "a: &x 1\nb: *x", "<<: {data: 1}", "? [a]\n: b", "data: |\n  x", "---\n...\n---", "\xff", "!!binary x: y"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		given, err := parseConfigFile("f.yaml", data)
		if err != nil {
			var b bytes.Buffer
			(&program{stderr: &b}).printError(err)
			return
		}
		for name := range given {
			if _, err := keyNamed(name); err != nil {
				t.Fatalf("%q was accepted", name)
			}
		}
	})
}

func TestMisspeltVariablesAreNoticed(t *testing.T) {
	env := newEnvironment([]string{
		"PATH=/bin", "SPLASHDAM_DATA=x", "SPLASHDAM_CONFIG=x", "SPLASHDAM_BROKERS=x", "SPLASHDAM_SET_LOG_DIRS=x",
		"SPLASHDAM_DATTA=x", "SPLASHDAM_NODEID=1",
		// what Kubernetes makes of a service called splashdam with a port called kafka
		"SPLASHDAM_SERVICE_HOST=10.0.0.1", "SPLASHDAM_SERVICE_PORT=9092", "SPLASHDAM_SERVICE_PORT_KAFKA=9092",
		"SPLASHDAM_PORT=tcp://10.0.0.1:9092", "SPLASHDAM_PORT_9092_TCP=tcp://10.0.0.1:9092", "SPLASHDAM_PORT_9092_TCP_ADDR=10.0.0.1",
	})
	if got := strangeVariables(env); !slices.Equal(got, []string{"SPLASHDAM_DATTA", "SPLASHDAM_NODEID"}) {
		t.Errorf("got %v", got)
	}
}

func TestAnOversizedConfigurationIsRefused(t *testing.T) {
	_, err := load(t, "data: a\n#"+strings.Repeat("x", maxConfigFile), nil)
	if err == nil || !strings.Contains(err.Error(), "more than a configuration has") {
		t.Errorf("got %v", err)
	}
}

package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/broker"
	"github.com/splashdam/splashdam/connect/runtime"
)

func TestUsersAreReadOrRefusedAndNeverShown(t *testing.T) {
	for in, want := range map[string]broker.NewUser{
		"alice:secret":                {Name: "alice", Password: "secret"},
		"alice:se:cr,et":              {Name: "alice", Password: "se:cr,et"},
		"alice:se:cret:SCRAM-SHA-512": {Name: "alice", Password: "se:cret", Mechanism: "SCRAM-SHA-512"},
		"alice:SCRAM-SHA-256":         {Name: "alice", Password: "SCRAM-SHA-256"},
		"alice":                       {}, "alice:": {}, ":secret": {}, "alice:secret:PLAIN": {}, strings.Repeat("x", 300) + ":secret": {},
	} {
		c, err := load(t, "", nil, "--user", in)
		switch {
		case want.Name == "":
			if !errors.Is(err, errUsage) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%.20q: %v", in, err)
			}
		case err != nil || len(c.Users) != 1 || c.Users[0] != want:
			t.Errorf("%q: %v, %v", in, c.Users, err)
		}
	}
	if _, err := load(t, "", nil, "--user", "a:secret", "--user", "a:secret"); !errors.Is(err, errUsage) || strings.Contains(err.Error(), "secret") {
		t.Errorf("twice: %v", err)
	}
	c, err := load(t, "users:\n  - a:x,y\n  - b:z:SCRAM-SHA-256\n", nil)
	if err != nil || len(c.Users) != 2 || c.Users[0].Password != "x,y" {
		t.Errorf("%v, %v", c.Users, err)
	}
}

func TestPipelinesInANodeNeedAListenerWithoutALogin(t *testing.T) {
	one := make([]runtime.Pipeline, 1)
	for listeners, ok := range map[string]bool{
		"PLAINTEXT://127.0.0.1:1": true, "SASL_SSL://10.0.0.1:1,PLAINTEXT://[::1]:2": true,
		"SASL_SSL://127.0.0.1:1": false, "SASL_PLAINTEXT://127.0.0.1:1,PLAINTEXT://10.0.0.1:2": false,
	} {
		c, err := load(t, "", nil, "--listeners", listeners, "--set", "insecure.listeners.allow=true")
		if err != nil {
			t.Fatal(err)
		}
		if err := c.checkPipelinesReach(one); (err == nil) != ok {
			t.Errorf("%s: %v", listeners, err)
		}
		if err := c.checkPipelinesReach(nil); err != nil {
			t.Errorf("%s without pipelines: %v", listeners, err)
		}
	}
}

func TestPropertiesAreReadAsJavaReadsThem(t *testing.T) {
	got, err := parseProperties("# comment\n! too\n\n a=1\nb: 2\nc 3\nd=\ne = x = y\nf=one \\\n   two\\\\\ng=a\\nb\\=c\r\nh\\\n")
	want := map[string]string{"a": "1", "b": "2", "c": "3", "d": "", "e": "x = y", "f": `one two\`, "g": "a\nb=c"}
	if err == nil {
		t.Errorf("a line without a value: %v", got)
	}
	got, err = parseProperties("# comment\n! too\n\n a=1\nb: 2\nc 3\nd=\ne = x = y\nf=one \\\n   two\\\\\ng=a\\nb\\=c\r\n")
	if err != nil || !maps.Equal(got, want) {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := parseProperties("a=1\n=geheim"); err == nil || !strings.Contains(err.Error(), "line 2") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("got %v", err)
	}
}

func TestACommandTakesItsLoginFromFileAndFlags(t *testing.T) {
	file := filepath.Join(t.TempDir(), "client.properties")
	text := "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.username=a\nsasl.password=b\nbootstrap.servers=h:1,h:2\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	resolve := func(env environment, file string, single ...string) (*cluster, error) {
		c := &cluster{p: &program{env: env}, login: clientProperties{file: file, single: single}}
		return c, c.resolve()
	}
	for name, c := range map[string]struct {
		env  environment
		file string
		more []string
		want string // the mechanism, "" for none
	}{
		"nothing":         {nil, "", nil, ""},
		"file":            {nil, file, nil, "PLAIN"},
		"environment":     {environment{"SPLASHDAM_COMMAND_CONFIG": file}, "", nil, "PLAIN"},
		"a flag wins":     {nil, file, []string{"sasl.mechanism=SCRAM-SHA-256"}, "SCRAM-SHA-256"},
		"flags are whole": {nil, "", []string{"security.protocol=SASL_PLAINTEXT", "sasl.mechanism=PLAIN", "sasl.username=a", "sasl.password=b=c,d"}, "PLAIN"},
	} {
		got, err := resolve(c.env, c.file, c.more...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		mechanism := ""
		if got.security.SASL != nil {
			mechanism = got.security.SASL.Name()
		}
		if mechanism != c.want {
			t.Errorf("%s: %s, want %s", name, mechanism, c.want)
		}
		if want := "h:1,h:2"; (got.where() == want) != (c.file != "" || c.env != nil) {
			t.Errorf("%s: brokers %s", name, got.where())
		}
	}
	for _, single := range []string{"x", "acks=all", "security.protocol=geheim-no", "sasl.password=geheim"} {
		if _, err := resolve(nil, "", single); !errors.Is(err, errUsage) || strings.Contains(err.Error(), "sasl.password=geheim") {
			t.Errorf("-X %s: %v", single, err)
		}
	}
	if _, err := resolve(nil, "/no/such/file"); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), "/no/such/file") {
		t.Errorf("%v", err)
	}
}

func TestAPasswordComesFromTheEnvironmentOrStandardInput(t *testing.T) {
	for _, c := range []struct {
		env   environment
		stdin string
		want  string
	}{
		{environment{"SPLASHDAM_USER_PASSWORD": "e"}, "s\n", "e"},
		{nil, "s p\r\nmore\n", "s p"}, {nil, "no end", "no end"}, {nil, "", ""}, {nil, "\n", ""}, {nil, strings.Repeat("x", maxPassword+1) + "\n", ""},
		{nil, strings.Repeat("x", maxPassword) + "\n", strings.Repeat("x", maxPassword)},
	} {
		p := &program{stdin: strings.NewReader(c.stdin), env: c.env}
		got, err := p.readPassword("a")
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%.20q: got %.20q, %v", c.stdin, got, err)
		}
	}
}

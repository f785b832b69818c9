package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"
)

// image is what the Dockerfile makes, as far as it concerns the program.
type image struct {
	env         []string
	user        string
	volume      string
	entrypoint  []string
	command     []string
	healthcheck []string
}

// readImage reads the last stage of the Dockerfile at the root.
func readImage(t *testing.T) image {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(string(content), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	var im image
	for line := range strings.Lines(text[strings.LastIndex(text, "\nFROM "):]) {
		verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch verb {
		case "ENV":
			im.env = append(im.env, strings.Fields(rest)...)
		case "USER":
			im.user = rest
		case "VOLUME":
			im.volume = rest
		case "ENTRYPOINT":
			im.entrypoint = words(t, rest)
		case "CMD":
			im.command = words(t, rest)
		case "HEALTHCHECK":
			im.healthcheck = words(t, rest[strings.Index(rest, "CMD ")+len("CMD "):])
		}
	}
	return im
}

// words reads the JSON form of a command.
func words(t *testing.T, s string) []string {
	t.Helper()
	var all []string
	if err := yaml.Unmarshal([]byte(s), &all); err != nil {
		t.Fatalf("%s: %v", s, err)
	}
	return all
}

// service is a part of docker-compose.yml, as far as it concerns the program.
type service struct {
	Image       string            `yaml:"image"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	DependsOn   map[string]any    `yaml:"depends_on"`
}

func readCompose(t *testing.T) map[string]service {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Services map[string]service `yaml:"services"`
		Volumes  map[string]any     `yaml:"volumes"`
	}
	if err := yaml.Unmarshal(content, &file); err != nil {
		t.Fatal(err)
	}
	for name, s := range file.Services {
		for _, v := range s.Volumes {
			if volume, _, _ := strings.Cut(v, ":"); !hasKey(file.Volumes, volume) {
				t.Errorf("service %s: the volume %s is not declared", name, volume)
			}
		}
		for other := range s.DependsOn {
			if !hasKey(file.Services, other) {
				t.Errorf("service %s depends on %s, which is no service", name, other)
			}
		}
	}
	return file.Services
}

func hasKey[V any](m map[string]V, k string) bool { _, ok := m[k]; return ok }

// parsed finds the command that args call and makes it read its flags and
// arguments, without running it.
func parsed(args []string) (*cobra.Command, error) {
	cmd, rest, err := (&program{env: environment{}}).root().Find(args)
	if err != nil {
		return nil, err
	}
	if !cmd.HasParent() {
		return nil, fmt.Errorf("splashdam has no command %q", args)
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return nil, err
	}
	return cmd, cmd.ValidateArgs(cmd.Flags().Args())
}

func TestTheImageRunsWhatThereIs(t *testing.T) {
	im := readImage(t)
	env := newEnvironment(im.env)
	if im.user != "65532:65532" {
		t.Errorf("it runs as %q", im.user)
	}
	if env["SPLASHDAM_DATA"] != im.volume {
		t.Errorf("the data is in %q, the volume at %q", env["SPLASHDAM_DATA"], im.volume)
	}
	if env["TMPDIR"] != im.volume {
		t.Errorf("temporary files go to %q, and the only directory to write to is the volume, %q", env["TMPDIR"], im.volume)
	}
	if strange := strangeVariables(env); len(strange) > 0 {
		t.Errorf("it sets %v, which mean nothing", strange)
	}
	if !slices.Equal(im.entrypoint, []string{"splashdam"}) || im.healthcheck[0] != "splashdam" {
		t.Errorf("entry point %v, health check %v", im.entrypoint, im.healthcheck)
	}
	for _, args := range [][]string{im.command, im.healthcheck[1:]} {
		if _, err := parsed(args); err != nil {
			t.Errorf("%v: %v", args, err)
		}
	}
}

func TestTheComposeFileUsesWhatThereIs(t *testing.T) {
	im := readImage(t)
	services := readCompose(t)
	inside := 0 // listeners for the other containers
	for name, s := range services {
		if !strings.HasPrefix(s.Image, "splashdam:") || s.Command[0] != "serve" {
			continue
		}
		env := newEnvironment(im.env)
		maps.Copy(env, s.Environment)
		cmd, err := parsed(s.Command)
		if err != nil {
			t.Fatalf("service %s: %v", name, err)
		}
		cfg, err := loadConfig(cmd, env, nil)
		if err != nil {
			t.Fatalf("service %s: %v", name, err)
		}
		checkPorts(t, name, s, cfg)
		if !slices.ContainsFunc(s.Volumes, func(v string) bool { return strings.HasSuffix(v, ":"+cfg.Data) }) {
			t.Errorf("service %s: no volume holds its data, which is in %s", name, cfg.Data)
		}
		for _, l := range cfg.Listeners {
			if at := cfg.Advertise[l.Name]; at.Host == name {
				inside++
			}
		}
	}
	if inside == 0 {
		t.Error("no node is there for the other containers")
	}
	for name, s := range services {
		t.Run(name, func(t *testing.T) {
			if !strings.HasPrefix(s.Image, "splashdam:") {
				return
			}
			if strange := strangeVariables(s.Environment); len(strange) > 0 {
				t.Errorf("it sets %v, which mean nothing", strange)
			}
			cmd, err := parsed(s.Command)
			if err != nil {
				t.Fatalf("%v: %v", s.Command, err)
			}
			if cmd.Name() == "demo" {
				checkDatabase(t, cmd, services)
			}
		})
	}
}

// checkDatabase holds the demo's MySQL to the service that is one.
func checkDatabase(t *testing.T, cmd *cobra.Command, services map[string]service) {
	t.Helper()
	dsn, err := mysql.ParseDSN(cmd.Flag("mysql").Value.String())
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := strings.Cut(dsn.Addr, ":")
	s, ok := services[host]
	if !ok || dsn.Passwd != s.Environment["MYSQL_ROOT_PASSWORD"] || dsn.DBName != s.Environment["MYSQL_DATABASE"] {
		t.Errorf("it looks for the database %s at %s, with a password, as there is none in %+v", dsn.DBName, dsn.Addr, s.Environment)
	}
}

// checkPorts holds what is published to what is listened on and advertised.
func checkPorts(t *testing.T, name string, s service, cfg ServeConfig) {
	t.Helper()
	inside := make(map[string]string) // container port → host port
	for _, p := range s.Ports {
		parts := strings.Split(p, ":")
		if len(parts) != 3 || parts[0] != "127.0.0.1" {
			t.Errorf("service %s publishes %s beyond this machine", name, p)
			continue
		}
		inside[parts[2]] = parts[1]
	}
	for _, l := range cfg.Listeners {
		port := fmt.Sprint(l.Port)
		at := cfg.Advertise[l.Name]
		outside, published := inside[port]
		delete(inside, port)
		switch {
		case published && (at.Host != "localhost" || fmt.Sprint(at.Port) != outside):
			t.Errorf("service %s: listener %s is published at localhost:%s and advertised as %s", name, l, outside, at)
		case !published && (at.Host != name || at.Port != l.Port):
			t.Errorf("service %s: listener %s is not published, and advertised as %s", name, l, at)
		}
	}
	for port := range inside {
		t.Errorf("service %s publishes port %s, where nothing listens", name, port)
	}
}

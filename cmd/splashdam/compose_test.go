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
	listeners := make(map[string]bool) // host:port as the other containers see it
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
				listeners[at.String()] = true
			}
		}
	}
	if len(listeners) == 0 {
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
			for _, at := range splitList(s.Environment["SPLASHDAM_BROKERS"]) {
				if !listeners[at] {
					t.Errorf("it looks for a broker at %s; there are %v", at, slices.Collect(maps.Keys(listeners)))
				}
			}
			if _, err := parsed(s.Command); err != nil {
				if s.Command[0] == "demo" && !hasCommand("demo") {
					t.Skip("this build has no demo command")
				}
				t.Errorf("%v: %v", s.Command, err)
			}
		})
	}
}

func hasCommand(name string) bool {
	return slices.ContainsFunc((&program{env: environment{}}).commands(), func(c *cobra.Command) bool { return c.Name() == name })
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

package oracle

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Script is a parsed script.
type Script struct{ parts []part }

// part is a step with its answers, or lines that are kept as they are.
type part struct {
	text string // the line of a step, or comments and empty lines
	step *step
	// kafka is the answer that is kept of Kafka, indented. If ours differs on purpose
	// difference names why, and own is ours.
	kafka, own string
	difference string
}

// step is one thing to do.
type step struct {
	conn    string // "" is the usual connection
	send    bool   // do not wait
	await   bool   // repeat while the answer asks for patience
	until   string // repeat until this is in the answer, as it is written down
	receive bool   // only wait, for what was sent
	name    string
	version int16
	fields  map[string]any
}

const indent = "  "

// Undeclared is the name that an unexpected difference is written down under. No
// list of differences has it.
const Undeclared = "undeclared"

// Parse reads a script.
func Parse(text string) (*Script, error) {
	s := &Script{}
	for n, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		last := len(s.parts) - 1
		switch {
		case strings.HasPrefix(line, indent+"! "):
			if last < 0 || s.parts[last].step == nil {
				return nil, fmt.Errorf("line %d: a difference belongs below a step", n+1)
			}
			s.parts[last].difference = strings.TrimPrefix(line, indent+"! ")
		case strings.HasPrefix(line, indent):
			switch {
			case last < 0 || s.parts[last].step == nil:
				return nil, fmt.Errorf("line %d: an answer belongs below a step", n+1)
			case s.parts[last].difference != "":
				s.parts[last].own += line + "\n"
			default:
				s.parts[last].kafka += line + "\n"
			}
		case line == "" || line[0] == '#':
			s.parts = append(s.parts, part{text: line})
		default:
			st, err := parseStep(line)
			if err != nil {
				return nil, fmt.Errorf("line %d: %w", n+1, err)
			}
			s.parts = append(s.parts, part{text: line, step: st})
		}
	}
	return s, nil
}

var stepForm = regexp.MustCompile(`^(?:([a-z]+): )?(?:(send|await|until ("[^"]+"|\S+)) )?([A-Z]\w+) v(\d+)(?: (\{.*\}))?$`)
var receiveForm = regexp.MustCompile(`^(?:([a-z]+): )?receive$`)

func parseStep(line string) (*step, error) {
	if m := receiveForm.FindStringSubmatch(line); m != nil {
		return &step{conn: m[1], receive: true}, nil
	}
	m := stepForm.FindStringSubmatch(line)
	if m == nil {
		return nil, fmt.Errorf("%q is no step: [conn:] [send|await|until WORD] Request vN {fields}, or [conn:] receive", line)
	}
	s := &step{conn: m[1], send: m[2] == "send", await: m[2] == "await", until: strings.Trim(m[3], `"`), name: m[4]}
	v, err := strconv.ParseInt(m[5], 10, 16)
	if err != nil {
		return nil, err
	}
	s.version = int16(v)
	if m[6] != "" {
		if err := yaml.Unmarshal([]byte(m[6]), &s.fields); err != nil {
			return nil, fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return s, nil
}

// String is the script as Parse reads it.
func (s *Script) String() string {
	var b strings.Builder
	for _, p := range s.parts {
		b.WriteString(p.text + "\n" + p.kafka)
		if p.difference != "" {
			b.WriteString(indent + "! " + p.difference + "\n" + p.own)
		}
	}
	return b.String()
}

// Differences lists the names of the differences that the script declares.
func (s *Script) Differences() []string {
	var names []string
	for _, p := range s.parts {
		if p.difference != "" {
			names = append(names, p.difference)
		}
	}
	return names
}

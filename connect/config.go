package connect

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/splashdam/splashdam/internal/invariant"
)

// Form is how a setting is written.
type Form uint8

const (
	Text   Form = iota // as it is
	Number             // a decimal number between Min and Max
	Switch             // true or false
	List               // texts with commas between
)

// Setting declares one key of a connector's configuration. Parsing, checking and
// documentation are made from it, so each is said once. Names are Kafka Connect's
// and Debezium's where they have one.
type Setting struct {
	Name     string
	Form     Form
	Default  string
	Required bool // must be given
	Secret   bool // never shown
	OneOf    []string
	Min, Max int64 // of a Number
	// Check says what is wrong with a value that has the right form. May be nil.
	Check func(text string) error
	Doc   string // a sentence: what it is, in which unit
}

// Config is a connector's settings, checked and complete. It is not changed.
type Config struct {
	forms  map[string]Form
	values map[string]string
}

// SettingError is what is wrong with one key of a configuration.
type SettingError struct {
	Name string
	Err  error
}

func (e *SettingError) Error() string { return fmt.Sprintf("%s: %v", e.Name, e.Err) }
func (e *SettingError) Unwrap() error { return e.Err }

// ParseConfig checks what was given against what there is, and fills in defaults.
// It returns everything that is wrong, in the order of the settings, then unknown
// keys by name; the Config is good for nothing unless that is empty.
func ParseConfig(settings []Setting, given map[string]string) (Config, []*SettingError) {
	c := Config{forms: make(map[string]Form, len(settings)), values: make(map[string]string, len(settings))}
	var wrong []*SettingError
	for _, s := range settings {
		c.forms[s.Name] = s.Form
		text, ok := given[s.Name]
		if !ok {
			c.values[s.Name] = s.Default
			if s.Required {
				wrong = append(wrong, &SettingError{s.Name, fmt.Errorf("missing: %s", s.Doc)})
			}
			continue
		}
		c.values[s.Name] = text
		if err := s.accept(text); err != nil {
			wrong = append(wrong, &SettingError{s.Name, err})
		}
	}
	var unknown []*SettingError
	for name := range given {
		if _, ok := c.forms[name]; !ok {
			unknown = append(unknown, &SettingError{name, errors.New("there is no such setting")})
		}
	}
	slices.SortFunc(unknown, func(a, b *SettingError) int { return cmp.Compare(a.Name, b.Name) })
	return c, append(wrong, unknown...)
}

func (s Setting) accept(text string) error {
	switch s.Form {
	case Number:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("%q is not a number", s.show(text))
		}
		if n < s.Min || n > s.Max {
			return fmt.Errorf("%d is not between %d and %d", n, s.Min, s.Max)
		}
	case Switch:
		if text != "true" && text != "false" {
			return fmt.Errorf("%q is neither true nor false", s.show(text))
		}
	}
	if s.OneOf != nil && !slices.Contains(s.OneOf, text) {
		return fmt.Errorf("%q is not one of %s", s.show(text), strings.Join(s.OneOf, ", "))
	}
	if s.Check != nil {
		return s.Check(text)
	}
	return nil
}

func (s Setting) show(text string) string {
	if s.Secret {
		return "(hidden)"
	}
	return text
}

// The getters return a setting's value. A name or form that the connector did not
// declare is a bug and panics.

func (c Config) Text(name string) string { return c.get(name, Text) }

func (c Config) Number(name string) int64 {
	n, err := strconv.ParseInt(c.get(name, Number), 10, 64)
	invariant.That(err == nil, "setting %s has the default %q, which is not a number", name, c.values[name])
	return n
}

func (c Config) Switch(name string) bool { return c.get(name, Switch) == "true" }

// List returns the elements without the blanks around them; empty text has none.
func (c Config) List(name string) []string {
	var all []string
	for element := range strings.SplitSeq(c.get(name, List), ",") {
		if element = strings.TrimSpace(element); element != "" {
			all = append(all, element)
		}
	}
	return all
}

func (c Config) get(name string, form Form) string {
	declared, ok := c.forms[name]
	invariant.That(ok && declared == form, "setting %s is not declared in the form that it is read in", name)
	return c.values[name]
}

// With returns the configuration with one setting changed, as for a task of its own.
func (c Config) With(name, text string) Config {
	_, ok := c.forms[name]
	invariant.That(ok, "setting %s is not declared", name)
	values := maps.Clone(c.values)
	values[name] = text
	return Config{c.forms, values}
}

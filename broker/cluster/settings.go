package cluster

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/internal/invariant"
)

// Setting declares one setting of a topic or of the broker. Everything follows
// from the declaration: parsing, validation, DescribeConfigs, documentation.
type Setting struct {
	Name string
	Type kmsg.ConfigType
	// Default is what holds when nobody sets it, in canonical form; nil if there
	// is nothing then.
	Default *string
	// Accepts is the range in words: "at least 1".
	Accepts string
	// Doc says what the setting does, and what it does not.
	Doc string

	// Sensitive values are shown to nobody, errors included.
	Sensitive bool
	// Dynamic settings of a broker may be changed while it runs (KIP-226), for it alone
	// or for all brokers; the others are read when it starts.
	Dynamic bool

	// most bounds a value as sent, in bytes; 0 is maxValue.
	most int
	// parse returns a value in canonical form. ok is false outside of the range.
	parse func(string) (canonical string, ok bool)
}

// Bounds of a value as sent, in bytes. What is stored in the log has the first.
const (
	maxValue = maxText
	maxPEM   = 256 << 10
)

// Canonical checks a value and returns the one form in which it is stored: without
// spaces around it, numbers in decimal, switches in lower case. The error names
// key, value and range.
func (s *Setting) Canonical(value string) (string, error) {
	most := s.most
	if most == 0 {
		most = maxValue
	}
	if len(value) <= most {
		if c, ok := s.parse(strings.TrimSpace(value)); ok {
			return c, nil
		}
	}
	if s.Sensitive {
		return "", fmt.Errorf("%s: the value, which is not shown, is not %s", s.Name, s.Accepts)
	}
	return "", fmt.Errorf("%s: %q is not %s", s.Name, shortened(value), s.Accepts)
}

func integer(name string, def, least, most int64, doc string) Setting {
	return number(name, kmsg.ConfigTypeInt, &def, least, min(most, math.MaxInt32), doc)
}

func long(name string, def, least, most int64, doc string) Setting {
	return number(name, kmsg.ConfigTypeLong, &def, least, most, doc)
}

// longUnset declares a number that is unset by default.
func longUnset(name string, least, most int64, doc string) Setting {
	return number(name, kmsg.ConfigTypeLong, nil, least, most, doc)
}

func number(name string, typ kmsg.ConfigType, def *int64, least, most int64, doc string) Setting {
	s := Setting{Name: name, Type: typ, Doc: doc, Accepts: numberRange(typ, least, most)}
	if def != nil {
		d := strconv.FormatInt(*def, 10)
		s.Default = &d
	}
	s.parse = func(v string) (string, bool) {
		n, err := strconv.ParseInt(v, 10, 64)
		return strconv.FormatInt(n, 10), err == nil && least <= n && n <= most
	}
	return s
}

// except takes one number out of the range of a setting.
func except(s Setting, n int64) Setting {
	within, no := s.parse, strconv.FormatInt(n, 10)
	s.Accepts += " other than " + no
	s.parse = func(v string) (string, bool) {
		v, ok := within(v)
		return v, ok && v != no
	}
	return s
}

func numberRange(typ kmsg.ConfigType, least, most int64) string {
	end := int64(math.MaxInt64)
	if typ == kmsg.ConfigTypeInt {
		end = math.MaxInt32
	}
	if most == end {
		return fmt.Sprintf("an integer of at least %d", least)
	}
	return fmt.Sprintf("an integer from %d to %d", least, most)
}

// ratio declares a number from 0 to 1.
func ratio(name, def, doc string) Setting {
	return Setting{
		Name: name, Type: kmsg.ConfigTypeDouble, Default: &def, Doc: doc,
		Accepts: "a number from 0 to 1",
		parse: func(v string) (string, bool) {
			f, err := strconv.ParseFloat(v, 64)
			return strconv.FormatFloat(f, 'g', -1, 64), err == nil && 0 <= f && f <= 1
		},
	}
}

func toggle(name string, def bool, doc string) Setting {
	d := strconv.FormatBool(def)
	return Setting{
		Name: name, Type: kmsg.ConfigTypeBoolean, Default: &d, Doc: doc,
		Accepts: "true or false",
		parse: func(v string) (string, bool) {
			v = strings.ToLower(v)
			return v, v == "true" || v == "false"
		},
	}
}

func choice(name, def string, of []string, doc string) Setting {
	return Setting{
		Name: name, Type: kmsg.ConfigTypeString, Default: &def, Doc: doc,
		Accepts: "one of " + strings.Join(of, ", "),
		parse:   func(v string) (string, bool) { return v, slices.Contains(of, v) },
	}
}

// some declares a list of different words out of a few; it may be empty.
func some(name, def string, of []string, doc string) Setting {
	return Setting{
		Name: name, Type: kmsg.ConfigTypeList, Default: &def, Doc: doc,
		Accepts: "a list, separated by commas, of " + strings.Join(of, ", ") + ", none of them twice",
		parse: func(v string) (string, bool) {
			words := splitList(v)
			for i, w := range words {
				if !slices.Contains(of, w) || slices.Contains(words[:i], w) {
					return "", false
				}
			}
			return strings.Join(words, ","), true
		},
	}
}

// textUnset declares a short text that is unset by default.
func textUnset(name, doc string) Setting {
	return Setting{
		Name: name, Type: kmsg.ConfigTypeString, Doc: doc,
		Accepts: fmt.Sprintf("a text of 1 to %d bytes", maxValue),
		parse:   func(v string) (string, bool) { return v, v != "" },
	}
}

// textUnsetOf declares one of some words that is unset by default.
func textUnsetOf(name string, of []string, doc string) Setting {
	s := choice(name, "", of, doc)
	s.Default = nil
	return s
}

// text declares a short text.
func text(name, def, doc string) Setting {
	s := textUnset(name, doc)
	s.Default = &def
	return s
}

// pem declares a text in PEM that is unset by default.
func pem(name, doc string) Setting {
	return Setting{
		Name: name, Type: kmsg.ConfigTypeString, Doc: doc, most: maxPEM,
		Accepts: fmt.Sprintf("a text of at most %d bytes that begins with -----BEGIN", maxPEM),
		parse:   func(v string) (string, bool) { return v, strings.HasPrefix(v, "-----BEGIN ") },
	}
}

// secret marks a setting as sensitive.
func secret(s Setting) Setting {
	s.Sensitive, s.Type = true, kmsg.ConfigTypePassword
	return s
}

// dynamic marks a setting of the broker as one that may be changed while it runs:
// whatever acts on it reads it anew each time.
func dynamic(s Setting) Setting {
	s.Dynamic = true
	return s
}

// splitList takes a list apart as Kafka does: by commas, without the spaces around
// them. An empty text is an empty list.
func splitList(v string) []string {
	if v = strings.TrimSpace(v); v == "" {
		return nil
	}
	words := strings.Split(v, ",")
	for i, w := range words {
		words[i] = strings.TrimSpace(w)
	}
	return words
}

// Values of canonical form are read back by these; they cannot fail.

// mustBeCanonical holds what is read back to what Canonical has made.
func mustBeCanonical(v string, err error) {
	invariant.That(err == nil, "setting value %q was not checked: %v", v, err)
}

func toInt64(v string) int64 {
	n, err := strconv.ParseInt(v, 10, 64)
	mustBeCanonical(v, err)
	return n
}

func toFloat(v string) float64 {
	f, err := strconv.ParseFloat(v, 64)
	mustBeCanonical(v, err)
	return f
}

func toInt32(v string) int32 { return int32(toInt64(v)) }
func toInt(v string) int     { return int(toInt64(v)) }
func toBool(v string) bool   { return v == "true" }

// union is a with those of b that it lacks behind it.
func union(a, b []string) []string {
	for _, w := range b {
		if !slices.Contains(a, w) {
			a = append(a, w)
		}
	}
	return a
}

// without is a, which it may change, without those of b.
func without(a, b []string) []string {
	return slices.DeleteFunc(a, func(w string) bool { return slices.Contains(b, w) })
}

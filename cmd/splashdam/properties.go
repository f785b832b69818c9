package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/splashdam/splashdam/sdk"
)

// clientProperties are how a command logs in to a cluster: a file of Java properties,
// as Kafka's own tools take it, and single ones.
type clientProperties struct {
	file   string
	single []string
}

func (c *clientProperties) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&c.file, "command-config", "", "a `FILE` of properties that say how to encrypt and log in, as of Kafka's tools ("+variable("command-config")+")")
	cmd.Flags().StringArrayVarP(&c.single, "property", "X", nil, "such a property, `NAME=VALUE`; wins over the file")
}

// read returns the security, and the brokers that the file names, if it does.
func (c *clientProperties) read(env environment) (s sdk.Security, brokers string, err error) {
	where, file := "--command-config", c.file
	if file == "" {
		where, file = variable("command-config"), env[variable("command-config")]
	}
	all := make(map[string]string)
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return s, "", &problem{what: where, cause: err, kind: errUsage}
		}
		if all, err = parseProperties(string(text)); err != nil {
			return s, "", &problem{what: where + ": " + file, cause: err, kind: errUsage}
		}
	}
	for _, pair := range c.single {
		name, value, ok := strings.Cut(pair, "=")
		if !ok {
			return s, "", &problem{what: "-X", cause: errors.New("a property is of the form NAME=VALUE"), kind: errUsage}
		}
		all[name] = value
	}
	brokers = all["bootstrap.servers"]
	delete(all, "bootstrap.servers")
	if s, err = sdk.ParseSecurity(all); err != nil {
		return s, "", &problem{what: "how to log in", cause: err, kind: errUsage}
	}
	return s, brokers, nil
}

// parseProperties reads Java properties: name=value or name: value, comments that
// begin with # or !, and lines that go on behind a backslash. Of the escapes those
// that mean something in a value are known: \\, \n, and a backslash before anything
// else, which is left out.
func parseProperties(text string) (map[string]string, error) {
	all := make(map[string]string)
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		at, line := i+1, strings.TrimSpace(lines[i])
		if line == "" || line[0] == '#' || line[0] == '!' {
			continue
		}
		for i+1 < len(lines) && oddBackslashes(line) {
			i++
			line = line[:len(line)-1] + strings.TrimSpace(lines[i])
		}
		end := strings.IndexAny(line, "=: \t")
		if end <= 0 {
			return nil, fmt.Errorf("line %d is not of the form NAME=VALUE", at)
		}
		name, rest := line[:end], strings.TrimLeft(line[end:], " \t")
		if rest != "" && (rest[0] == '=' || rest[0] == ':') {
			rest = strings.TrimLeft(rest[1:], " \t")
		}
		all[name] = unescaped(rest)
	}
	return all, nil
}

func oddBackslashes(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}

func unescaped(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			if i++; s[i] == 'n' {
				b.WriteByte('\n')
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

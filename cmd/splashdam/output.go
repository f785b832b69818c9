package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// talk is for people: standard error, and nothing with -q.
func (p *program) talk(format string, args ...any) {
	if !p.quiet {
		fmt.Fprintf(p.stderr, format, args...)
	}
}

// warn is talk that begins with a word that can be searched for.
func (p *program) warn(format string, args ...any) {
	p.talk("%s %s\n", p.paint(yellow, "warning:"), fmt.Sprintf(format, args...))
}

// logger is for what runs for long.
func (p *program) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: p.logLevel()}))
}

// logLevel is that of what runs for long. When quiet it has errors only.
func (p *program) logLevel() slog.Level {
	if p.quiet {
		return slog.LevelError
	}
	return slog.LevelInfo
}

type color string

const (
	red    color = "\x1b[31m"
	green  color = "\x1b[32m"
	yellow color = "\x1b[33m"
	bold   color = "\x1b[1m"
)

// paint colours text for standard error where that is a terminal.
func (p *program) paint(c color, text string) string { return p.paintFor(p.stderr, c, text) }

// paintFor colours text for w where that is a terminal.
func (p *program) paintFor(w io.Writer, c color, text string) string {
	if p.noColor || p.env["NO_COLOR"] != "" || !p.isScreen(w) {
		return text
	}
	return string(c) + text + "\x1b[0m"
}

// isScreen reports whether w is a terminal that understands escape sequences.
func (p *program) isScreen(w io.Writer) bool { return p.env["TERM"] != "dumb" && isTerminal(w) }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// listing is the -o flag of a command that lists things.
type listing struct {
	format string
	json   bool
}

func (l *listing) flags(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&l.format, "output", "o", "table", "`format`: table or json")
	cmd.Flags().BoolVar(&l.json, "json", false, "the same as -o json")
	completeWords(cmd, "output", "table", "json")
}

// check must be called before anything is done, so that a wrong format does not
// follow a change.
func (l *listing) check(cmd *cobra.Command) error {
	switch l.format {
	case "table":
	case "json":
		l.json = true
	default:
		return usage(cmd, fmt.Errorf("-o %s: the formats are table and json", l.format))
	}
	return nil
}

// printJSON writes one indented document.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// grid is a table of cells, printed aligned under its headings.
type grid struct {
	heads []string
	rows  [][]string
}

func (g *grid) add(cells ...string) { g.rows = append(g.rows, cells) }

func (g *grid) print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{g.heads}, g.rows...) {
		cells := make([]string, len(row))
		for i, c := range row {
			cells[i] = printable(c)
		}
		fmt.Fprintln(t, strings.Join(cells, "\t"))
	}
	return t.Flush()
}

// printable quotes a name that would do something to the terminal or break the
// table. Group and client names are whatever a client sent.
func printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// count renders n things, with the plural where it belongs.
func count(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return strconv.Itoa(n) + " " + thing + "s"
}

package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
)

// errUsage marks what the caller has to write differently.
var errUsage = errors.New("wrong usage")

// errNoBroker marks that nobody answers where a broker should be.
var errNoBroker = errors.New("no broker")

// errUnwell ends a command whose output has already said what is wrong.
var errUnwell = errors.New("not well")

// problem is an error for a person: what failed and where, why, and what to do
// next, a line each. It prints as
//
//	error: what: cause
//	  excerpt
//	  next
type problem struct {
	what    string
	cause   error
	excerpt string // of a file, as it stands
	next    []string
	kind    error // errUsage, errNoBroker or nil
}

func (e *problem) Error() string {
	if e.cause == nil {
		return e.what
	}
	return e.what + ": " + describe(e.cause)
}

func (e *problem) Unwrap() []error {
	var all []error
	for _, err := range []error{e.cause, e.kind} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// usage blames the command line and points to the command's help.
func usage(cmd *cobra.Command, err error) error {
	help := fmt.Sprintf("see:  %s --help", cmd.CommandPath())
	if p, ok := errors.AsType[*problem](err); ok {
		p.kind = errUsage
		p.next = append(p.next, help)
		return p
	}
	return &problem{what: err.Error(), next: []string{help}, kind: errUsage}
}

// describe renders a cause. Kafka's errors are shown by name and number, as
// every other tool and every search engine knows them.
func describe(err error) string {
	if k, ok := err.(*kerr.Error); ok {
		return fmt.Sprintf("%s (%d): %s", k.Message, k.Code, strings.TrimSuffix(k.Description, "."))
	}
	return err.Error()
}

func (p *program) printError(err error) {
	var b strings.Builder
	b.WriteString(p.paint(red, "error:"))
	b.WriteString(" " + describe(err) + "\n")
	if e, ok := errors.AsType[*problem](err); ok {
		for line := range strings.Lines(e.excerpt) {
			b.WriteString("  " + strings.TrimRight(line, " \n") + "\n")
		}
		for _, line := range e.next {
			b.WriteString("  " + line + "\n")
		}
	}
	fmt.Fprint(p.stderr, b.String())
}

// nearest finds the name that was probably meant. Names that are further from it
// than a third of its letters are other words.
func nearest(name string, names []string) (string, bool) {
	best, limit := "", 1+len(name)/3
	for _, other := range slices.Sorted(slices.Values(names)) {
		if d := editDistance(strings.ToLower(name), strings.ToLower(other), limit); d <= limit && other != name {
			if d == 0 {
				return other, true
			}
			best, limit = other, d-1
		}
	}
	return best, best != ""
}

// editDistance counts insertions, deletions, replacements and swaps of two
// neighbours (optimal string alignment). Anything above limit is limit+1.
func editDistance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return min(last[len(b)], limit+1)
}

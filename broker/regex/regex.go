// Package regex compiles regular expressions of clients, of a bounded size: one of 7
// bytes, a{1000}, is a thousand instructions, and matching takes time in proportion to them.
package regex

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

const (
	maxBytes = 16 << 10
	// maxSize bounds what counted repetitions like (a{100}){10} unfold to.
	maxSize = 8 << 10
)

// Size is about how many instructions an expression (RE2's syntax) compiles to. It errors
// where that is too many.
func Size(expression string) (int, error) {
	if len(expression) > maxBytes {
		return 0, fmt.Errorf("a regular expression of %d bytes, %d are allowed", len(expression), maxBytes)
	}
	tree, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return 0, fmt.Errorf("regular expression: %w", err)
	}
	n := unfolded(tree)
	if n > maxSize {
		return 0, fmt.Errorf("a regular expression that unfolds to %d parts, %d are allowed", n, maxSize)
	}
	return n, nil
}

// Compile makes an expression that matches whole names, as in Kafka.
func Compile(expression string) (*regexp.Regexp, error) {
	if _, err := Size(expression); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(`\A(?:` + expression + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	return re, nil
}

// unfolded is the size of a part of an expression.
func unfolded(re *syntax.Regexp) int {
	n := 1 + len(re.Rune)
	for _, sub := range re.Sub {
		n += unfolded(sub)
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return n
}

package group

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Bounds of a subscription's regular expression (RE2's syntax, KIP-848). It is
// matched in time that grows with its size, in the loop of the shard.
const (
	maxRegexBytes = 16 << 10
	// maxRegexSize bounds what counted repetitions like (a{100}){10} unfold to.
	maxRegexSize = 64 << 10
)

// compileRegex makes an expression that matches whole names, as in Kafka.
func compileRegex(regex string) (*regexp.Regexp, error) {
	if len(regex) > maxRegexBytes {
		return nil, fmt.Errorf("a regular expression of %d bytes, %d are allowed", len(regex), maxRegexBytes)
	}
	tree, err := syntax.Parse(regex, syntax.Perl)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	if n := unfolded(tree); n > maxRegexSize {
		return nil, fmt.Errorf("a regular expression that unfolds to %d parts, %d are allowed", n, maxRegexSize)
	}
	re, err := regexp.Compile(`\A(?:` + regex + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("regular expression: %w", err)
	}
	return re, nil
}

// unfolded is about how many instructions an expression compiles to.
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

// matching names the topics that an expression matches, never nil. One that does
// not compile was accepted by another binary and matches nothing.
func matching(regex string, topics Topics) []string {
	names := []string{}
	re, err := compileRegex(regex)
	if err != nil {
		return names
	}
	for name := range topics.TopicNames() {
		if re.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}

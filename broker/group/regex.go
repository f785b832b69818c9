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
	// maxRegexSize bounds what counted repetitions like (a{100}){10} unfold to, and
	// maxRegexesSize that of all expressions in a group together, one each, which a change
	// of the cluster's topics has matched again at once.
	maxRegexSize   = 8 << 10
	maxRegexesSize = 16 << 10
)

// regexSize is about how many instructions an expression compiles to. It errors where
// that is too many.
func regexSize(regex string) (int, error) {
	if len(regex) > maxRegexBytes {
		return 0, fmt.Errorf("a regular expression of %d bytes, %d are allowed", len(regex), maxRegexBytes)
	}
	tree, err := syntax.Parse(regex, syntax.Perl)
	if err != nil {
		return 0, fmt.Errorf("regular expression: %w", err)
	}
	n := unfolded(tree)
	if n > maxRegexSize {
		return 0, fmt.Errorf("a regular expression that unfolds to %d parts, %d are allowed", n, maxRegexSize)
	}
	return n, nil
}

// hasRoomFor says whether a member may have an expression beside those of the others.
func (k *consumerGroup) hasRoomFor(id, regex string) bool {
	seen := map[string]bool{regex: true, "": true}
	all, _ := regexSize(regex) // an error has been answered
	for _, m := range k.members {
		if m.id != id && !seen[m.regex] {
			seen[m.regex] = true
			n, _ := regexSize(m.regex) // of another binary, it may be too large: it matches nothing
			all += n
		}
	}
	return all <= maxRegexesSize
}

// compileRegex makes an expression that matches whole names, as in Kafka.
func compileRegex(regex string) (*regexp.Regexp, error) {
	if _, err := regexSize(regex); err != nil {
		return nil, err
	}
	re, err := regexp.Compile(`\A(?:` + regex + `)\z`)
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

package group

import "github.com/splashdam/splashdam/broker/regex"

// maxRegexesSize bounds the size of all expressions in a group together, one each: a
// change of the cluster's topics has them matched again, in the loop of the shard.
const maxRegexesSize = 16 << 10

// hasRoomFor says whether a member may have an expression beside those of the others.
func (k *consumerGroup) hasRoomFor(id, expression string) bool {
	seen := map[string]bool{expression: true, "": true}
	all, _ := regex.Size(expression) // an error has been answered
	for _, m := range k.members {
		if m.id != id && !seen[m.regex] {
			seen[m.regex] = true
			n, _ := regex.Size(m.regex) // of another binary, it may be too large: it matches nothing
			all += n
		}
	}
	return all <= maxRegexesSize
}

// matching names the topics that an expression matches, never nil. One that does
// not compile was accepted by another binary and matches nothing.
func matching(expression string, topics Topics) []string {
	names := []string{}
	re, err := regex.Compile(expression)
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

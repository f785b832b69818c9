package cluster

// unknown words the complaint about a name that does not exist, with the name
// that was probably meant, if one is near.
func unknown(what, name string, names []string) string {
	text := "unknown " + what + " " + quoted(name)
	if near := nearest(name, names); near != "" {
		text += " (did you mean " + near + "?)"
	}
	return text
}

func quoted(name string) string { return "\"" + shortened(name) + "\"" }

// nearest finds the name with the fewest edits to get to, "" if even that is not
// near: more than a quarter of it would have to change.
func nearest(name string, names []string) string {
	best, least := "", len(name)/4+1
	if len(name) > 2*maxSuggested {
		return ""
	}
	for _, n := range names {
		if d := edits(name, n); d < least || d == least && best == "" {
			best, least = n, d
		}
	}
	return best
}

// maxSuggested bounds the work: no name of ours is longer.
const maxSuggested = 80

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

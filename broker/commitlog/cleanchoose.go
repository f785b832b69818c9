package commitlog

import (
	"cmp"
	"slices"
)

const (
	// A segment is rewritten when 1/wasteShare of it is dead; urgently, when
	// 1/urgentShare is.
	wasteShare  = 2
	urgentShare = 10
	// mergeCount small neighbours are merged, small being 1/mergeCount of a segment.
	mergeCount = 8
)

// groups chooses neighbours that are to become one segment: those that are mostly
// dead, and many small ones.
func groups(list []surveyed, size int64, urgent bool) [][]surveyed {
	share := int64(wasteShare)
	if urgent {
		share = urgentShare
	}
	wasteful := func(s surveyed) bool { return s.waste()*share >= s.size-segmentHeaderSize && s.waste() > 0 }
	small := func(s surveyed) bool { return s.live <= size/mergeCount }
	chosen := runs(list, size, 1, wasteful)
	if urgent { // what needs the least space first
		slices.SortStableFunc(chosen, func(a, b []surveyed) int { return cmp.Compare(liveOf(a), liveOf(b)) })
	}
	for _, group := range runs(list, size, mergeCount, small) {
		overlaps := false
		for _, other := range chosen {
			overlaps = overlaps || group[0].first <= other[len(other)-1].last && other[0].first <= group[len(group)-1].last
		}
		if !overlaps {
			chosen = append(chosen, group)
		}
	}
	return chosen
}

func liveOf(list []surveyed) (live int64) {
	for _, s := range list {
		live += s.live
	}
	return live
}

// runs finds at least least neighbours of a kind, of which no more lives than size
// together.
func runs(list []surveyed, size int64, least int, kind func(surveyed) bool) [][]surveyed {
	var found [][]surveyed
	for i := 0; i < len(list); {
		n, live := 0, int64(0)
		for i+n < len(list) && list[i+n].usable && kind(list[i+n]) && (n == 0 || live+list[i+n].live <= size) {
			live += list[i+n].live
			n++
		}
		if n >= least {
			found = append(found, list[i:i+n])
		}
		i += max(n, 1)
	}
	return found
}

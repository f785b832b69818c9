package connect

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
)

// PlaceHeader is the record header with the row's Place.
const PlaceHeader = "sd-pos"

// SchemaHeader is the record header with the ID of the row's Schema.
const SchemaHeader = "sd-schema"

// Place is a row's place in all that one task of a source ever reads. A source
// that reads something again gives it the same place, or if it may be something
// else by now a new one; and whatever it sends to a partition comes in ascending
// order but for repetitions. So who remembers the highest place by partition and
// task drops what is not above it, and has every row once.
type Place struct {
	Task  uint32 // of the connector
	Epoch uint32 // rises when the source's positions begin anew, as on another server
	File  uint64 // where in the source: for MySQL the binlog's number
	End   uint64 // and the address behind the event in it
	// Row is the row in the event. An update's is not 0, and no other row has the one
	// below it: where the key changes, that is the place of the old key's delete.
	Row uint64
}

// Compare orders places of one task.
func (p Place) Compare(other Place) int {
	return cmp.Or(cmp.Compare(p.Epoch, other.Epoch), cmp.Compare(p.File, other.File),
		cmp.Compare(p.End, other.End), cmp.Compare(p.Row, other.Row))
}

// Append writes the place as the header has it: five numbers with dots between.
func (p Place) Append(to []byte) []byte {
	to = append(strconv.AppendUint(to, uint64(p.Task), 10), '.')
	to = append(strconv.AppendUint(to, uint64(p.Epoch), 10), '.')
	to = append(strconv.AppendUint(to, p.File, 10), '.')
	to = append(strconv.AppendUint(to, p.End, 10), '.')
	return strconv.AppendUint(to, p.Row, 10)
}

func (p Place) String() string { return string(p.Append(nil)) }

// ParsePlace is the inverse of Append, and takes nothing else.
func ParsePlace(text []byte) (Place, error) {
	var numbers [5]uint64
	rest := text
	for i, highest := range [...]uint64{math.MaxUint32, math.MaxUint32, math.MaxUint64, math.MaxUint64, math.MaxUint64} {
		n, length := parseUint(rest)
		last := i == len(numbers)-1
		if length == 0 || n > highest || last != (length == len(rest)) || !last && rest[length] != '.' {
			return Place{}, fmt.Errorf("header %s: %.60q is not five numbers with dots between", PlaceHeader, text)
		}
		numbers[i] = n
		rest = rest[min(length+1, len(rest)):]
	}
	return Place{uint32(numbers[0]), uint32(numbers[1]), numbers[2], numbers[3], numbers[4]}, nil
}

// parseUint reads what AppendUint writes, from the beginning of a text, without
// making a string of it. Length is 0 if there is no such number.
func parseUint(text []byte) (n uint64, length int) {
	for length < len(text) {
		d := uint64(text[length] - '0')
		if d > 9 {
			break
		}
		if length > 0 && n == 0 || length >= 19 && n > (math.MaxUint64-d)/10 {
			return 0, 0
		}
		n = n*10 + d
		length++
	}
	return n, length
}

package arrow

import (
	"encoding/json"
	"fmt"
	"hash/crc32"

	"github.com/splashdam/splashdam/connect"
)

// entryVersion is the format of manifests that this program writes, and the only
// one that it reads.
const entryVersion = 1

// Limits of an entry.
const (
	maxEntry = 1 << 20 // bytes
	maxTasks = 1 << 12 // of the source, each with its highest place
)

// entry is one state of a partition, whole: the newest says everything.
//
//	{"version":1,"crc32c":"77ab03f2","entry":{"connector":"lake","writer":"XQ4…", … }}
//
// The checksum is of the bytes of the inner object.
type entry struct {
	Connector string          `json:"connector"`         // whose directory this is
	Writer    string          `json:"writer"`            // which run of it
	Time      string          `json:"time"`              // for people
	Topic     string          `json:"topic"`             //
	TopicID   string          `json:"topic_id"`          // hexadecimal
	Partition int32           `json:"partition"`         //
	Format    string          `json:"format"`            // of all files
	Base      int64           `json:"base"`              // Next of the entry before
	Next      int64           `json:"next"`              // everything before it is durable; nothingDurable at first
	Places    []connect.Place `json:"-"`                 // the highest of each task, ascending by task
	Highest   []string        `json:"places,omitempty"`  // the same, as in the header
	Schema    string          `json:"schema,omitempty"`  // of the file
	File      string          `json:"file,omitempty"`    // which the entry adds; none if no row came
	Pending   string          `json:"pending,omitempty"` // what it is called before it is in its place
	Rows      int64           `json:"rows,omitempty"`    // of the file
	Bytes     int64           `json:"bytes,omitempty"`
}

// nothingDurable is where an entry ends before there was a record.
const nothingDurable = -1

type sealedEntry struct {
	Version int             `json:"version"`
	CRC32C  string          `json:"crc32c"`
	Entry   json.RawMessage `json:"entry"`
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksumOf(b []byte) string { return fmt.Sprintf("%08x", crc32.Checksum(b, castagnoli)) }

func (e entry) encode() ([]byte, error) {
	e.Highest = nil
	for _, p := range e.Places {
		e.Highest = append(e.Highest, p.String())
	}
	inner, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return json.Marshal(sealedEntry{entryVersion, checksumOf(inner), inner})
}

func decodeEntry(text []byte) (entry, error) {
	var sealed sealedEntry
	if err := json.Unmarshal(text, &sealed); err != nil {
		return entry{}, err
	}
	if sealed.Version != entryVersion {
		return entry{}, fmt.Errorf("it has format version %d, and this program knows %d: use the newer program", sealed.Version, entryVersion)
	}
	if sum := checksumOf(sealed.Entry); sum != sealed.CRC32C {
		return entry{}, fmt.Errorf("its checksum is %s and should be %.20s", sum, sealed.CRC32C)
	}
	var e entry
	if err := json.Unmarshal(sealed.Entry, &e); err != nil {
		return entry{}, err
	}
	for _, text := range e.Highest {
		p, err := connect.ParsePlace([]byte(text))
		if err != nil {
			return entry{}, err
		}
		e.Places = append(e.Places, p)
	}
	return e, nil
}

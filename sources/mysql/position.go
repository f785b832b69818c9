package mysql

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/splashdam/splashdam/connect"
)

// serverPartition is the source partition of the binlog, tablePartition that of the
// copy of a table.
type serverPartition struct {
	Server string `json:"server"`
}

type tablePartition struct {
	Server string `json:"server"`
	Table  string `json:"table"`
}

// logPosition is how far the binlog has been read: everything before the
// transaction at File and Pos, and Events row events of that one.
type logPosition struct {
	Identity string `json:"server_uuid"` // of the server whose files these are
	Epoch    uint32 `json:"epoch"`       // how often it was another server
	File     string `json:"file,omitempty"`
	Pos      uint64 `json:"pos,omitempty"`
	Made     uint32 `json:"file_ts,omitempty"` // when the file was, on MySQL
	GTIDs    string `json:"gtids,omitempty"`   // all transactions up to there
	Events   int    `json:"event,omitempty"`
	// Chunk is the number of the next chunk of any table. See source.number.
	Chunk uint32 `json:"chunk,omitempty"`
}

// copyPosition is how far a table has been copied.
type copyPosition struct {
	After []string `json:"key,omitempty"` // the last key that was copied; none yet without
	Done  bool     `json:"done"`
}

// progress is all that a source knows when it starts.
type progress struct {
	log    *logPosition // nil: nothing yet
	copies map[tableName]copyPosition
}

func readProgress(prefix string, positions []connect.Position) (progress, error) {
	p := progress{copies: map[tableName]copyPosition{}}
	for _, stored := range positions {
		var of tablePartition
		if err := json.Unmarshal(stored.Partition, &of); err != nil || of.Server != prefix {
			continue // of another topic.prefix under the same connector's name
		}
		var err error
		if of.Table == "" {
			p.log = &logPosition{}
			err = json.Unmarshal(stored.Offset, p.log)
		} else {
			var c copyPosition
			err = json.Unmarshal(stored.Offset, &c)
			database, table, _ := strings.Cut(of.Table, ".")
			p.copies[tableName{database, table}] = c
		}
		if err != nil {
			return progress{}, fmt.Errorf("reading the position %s of %s: %w", stored.Offset, stored.Partition, err)
		}
	}
	return p, nil
}

// fileHeader is the length of what a binlog's first event is behind.
const fileHeader = 4

// fileNumber is the number at the end of a binlog's name.
func fileNumber(file string) (uint64, error) {
	i := strings.LastIndexByte(file, '.')
	n, err := strconv.ParseUint(file[i+1:], 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the binlog %q has no number at its end", file)
	}
	return n, nil
}

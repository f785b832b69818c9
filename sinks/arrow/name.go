package arrow

import (
	"fmt"
	"path"
	"strconv"
	"strings"
)

// Formats of files, which are their names' endings.
const (
	formatParquet = "parquet"
	formatArrow   = "arrow"
)

// span is the offsets of a file: from base up to and without next.
type span struct{ base, next int64 }

// fileName is what a data file is called.
type fileName struct {
	span
	checksum uint32 // CRC-32C of the whole file
	format   string
}

func (n fileName) String() string {
	return fmt.Sprintf("%020d-%020d-%08x.%s", n.base, n.next, n.checksum, n.format)
}

// parseFileName is the inverse of String, and takes nothing else.
func parseFileName(name string) (fileName, bool) {
	stem, format, _ := strings.Cut(name, ".")
	parts := strings.Split(stem, "-")
	if len(parts) != 3 {
		return fileName{}, false
	}
	base, err1 := strconv.ParseInt(parts[0], 10, 64)
	next, err2 := strconv.ParseInt(parts[1], 10, 64)
	checksum, err3 := strconv.ParseUint(parts[2], 16, 32)
	n := fileName{span{base, next}, uint32(checksum), format}
	ok := (format == formatParquet || format == formatArrow) && err1 == nil && err2 == nil && err3 == nil && n.String() == name && base < next
	return n, ok
}

// Names below the directory that the sink is given. The hidden one holds what
// readers must not see.
const hiddenDir = ".splashdam"

func partitionDir(number int32) string { return fmt.Sprintf("p=%d", number) }

func parsePartitionDir(name string) (int32, bool) {
	digits, ok := strings.CutPrefix(name, "p=")
	n, err := strconv.ParseInt(digits, 10, 32)
	return int32(n), ok && err == nil && partitionDir(int32(n)) == name && n >= 0
}

// entryName is what an entry of a manifest is called.
func entryName(number int64) string { return fmt.Sprintf("%012d.json", number) }

func parseEntryName(name string) (int64, bool) {
	n, err := strconv.ParseInt(strings.TrimSuffix(name, path.Ext(name)), 10, 64)
	return n, err == nil && n > 0 && entryName(n) == name
}

// checkTopic refuses what is not a topic's name in Kafka, or would be another
// place in the directory.
func checkTopic(topic string) error {
	if topic == "" || topic == "." || topic == ".." || topic == hiddenDir || len(topic) > 249 ||
		strings.Trim(topic, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return fmt.Errorf("topic %.260q cannot be a directory of files", topic)
	}
	return nil
}

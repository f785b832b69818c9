package arrow

import (
	"fmt"
	"slices"
)

const (
	compressionAuto   = "auto"
	compressionNone   = "none"
	compressionSnappy = "snappy"
	compressionLZ4    = "lz4"
	compressionZstd   = "zstd"
)

// compressions is what each format has; it begins with what auto means.
var compressions = map[string][]string{
	formatParquet: {compressionSnappy, compressionZstd, compressionNone},
	formatArrow:   {compressionNone, compressionLZ4, compressionZstd}, // readers in JavaScript know only the first
}

func compressionOf(format, name string) (string, error) {
	possible := compressions[format]
	if name == compressionAuto {
		return possible[0], nil
	}
	if !slices.Contains(possible, name) {
		return "", fmt.Errorf("%s files have no compression %s, but one of %v", format, name, possible)
	}
	return name, nil
}

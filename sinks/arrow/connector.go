package arrow

import (
	"crypto/rand"
	"errors"
	"time"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Names of settings.
const (
	settingDir         = "dir"
	settingFormat      = "format"
	settingCompression = "compression"
	settingRows        = "file.rows"
	settingBytes       = "file.bytes"
	settingAge         = "file.age.ms"
)

// Connector is the kind of sink that writes files, to a file system of the caller's.
func Connector(fsys vfs.FS) connect.SinkConnector {
	return connect.SinkConnector{
		Name: "arrow",
		Settings: []connect.Setting{
			{Name: settingDir, Required: true, Check: checkDir,
				Doc: "directory of the files: the topic's name is a directory in it, each with one for each partition"},
			{Name: settingFormat, Default: formatParquet, OneOf: []string{formatParquet, formatArrow},
				Doc: "format of the files: parquet, or arrow for Arrow IPC"},
			{Name: settingCompression, Default: compressionAuto,
				OneOf: []string{compressionAuto, compressionNone, compressionSnappy, compressionLZ4, compressionZstd},
				Doc:   "compression in the files: snappy, zstd or none for parquet (auto: snappy), lz4, zstd or none for arrow (auto: none)"},
			{Name: settingRows, Form: connect.Number, Default: "1000000", Min: 1, Max: 1 << 40,
				Doc: "a file ends at this many rows"},
			{Name: settingBytes, Form: connect.Number, Default: "134217728", Min: 1 << 10, Max: 1 << 40,
				Doc: "a file ends at about this many bytes"},
			{Name: settingAge, Form: connect.Number, Default: "30000", Min: 100, Max: 7 * 24 * 3600 * 1000,
				Doc: "a file ends so many milliseconds after its first record came: how long a change may take to be seen"},
		},
		New: func(c connect.Config, env connect.Environment) (connect.Sink, error) {
			compression, err := compressionOf(c.Text(settingFormat), c.Text(settingCompression))
			if err != nil {
				return nil, connect.Permanent(&connect.SettingError{Name: settingCompression, Err: err}, "")
			}
			return &Sink{
				fs:          fsys,
				env:         env,
				writer:      rand.Text(),
				dir:         c.Text(settingDir),
				format:      c.Text(settingFormat),
				compression: compression,
				limits: limits{
					rows:  c.Number(settingRows),
					bytes: c.Number(settingBytes),
					age:   time.Duration(c.Number(settingAge)) * time.Millisecond,
				},
				partitions: map[partitionName]*partition{},
			}, nil
		},
	}
}

func checkDir(text string) error {
	if text == "" {
		return errors.New("it is empty")
	}
	return nil
}

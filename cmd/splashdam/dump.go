package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// dumpedFrame is a frame as JSON.
type dumpedFrame struct {
	File       string       `json:"file"`
	Address    string       `json:"address"`
	Size       int64        `json:"size"`
	Error      string       `json:"error,omitempty"` // then there is nothing below
	Index      uint64       `json:"index,omitempty"`
	Term       uint64       `json:"term,omitempty"`
	Time       int64        `json:"time,omitempty"` // the leader's clock, ms
	Generation uint32       `json:"generation,omitempty"`
	Durable    uint64       `json:"durable,omitempty"`
	Rolls      bool         `json:"rolls,omitempty"`
	Parts      []dumpedPart `json:"parts,omitempty"`
}

type dumpedPart struct {
	Kind         string `json:"kind"`
	Partition    string `json:"partition"`
	Size         int    `json:"size"`
	BaseOffset   *int64 `json:"base_offset,omitempty"`
	Records      *int32 `json:"records,omitempty"`
	MaxTimestamp *int64 `json:"max_timestamp,omitempty"` // ms
	Error        string `json:"error,omitempty"`
}

// dumpedItem is a part of a file that is not a segment, as JSON.
type dumpedItem struct {
	File   string         `json:"file"`
	At     int64          `json:"at"`
	Kind   string         `json:"kind"`
	Error  string         `json:"error,omitempty"` // then there are no fields
	Fields map[string]any `json:"fields,omitempty"`
}

func (p *program) dumpCommand() *cobra.Command {
	var asJSON bool
	var format string
	cmd := &cobra.Command{
		Use:   "dump FILE|DIR",
		Short: "Print what is in a file of a shard, a shard or a data directory",
		Long: `Print what lies on the disk: the records of manifests, the slots of hard states, the
sections of snapshots, the rows of segment indexes, and the frames of segments with
their parts. It reads only, and may be used on the directory of a node that runs. Bytes
that are none of it are shown as what they are; then the exit code is 1.

With -o json each of them is one JSON object on a line.`,
		Example: `  splashdam dump ./splashdam-data/shards/0001/manifest
  splashdam dump -o json ./splashdam-data | jq 'select(.error)'`,
		Args: cobra.ExactArgs(1),
	}
	cmd.Flags().StringVarP(&format, "output", "o", "text", "`format`: text or json")
	cmd.Flags().BoolVar(&asJSON, "json", false, "the same as -o json")
	completeWords(cmd, "output", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if format != "text" && format != "json" {
			return usage(cmd, fmt.Errorf("-o %s: the formats are text and json", format))
		}
		return p.dump(vfs.OS(), args[0], asJSON || format == "json")
	}
	return cmd
}

func (p *program) dump(fsys vfs.FS, name string, asJSON bool) error {
	files, err := dumpFiles(fsys, name)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(p.stdout, 64<<10)
	unwell := 0
	var failed []error
	for _, file := range files {
		if !asJSON {
			fmt.Fprintf(out, "%s\n", file)
		}
		n, err := dumpFile(fsys, file, asJSON, out)
		unwell += n
		if err != nil {
			failed = append(failed, &problem{what: file, cause: err})
		}
	}
	if err := errors.Join(append(failed, out.Flush())...); err != nil {
		return err
	}
	if unwell > 0 {
		return &problem{
			what: fmt.Sprintf("%s of bytes are not what they should be", count(unwell, "run")),
			next: []string{"behind the last frame it is a torn tail, which the next start cuts", "elsewhere it is damage:  splashdam verify says what to do"},
		}
	}
	return nil
}

// dumpFile prints one file and returns how often it was damaged.
func dumpFile(fsys vfs.FS, file string, asJSON bool, out io.Writer) (unwell int, err error) {
	kind, err := commitlog.KindOf(fsys, file)
	if err != nil {
		return 0, err
	}
	var line []byte
	if kind == commitlog.SegmentFile {
		err := commitlog.Dump(fsys, file, func(f commitlog.FrameInfo) error {
			if f.Err != nil {
				unwell++
			}
			var err error
			if line, err = appendFrame(line[:0], file, f, asJSON); err != nil {
				return err
			}
			_, err = out.Write(line)
			return err
		})
		return unwell, err
	}
	err = commitlog.DumpItems(fsys, file, kind, func(i commitlog.Item) error {
		if i.Err != nil {
			unwell++
		}
		if !asJSON {
			_, err := fmt.Fprintf(out, "%v\n", i)
			return err
		}
		d := dumpedItem{File: file, At: i.At, Kind: i.Kind}
		if i.Err != nil {
			d.Error = i.Err.Error()
		} else {
			d.Fields = make(map[string]any)
			for _, f := range i.Fields {
				d.Fields[f.Name] = f.Value
			}
		}
		var err error
		if line, err = appendJSON(line[:0], d); err != nil {
			return err
		}
		_, err = out.Write(line)
		return err
	})
	return unwell, err
}

func appendFrame(b []byte, file string, f commitlog.FrameInfo, asJSON bool) ([]byte, error) {
	if asJSON {
		return appendJSON(b, dumpedFrameOf(file, f))
	}
	if f.Err != nil {
		return fmt.Appendf(b, "%s  %d bytes that are no frame: %v\n", f.Address, f.Size, f.Err), nil
	}
	at := "no time" // in an entry of Raft's own
	if f.Time != 0 {
		at = utc(f.Time)
	}
	b = fmt.Appendf(b, "%s  index %d  term %d  %s  generation %d  durable %d  %d bytes",
		f.Address, f.Index, f.Term, at, f.Generation, f.Durable, f.Size)
	if f.Rolls {
		b = append(b, "  ends the segment"...)
	}
	b = append(b, '\n')
	for _, part := range f.Parts {
		b = fmt.Appendf(b, "  %-8s %s  %d bytes", kindName(part.Kind), part.Partition, part.Size)
		if part.Kind == record.KindBatch {
			b = fmt.Appendf(b, "  offset %d  %s  up to %s", part.BaseOffset, count(int(part.Records), "record"), utc(part.MaxTimestamp))
		}
		if part.Err != nil {
			b = fmt.Appendf(b, "  %v", part.Err)
		}
		b = append(b, '\n')
	}
	return b, nil
}

func dumpedFrameOf(file string, f commitlog.FrameInfo) dumpedFrame {
	d := dumpedFrame{File: file, Address: f.Address.String(), Size: f.Size}
	if f.Err != nil {
		d.Error = f.Err.Error()
		return d
	}
	d.Index, d.Term, d.Time, d.Generation, d.Durable, d.Rolls = uint64(f.Index), uint64(f.Term), f.Time, f.Generation, uint64(f.Durable), f.Rolls
	for _, part := range f.Parts {
		one := dumpedPart{Kind: kindName(part.Kind), Partition: part.Partition.String(), Size: part.Size}
		if part.Kind == record.KindBatch {
			one.BaseOffset, one.Records, one.MaxTimestamp = &part.BaseOffset, &part.Records, &part.MaxTimestamp
		}
		if part.Err != nil {
			one.Error = part.Err.Error()
		}
		d.Parts = append(d.Parts, one)
	}
	return d
}

func kindName(k record.Kind) string {
	switch k {
	case record.KindBatch:
		return "batch"
	case record.KindCommand:
		return "command"
	case record.KindConfChange:
		return "members"
	}
	return fmt.Sprintf("kind %d", k)
}

// utc renders ms since 1970.
func utc(ms int64) string { return time.UnixMilli(ms).UTC().Format("2006-01-02T15:04:05.000Z") }

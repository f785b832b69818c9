package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/convert"
	"github.com/splashdam/splashdam/internal/invariant"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
)

// tableRows is how many rows share the widths of a table's columns.
const tableRows = 1000

func (p *program) arrowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "arrow",
		Short: "Read the files that the arrow sink writes",
	}
	cmd.AddCommand(p.arrowCatCommand())
	return cmd
}

func (p *program) arrowCatCommand() *cobra.Command {
	var l listing
	var latest bool
	cmd := &cobra.Command{
		Use:   "cat DIR",
		Short: "Print the rows in the files of a topic",
		Long: `Print the rows in the files that the arrow sink has written of a topic, Parquet or Arrow:
every change, partition by partition, or with --latest what the table is now. It
reads only, and may be used while a sink writes.

DIR is the sink's directory and the topic's name, as ./lake/shop.app.orders. Values are
as in the topic's records, decimals as text. A change is one of r (was there when the
table was copied), c, u, d and t (truncate); the row is that after it, of a d that
before it. Columns of which the change does not say the value are left out.

With -o json each row is one JSON object on a line: op, partition, offset, timestamp (ms),
pos (the place in the source, if it is known), row.`,
		Example: `  splashdam arrow cat ./lake/shop.app.orders --latest
  splashdam arrow cat ./lake/shop.app.orders -o json | jq -c 'select(.op == "d") | .row'`,
		Args: cobra.ExactArgs(1),
	}
	l.flags(cmd)
	cmd.Flags().BoolVar(&latest, "latest", false, "only the newest row of each key, and none that was deleted")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := l.check(cmd); err != nil {
			return err
		}
		return p.arrowCat(cmd.Context(), vfs.OS(), args[0], latest, l.json)
	}
	return cmd
}

func (p *program) arrowCat(ctx context.Context, fsys vfs.FS, dir string, latest, asJSON bool) error {
	d, err := openArrow(fsys, dir)
	if err != nil {
		return err
	}
	out := bufio.NewWriterSize(p.stdout, 64<<10)
	var rows rowPrinter
	visit := func(b *arrow.Block) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows.begin(b)
		if asJSON {
			return rows.printJSON(out)
		}
		return rows.printTables(out)
	}
	if latest {
		err = d.Latest(visit)
	} else {
		err = d.Rows(visit)
	}
	if errors.Is(err, arrow.ErrNoKey) {
		err = &problem{what: dir, cause: err, next: []string{"without --latest all its changes are printed"}}
	}
	return errors.Join(err, out.Flush())
}

// openArrow finds the files, or says where they may be.
func openArrow(fsys vfs.FS, dir string) (*arrow.Directory, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, vfs.ErrNotExist) {
		return nil, &problem{what: dir + " does not exist"}
	}
	if err != nil {
		return nil, err
	}
	e := &problem{what: dir + " has no files of a topic"}
	for _, name := range names {
		if strings.HasPrefix(name, "p=") {
			return arrow.OpenDirectory(fsys, dir)
		}
		if !strings.HasPrefix(name, ".") {
			e.next = append(e.next, "perhaps:  splashdam arrow cat "+path.Join(dir, name))
		}
	}
	return nil, e
}

// rowPrinter prints blocks of rows.
type rowPrinter struct {
	json    convert.JSON
	schemas map[string]*connect.Schema // as they are printed, by ID
	block   *arrow.Block
	line    []byte
}

// begin is called before the rows of a block.
func (r *rowPrinter) begin(b *arrow.Block) {
	r.block = b
	if r.schemas == nil {
		r.schemas = map[string]*connect.Schema{}
	}
	s := r.schemas[b.Schema.ID]
	if s == nil {
		printed := *b.Schema
		printed.Decimals, printed.Bare = connect.DecimalsString, true
		s = &printed
		r.schemas[s.ID] = s
	}
	section := &connect.Section{Schema: s, Op: b.Op, After: b.Columns}
	r.json.Begin(&connect.Batch{Sections: []*connect.Section{section}}, time.Time{})
}

// appendRow appends a row's columns as a JSON object.
func (r *rowPrinter) appendRow(to []byte, row int) []byte {
	return r.json.Value(to, 0, row, connect.Read) // of any kind that has a row
}

func (r *rowPrinter) printJSON(out *bufio.Writer) error {
	b := r.block
	for row := range b.Len() {
		r.line = append(r.line[:0], `{"op":"`...)
		r.line = append(r.line, byte(b.Op[row]))
		r.line = append(r.line, `","partition":`...)
		r.line = strconv.AppendInt(r.line, int64(b.Partition), 10)
		r.line = append(r.line, `,"offset":`...)
		r.line = strconv.AppendInt(r.line, b.Offset[row], 10)
		r.line = append(r.line, `,"timestamp":`...)
		r.line = strconv.AppendInt(r.line, b.Timestamp[row], 10)
		if b.Placed[row] {
			r.line = append(r.line, `,"pos":"`...)
			r.line = append(b.Place[row].Append(r.line), '"')
		}
		r.line = append(r.line, `,"row":`...)
		r.line = append(r.appendRow(r.line, row), '}', '\n')
		if _, err := out.Write(r.line); err != nil {
			return err
		}
	}
	return nil
}

func (r *rowPrinter) printTables(out *bufio.Writer) error {
	heads := []string{"OP", "PARTITION", "OFFSET"}
	for _, f := range r.block.Schema.Fields {
		heads = append(heads, f.Name)
	}
	for first := 0; first < r.block.Len(); first += tableRows {
		g := grid{heads: heads}
		for row := first; row < min(first+tableRows, r.block.Len()); row++ {
			g.add(r.cells(row)...)
		}
		if err := g.print(out); err != nil {
			return err
		}
	}
	return nil
}

// cells are a row of the table. What nobody knows is empty.
func (r *rowPrinter) cells(row int) []string {
	b := r.block
	cells := []string{string(rune(b.Op[row])), fmt.Sprint(b.Partition), fmt.Sprint(b.Offset[row])}
	r.line = r.appendRow(r.line[:0], row)
	var members map[string]json.RawMessage
	err := json.Unmarshal(r.line, &members)
	invariant.That(err == nil, "a row as JSON: %v", err)
	for _, f := range b.Schema.Fields {
		value := members[f.Name]
		var text string
		if json.Unmarshal(value, &text) != nil || string(value) == "null" {
			text = string(value)
		}
		cells = append(cells, text)
	}
	return cells
}

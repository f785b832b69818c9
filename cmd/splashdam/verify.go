package main

import (
	"errors"
	"fmt"
	"path"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/internal/vfs"
)

// verified is what was found in one shard.
type verified struct {
	Shard     string    `json:"shard"`
	Segments  int       `json:"segments"`
	Frames    int       `json:"frames"`
	Batches   int       `json:"batches"`
	Bytes     int64     `json:"bytes"`
	Snapshots int       `json:"snapshots"`
	Indexes   int       `json:"indexes"`
	First     uint64    `json:"first"`
	Last      uint64    `json:"last"`
	Findings  []finding `json:"findings"`
}

// finding is something that is not as it should be, and what to do about it.
type finding struct {
	File  string `json:"file"`
	Place string `json:"place"`
	What  string `json:"what"`
	Do    string `json:"do"`
}

func (p *program) verifyCommand() *cobra.Command {
	var out listing
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check everything in a data directory; exit 1 if anything is found",
		Long: `Read everything in the data directory of a node that does not run, and change nothing:
manifests, terms and votes, snapshots, every frame, every batch, and the indexes
against their segments. What is not as it should be is printed with what to do about it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(cmd); err != nil {
				return err
			}
			return p.verify(vfs.OS(), args[0], out)
		},
	}
	out.flags(cmd)
	return cmd
}

func (p *program) verify(fsys vfs.FS, dir string, out listing) (err error) {
	shards, err := shardDirs(fsys, dir)
	if err != nil {
		return err
	}
	held, err := lockIdle(fsys, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()

	all := []verified{}
	findings := 0
	for _, shard := range shards {
		report, err := commitlog.Verify(fsys, shard)
		if err != nil {
			return &problem{what: "verifying " + shard, cause: err}
		}
		all = append(all, verifiedOf(path.Base(shard), report))
		findings += len(report.Problems)
	}
	if out.json {
		err = printJSON(p.stdout, all)
	} else {
		err = p.printVerified(all)
	}
	switch {
	case err != nil:
		return err
	case findings > 0:
		return &problem{what: fmt.Sprintf("%s in %s", count(findings, "finding"), dir), next: []string{"what to do stands beside each"}}
	}
	return nil
}

func verifiedOf(shard string, r commitlog.Report) verified {
	v := verified{
		Shard: shard, Segments: r.Segments, Frames: r.Frames, Batches: r.Batches, Bytes: r.Bytes,
		Snapshots: r.Snapshots, Indexes: r.Indexes, First: uint64(r.First), Last: uint64(r.Last), Findings: []finding{},
	}
	for _, f := range r.Problems {
		v.Findings = append(v.Findings, finding{f.File, f.Place, f.What, f.Do})
	}
	return v
}

func (p *program) printVerified(all []verified) error {
	g := grid{heads: []string{"SHARD", "SEGMENTS", "ENTRIES", "FRAMES", "BATCHES", "BYTES", "SNAPSHOTS", "INDEXES", "RESULT"}}
	for _, v := range all {
		result := "ok"
		if n := len(v.Findings); n > 0 {
			result = count(n, "finding")
		}
		g.add(v.Shard, strconv.Itoa(v.Segments), fmt.Sprintf("%d-%d", v.First, v.Last), strconv.Itoa(v.Frames), strconv.Itoa(v.Batches),
			strconv.FormatInt(v.Bytes, 10), strconv.Itoa(v.Snapshots), strconv.Itoa(v.Indexes), result)
	}
	if err := g.print(p.stdout); err != nil {
		return err
	}
	for _, v := range all {
		for _, f := range v.Findings {
			fmt.Fprintf(p.stdout, "\nshard %s, %s, %s\n  %s\n  to do: %s\n", v.Shard, f.File, f.Place, f.What, f.Do)
		}
	}
	return nil
}

package main

import (
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/splashdam/splashdam/broker"
	metadata "github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/internal/vfs"
)

// verification is what was found in a data directory.
type verification struct {
	Findings []finding  `json:"findings"` // beside the shards
	Shards   []verified `json:"shards"`
}

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
	Leftovers []string  `json:"leftovers,omitempty"` // of a crash; the next start deletes them
	Repair    *loss     `json:"repair,omitempty"`
}

// finding is something that is not as it should be, and what to do about it.
type finding struct {
	File  string `json:"file"`
	Place string `json:"place,omitempty"`
	What  string `json:"what"`
	Do    string `json:"do"`
	// Offsets lay in the place: of each partition, as far as is known.
	Offsets []lostOffsets `json:"offsets,omitempty"`
}

type lostOffsets struct {
	Partition string `json:"partition"`
	// Topic and Number are what clients call the partition, where the metadata in the
	// directory tells; a hidden one, or one of a deleted topic, has neither.
	Topic  string `json:"topic,omitempty"`
	Number *int32 `json:"number,omitempty"`
	From   int64  `json:"from"`
	To     int64  `json:"to"` // the last one
}

// loss is what a repair loses, or has lost.
type loss struct {
	Kept     uint64        `json:"kept,omitempty"` // the last entry that stays, where the log is cut
	Last     uint64        `json:"last,omitempty"` // the last one that there was
	Readable int           `json:"readable,omitempty"`
	Offsets  []lostOffsets `json:"offsets,omitempty"`
	Term     uint64        `json:"term,omitempty"` // of a hard state that is made anew
	Done     bool          `json:"done"`
	Files    []string      `json:"files,omitempty"` // with what was taken out
}

func (p *program) verifyCommand() *cobra.Command {
	var out listing
	var repair, accept bool
	cmd := &cobra.Command{
		Use:   "verify DIR",
		Short: "Check everything in a data directory; exit 1 if anything is found",
		Long: `Read everything in the data directory of a node that does not run, and change nothing:
node.json, manifests, terms and votes, snapshots, every frame, every batch, and the
indexes against their segments. What is not as it should be is printed with what to do
about it.

With --repair it also says what would be lost where a shard does not open: all from
the first entry on that the state cannot do without. With --accept-loss too, that is
done: what is taken out of a log is kept beside it, in a directory "quarantine", with a
line about it in repairs.jsonl there. Do so only if there is neither another replica
nor a copy.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := out.check(cmd); err != nil {
				return err
			}
			if accept && !repair {
				return usage(cmd, errors.New("--accept-loss goes with --repair"))
			}
			return p.verify(vfs.OS(), args[0], out, repair, accept)
		},
	}
	out.flags(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "say what has to be lost so that the node starts")
	cmd.Flags().BoolVar(&accept, "accept-loss", false, "with --repair: lose it")
	return cmd
}

func (p *program) verify(fsys vfs.FS, dir string, out listing, repair, accept bool) (err error) {
	if _, err := shardDirs(fsys, dir); err != nil {
		return err
	}
	held, err := lockIdle(fsys, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, held.Close()) }()

	shards, beside, err := broker.CheckDir(fsys, dir)
	if err != nil {
		return &problem{what: "verifying " + dir, cause: err}
	}
	// Damage to the metadata is among the findings; it costs names only.
	names, _ := broker.ReadMetadata(fsys, dir)
	all := verification{Findings: []finding{}, Shards: []verified{}}
	for _, f := range beside {
		all.Findings = append(all.Findings, finding{File: f.File, What: f.What.Error(), Do: f.Do})
	}
	findings := len(beside)
	pending := 0 // repairs that were not done
	for _, shard := range shards {
		v, err := verifyShard(fsys, shard, names, repair, accept)
		if err != nil {
			return &problem{what: "verifying " + shard, cause: err}
		}
		all.Shards = append(all.Shards, v)
		findings += len(v.Findings)
		if v.Repair != nil && !v.Repair.Done {
			pending++
		}
	}
	if out.json {
		err = printJSON(p.stdout, all)
	} else {
		err = p.printVerified(all)
	}
	switch {
	case err != nil || findings == 0:
		return err
	case repair && pending > 0:
		return &problem{what: fmt.Sprintf("%s in %s; nothing was changed", count(findings, "finding"), dir), next: []string{
			"another replica or a copy of the directory loses nothing: try that first",
			"to lose what stands above:  splashdam verify --repair --accept-loss " + dir,
		}}
	}
	return &problem{what: fmt.Sprintf("%s in %s", count(findings, "finding"), dir), next: []string{"what to do stands beside each"}}
}

// verifyShard also repairs the shard, if it is to be and is accepted.
func verifyShard(fsys vfs.FS, dir string, names *metadata.View, repair, accept bool) (verified, error) {
	report, err := commitlog.Verify(fsys, dir)
	if err != nil {
		return verified{}, err
	}
	v := verifiedOf(path.Base(dir), names, report)
	if !repair || report.Cut == nil && report.Term == 0 {
		return v, nil
	}
	v.Repair = &loss{Term: uint64(report.Term)}
	if c := report.Cut; c != nil {
		v.Repair.Kept, v.Repair.Last, v.Repair.Readable = uint64(c.Last), uint64(c.End), c.Readable
		v.Repair.Offsets = lostOf(names, c.Offsets)
	}
	if !accept {
		return v, nil
	}
	done, err := commitlog.Repair(fsys, dir, time.Now().UnixMilli())
	if err != nil {
		return v, err
	}
	v.Repair.Done, v.Repair.Files = true, done.Kept
	return v, nil
}

func lostOf(names *metadata.View, ranges []commitlog.OffsetRange) []lostOffsets {
	var list []lostOffsets
	for _, r := range ranges {
		lost := lostOffsets{Partition: r.Partition.String(), From: r.From, To: r.To - 1}
		if t, number, ok := names.Partition(r.Partition); ok {
			lost.Topic, lost.Number = t.Name, &number
		}
		list = append(list, lost)
	}
	return list
}

// name is the topic with the partition's number, and the partition's id.
func (l lostOffsets) name() string {
	if l.Number == nil {
		return "partition " + l.Partition
	}
	return fmt.Sprintf("%s, partition %d (%s)", l.Topic, *l.Number, l.Partition)
}

func verifiedOf(shard string, names *metadata.View, r commitlog.Report) verified {
	v := verified{
		Shard: shard, Segments: r.Segments, Frames: r.Frames, Batches: r.Batches, Bytes: r.Bytes,
		Snapshots: r.Snapshots, Indexes: r.Indexes, First: uint64(r.First), Last: uint64(r.Last),
		Findings: []finding{}, Leftovers: r.Leftovers,
	}
	for _, f := range r.Problems {
		v.Findings = append(v.Findings, finding{f.File, f.Place, f.What, f.Do, lostOf(names, f.Offsets)})
	}
	return v
}

func (p *program) printVerified(all verification) error {
	g := grid{heads: []string{"SHARD", "SEGMENTS", "ENTRIES", "FRAMES", "BATCHES", "BYTES", "SNAPSHOTS", "INDEXES", "RESULT"}}
	for _, v := range all.Shards {
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
	for _, f := range all.Findings {
		p.printFinding("", f)
	}
	for _, v := range all.Shards {
		for _, f := range v.Findings {
			p.printFinding("shard "+v.Shard+", ", f)
		}
		if len(v.Leftovers) > 0 {
			fmt.Fprintf(p.stdout, "\nshard %s: the next start deletes what a crash left: %s\n", v.Shard, strings.Join(v.Leftovers, ", "))
		}
		if v.Repair != nil {
			p.printLoss(v.Shard, *v.Repair)
		}
	}
	return nil
}

func (p *program) printFinding(where string, f finding) {
	place := ""
	if f.Place != "" {
		place = ", " + f.Place
	}
	fmt.Fprintf(p.stdout, "\n%s%s%s\n  %s\n", where, f.File, place, f.What)
	for _, o := range f.Offsets {
		fmt.Fprintf(p.stdout, "  in it: %s, offsets %d to %d\n", o.name(), o.From, o.To)
	}
	fmt.Fprintf(p.stdout, "  to do: %s\n", f.Do)
}

func (p *program) printLoss(shard string, l loss) {
	verb := "would lose"
	if l.Done {
		verb = "has lost"
	}
	fmt.Fprintf(p.stdout, "\nshard %s: the repair %s\n", shard, verb)
	if l.Last > 0 {
		fmt.Fprintf(p.stdout, "  entries %d to %d; %d of them can be read, but follow what cannot\n", l.Kept+1, l.Last, l.Readable)
	}
	for _, o := range l.Offsets {
		fmt.Fprintf(p.stdout, "  %s: offsets %d to %d\n", o.name(), o.From, o.To)
	}
	if l.Term > 0 {
		fmt.Fprintf(p.stdout, "  the vote in term %d: if the shard has other replicas, move this one away instead\n", l.Term)
	}
	for _, f := range l.Files {
		fmt.Fprintf(p.stdout, "  kept in %s\n", f)
	}
}

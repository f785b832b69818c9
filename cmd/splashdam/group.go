package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func (p *program) groupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "group",
		Aliases: []string{"groups"},
		Short:   "List and describe consumer groups",
	}
	cmd.AddCommand(p.groupList(), p.groupDescribe())
	return cmd
}

// groupRow is a group in a listing.
type groupRow struct {
	Group       string `json:"group"`
	State       string `json:"state"`
	Type        string `json:"protocol_type"`
	Coordinator int32  `json:"coordinator"`
}

func (p *program) groupList() *cobra.Command {
	var out listing
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List groups",
		Args:    cobra.NoArgs,
	}
	c := p.clusterFlags(cmd)
	out.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		return c.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
			found, err := admin.ListGroups(ctx)
			if err != nil {
				return err
			}
			rows := []groupRow{}
			g := grid{heads: []string{"GROUP", "STATE", "TYPE", "COORDINATOR"}}
			for _, f := range found.Sorted() {
				rows = append(rows, groupRow{f.Group, f.State, f.ProtocolType, f.Coordinator})
				g.add(f.Group, orDash(f.State), orDash(f.ProtocolType), strconv.Itoa(int(f.Coordinator)))
			}
			if out.json {
				return printJSON(p.stdout, rows)
			}
			return g.print(p.stdout)
		})
	}
	return cmd
}

// groupDescription is all that describe knows of a group.
type groupDescription struct {
	Group       string        `json:"group"`
	State       string        `json:"state"`
	Assignor    string        `json:"assignor"`
	Coordinator int32         `json:"coordinator"`
	Members     []groupMember `json:"members"`
	Partitions  []groupLag    `json:"partitions"`
	// Lag is the sum over the partitions, LagSeconds the worst of them.
	Lag        int64    `json:"lag"`
	LagSeconds *float64 `json:"lag_seconds"`
}

type groupMember struct {
	ID         string `json:"id"`
	InstanceID string `json:"instance_id,omitempty"`
	ClientID   string `json:"client_id"`
	Host       string `json:"host"`
	Partitions int    `json:"partitions"`

	assigned kadm.TopicsSet
}

// groupLag is how far the group is behind in one partition. Committed is -1 where
// nothing was; then the lag counts from the beginning of the partition.
type groupLag struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Committed int64  `json:"committed"`
	Start     int64  `json:"start"`
	End       int64  `json:"end"`
	Lag       int64  `json:"lag"` // messages; -1 unknown
	// LagSeconds is the age of the oldest message that is not committed, by its
	// timestamp: what the group is behind in time. 0 without a lag, null unknown.
	LagSeconds *float64 `json:"lag_seconds"`
	Member     string   `json:"member,omitempty"`
	Error      string   `json:"error,omitempty"`
}

// next is the offset that the group reads next.
func (l groupLag) next() int64 { return max(l.Committed, l.Start) }

func (p *program) groupDescribe() *cobra.Command {
	var out listing
	cmd := &cobra.Command{
		Use:   "describe GROUP...",
		Short: "Show members, committed offsets and lag of groups",
		Long: `Show members, committed offsets and lag of groups: in messages, and in seconds, which
is the age of the oldest message that the group has not committed.`,
		Args: cobra.MinimumNArgs(1),
	}
	c := p.clusterFlags(cmd)
	cmd.ValidArgsFunction = c.completeGroups
	out.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		return c.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
			var all []groupDescription
			for _, name := range distinct(names) {
				g, err := c.describeGroup(ctx, admin, name)
				if err != nil {
					return err
				}
				all = append(all, g)
			}
			if out.json {
				return printJSON(p.stdout, all)
			}
			for i, g := range all {
				if i > 0 {
					fmt.Fprintln(p.stdout)
				}
				if err := g.print(p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

func (c *cluster) describeGroup(ctx context.Context, admin *kadm.Client, name string) (groupDescription, error) {
	g, err := c.findGroup(ctx, admin, name)
	if err != nil {
		return g, err
	}
	commits, err := admin.FetchOffsets(ctx, name)
	if err != nil {
		return g, fmt.Errorf("committed offsets of group %q: %w", name, err)
	}
	if err := g.measure(ctx, admin, commits); err != nil {
		return g, err
	}
	if err := c.measureTime(ctx, &g); err != nil {
		return g, err
	}
	return g, nil
}

// findGroup asks for a group by the older protocol and, where that does not know
// it, by the newer (KIP-848).
func (c *cluster) findGroup(ctx context.Context, admin *kadm.Client, name string) (groupDescription, error) {
	g := groupDescription{Group: name, Members: []groupMember{}, Partitions: []groupLag{}}
	classic, err := admin.DescribeGroups(ctx, name)
	if err != nil {
		return g, fmt.Errorf("group %q: %w", name, err)
	}
	if d := classic[name]; d.Err == nil && d.State != "Dead" {
		g.State, g.Assignor, g.Coordinator = d.State, d.Protocol, d.Coordinator.NodeID
		for _, m := range d.Members {
			one := groupMember{ID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost, assigned: kadm.TopicsSet{}}
			if m.InstanceID != nil {
				one.InstanceID = *m.InstanceID
			}
			if a, ok := m.Assigned.AsConsumer(); ok {
				for _, t := range a.Topics {
					one.assigned.Add(t.Topic, t.Partitions...)
				}
			}
			g.Members = append(g.Members, one)
		}
		return g, nil
	} else if d.Err != nil && !errors.Is(d.Err, kerr.GroupIDNotFound) {
		return g, &problem{what: fmt.Sprintf("group %q on %s", name, c.where()), cause: d.Err}
	}
	newer, err := admin.DescribeConsumerGroups(ctx, name)
	d, ok := newer[name]
	if err != nil || !ok || d.Err != nil {
		return g, c.unknownGroup(ctx, admin, name)
	}
	g.State, g.Assignor, g.Coordinator = d.State, d.AssignorName, d.Coordinator.NodeID
	for _, m := range d.Members {
		one := groupMember{ID: m.MemberID, ClientID: m.ClientID, Host: m.ClientHost, assigned: m.Assignment}
		if m.InstanceID != nil {
			one.InstanceID = *m.InstanceID
		}
		g.Members = append(g.Members, one)
	}
	return g, nil
}

func (c *cluster) unknownGroup(ctx context.Context, admin *kadm.Client, name string) error {
	e := &problem{what: fmt.Sprintf("group %q does not exist on %s", name, c.where())}
	if all, err := admin.ListGroups(ctx); err == nil {
		if near, ok := nearest(name, all.Groups()); ok {
			e.next = append(e.next, fmt.Sprintf("did you mean %q?", near))
		}
	}
	e.next = append(e.next, fmt.Sprintf("a group begins with its first member:  splashdam consume TOPIC -g %s%s", name, c.hint()))
	return e
}

// measure fills in the lag in messages of every partition that is committed or
// assigned.
func (g *groupDescription) measure(ctx context.Context, admin *kadm.Client, commits kadm.OffsetResponses) error {
	owner := make(map[topicPartition]string)
	all := kadm.TopicsSet{}
	for i := range g.Members {
		m := &g.Members[i]
		m.assigned.Each(func(t string, n int32) {
			owner[topicPartition{t, n}] = m.ID
			all.Add(t, n)
			m.Partitions++
		})
	}
	commits.Each(func(o kadm.OffsetResponse) { all.Add(o.Topic, o.Partition) })
	if len(all) == 0 {
		return nil
	}
	starts, err := admin.ListStartOffsets(ctx, all.Topics()...)
	if err != nil {
		return err
	}
	ends, err := admin.ListEndOffsets(ctx, all.Topics()...)
	if err != nil {
		return err
	}
	for _, topic := range slices.Sorted(slices.Values(all.Topics())) {
		for _, n := range slices.Sorted(maps.Keys(all[topic])) {
			l := groupLag{Topic: topic, Partition: n, Committed: -1, Lag: -1, Member: owner[topicPartition{topic, n}]}
			var errCommit, errStart, errEnd error
			if o, ok := commits.Lookup(topic, n); ok {
				l.Committed, errCommit = o.At, o.Err
			}
			l.Start, errStart = offsetOf(starts, topic, n)
			l.End, errEnd = offsetOf(ends, topic, n)
			if err := firstOf(errCommit, errStart, errEnd); err != nil {
				l.Error = describe(err)
			} else {
				l.Lag = max(l.End-l.next(), 0)
				g.Lag += l.Lag
			}
			g.Partitions = append(g.Partitions, l)
		}
	}
	return nil
}

func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// oldestTimeout bounds the look at the oldest messages that are not committed.
// What is not there by then is shown as unknown.
const oldestTimeout = 5 * time.Second

// measureTime fills in the lag in seconds, by reading one message of each
// partition that has a lag.
func (c *cluster) measureTime(ctx context.Context, g *groupDescription) error {
	starts := make(map[string]map[int32]kgo.Offset)
	waiting := make(map[topicPartition]*groupLag)
	zero := 0.0
	for i := range g.Partitions {
		l := &g.Partitions[i]
		switch {
		case l.Lag == 0:
			l.LagSeconds = &zero
		case l.Lag > 0:
			if starts[l.Topic] == nil {
				starts[l.Topic] = make(map[int32]kgo.Offset)
			}
			starts[l.Topic][l.Partition] = kgo.NewOffset().At(l.next())
			waiting[topicPartition{l.Topic, l.Partition}] = l
		}
	}
	if len(waiting) > 0 {
		if err := c.readOldest(ctx, starts, waiting); err != nil {
			return err
		}
	}
	known := true
	for _, l := range g.Partitions {
		switch {
		case l.LagSeconds == nil:
			known = false
		case g.LagSeconds == nil || *l.LagSeconds > *g.LagSeconds:
			g.LagSeconds = l.LagSeconds
		}
	}
	if !known {
		g.LagSeconds = nil
	}
	return nil
}

func (c *cluster) readOldest(ctx context.Context, starts map[string]map[int32]kgo.Offset, waiting map[topicPartition]*groupLag) error {
	client, err := c.dial(ctx,
		kgo.ConsumePartitions(starts),
		kgo.FetchMaxPartitionBytes(1), // a broker gives one batch even so (KIP-74)
		kgo.FetchMaxWait(fetchWait),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, oldestTimeout)
	defer cancel()
	for len(waiting) > 0 && ctx.Err() == nil {
		client.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
			at := topicPartition{r.Topic, r.Partition}
			if l, ok := waiting[at]; ok {
				age := max(time.Since(r.Timestamp).Seconds(), 0)
				l.LagSeconds = &age
				delete(waiting, at)
				client.PauseFetchPartitions(map[string][]int32{r.Topic: {r.Partition}})
			}
		})
	}
	return nil
}

func (g groupDescription) print(p *program) error {
	fmt.Fprintf(p.stdout, "%s  %s  assignor %s  coordinator %d  %s  lag %s, %s\n",
		printable(g.Group), g.State, orDash(g.Assignor), g.Coordinator,
		count(len(g.Members), "member"), count(int(g.Lag), "message"), seconds(g.LagSeconds))
	if len(g.Members) > 0 {
		fmt.Fprintln(p.stdout)
		t := grid{heads: []string{"MEMBER", "CLIENT", "HOST", "PARTITIONS"}}
		for _, m := range g.Members {
			id := m.ID
			if m.InstanceID != "" {
				id = m.InstanceID + " (" + id + ")"
			}
			t.add(id, m.ClientID, m.Host, strconv.Itoa(m.Partitions))
		}
		if err := t.print(p.stdout); err != nil {
			return err
		}
	}
	if len(g.Partitions) == 0 {
		return nil
	}
	fmt.Fprintln(p.stdout)
	t := grid{heads: []string{"TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "LAG-TIME", "MEMBER"}}
	for _, l := range g.Partitions {
		last := orDash(l.Member)
		if l.Error != "" {
			last = l.Error
		}
		t.add(l.Topic, strconv.Itoa(int(l.Partition)), numberOrDash(l.Committed), numberOrDash(l.End),
			numberOrDash(l.Lag), seconds(l.LagSeconds), last)
	}
	return t.print(p.stdout)
}

// seconds renders a lag in time.
func seconds(s *float64) string {
	if s == nil {
		return "-"
	}
	switch d := time.Duration(*s * float64(time.Second)); {
	case d < 10*time.Second:
		return strconv.FormatFloat(*s, 'f', 1, 64) + "s"
	default:
		return d.Round(time.Second).String()
	}
}

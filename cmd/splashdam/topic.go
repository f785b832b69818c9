package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (p *program) topicCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "topic",
		Aliases: []string{"topics"},
		Short:   "Create, list, describe and remove topics",
	}
	cmd.AddCommand(p.topicCreate(), p.topicList(), p.topicDescribe(), p.topicRemove())
	return cmd
}

// outcome is what became of one topic.
type outcome struct {
	Topic  string `json:"topic"`
	Status string `json:"status"` // created, exists, removed, absent, failed
	Error  string `json:"error,omitempty"`
}

// printOutcomes lists what became of each topic; what failed is an error, with the
// hint that goes with it. JSON has both.
func (p *program) printOutcomes(out listing, all []outcome, hint string) error {
	var failure *problem
	g := grid{heads: []string{"TOPIC", "STATUS"}}
	for _, o := range all {
		switch said := fmt.Sprintf("topic %q: %s", o.Topic, o.Error); {
		case o.Error == "":
			g.add(o.Topic, o.Status)
		case failure == nil:
			failure = &problem{what: said}
		default:
			failure.next = append(failure.next, said)
		}
	}
	switch {
	case out.json:
		if err := printJSON(p.stdout, all); err != nil {
			return err
		}
	case len(g.rows) > 0:
		if err := g.print(p.stdout); err != nil {
			return err
		}
	}
	if failure == nil {
		return nil
	}
	if hint != "" {
		failure.next = append(failure.next, hint)
	}
	return failure
}

func (p *program) topicCreate() *cobra.Command {
	var (
		out         listing
		partitions  int32
		replicas    int16
		configs     []string
		ifNotExists bool
	)
	cmd := &cobra.Command{
		Use:   "create NAME...",
		Short: "Create topics",
		Example: `  splashdam topic create orders
  splashdam topic create orders payments -p 12 -r 3 -c retention.ms=86400000
  splashdam topic create orders.paid -c message.type=transaction --if-not-exists`,
		Args: cobra.MinimumNArgs(1),
	}
	c := p.clusterFlags(cmd)
	out.flags(cmd)
	cmd.Flags().Int32VarP(&partitions, "partitions", "p", -1, "`number` of partitions; -1 is the cluster's default")
	cmd.Flags().Int16VarP(&replicas, "replicas", "r", -1, "`number` of replicas of each; -1 is the cluster's default")
	cmd.Flags().StringArrayVarP(&configs, "config", "c", nil, "`key=value` of the topic's configuration; may be repeated")
	cmd.Flags().BoolVar(&ifNotExists, "if-not-exists", false, "a topic that exists is no failure")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		wanted := make(map[string]*string)
		for _, kv := range configs {
			k, v, ok := strings.Cut(kv, "=")
			if !ok || k == "" {
				return usage(cmd, fmt.Errorf("-c %s is not of the form key=value", kv))
			}
			wanted[k] = &v
		}
		if partitions == 0 || partitions < -1 {
			return usage(cmd, fmt.Errorf("-p %d: a topic has at least one partition", partitions))
		}
		if replicas == 0 || replicas < -1 {
			return usage(cmd, fmt.Errorf("-r %d: a partition has at least one replica", replicas))
		}
		names = distinct(names)
		return c.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
			answers, err := admin.CreateTopics(ctx, partitions, replicas, wanted, names...)
			if err != nil {
				return err
			}
			var all []outcome
			var hint string
			for _, name := range names {
				o := outcome{Topic: name, Status: "created"}
				switch a, ok := answers[name]; {
				case !ok:
					o.Status, o.Error = "failed", "the broker did not say"
				case errors.Is(a.Err, kerr.TopicAlreadyExists) && ifNotExists:
					o.Status = "exists"
				case a.Err != nil:
					o.Status, o.Error = "failed", withDetail(a.Err, a.ErrMessage)
					if errors.Is(a.Err, kerr.TopicAlreadyExists) {
						hint = "no failure with --if-not-exists"
					}
				}
				all = append(all, o)
			}
			awaitLeaders(ctx, admin, all)
			return p.printOutcomes(out, all, hint)
		})
	}
	return cmd
}

// Limits of waiting for a new topic to be usable.
const (
	leaderWait  = 5 * time.Second
	leaderPause = 50 * time.Millisecond
)

// awaitLeaders waits until each new topic can be used: Apache Kafka acknowledges a
// creation a moment before its brokers know the topic. That a topic is created
// does not depend on it, so there is no error.
func awaitLeaders(ctx context.Context, admin *kadm.Client, all []outcome) {
	var names []string
	for _, o := range all {
		if o.Status == "created" {
			names = append(names, o.Topic)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, leaderWait)
	defer cancel()
	for len(names) > 0 {
		if found, err := admin.ListTopics(ctx, names...); err == nil {
			names = slices.DeleteFunc(names, func(name string) bool { return allLed(found[name]) })
			if len(names) == 0 {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(leaderPause):
		}
	}
}

func allLed(t kadm.TopicDetail) bool {
	for _, p := range t.Partitions {
		if p.Leader < 0 || p.Err != nil {
			return false
		}
	}
	return t.Err == nil && len(t.Partitions) > 0
}

// withDetail prefers what the broker says to the general description of the code.
func withDetail(err error, detail string) string {
	k, ok := err.(*kerr.Error)
	if !ok || detail == "" {
		return describe(err)
	}
	return fmt.Sprintf("%s (%d): %s", k.Message, k.Code, detail)
}

func (p *program) topicRemove() *cobra.Command {
	var out listing
	var ifExists bool
	cmd := &cobra.Command{
		Use:     "rm NAME...",
		Aliases: []string{"delete"},
		Short:   "Remove topics and all that is in them",
		Args:    cobra.MinimumNArgs(1),
	}
	c := p.clusterFlags(cmd)
	cmd.ValidArgsFunction = c.completeTopics
	out.flags(cmd)
	cmd.Flags().BoolVar(&ifExists, "if-exists", false, "a topic that does not exist is no failure")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		names = distinct(names)
		return c.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
			answers, err := admin.DeleteTopics(ctx, names...)
			if err != nil {
				return err
			}
			var all []outcome
			for _, name := range names {
				o := outcome{Topic: name, Status: "removed"}
				switch a, ok := answers[name]; {
				case !ok:
					o.Status, o.Error = "failed", "the broker did not say"
				case errors.Is(a.Err, kerr.UnknownTopicOrPartition) && ifExists:
					o.Status = "absent"
				case errors.Is(a.Err, kerr.UnknownTopicOrPartition) && len(names) == 1:
					e := c.unknownTopic(ctx, admin, name).(*problem)
					e.next = e.next[:len(e.next)-1] // nobody wants to create what they remove
					return e
				case a.Err != nil:
					o.Status, o.Error = "failed", withDetail(a.Err, a.ErrMessage)
				}
				all = append(all, o)
			}
			return p.printOutcomes(out, all, "")
		})
	}
	return cmd
}

// topicRow is a topic in a listing.
type topicRow struct {
	Topic      string `json:"topic"`
	Partitions int    `json:"partitions"`
	Replicas   int    `json:"replicas"`
	Internal   bool   `json:"internal"`
	Leaderless int    `json:"leaderless"` // partitions that nobody leads
}

func (p *program) topicList() *cobra.Command {
	var out listing
	var internal bool
	cmd := &cobra.Command{
		Use:     "ls",
		Aliases: []string{"list"},
		Short:   "List topics",
		Args:    cobra.NoArgs,
	}
	c := p.clusterFlags(cmd)
	out.flags(cmd)
	cmd.Flags().BoolVarP(&internal, "internal", "i", false, "internal topics too")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		return c.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
			found, err := admin.ListTopicsWithInternal(ctx)
			if err != nil {
				return err
			}
			rows := []topicRow{}
			g := grid{heads: []string{"TOPIC", "PARTITIONS", "REPLICAS"}}
			for _, t := range found.Sorted() {
				if t.IsInternal && !internal {
					continue
				}
				row := topicRow{Topic: t.Topic, Partitions: len(t.Partitions), Replicas: t.Partitions.NumReplicas(), Internal: t.IsInternal}
				for _, d := range t.Partitions {
					if d.Leader < 0 {
						row.Leaderless++
					}
				}
				rows = append(rows, row)
				partitions := strconv.Itoa(row.Partitions)
				if row.Leaderless > 0 {
					partitions += fmt.Sprintf(" (%d without leader)", row.Leaderless)
				}
				g.add(row.Topic, partitions, strconv.Itoa(row.Replicas))
			}
			if out.json {
				return printJSON(p.stdout, rows)
			}
			return g.print(p.stdout)
		})
	}
	return cmd
}

// topicDescription is all that describe knows of a topic.
type topicDescription struct {
	Topic      string               `json:"topic"`
	ID         string               `json:"id"`
	Internal   bool                 `json:"internal"`
	Partitions []partitionRow       `json:"partitions"`
	Configs    []topicConfiguration `json:"configs"`
}

type partitionRow struct {
	Partition int32   `json:"partition"`
	Leader    int32   `json:"leader"` // -1: nobody
	Epoch     int32   `json:"epoch"`
	Replicas  []int32 `json:"replicas"`
	ISR       []int32 `json:"isr"`
	Start     int64   `json:"start"` // first offset there is; -1 unknown
	End       int64   `json:"end"`   // offset of the next message; -1 unknown
	Error     string  `json:"error,omitempty"`
}

type topicConfiguration struct {
	Key    string  `json:"key"`
	Value  *string `json:"value"` // null where it is sensitive
	Source string  `json:"source"`
	Set    bool    `json:"set"` // for this topic, not by a default
}

func (p *program) topicDescribe() *cobra.Command {
	var out listing
	var allConfigs bool
	cmd := &cobra.Command{
		Use:   "describe NAME...",
		Short: "Show partitions, offsets and configuration of topics",
		Args:  cobra.MinimumNArgs(1),
	}
	c := p.clusterFlags(cmd)
	cmd.ValidArgsFunction = c.completeTopics
	out.flags(cmd)
	cmd.Flags().BoolVarP(&allConfigs, "all-configs", "a", false, "configuration that is at its default too")
	cmd.RunE = func(cmd *cobra.Command, names []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		names = distinct(names)
		return c.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
			all, err := c.describeTopics(ctx, admin, names, allConfigs || out.json)
			if err != nil {
				return err
			}
			if out.json {
				return printJSON(p.stdout, all)
			}
			for i, t := range all {
				if i > 0 {
					fmt.Fprintln(p.stdout)
				}
				if err := t.print(p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}

func (c *cluster) describeTopics(ctx context.Context, admin *kadm.Client, names []string, defaults bool) ([]topicDescription, error) {
	found, err := c.topics(ctx, admin, names...)
	if err != nil {
		return nil, err
	}
	starts, err := admin.ListStartOffsets(ctx, names...)
	if err != nil {
		return nil, err
	}
	ends, err := admin.ListEndOffsets(ctx, names...)
	if err != nil {
		return nil, err
	}
	configs, err := admin.DescribeTopicConfigs(ctx, names...)
	if err != nil {
		return nil, err
	}
	var all []topicDescription
	for _, name := range names {
		t := found[name]
		d := topicDescription{Topic: name, ID: base64.RawURLEncoding.EncodeToString(t.ID[:]), Internal: t.IsInternal, Configs: []topicConfiguration{}}
		for _, number := range slices.Sorted(maps.Keys(t.Partitions)) {
			part := t.Partitions[number]
			row := partitionRow{
				Partition: number, Leader: part.Leader, Epoch: part.LeaderEpoch,
				Replicas: part.Replicas, ISR: part.ISR, Start: -1, End: -1,
			}
			var errStart, errEnd error
			row.Start, errStart = offsetOf(starts, name, number)
			row.End, errEnd = offsetOf(ends, name, number)
			if err := firstOf(part.Err, errStart, errEnd); err != nil {
				row.Error = describe(err)
			}
			d.Partitions = append(d.Partitions, row)
		}
		rc, err := configs.On(name, nil)
		if err != nil {
			return nil, &problem{what: fmt.Sprintf("configuration of topic %q", name), cause: err}
		}
		for _, k := range rc.Configs {
			set := k.Source == kmsg.ConfigSourceDynamicTopicConfig
			if set || defaults {
				d.Configs = append(d.Configs, topicConfiguration{Key: k.Key, Value: k.Value, Source: k.Source.String(), Set: set})
			}
		}
		slices.SortFunc(d.Configs, func(a, b topicConfiguration) int { return strings.Compare(a.Key, b.Key) })
		all = append(all, d)
	}
	return all, nil
}

func offsetOf(all kadm.ListedOffsets, topic string, partition int32) (int64, error) {
	o, ok := all.Lookup(topic, partition)
	if !ok {
		return -1, errors.New("the broker did not say")
	}
	if o.Err != nil {
		return -1, o.Err
	}
	return o.Offset, nil
}

func (d topicDescription) print(p *program) error {
	fmt.Fprintf(p.stdout, "%s  %s  id %s\n\n", d.Topic, count(len(d.Partitions), "partition"), d.ID)
	g := grid{heads: []string{"PARTITION", "LEADER", "EPOCH", "REPLICAS", "ISR", "START", "END", ""}}
	for _, r := range d.Partitions {
		g.add(strconv.Itoa(int(r.Partition)), numberOrDash(int64(r.Leader)), strconv.Itoa(int(r.Epoch)),
			joined(r.Replicas), joined(r.ISR), numberOrDash(r.Start), numberOrDash(r.End), r.Error)
	}
	if err := g.print(p.stdout); err != nil {
		return err
	}
	if len(d.Configs) == 0 {
		return nil
	}
	fmt.Fprintln(p.stdout)
	g = grid{heads: []string{"CONFIG", "VALUE", "SOURCE"}}
	for _, k := range d.Configs {
		value := "(sensitive)"
		if k.Value != nil {
			value = *k.Value
		}
		g.add(k.Key, value, strings.ToLower(k.Source))
	}
	return g.print(p.stdout)
}

func numberOrDash(n int64) string {
	if n < 0 {
		return "-"
	}
	return strconv.FormatInt(n, 10)
}

func joined(numbers []int32) string {
	var all []string
	for _, n := range numbers {
		all = append(all, strconv.Itoa(int(n)))
	}
	return strings.Join(all, ",")
}

// distinct drops repetitions and keeps the order.
func distinct(names []string) []string {
	seen := make(map[string]bool)
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool {
		again := seen[n]
		seen[n] = true
		return again
	})
}

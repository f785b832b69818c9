package cluster

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// Controller is the leading half: it decides, on a View that includes all that
// was decided before, committed or still in flight. Each decision is a command to
// propose, and is in the Controller's View at once, so that the next decision sees
// it; the caller proposes commands in the order in which they were decided.
//
// A decision that is not to be carried out (a proposal that was dropped, a request
// that only validates) is taken back by Reset to the View from before it, or made
// on a Fork. Errors carry a *kerr.Error where a client has asked.
//
// It belongs to one goroutine.
type Controller struct{ view *View }

// Lead begins to decide on v: the applied View once the first entry of the term is
// applied, when nothing is in flight.
func Lead(v *View) *Controller { return &Controller{view: v} }

// View is the state behind all decisions so far.
func (c *Controller) View() *View { return c.view }

// Fork is a Controller whose decisions are forgotten with it.
func (c *Controller) Fork() *Controller { return &Controller{view: c.view} }

// Reset makes v the state to decide on: the View from before a proposal that was
// dropped, with all that was decided behind it, or the applied one when the lead is
// taken anew.
func (c *Controller) Reset(v *View) { c.view = v }

// decide makes a change part of the leading View.
func (c *Controller) decide(ch change) record.Command {
	cmd := command(ch)
	next, err := c.view.Apply(cmd, 0)
	invariant.That(err == nil, "decided %v: %v", ch, err)
	c.view = next
	return cmd
}

// Bootstrap makes the cluster: its id, and data shards. It is an error if it has
// been made already.
func (c *Controller) Bootstrap(clusterID string, shards []record.ShardID) (record.Command, error) {
	if c.view.clusterID != "" {
		return nil, fmt.Errorf("bootstrapping cluster %q: it is there, with id %q", shortened(clusterID), c.view.clusterID)
	}
	ch := &bootstrap{clusterID: clusterID, shards: sorted(shards, cmp.Compare[record.ShardID])}
	if err := ch.check(); err != nil {
		return nil, fmt.Errorf("bootstrapping cluster %q: %w", shortened(clusterID), err)
	}
	return c.decide(ch), nil
}

// RegisterNode makes a node known, or what is new about it. The order of its
// endpoints does not matter.
func (c *Controller) RegisterNode(n Node) (record.Command, error) {
	n.Endpoints = sorted(n.Endpoints, func(a, b Endpoint) int { return strings.Compare(a.Listener, b.Listener) })
	if err := checkNode(n); err != nil {
		return nil, fmt.Errorf("registering a node: %w", err)
	}
	return c.decide(&registerNode{node: n}), nil
}

// AddShard makes a further data shard known; new partitions go there until it has
// as many as the others.
func (c *Controller) AddShard(s record.ShardID) (record.Command, error) {
	if _, ok := slices.BinarySearch(c.view.shards, s); ok {
		return nil, fmt.Errorf("adding shard %d: it is there", s)
	}
	ch := &addShard{shard: s}
	if err := ch.check(); err != nil {
		return nil, fmt.Errorf("adding shard %d: %w", s, err)
	}
	return c.decide(ch), nil
}

// MaxProducerIDs bounds the block that a node may take at once.
const MaxProducerIDs = 1_000_000

// AllocateProducerIDs gives a node n producer ids that nobody had before: those in
// [from, to), once the command is committed.
func (c *Controller) AllocateProducerIDs(node int32, n int) (cmd record.Command, from, to int64, err error) {
	if n < 1 || n > MaxProducerIDs {
		return nil, 0, 0, fmt.Errorf("%d producer ids for node %d: a block has 1 to %d: %w", n, node, MaxProducerIDs, kerr.InvalidRequest)
	}
	from = c.view.nextProducer
	if from > math.MaxInt64-int64(n) {
		return nil, 0, 0, fmt.Errorf("producer ids for node %d: all are used up: %w", node, kerr.UnknownServerError)
	}
	to = from + int64(n)
	return c.decide(&allocateProducerIDs{node: node, from: from, to: to}), from, to, nil
}

// sorted is a sorted copy.
func sorted[T any](s []T, compare func(a, b T) int) []T {
	out := slices.Clone(s)
	slices.SortFunc(out, compare)
	return out
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const defaultBrokers = "127.0.0.1:9092"

// Limits of talking to a cluster.
const (
	dialTimeout = 5 * time.Second
	// adminTimeout bounds one administrative command as a whole.
	adminTimeout = 30 * time.Second
)

// cluster is the -b flag of a command that talks to one.
type cluster struct {
	p       *program
	brokers string
	seeds   []string
}

func (p *program) clusterFlags(cmd *cobra.Command) *cluster {
	c := &cluster{p: p}
	cmd.Flags().StringVarP(&c.brokers, "brokers", "b", "", "`host:port`,... of any brokers of the cluster ("+variable("brokers")+", default "+defaultBrokers+")")
	return c
}

// resolve decides the seeds: flag, environment, default.
func (c *cluster) resolve() error {
	where, text := "--brokers", c.brokers
	if text == "" {
		where, text = variable("brokers"), c.p.env[variable("brokers")]
	}
	if text == "" {
		text = defaultBrokers
	}
	c.seeds = nil
	for _, s := range splitList(text) {
		if !strings.Contains(s, ":") {
			s += ":9092"
		}
		at, err := parseHostPort(s)
		if err != nil {
			return &problem{what: where, cause: err, kind: errUsage}
		}
		c.seeds = append(c.seeds, at.String())
	}
	if len(c.seeds) == 0 {
		return &problem{what: where + " names no broker", kind: errUsage}
	}
	return nil
}

func (c *cluster) where() string { return strings.Join(c.seeds, ",") }

// hint is the flag that a printed command needs to reach the same cluster.
func (c *cluster) hint() string {
	if c.brokers == "" {
		return ""
	}
	return " -b " + c.brokers
}

// dial returns a client of a cluster of which at least one seed has answered.
func (c *cluster) dial(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	if err := c.resolve(); err != nil {
		return nil, err
	}
	failures := &dialFailures{p: c.p}
	base := []kgo.Opt{
		kgo.SeedBrokers(c.seeds...),
		kgo.ClientID("splashdam-cli"),
		kgo.SoftwareNameAndVersion("splashdam-cli", version),
		kgo.DialTimeout(dialTimeout),
		kgo.WithHooks(failures),
	}
	client, err := kgo.NewClient(append(base, opts...)...)
	if err != nil {
		return nil, err
	}
	pingCtx, cancel := context.WithTimeout(ctx, 2*dialTimeout)
	defer cancel()
	if err := client.Ping(pingCtx); err != nil {
		client.Close()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, c.unreachable(err)
	}
	failures.answered()
	return client, nil
}

func (c *cluster) unreachable(err error) error {
	e := &problem{
		what: "no broker answers on " + c.where(),
		next: []string{
			"start one:      splashdam serve",
			"name another:   -b host:port, or " + variable("brokers"),
		},
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		e.cause = op.Err
	} else {
		e.cause = err
	}
	return e
}

// dialFailures says once per broker that it cannot be reached where it says it
// is: the client itself tries again and again without a word.
type dialFailures struct {
	p *program

	mu   sync.Mutex
	said map[string]bool // nil until a seed has answered
}

func (f *dialFailures) answered() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = make(map[string]bool)
}

// OnBrokerConnect implements kgo.HookBrokerConnect.
func (f *dialFailures) OnBrokerConnect(meta kgo.BrokerMetadata, _ time.Duration, _ net.Conn, err error) {
	if err == nil || errors.Is(err, context.Canceled) {
		return
	}
	at := HostPort{meta.Host, int(meta.Port)}.String()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.said == nil || f.said[at] {
		return
	}
	f.said[at] = true
	if op, ok := errors.AsType[*net.OpError](err); ok {
		err = op.Err
	}
	f.p.warn("broker %d is advertised as %s, where nobody answers (%v); trying again", meta.NodeID, at, err)
}

// admin runs do with an administrative client, inside adminTimeout.
func (c *cluster) admin(ctx context.Context, do func(context.Context, *kadm.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return c.explain(do(ctx, kadm.NewClient(client)))
}

// explain names the cluster in an error that has nothing to say of its own.
func (c *cluster) explain(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*problem](err); ok || errors.Is(err, context.Canceled) || errors.Is(err, errUnwell) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return &problem{what: fmt.Sprintf("%s did not answer in time", c.where())}
	}
	return &problem{what: c.where(), cause: err}
}

// topics returns what the cluster knows of the topics, by name, or says which
// one it does not know.
func (c *cluster) topics(ctx context.Context, admin *kadm.Client, names ...string) (kadm.TopicDetails, error) {
	found, err := admin.ListTopicsWithInternal(ctx, names...)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		switch err := found[name].Err; {
		case errors.Is(err, kerr.UnknownTopicOrPartition), err == nil && len(found[name].Partitions) == 0:
			return nil, c.unknownTopic(ctx, admin, name)
		case err != nil:
			return nil, &problem{what: fmt.Sprintf("topic %q on %s", name, c.where()), cause: err}
		}
	}
	return found, nil
}

func (c *cluster) unknownTopic(ctx context.Context, admin *kadm.Client, name string) error {
	e := &problem{
		what:  fmt.Sprintf("topic %q does not exist on %s", name, c.where()),
		cause: nil,
	}
	if all, err := admin.ListTopics(ctx); err == nil {
		if near, ok := nearest(name, all.Names()); ok {
			e.next = append(e.next, fmt.Sprintf("did you mean %q?", near))
		}
	}
	e.next = append(e.next, fmt.Sprintf("create it:  splashdam topic create %s%s", name, c.hint()))
	return e
}

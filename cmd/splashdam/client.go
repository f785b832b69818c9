package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/sdk"
)

const defaultBrokers = "127.0.0.1:9092"

// Limits of talking to a cluster.
const (
	dialTimeout = 5 * time.Second
	// dialPause is the pause until another attempt of who waits for a broker.
	dialPause = 500 * time.Millisecond
	// adminTimeout bounds one administrative command as a whole.
	adminTimeout = 30 * time.Second
)

// cluster is the -b flag of a command that talks to one.
type cluster struct {
	p       *program
	brokers string
	login   clientProperties

	// What resolve decides.
	seeds    []string
	security sdk.Security
}

func (p *program) clusterFlags(cmd *cobra.Command) *cluster {
	c := &cluster{p: p}
	cmd.Flags().StringVarP(&c.brokers, "brokers", "b", "", "`host:port`,... of any brokers of the cluster ("+variable("brokers")+", default "+defaultBrokers+")")
	c.login.flags(cmd)
	return c
}

// resolve decides the seeds, by flag, environment, file of properties, default, and
// how to log in.
func (c *cluster) resolve() error {
	security, brokers, err := c.login.read(c.p.env)
	if err != nil {
		return err
	}
	c.security = security
	where, text := "--brokers", c.brokers
	if text == "" {
		where, text = variable("brokers"), c.p.env[variable("brokers")]
	}
	if text == "" {
		where, text = "bootstrap.servers", brokers
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
	hint := ""
	if c.brokers != "" {
		hint = " -b " + c.brokers
	}
	if c.login.file != "" {
		hint += " --command-config " + c.login.file
	}
	return hint
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
	client, err := kgo.NewClient(slices.Concat(base, c.security.Options(), opts)...)
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

// await waits until a broker answers. That nobody does is said at once, and is an error
// only when patience is at its end; any other error comes at once.
func (c *cluster) await(ctx context.Context, patience time.Duration) error {
	end := time.Now().Add(patience)
	for waited := false; ; waited = true {
		client, err := c.dial(ctx)
		if err == nil {
			client.Close()
			return nil
		}
		if !errors.Is(err, errNoBroker) || time.Now().After(end) {
			return err
		}
		if !waited {
			c.p.logger().Warn("waiting for a broker", "for", patience, "cause", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(dialPause):
		}
	}
}

func (c *cluster) unreachable(err error) error {
	e := &problem{
		kind: errNoBroker,
		what: "no broker answers on " + c.where(),
		next: []string{
			"start one:      splashdam serve",
			"name another:   -b host:port, or " + variable("brokers"),
		},
	}
	if why := c.turnedAway(err); why != nil {
		return why
	}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		e.cause = op.Err
	} else {
		e.cause = err
	}
	return e
}

// turnedAway explains that a broker is there and does not want this client, or the
// client not it.
func (c *cluster) turnedAway(err error) error {
	e := &problem{cause: err, next: []string{"say how:  --command-config FILE, or -X NAME=VALUE; docs/security.md has the names"}}
	_, unknown := errors.AsType[x509.UnknownAuthorityError](err)
	_, misnamed := errors.AsType[x509.HostnameError](err)
	op, remote := errors.AsType[*net.OpError](err)
	alert := remote && op.Op == "remote error" // as crypto/tls calls what the other side says
	_, unencrypted := errors.AsType[tls.RecordHeaderError](err)
	switch {
	case errors.Is(err, kerr.SaslAuthenticationFailed):
		e.what = c.where() + " does not know this user with this password"
	case errors.Is(err, kerr.UnsupportedSaslMechanism):
		e.what = c.where() + " does not offer this mechanism to log in"
	case errors.Is(err, kerr.IllegalSaslState):
		e.what = "nobody logs in on " + c.where()
	case unknown, misnamed:
		e.what = c.where() + " shows a certificate that is not trusted"
	case alert:
		e.what = c.where() + " refuses the encryption, or the certificate"
	case unencrypted:
		e.what = c.where() + " does not encrypt"
	case errors.Is(err, io.EOF) && c.security.TLS == nil && c.security.SASL == nil:
		e.what = c.where() + " hangs up: clients have to log in there, or to encrypt"
	case errors.Is(err, io.EOF):
		e.what = c.where() + " hangs up, and says in its own log why"
	default:
		return nil
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

// connected runs do with a client, inside adminTimeout.
func (c *cluster) connected(ctx context.Context, do func(context.Context, *kgo.Client) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	client, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer client.Close()
	return c.explain(do(ctx, client))
}

// admin runs do with an administrative client, inside adminTimeout.
func (c *cluster) admin(ctx context.Context, do func(context.Context, *kadm.Client) error) error {
	return c.connected(ctx, func(ctx context.Context, client *kgo.Client) error { return do(ctx, kadm.NewClient(client)) })
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

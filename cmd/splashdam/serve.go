package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/splashdam/splashdam/connect/runtime"
)

// node is an open broker, as serve needs it. Serve calls Run once, and Close after
// it has returned.
type node interface {
	// Run serves until ctx ends, then winds up and returns nil. Any other return
	// is the reason why it cannot go on.
	Run(ctx context.Context) error
	// Ready is closed when all listeners answer clients.
	Ready() <-chan struct{}
	ClusterID() string
	Close() error
}

// openNode opens a node on listeners that are bound already. The node closes them
// at its end; where opening fails, serve does. What a data directory has against
// it comes back as one of the errors below.
type openNode func(ctx context.Context, cfg ServeConfig, on []BoundListener) (node, error)

// Reasons for which a data directory cannot be used.
var (
	errDataInUse = errors.New("in use by another process")
	errDataNewer = errors.New("written by a newer version of splashdam")
	errDataOther = errors.New("of another node")
)

// BoundListener is a listener that is bound: its port is the real one.
type BoundListener struct {
	Listener
	Net        net.Listener
	Advertised HostPort
}

// flushSetting says when an append is acknowledged.
const flushSetting = "flush"

func (p *program) serveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node",
		Long: `Run a node until it is interrupted.

Every key can be given as a flag, as an environment variable and in the YAML file
that --config names. The flag wins over the environment, the environment over the
file, the file over the default; settings are decided one by one.

    data: /var/lib/splashdam
    listeners:
      - INTERNAL://10.0.0.5:29092
      - EXTERNAL://0.0.0.0:9092
    advertised-listeners:
      - EXTERNAL://kafka.example.org:9092
    settings:
      listener.security.protocol.map: INTERNAL:PLAINTEXT,EXTERNAL:PLAINTEXT
      insecure.listeners.allow: true
      log.retention.hours: 72

With --connect the pipelines of a directory run in the node, as "splashdam connect
run" would have them run beside it. All files are checked before anything starts. A
pipeline that stops with an error is reported on standard error, and stops nothing
else.

A node serves this machine only, unless its listeners are SASL_SSL, or SSL with
ssl.client.auth=required, or insecure.listeners.allow=true is set. Certificates and
keys are PEM files, which may be replaced while the node runs. docs/security.md has
all there is to set.`,
		Example: `  splashdam serve --data ./data
  splashdam serve --listeners PLAINTEXT://127.0.0.1:0 --ready-file ./ready.json
  splashdam serve --listeners SASL_SSL://10.0.0.5:9093,PLAINTEXT://127.0.0.1:9092 \
      --set ssl.keystore.location=node.pem
  SPLASHDAM_SET_LOG_RETENTION_HOURS=72 splashdam serve --config splashdam.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			started := time.Now()
			cfg, err := loadConfig(cmd, p.env, p.checkSetting)
			if err != nil {
				return err
			}
			for _, name := range strangeVariables(p.env) {
				p.warn("the environment variable %s means nothing to splashdam", name)
			}
			var pipelines []runtime.Pipeline
			if cfg.Connect != "" {
				files, err := pipelineFiles(cfg.Connect)
				if err != nil {
					return err
				}
				if len(files) == 0 {
					p.warn("there is no pipeline, that is no file *.yaml or *.yml, in %s", cfg.Connect)
				}
				if pipelines, err = p.readPipelines(files); err != nil {
					return err
				}
				if err := cfg.checkPipelinesReach(pipelines); err != nil {
					return err
				}
			}
			return p.serve(cmd.Context(), cfg, pipelines, started)
		},
	}
	configFlags(cmd)
	return cmd
}

func (p *program) serve(ctx context.Context, cfg ServeConfig, pipelines []runtime.Pipeline, started time.Time) error {
	if err := removeStaleReadyFile(cfg.ReadyFile); err != nil {
		return err
	}
	remove := func() {}
	err := p.runNode(ctx, cfg, func(ctx context.Context, clusterID string, on []BoundListener) error {
		var err error
		if remove, err = writeReadyFile(cfg, clusterID, on); err != nil {
			return err
		}
		context.AfterFunc(ctx, remove) // not ready from the moment it begins to wind up
		p.banner(cfg, clusterID, on, pipelines, time.Since(started))
		if len(pipelines) == 0 {
			return nil
		}
		return p.runBeside(ctx, on, pipelines)
	})
	remove()
	return err
}

// runNode runs a node until ctx ends, or ready fails. Ready is called once, when
// the node answers clients, with a context that ends with ctx, or with a node that
// fails. The node ends after ready has returned.
func (p *program) runNode(ctx context.Context, cfg ServeConfig, ready func(ctx context.Context, clusterID string, on []BoundListener) error) (err error) {
	on, err := bind(ctx, cfg)
	if err != nil {
		return err
	}
	n, err := p.openNode(ctx, cfg, on)
	if err != nil {
		return errors.Join(explainOpen(err, cfg), unbind(on))
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	return runUntilReady(ctx, n, func(ctx context.Context) error { return ready(ctx, n.ClusterID(), on) })
}

// bind opens all listeners or none, so that a port that is taken is found before
// the data is touched.
func bind(ctx context.Context, cfg ServeConfig) ([]BoundListener, error) {
	var all []BoundListener
	for _, l := range cfg.Listeners {
		at := l.HostPort
		if at.Host == "*" {
			at.Host = ""
		}
		var lc net.ListenConfig
		sock, err := lc.Listen(ctx, "tcp", at.String())
		if err != nil {
			return nil, errors.Join(explainBind(err, l), unbind(all))
		}
		b := BoundListener{Listener: l, Net: sock}
		b.Port = sock.Addr().(*net.TCPAddr).Port
		b.Advertised = b.HostPort
		if at, told := cfg.Advertise[l.Name]; told {
			b.Advertised = at
		}
		all = append(all, b)
	}
	return all, nil
}

func unbind(all []BoundListener) error {
	var errs []error
	for _, l := range all {
		if err := l.Net.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// banner says what is running where, in lines that can be copied.
func (p *program) banner(cfg ServeConfig, clusterID string, on []BoundListener, pipelines []runtime.Pipeline, took time.Duration) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s  ready in %d ms\n", p.paint(bold, thisBuild().String()), took.Milliseconds())
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "  node\t%d of cluster %s\n", cfg.NodeID, clusterID)
	for _, l := range on {
		fmt.Fprintf(t, "  %s\t%s", l.Name, l.HostPort)
		if l.Advertised != l.HostPort {
			fmt.Fprintf(t, ", advertised as %s", l.Advertised)
		}
		fmt.Fprintln(t)
	}
	fmt.Fprintf(t, "  data\t%s\n", cfg.Data)
	fmt.Fprintf(t, "  persistence\t%s\n", persistence(cfg.Settings[flushSetting]))
	if cfg.Config != "" {
		fmt.Fprintf(t, "  config\t%s\n", cfg.Config)
	}
	if cfg.Connect != "" {
		fmt.Fprintf(t, "  connect\t%s of %s%s\n", count(len(pipelines), "pipeline"), cfg.Connect, pipelineNames(pipelines))
	}
	where := brokersHint(on)
	fmt.Fprintf(t, "  next\tsplashdam topic create orders%s\n", where)
	fmt.Fprintf(t, "  \tsplashdam produce orders%s\n", where)
	_ = t.Flush() // into memory
	p.talk("%s", b.String())
}

func persistence(policy string) string {
	switch policy {
	case "", "sync":
		return "sync: a message is acknowledged when it is on the disk"
	case "async":
		return "async: a message is acknowledged before it is on the disk; a power loss may take the last ones"
	}
	return policy
}

// brokersHint is the flag that the printed commands need to find this node.
func brokersHint(all []BoundListener) string {
	if len(all) == 0 {
		return ""
	}
	at := dialable(all[0].HostPort).String()
	if at == defaultBrokers {
		return ""
	}
	return " -b " + at
}

// dialable is where this machine reaches a bound listener.
func dialable(at HostPort) HostPort {
	if at.wildcard() {
		at.Host = "127.0.0.1"
	}
	return at
}

// explainBind says what to do about a listener that cannot be bound.
func explainBind(err error, l Listener) error {
	e := &problem{what: fmt.Sprintf("listener %s: %s cannot be bound", l.Name, l.HostPort), cause: err}
	if op, ok := errors.AsType[*net.OpError](err); ok {
		e.cause = op.Err
	}
	other := func(port int) string { return Listener{Name: l.Name, HostPort: HostPort{l.Host, port}}.String() }
	_, lookup := errors.AsType[*net.DNSError](err)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.what, e.cause = fmt.Sprintf("listener %s: %s is in use by another process", l.Name, l.HostPort), err
		e.next = []string{
			fmt.Sprintf("who has it:      ss -ltnp 'sport = :%d'", l.Port),
			fmt.Sprintf("another port:    --listeners %s", other(l.Port+1)),
			fmt.Sprintf("any free port:   --listeners %s", other(0)),
		}
		e.cause = nil
	case errors.Is(err, syscall.EACCES):
		e.next = []string{
			"ports below 1024 are for root on most systems",
			fmt.Sprintf("another port:  --listeners %s", other(9092)),
		}
	case errors.Is(err, syscall.EADDRNOTAVAIL), lookup:
		e.next = []string{
			fmt.Sprintf("%s is no address of this machine; bind to one that is, and tell clients the other:", l.Host),
			fmt.Sprintf("  --listeners %s://0.0.0.0:%d --advertised-listeners %s --set %s=true", l.Name, l.Port, l, allowInsecure),
		}
	}
	return e
}

// explainOpen says what to do about a data directory that cannot be used.
func explainOpen(err error, cfg ServeConfig) error {
	e := &problem{what: fmt.Sprintf("data directory %s", cfg.Data), cause: err}
	switch {
	case errors.Is(err, errDataInUse):
		e.next = []string{
			"stop that process first, or give this node a directory of its own:  --data DIR",
			"two nodes on the same files would destroy them, so this cannot be forced",
		}
	case errors.Is(err, errDataNewer):
		e.next = []string{
			"this one, which is " + version + ", cannot read it and has changed nothing",
			"run that version again, or one behind it",
		}
	case errors.Is(err, errDataOther):
		e.next = []string{
			"a directory belongs to one node for good: --node-id says which one this is, --data where its files are",
		}
	default:
		return err
	}
	return e
}

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/connect/runtime"
)

func (p *program) connectCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "connect",
		Short: "Run pipelines between databases, topics and files",
	}
	cmd.AddCommand(p.connectRunCommand(), p.connectLintCommand())
	return cmd
}

// brokerPatience is how long connect run waits for a first broker: what is started
// together with it, or anew, needs a moment. Later it waits for as long as it takes.
const brokerPatience = 30 * time.Second

func (p *program) connectRunCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run PIPELINE.yaml...",
		Short: "Run pipelines until interrupted, or until all have ended",
		Long: `Run the pipelines of the files until interrupted.

    name: shop
    source:
      connector: generator
      topic.prefix: load
      rows.per.second: 1000
    sink:
      connector: arrow
      topics: load.orders
      dir: ./orders

A pipeline has a source, which fills topics, or a sink, which empties them, or both.
Values may hold ${env:NAME} and ${file:PATH}.

The brokers may be any cluster that speaks the Kafka protocol. Everything about a
pipeline is kept there: a source's position in the topic connect-offsets, in Kafka
Connect's format, and schemas in PREFIX.schemas. So a pipeline may be stopped, also
by force, and go on anywhere: nothing is lost.

A broker that does not answer is waited for: half a minute for the first one, then for
as long as it takes.

Exit codes: 0 all pipelines ended or were interrupted, 1 one stopped with an error
that somebody has to cure.`,
		Example: `  splashdam connect lint shop.yaml
  splashdam connect run -b 127.0.0.1:9092 shop.yaml`,
		Args: cobra.MinimumNArgs(1),
	}
	c := p.clusterFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, files []string) error {
		pipelines, err := p.readPipelines(files)
		if err != nil {
			return err
		}
		if err := c.await(cmd.Context(), brokerPatience); err != nil {
			return err
		}
		r, err := p.newRuntime(append(c.security.Options(), kgo.SeedBrokers(c.seeds...)), pipelines)
		if err != nil {
			return err
		}
		return r.Run(cmd.Context())
	}
	return cmd
}

func (p *program) newRuntime(cluster []kgo.Opt, pipelines []runtime.Pipeline) (*runtime.Runtime, error) {
	r, err := runtime.New(runtime.Config{
		Cluster:   append(cluster, kgo.ClientID("splashdam-connect"), kgo.SoftwareNameAndVersion("splashdam-connect", version)),
		Pipelines: pipelines,
		Log:       p.logger(),
	})
	if err != nil {
		return nil, &problem{what: "connect", cause: err, kind: errUsage}
	}
	return r, nil
}

// runBeside runs pipelines in a node until ctx ends. One that stops with an error has
// said so in the log, and is no reason to end the broker.
func (p *program) runBeside(ctx context.Context, on []BoundListener, pipelines []runtime.Pipeline) error {
	r, err := p.newRuntime(ownCluster(on), pipelines)
	if err != nil {
		return err
	}
	_ = r.Run(ctx)
	return nil
}

// ownCluster is how a node reaches the cluster that it belongs to: itself where it is
// bound, since what it advertises is for others and need not lead back here, and the
// other nodes where they say.
func ownCluster(on []BoundListener) []kgo.Opt {
	own := on[0]
	near := func(l BoundListener) bool { return l.loopback() || l.wildcard() }
	if i := slices.IndexFunc(on, func(l BoundListener) bool { return l.Protocol == kafka.Plaintext && near(l) }); i >= 0 {
		own = on[i]
	} else if i := slices.IndexFunc(on, near); i >= 0 {
		own = on[i]
	}
	advertised, bound := own.Advertised.String(), dialable(own.HostPort).String()
	dialer := net.Dialer{Timeout: dialTimeout}
	return []kgo.Opt{
		kgo.SeedBrokers(bound),
		kgo.Dialer(func(ctx context.Context, network, address string) (net.Conn, error) {
			if address == advertised {
				address = bound
			}
			return dialer.DialContext(ctx, network, address)
		}),
	}
}

// pipelineFiles lists the pipelines of a directory, by name.
func pipelineFiles(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		if e, ok := errors.AsType[*os.PathError](err); ok {
			err = e.Err
		}
		return nil, &problem{what: "directory of pipelines " + dir, cause: err, kind: errUsage}
	}
	var files []string
	for _, e := range entries {
		ending := filepath.Ext(e.Name())
		// What begins with a dot is an editor's, or the store of a mounted ConfigMap.
		if (ending == ".yaml" || ending == ".yml") && !strings.HasPrefix(e.Name(), ".") {
			files = append(files, filepath.Join(dir, e.Name()))
		}
	}
	return files, nil
}

func pipelineNames(pipelines []runtime.Pipeline) string {
	var names []string
	for _, p := range pipelines {
		names = append(names, p.Name)
	}
	if names == nil {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

func (p *program) connectLintCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "lint PIPELINE.yaml...",
		Short: "Check pipeline files without connecting to anything",
		Args:  cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, files []string) error {
			pipelines, err := p.readPipelines(files)
			if err == nil {
				p.talk("%s: nothing wrong\n", count(len(pipelines), "pipeline"))
			}
			return err
		},
	}
}

// readPipelines reads all files, and prints all that is wrong with them.
func (p *program) readPipelines(files []string) ([]runtime.Pipeline, error) {
	var all []runtime.Pipeline
	var wrong []error
	fileOf := map[string]string{} // by the pipeline's name
	for _, file := range files {
		pipeline, named, errs := readPipeline(file, p.env)
		if first, twice := fileOf[pipeline.Name]; twice && named != nil {
			errs = append(errs, named(fmt.Errorf("pipeline %s is in %s, too: positions and groups go by the name, so it is unique", pipeline.Name, first)))
		}
		fileOf[pipeline.Name] = file
		all, wrong = append(all, pipeline), append(wrong, errs...)
	}
	if len(wrong) == 0 {
		return all, nil
	}
	last := len(wrong) - 1
	for _, err := range wrong[:last] {
		p.printError(err)
	}
	return nil, wrong[last]
}

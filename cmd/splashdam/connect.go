package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

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
		client, err := c.dial(cmd.Context()) // says at once that nobody is there
		if err != nil {
			return err
		}
		client.Close()
		return p.runPipelines(cmd.Context(), c.seeds, pipelines)
	}
	return cmd
}

func (p *program) runPipelines(ctx context.Context, seeds []string, pipelines []runtime.Pipeline) error {
	r, err := runtime.New(runtime.Config{
		Cluster:   []kgo.Opt{kgo.SeedBrokers(seeds...), kgo.ClientID("splashdam-connect"), kgo.SoftwareNameAndVersion("splashdam-connect", version)},
		Pipelines: pipelines,
		Log:       slog.New(slog.NewTextHandler(p.stderr, nil)),
	})
	if err != nil {
		return &problem{what: "connect", cause: err, kind: errUsage}
	}
	return r.Run(ctx)
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
	for _, file := range files {
		pipeline, errs := readPipeline(file, p.env)
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

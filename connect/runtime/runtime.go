package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
)

// Pipeline is a source, or a sink, or both, under one name.
type Pipeline struct {
	Name   string // unique in the cluster: positions and the sink's group go by it
	Source *Source
	Sink   *Sink
}

// Source is a source connector with its settings, checked by NewSource.
type Source struct {
	connector   connect.SourceConnector
	config      connect.Config
	tasksMax    int
	tombstones  bool
	compression kgo.CompressionCodec
}

// Sink is a sink connector with its settings, checked by NewSink.
type Sink struct {
	connector connect.SinkConnector
	config    connect.Config
	topics    []string
}

// Config is what a Runtime needs.
type Config struct {
	// Cluster reaches the cluster: seeds, and what it takes to log in.
	Cluster   []kgo.Opt
	Pipelines []Pipeline
	// OffsetTopic keeps the sources' positions; checkpoint.DefaultTopic if empty.
	OffsetTopic string
	Log         *slog.Logger
}

// Runtime runs pipelines. Make one with New.
type Runtime struct {
	config Config
	tasks  []task
}

// New checks and plans what can be without a connection.
func New(c Config) (*Runtime, error) {
	if len(c.Pipelines) == 0 {
		return nil, errors.New("there is no pipeline to run")
	}
	seen := map[string]bool{}
	for _, p := range c.Pipelines {
		if seen[p.Name] {
			return nil, fmt.Errorf("two pipelines are called %q: positions and groups go by the name", p.Name)
		}
		seen[p.Name] = true
	}
	r := &Runtime{config: c}
	if err := r.plan(); err != nil {
		return nil, err
	}
	return r, nil
}

// task is a piece of work that is begun again when it fails.
type task struct {
	name string
	log  *slog.Logger
	once func(ctx context.Context) error // returns after everything it started has ended
}

func (r *Runtime) plan() error {
	for _, p := range r.config.Pipelines {
		if p.Source != nil {
			configs := []connect.Config{p.Source.config}
			if plan := p.Source.connector.Plan; plan != nil {
				var err error
				if configs, err = plan(p.Source.config, p.Source.tasksMax); err != nil {
					return fmt.Errorf("planning the source of %s: %w", p.Name, err)
				}
			}
			for i, c := range configs {
				name := fmt.Sprintf("%s source %d", p.Name, i)
				log := r.config.Log.With("pipeline", p.Name, "source", p.Source.connector.Name, "task", i)
				r.tasks = append(r.tasks, task{name, log, func(ctx context.Context) error { return r.runSource(ctx, p, c, i, log) }})
			}
		}
		if p.Sink != nil {
			log := r.config.Log.With("pipeline", p.Name, "sink", p.Sink.connector.Name)
			r.tasks = append(r.tasks, task{p.Name + " sink", log, func(ctx context.Context) error { return r.runSink(ctx, p, log) }})
		}
	}
	return nil
}

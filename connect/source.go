package connect

import (
	"context"
	"log/slog"
)

// Source reads from one outside system. One goroutine calls its methods, in the
// order Connect, Read..., Close; a closed source may be connected again. Every
// method returns soon after its context ends.
type Source interface {
	// Connect opens what the source reads and goes to where positions say: all that
	// were ever stored for the connector and not forgotten since. Without any it
	// begins at the beginning.
	Connect(ctx context.Context, positions []Position) error

	// Read returns the next batch, waiting for it as long as need be. The batch is
	// the caller's until it calls ack; then the source may use its memory again.
	//
	// Ack is called once for each batch, in the order of the batches, from any
	// goroutine, possibly during a later Read. Nil says that the rows are in their
	// topics and the marks' positions stored, both for good. An error says that
	// this is not so: the source will be closed, and connected again to the stored
	// positions. Ack does not block.
	//
	// A source that must not go on before something is stored returns a batch with
	// only a mark, and waits in the next Read for its ack.
	Read(ctx context.Context) (batch *Batch, ack func(error), err error)

	// Close ends what Connect began, also one that failed. Batches without an ack
	// stay valid until they get one.
	Close(ctx context.Context) error
}

// SourceConnector is a kind of source: its names, settings and constructors.
type SourceConnector struct {
	Name     string   // as pipelines have it: mysql
	Classes  []string // what users of Kafka Connect have in connector.class for it
	Settings []Setting
	// Plan splits a connector's work into the settings of at most maxTasks tasks.
	// Nil: there is one task, with the connector's settings.
	Plan func(c Config, maxTasks int) ([]Config, error)
	// New makes the source of one task, without connecting it.
	New func(c Config, env Environment) (Source, error)
}

// Environment is what a connector is given by what runs it.
type Environment struct {
	Connector string // the connector's name, unique in its cluster
	Task      int
	Log       *slog.Logger
	// Schema finds the schema that a record of the topic names in its header, waiting
	// for it until the context ends. For sinks.
	Schema func(ctx context.Context, topic, id string) (*Schema, error)
}

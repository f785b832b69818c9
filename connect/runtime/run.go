package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/checkpoint"
)

const (
	// lastWords bounds what happens after the context has ended.
	lastWords = lastFlush + 5*time.Second
	// lastProduce bounds how long a source that is interrupted waits for what it has
	// read to be acknowledged and its positions to be stored.
	lastProduce = 5 * time.Second
)

// Run runs all tasks until the context ends, or until each has ended or failed for
// good. It returns what the failed ones died of, nil after an orderly end.
func (r *Runtime) Run(ctx context.Context) error {
	failures := make([]error, len(r.tasks))
	var all sync.WaitGroup
	for i, t := range r.tasks {
		all.Go(func() {
			if err := t.run(ctx); err != nil {
				failures[i] = fmt.Errorf("%s: %w", t.name, err)
			}
		})
	}
	all.Wait()
	return errors.Join(failures...)
}

// run begins the task again until it ends well, cannot be helped, or the context ends.
func (t task) run(ctx context.Context) error {
	var r retries
	for {
		begun := time.Now()
		err := t.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		what, wait := r.after(err, time.Since(begun))
		switch what {
		case ended:
			t.log.Info("at the end of its input")
			return nil
		case failed:
			t.log.Error("stopped for good, until somebody cures the cause and starts it again", "cause", err)
			return err
		}
		t.log.Warn("beginning again from what is stored", "cause", err, "wait", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

func (r *Runtime) runSource(ctx context.Context, p Pipeline, config connect.Config, number int, log *slog.Logger) (err error) {
	// Reading ends with ctx. What was read is brought to its end first.
	running, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer stop(nil)
	reading, interrupt := context.WithCancel(running)
	defer interrupt()
	defer context.AfterFunc(ctx, func() {
		interrupt()
		time.AfterFunc(lastProduce, func() { stop(errors.New("what was read is not acknowledged in time")) })
	})()
	store, err := checkpoint.Open(reading, r.config.Cluster, r.offsetTopic(), p.Name)
	if err != nil {
		return err
	}
	defer store.Close()
	topics := &topics{known: map[string]*topic{}}
	client, err := kgo.NewClient(slices.Concat(r.config.Cluster, []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(p.Source.compression),
		kgo.ProducerBatchMaxBytesFn(topics.maxBatch),
		// What comes behind a batch that was refused must not get into the topic: its
		// rows' places are higher, and the refused ones would be taken for repetitions
		// when they come again.
		kgo.StopProducerOnDataLossDetected(),
		kgo.MaxBufferedRecords(1 << 20), // bytes are what counts
		kgo.MaxBufferedBytes(maxBuffered),
		kgo.ProducerLinger(linger),
		kgo.RecordPartitioner(partitioner{}),
	})...)
	if err != nil {
		return fmt.Errorf("making a producer: %w", err)
	}
	topics.admin = kadm.NewClient(client)
	source, err := p.Source.connector.New(config, connect.Environment{Connector: p.Name, Task: number, Log: log})
	if err != nil {
		client.Close()
		return err
	}
	t := &sourceTask{
		source: source, store: store, client: client, topics: topics, schemas: newSchemas(r.config.Cluster, client),
		tombstones: p.Source.tombstones, running: running, stop: stop,
		finished: make(chan struct{}, 1), over: make(chan struct{}),
	}
	var keeper sync.WaitGroup
	keeper.Go(func() {
		if err := t.keep(running); err != nil {
			stop(err)
		}
	})
	err = t.read(reading)
	if ctx.Err() != nil {
		// An error is that of the context, and each record has been told of it, too.
		_ = client.Flush(running)
		close(t.over)
		keeper.Wait()
	}
	stop(err)
	keeper.Wait()
	if cause := context.Cause(running); errors.Is(err, context.Canceled) {
		err = cause // what canceled it says more
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	err = t.explain(last, err)
	client.Close() // fails what is buffered
	t.abandon(err)
	if closing := source.Close(last); closing != nil {
		log.Warn("closing the source", "cause", closing)
	}
	return err
}

func (r *Runtime) runSink(ctx context.Context, p Pipeline, log *slog.Logger) error {
	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t := &sinkTask{stop: stop, open: map[place]connect.Partition{}, starts: map[place]int64{}}
	client, err := kgo.NewClient(slices.Concat(r.config.Cluster, t.groupOptions(), []kgo.Opt{
		kgo.ConsumerGroup("connect-" + p.Name),
		// A sink that was killed is replaced at once by the one that goes on in its
		// place, and one that only seemed dead is fenced (KIP-345).
		kgo.InstanceID("connect-" + p.Name + "-0"),
	})...)
	if err != nil {
		return fmt.Errorf("making a consumer: %w", err)
	}
	t.client = client
	schemas := newSchemas(r.config.Cluster, client)
	t.sink, err = p.Sink.connector.New(p.Sink.config, connect.Environment{Connector: p.Name, Log: log, Schema: schemas.find})
	if err != nil {
		client.Close()
		return err
	}
	missing, err := t.missing(running, p.Sink.topics)
	if err == nil {
		if len(missing) > 0 {
			log.Info("waiting for topics that are not there", "topics", missing)
		}
		client.AddConsumeTopics(p.Sink.topics...) // not before: from here on the group calls
		err = t.read(running)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords)
	defer cancel()
	if ctx.Err() != nil {
		if flushing := t.flush(last, true); flushing != nil {
			log.Warn("flushing at the end", "cause", flushing)
		}
	}
	client.CloseAllowingRebalance()
	if closing := t.sink.Close(last); closing != nil {
		log.Warn("closing the sink", "cause", closing)
	}
	return err
}

func (r *Runtime) offsetTopic() string {
	if r.config.OffsetTopic != "" {
		return r.config.OffsetTopic
	}
	return checkpoint.DefaultTopic
}

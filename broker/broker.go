package broker

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/broker/replica"
	"github.com/splashdam/splashdam/internal/loggers"
	"github.com/splashdam/splashdam/txn"
)

// Broker is a node: its shards, and the protocol server in front of them.
type Broker struct {
	cfg    Config
	dir    *dataDir
	meta   *Shard
	shards map[record.ShardID]*Shard // the data shards; complete before the server starts
	server *kafka.Server
	// current are the settings that hold now; followed belongs to the metadata's loop.
	current  atomic.Pointer[cluster.BrokerSettings]
	followed followed
	// keySets are kept fresh while the node runs.
	keySets []*auth.KeySet
	ready   chan struct{}

	// loggers are those of the node's parts.
	loggers *loggers.Set

	// viewChanged tells the reconciler that the metadata or a lead has changed.
	viewChanged chan struct{}
	// hurry tells the cleaner that there is little room on the disk.
	hurry       chan struct{}
	producerIDs producerIDs
	sizes       partitionSizes
	creating    sync.Map // topic name -> struct{}: automatic creations under way
	creations   chan string
	// forgetting has the topics that were deleted, name -> id, for which there may
	// still be offsets that groups have committed.
	forgetting sync.Map
	inflating  chan struct{} // has room for as many batches as may be inflated at once
	// log paces what any client can have logged.
	log struct{ ended, refused, denied logPace }
}

const (
	// startTimeout bounds how long a node waits to lead its own shards.
	startTimeout = 60 * time.Second
	// changeTimeout bounds a change of the metadata that no client's deadline bounds.
	changeTimeout = 15 * time.Second
	// maxCreations bounds the topics that wait to be created automatically.
	maxCreations = 1024
)

// Open locks the data directory and recovers the metadata shard. Nothing runs and
// nothing is answered until Run; in any case it must be closed.
func Open(cfg Config) (*Broker, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	dir, err := openDataDir(cfg.FS, cfg.Dir, cfg.NodeID)
	if err != nil {
		return nil, err
	}
	b := &Broker{
		cfg: cfg, dir: dir,
		loggers:     loggers.New(cfg.Logger.Handler(), cfg.LogLevel, parts...),
		shards:      make(map[record.ShardID]*Shard),
		ready:       make(chan struct{}),
		viewChanged: make(chan struct{}, 1),
		hurry:       make(chan struct{}, 1),
		creations:   make(chan string, maxCreations),
		inflating:   make(chan struct{}, runtime.GOMAXPROCS(0)),
	}
	b.current.Store(cfg.Settings)
	b.meta, err = b.openShard(record.MetadataShard)
	if err != nil {
		return nil, errors.Join(err, dir.Close())
	}
	b.meta.changed = func() {
		b.followSettings()
		signal(b.viewChanged)
	}
	b.followSettings()
	listeners, err := b.openListeners()
	if err == nil {
		b.server, err = kafka.New(b.serverConfig(listeners), b)
	}
	if err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

// Close releases what Open took, but for the listeners. It comes after Run.
func (b *Broker) Close() error {
	var errs []error
	for _, s := range b.shards {
		errs = append(errs, s.log.Close())
	}
	return errors.Join(append(errs, b.meta.log.Close(), b.dir.Close())...)
}

// closeListeners turns away who waits for a node that will never be ready.
func (b *Broker) closeListeners() error {
	var errs []error
	for _, l := range b.cfg.Listeners {
		errs = append(errs, l.Net.Close())
	}
	return errors.Join(errs...)
}

// Ready is closed when the node answers clients.
func (b *Broker) Ready() <-chan struct{} { return b.ready }

func (b *Broker) openShard(id record.ShardID) (*Shard, error) {
	dir, err := b.dir.makeShard(id)
	if err != nil {
		return nil, err
	}
	settings := b.cfg.Settings // those that are read when a shard is opened
	groups := groupConfig(settings)
	groups.Topics, groups.ConsumerPace = b.topicsOfGroups, b.paceOfGroup
	s, err := openShard(id, shardConfig{
		FS: b.cfg.FS, Dir: dir,
		Replica:      uint64(b.cfg.NodeID),
		Voters:       []uint64{uint64(b.cfg.NodeID)},
		Settings:     b.settings,
		Flush:        flushPolicy(settings),
		Groups:       groups,
		Halves:       halfPolicy(settings),
		Transactions: transactionConfig(settings),
		RetentionOf:  b.retentionOf,
		Now:          time.Now,
		Loggers:      b.loggers,
	})
	if err != nil {
		return nil, err
	}
	s.changed = func() { signal(b.viewChanged) }
	s.hurry = func() { signal(b.hurry) }
	s.checkSpace() // batches may come before the first second has passed
	s.peers = b
	s.act = func(ctx context.Context, actions []txn.Action) { b.actOnHalves(ctx, s, actions) }
	return s, nil
}

func flushPolicy(s *cluster.BrokerSettings) replica.FlushPolicy {
	if s.FlushSync {
		return replica.FlushSync
	}
	return replica.FlushAsync
}

// view is the cluster's metadata as this node knows it.
func (b *Broker) view() *cluster.View { return b.meta.cluster.Load() }

// retentionOf is the retention.ms of the topic that a partition belongs to; -1 is
// for ever, also for a partition that is gone.
func (b *Broker) retentionOf(p record.PartitionID) int64 {
	t, _, ok := b.view().Partition(p)
	if !ok {
		return -1
	}
	return b.settings().Topic(t).RetentionMs
}

// serverConfig is the node's configuration as the protocol server needs it.
func (b *Broker) serverConfig(listeners []kafka.ListenerConfig) kafka.Config {
	set, log := b.cfg.Settings, b.loggers.Of(networkLogger)
	return kafka.Config{
		Listeners:     listeners,
		Quotas:        quotaWindows(set.QuotaWindows, set.QuotaWindowSeconds),
		Mutations:     quotaWindows(set.MutationQuotaWindows, set.MutationQuotaWindowSeconds),
		NumPartitions: int(set.NumPartitions),
		Limits: kafka.Limits{
			Connections:      b.connectionLimits(),
			MaxLoginBytes:    set.LoginMaxBytes,
			FailedLoginDelay: time.Duration(set.FailedLoginDelayMs) * time.Millisecond,
			MaxRequestBytes:  set.SocketRequestMaxBytes,
			MaxRequestMemory: set.QueuedMaxRequestBytes,
			IdleTimeout:      time.Duration(set.ConnectionsMaxIdleMs) * time.Millisecond,
		},
		Events: kafka.Events{
			Disconnected: func(p kafka.Peer, err error) {
				if !errors.Is(err, kafka.ErrAuthentication) && (errors.Is(err, io.EOF) || errors.Is(err, kafka.ErrDrained)) {
					// The client left, or this node does: neither is news.
					log.Debug("a connection ended", "peer", p.String(), "cause", err)
					return
				}
				b.log.ended.tell(p.Addr, func(more []any) {
					log.Info("a connection ended", append(more, "peer", p.String(), "cause", err)...)
				})
			},
			Refused: func(p kafka.Peer, err error) {
				b.log.refused.tell(p.Addr, func(more []any) {
					log.Warn("a connection was refused", append(more, "peer", p.String(), "cause", err)...)
				})
			},
			Denied: b.denied,
			Failed: func(r kafka.Request, err error) {
				log.Error("a request failed for a reason that the protocol has no code for", "request", r.String(), "cause", err)
			},
			Panicked: func(r kafka.Request, value any, stack []byte) {
				log.Error("a bug was met while serving a request", "request", r.String(), "panic", value, "stack", string(stack))
			},
		},
	}
}

// begin makes the node ready to serve, within startTimeout. start runs a shard.
func (b *Broker) begin(ctx context.Context, start func(*Shard)) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	err := b.prepare(ctx, start)
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("not ready after %v: %w", startTimeout, err)
		if b.full() {
			err = fmt.Errorf("there is no room for a node to start in %s: make some: %w", b.cfg.Dir, err)
		}
	}
	return err
}

// full reports whether a write of one of the node's shards waits for room.
func (b *Broker) full() bool {
	for _, s := range b.shards {
		if s.status.Load().full {
			return true
		}
	}
	return b.meta.status.Load().full
}

// prepare leads the metadata shard, makes the cluster what the configuration asks
// for, and opens the data shards.
func (b *Broker) prepare(ctx context.Context, start func(*Shard)) error {
	start(b.meta)
	if err := b.meta.awaitLead(ctx); err != nil {
		return err
	}
	if err := b.bootstrap(ctx); err != nil {
		return err
	}
	for _, id := range b.view().Shards() {
		s, err := b.openShard(id)
		if err != nil {
			return err
		}
		b.shards[id] = s
	}
	// A shard that runs may ask another one something: all are there before the first.
	for _, s := range b.shards {
		start(s)
	}
	for _, s := range b.shards {
		if err := s.awaitLead(ctx); err != nil {
			return err
		}
	}
	return errors.Join(b.reconcile(ctx), b.forgetAllOffsets(ctx))
}

// bootstrap makes the cluster on the first start, adds shards that are asked for,
// and registers this node.
func (b *Broker) bootstrap(ctx context.Context) error {
	have := len(b.view().Shards())
	want := b.cfg.Shards
	if want == 0 {
		want = max(have, 1)
	}
	if want < have {
		return fmt.Errorf("%w: the cluster has %d, %d are asked for: ask for as many or more, or leave the number open", ErrFewerShards, have, want)
	}
	if b.view().ClusterID() == "" {
		id := newClusterID()
		var shards []record.ShardID
		for i := range want {
			shards = append(shards, record.ShardID(i+1))
		}
		err := b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) { return c.Bootstrap(id, shards) })
		if err != nil {
			return fmt.Errorf("making the cluster: %w", err)
		}
		have = want
	}
	for i := have; i < want; i++ {
		err := b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) {
			return c.AddShard(record.ShardID(i + 1))
		})
		if err != nil {
			return fmt.Errorf("adding shard %d: %w", i+1, err)
		}
	}
	node := cluster.Node{ID: b.cfg.NodeID, Rack: b.cfg.Settings.Rack}
	for _, l := range b.cfg.Listeners {
		node.Endpoints = append(node.Endpoints, cluster.Endpoint{Listener: l.Name, Host: l.Host, Port: l.Port})
	}
	slices.SortFunc(node.Endpoints, func(a, b cluster.Endpoint) int { return strings.Compare(a.Listener, b.Listener) })
	err := b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) { return c.RegisterNode(node) })
	if err != nil {
		return fmt.Errorf("registering node %d: %w", node.ID, err)
	}
	return b.makeUsers(ctx)
}

// changeMetadata proposes what decide says to the metadata shard and returns when
// it is applied. A nil command means that nothing needs to change. It errors with
// kerr.NotController where another node leads the shard.
func (b *Broker) changeMetadata(ctx context.Context, decide func(*cluster.Controller) (record.Command, error)) error {
	err := b.meta.propose(ctx, 0, func(l *leading, _ *pending) (record.Command, error) { return decide(l.cluster) })
	if errors.Is(err, kerr.NotLeaderForPartition) {
		err = fmt.Errorf("%w: %w", kerr.NotController, err)
	}
	return err
}

// newClusterID makes an id as Kafka does: 16 random bytes in URL-safe base64.
func newClusterID() string {
	id := newUUID()
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// newUUID makes a random (version 4) UUID.
func newUUID() (id [16]byte) {
	rand.Read(id[:])
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}

// awaitLead waits until this node leads the shard.
func (s *Shard) awaitLead(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	defer s.watch.add([]record.PartitionID{record.Halves}, wake)()
	for {
		switch st := s.status.Load(); {
		case st.leading:
			return nil
		case st.failed != nil:
			return fmt.Errorf("shard %d: %w", s.id, st.failed)
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return fmt.Errorf("waiting to lead shard %d: %w", s.id, ctx.Err())
		}
	}
}

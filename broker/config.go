package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/internal/vfs"
)

// Config is all that a node needs to know. What a test wants to be different, the
// file system and the listeners, comes from here.
type Config struct {
	// FS and Dir are where the node keeps its data. Dir is made if it is missing
	// and belongs to one node at a time.
	FS  vfs.FS
	Dir string
	// NodeID is the node's id in its cluster, from 1 on. A data directory belongs to
	// one id for good.
	NodeID int32
	// Shards is the number of data shards of a new cluster. On an existing
	// directory more may be asked for than there are; fewer is an error. 0 means
	// what there is, or 1.
	Shards int
	// Listeners are open sockets; the node closes them at its end.
	Listeners []Listener
	// Users are made at the start.
	Users []NewUser
	// Settings are Kafka's broker settings. The files that they name are the machine's,
	// whatever FS is.
	Settings *cluster.BrokerSettings
	// Logger hears what an operator should know. Normal operation logs nothing.
	Logger *slog.Logger
	// LogLevel is the level below which Logger hears nothing, until an operator changes
	// that, for all or for a part of the node (KIP-412): so what Logger writes to should
	// take everything.
	LogLevel slog.Level
}

// Listener is one address that clients connect to.
type Listener struct {
	// Name is what clients' metadata is chosen by: who comes through a listener is
	// told the addresses advertised for it.
	Name string
	// Protocol is the security protocol, by Kafka's name. What it needs is in Settings.
	Protocol string
	Net      net.Listener
	// Host and Port are advertised to clients.
	Host string
	Port int32
}

func (c *Config) validate() error {
	var errs []error
	if c.FS == nil || c.Settings == nil || c.Logger == nil {
		errs = append(errs, errors.New("FS, Settings and Logger are required"))
	}
	if c.Dir == "" {
		errs = append(errs, errors.New("the data directory is not set"))
	}
	if c.NodeID < 1 {
		errs = append(errs, fmt.Errorf("node id %d: ids begin at 1", c.NodeID))
	}
	if c.Shards < 0 || c.Shards > maxShards {
		errs = append(errs, fmt.Errorf("%d shards: between 1 and %d", c.Shards, maxShards))
	}
	seen := make(map[string]bool)
	for _, l := range c.Listeners {
		if seen[l.Name] {
			errs = append(errs, fmt.Errorf("listener %s is there twice", l.Name))
		}
		seen[l.Name] = true
	}
	return errors.Join(append(errs, validateUsers(c.Users))...)
}

// maxShards bounds the Raft groups that one node runs.
const maxShards = 256

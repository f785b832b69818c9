package broker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/internal/vfs"
)

// refused opens a node that must not open, or not get ready, with an error and a text
// that says why and what to do.
func refused(t *testing.T, cfg Config, want error, texts ...string) {
	t.Helper()
	n, err := open(t, cfg)
	if err == nil {
		err = n.up()
		_ = n.end() // the same error
	}
	if !errors.Is(err, want) {
		t.Errorf("opening ends with %v, want %v", err, want)
		return
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
}

func TestADirectoryIsOfOneNodeAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{FS: vfs.NewMem(), Settings: settings(t, nil)}
		n := run(t, cfg)
		refused(t, cfg, ErrInUse, "data: the data directory is in use by another process")
		n.shut(t)
		run(t, cfg).shut(t)
	})
}

func TestADirectoryIsOfOneNodeForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{FS: vfs.NewMem(), Settings: settings(t, nil), NodeID: 7}
		run(t, cfg).shut(t)
		cfg.NodeID = 8
		refused(t, cfg, ErrOtherNode, "data: the data directory belongs to another node: it is of node 7, this is node 8")
		cfg.NodeID = 7
		run(t, cfg).shut(t)
	})
}

func TestShardsAreAddedAndNeverTakenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		cfg := Config{FS: vfs.NewMem(), Settings: settings(t, nil), Shards: 3}
		run(t, cfg).shut(t)
		cfg.Shards = 2
		refused(t, cfg, ErrFewerShards, "the cluster has 3, 2 are asked for: ask for as many or more, or leave the number open")
		for _, c := range []struct{ asked, want int }{{0, 3}, {5, 5}, {0, 5}} {
			cfg.Shards = c.asked
			n := run(t, cfg)
			if len(n.shards) != c.want {
				t.Errorf("%d shards are asked for and %d run, want %d", c.asked, len(n.shards), c.want)
			}
			// New partitions go where there are fewest.
			ask := n.asker(t)
			topic := fmt.Sprintf("%s-%d-%d", orders, c.asked, c.want)
			must(t, ask.createTopic(ctx, topic, int32(c.want)))
			for p := range int32(c.want) {
				if _, err := ask.produce(ctx, topic, p, batch(-1, 0, "x")); err != nil {
					t.Error(err)
				}
			}
			for _, s := range n.shards {
				if len(s.openPartitionIDs()) == 0 {
					t.Errorf("shard %d of %d has no partition", s.id, c.want)
				}
			}
			n.shut(t)
		}
	})
}

// overwrite replaces a file by what change makes of it.
func overwrite(t *testing.T, fs vfs.FS, name string, change func([]byte) []byte) {
	t.Helper()
	f, err := fs.OpenWrite(name)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	data = change(data)
	must(t, f.Truncate(int64(len(data))))
	_, err = f.WriteAt(data, 0)
	must(t, errors.Join(err, f.Close()))
}

// TestANewerDirectoryIsCalledNewer: an older version must not call damaged what it
// only does not know, and must leave it alone.
func TestANewerDirectoryIsCalledNewer(t *testing.T) {
	version := func(at int) func([]byte) []byte { // of our binary files
		return func(data []byte) []byte {
			data[at]++
			return data
		}
	}
	for name, c := range map[string]struct {
		file   string
		change func([]byte) []byte
	}{
		"identity":                 {"data/node.json", func([]byte) []byte { return []byte(`{"version": 2, "node_id": "a name", "more": {}}`) }},
		"manifest of the metadata": {"data/shards/0000/manifest", version(4)},
		"manifest of data":         {"data/shards/0001/manifest", version(4)},
		"segment":                  {"data/shards/0001/00000000000000000001-00000001.log", version(4)},
		"snapshot":                 {"data/shards/0001/00000000000000000000.snap", version(4)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				cfg := Config{FS: mem, Settings: settings(t, nil)}
				run(t, cfg).shut(t)
				overwrite(t, mem, c.file, c.change)
				before := content(t, mem, c.file)
				refused(t, cfg, ErrNewerVersion, "newer version of splashdam", "start that version")
				if !slices.Equal(content(t, mem, c.file), before) {
					t.Error("it was changed")
				}
			})
		})
	}
}

// TestAStateOfAHigherLevelIsCalledNewer writes the snapshot of a later version.
func TestAStateOfAHigherLevelIsCalledNewer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{FS: vfs.NewMem(), Settings: settings(t, nil)}
		n := run(t, cfg)
		s := n.shards[1]
		var c capture
		must(t, s.host.Do(context.Background(), func() { c = s.capture() }))
		c.snapshot.Level++
		must(t, s.log.WriteSnapshot(c.encode()))
		n.shut(t)
		refused(t, cfg, ErrNewerVersion, "shard 1", "level 2, this one understands 1", "start that version")
	})
}

func content(t *testing.T, fs vfs.FS, name string) []byte {
	t.Helper()
	f, err := fs.Open(name)
	must(t, err)
	size, err := f.Size()
	must(t, err)
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	must(t, f.Close())
	return data
}

func TestADamagedDirectoryIsNamed(t *testing.T) {
	for name, damage := range map[string]func(*testing.T, vfs.FS){
		"no identity":  func(t *testing.T, fs vfs.FS) { must(t, fs.Remove("data/node.json")) },
		"an empty one": func(t *testing.T, fs vfs.FS) { overwrite(t, fs, "data/node.json", func([]byte) []byte { return nil }) },
		"half of it": func(t *testing.T, fs vfs.FS) {
			overwrite(t, fs, "data/node.json", func(b []byte) []byte { return b[:9] })
		},
		"one of no node": func(t *testing.T, fs vfs.FS) {
			overwrite(t, fs, "data/node.json", func([]byte) []byte { return []byte(`{"version":1}`) })
		},
		"something longer": func(t *testing.T, fs vfs.FS) {
			overwrite(t, fs, "data/node.json", func(b []byte) []byte { return append(b, "more"...) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				mem := vfs.NewMem()
				cfg := Config{FS: mem, Settings: settings(t, nil)}
				run(t, cfg).shut(t)
				damage(t, mem)
				refused(t, cfg, ErrDamagedDir, "data/node.json", "restore it from a backup of the directory")
			})
		})
	}
	// The log says itself what is wrong with it.
	synctest.Test(t, func(t *testing.T) {
		mem := vfs.NewMem()
		cfg := Config{FS: mem, Settings: settings(t, nil)}
		run(t, cfg).shut(t)
		overwrite(t, mem, "data/shards/0001/manifest", func(b []byte) []byte {
			for i := range b {
				b[i] ^= 0x55
			}
			return b
		})
		n, err := open(t, cfg)
		must(t, err)
		var damage *commitlog.CorruptionError
		if err := n.up(); !errors.As(err, &damage) || !strings.Contains(err.Error(), "opening the log of shard 1 in data/shards/0001") {
			t.Errorf("%v", err)
		}
	})
}

// TestTwoNodesInOneProcessShareNothing runs two, each with a topic of the same name.
func TestTwoNodesInOneProcessShareNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		var nodes []*node
		for i := range 2 {
			nodes = append(nodes, run(t, Config{FS: vfs.NewMem(), Settings: settings(t, nil), NodeID: int32(i + 1), Shards: i + 1}))
		}
		if nodes[0].ClusterID() == nodes[1].ClusterID() {
			t.Error("they are of one cluster")
		}
		for i, n := range nodes {
			ask := n.asker(t)
			must(t, ask.createTopic(ctx, orders, 1))
			must(t, ask.awaitCoordinator(ctx, readers))
			if _, err := ask.produce(ctx, orders, 0, batch(-1, 0, fmt.Sprint("of ", i))); err != nil {
				t.Error(err)
			}
			if got, err := ask.committed(ctx, readers, orders, 0); err != nil || got != -1 {
				t.Errorf("node %d: %d is committed: %v", i, got, err)
			}
			must(t, ask.commit(ctx, readers, orders, 0, int64(i)))
		}
		// One ends, the other goes on.
		nodes[0].shut(t)
		ask := nodes[1].asker(t)
		if got, err := ask.read(ctx, orders, 0); err != nil || !slices.Equal(got, []string{"of 1"}) {
			t.Errorf("the second has %q: %v", got, err)
		}
		must(t, ask.deleteTopic(ctx, orders))
		nodes[1].shut(t)
	})
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	good := func() Config {
		return Config{FS: vfs.NewMem(), Dir: "data", NodeID: 1, Settings: settings(t, nil), Logger: slog.New(slog.DiscardHandler)}
	}
	for want, spoil := range map[string]func(*Config){
		"FS, Settings and Logger are required": func(c *Config) { c.Logger = nil },
		"the data directory is not set":        func(c *Config) { c.Dir = "" },
		"node id 0: ids begin at 1":            func(c *Config) { c.NodeID = 0 },
		"-1 shards: between 1 and 256":         func(c *Config) { c.Shards = -1 },
		"257 shards: between 1 and 256":        func(c *Config) { c.Shards = 257 },
		"listener L is there twice":            func(c *Config) { c.Listeners = []Listener{{Name: "L"}, {Name: "L"}} },
		`listener L: there is no security protocol "TLS"`: func(c *Config) {
			c.Listeners = []Listener{{Name: "L", Protocol: "TLS"}}
		},
		"listener L: there is no certificate: set ssl.keystore.location": func(c *Config) {
			c.Listeners = []Listener{{Name: "L", Protocol: "SSL"}}
		},
		`user "a": a password has 1 to 1024 bytes`: func(c *Config) { c.Users = []NewUser{{Name: "a"}} },
		`there are no credentials for "PLAIN"`:     func(c *Config) { c.Users = []NewUser{{Name: "a", Password: "b", Mechanism: "PLAIN"}} },
	} {
		cfg := good()
		spoil(&cfg)
		b, err := Open(cfg)
		if err == nil {
			must(t, b.Close())
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	b, err := Open(good())
	must(t, err)
	must(t, b.Close()) // without having run
}

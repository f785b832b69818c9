package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// The data directory of a node:
//
//	LOCK            held while a node uses the directory
//	node.json       whose directory this is, and in which format
//	shards/0000/    the log of each shard (docs/storage.md)
const (
	lockFile      = "LOCK"
	identityFile  = "node.json"
	shardsDir     = "shards"
	formatVersion = 1
)

// Errors of a data directory, for who starts the node.
var (
	ErrInUse        = errors.New("the data directory is in use by another process")
	ErrNewerVersion = errors.New("the data directory was written by a newer version of splashdam")
	ErrOtherNode    = errors.New("the data directory belongs to another node")
	ErrDamagedDir   = errors.New("the data directory is damaged")
	ErrFewerShards  = errors.New("shards cannot be taken away")
)

// identity is what node.json says.
type identity struct {
	Version int   `json:"version"`
	NodeID  int32 `json:"node_id"`
}

// dataDir is an open, locked data directory.
type dataDir struct {
	fs   vfs.FS
	path string
	lock io.Closer
}

// openDataDir locks the directory and checks that it is this node's, or makes it so.
func openDataDir(fs vfs.FS, dir string, nodeID int32) (*dataDir, error) {
	if err := makeDir(fs, path.Join(dir, shardsDir)); err != nil {
		return nil, fmt.Errorf("making the data directory %s: %w", dir, err)
	}
	lock, err := fs.Lock(path.Join(dir, lockFile))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("locking the data directory %s: %w", dir, err)
	}
	d := &dataDir{fs, dir, lock}
	if err := d.identify(nodeID); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return d, nil
}

func (d *dataDir) Close() error { return d.lock.Close() }

// makeDir makes a directory, and those above it, each durable before there is
// anything in it: else a power loss takes all that was stored there.
func makeDir(fs vfs.FS, dir string) error {
	there, err := fs.Exists(dir)
	if err != nil || there {
		return err
	}
	parent := path.Dir(dir)
	if err := makeDir(fs, parent); err != nil {
		return err
	}
	if err := fs.MkdirAll(dir); err != nil {
		return err
	}
	if err := fs.SyncDir(parent); err != nil {
		// The next start must not find it and take it for durable.
		return errors.Join(fmt.Errorf("making %s durable: %w", dir, err), fs.Remove(dir))
	}
	return nil
}

// shard is the directory of a shard's log.
func (d *dataDir) shard(id record.ShardID) string {
	return path.Join(d.path, shardsDir, shardName(id))
}

// makeShard makes a shard's directory durable before anything is put into it.
func (d *dataDir) makeShard(id record.ShardID) (string, error) {
	dir := d.shard(id)
	if err := d.fs.MkdirAll(dir); err != nil {
		return "", fmt.Errorf("making %s: %w", dir, err)
	}
	if err := d.fs.SyncDir(path.Join(d.path, shardsDir)); err != nil {
		return "", fmt.Errorf("making %s durable: %w", dir, err)
	}
	return dir, nil
}

// identify checks whose directory this is, and makes it this node's if it is new.
// What it says is durable when it returns: a start before, that was interrupted,
// may have left it otherwise.
func (d *dataDir) identify(nodeID int32) error {
	name := path.Join(d.path, identityFile)
	data, err := readFile(d.fs, name)
	if errors.Is(err, vfs.ErrNotExist) {
		names, err := d.fs.List(path.Join(d.path, shardsDir))
		if err != nil {
			return fmt.Errorf("listing %s: %w", d.path, err)
		}
		if len(names) > 0 {
			return fmt.Errorf("%w: %s is missing, but there are shards: restore it from a backup of the directory", ErrDamagedDir, name)
		}
		return d.writeIdentity(identity{formatVersion, nodeID})
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", name, err)
	}
	id, err := parseIdentity(data)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if id.NodeID != nodeID {
		return fmt.Errorf("%s: %w: it is of node %d, this is node %d", d.path, ErrOtherNode, id.NodeID, nodeID)
	}
	return d.syncIdentity()
}

// parseIdentity looks at the version before it blames what it does not understand.
func parseIdentity(data []byte) (identity, error) {
	var of struct {
		Version int `json:"version"`
	}
	err := json.Unmarshal(data, &of)
	if err == nil && of.Version > formatVersion {
		return identity{}, fmt.Errorf("%w: its format is version %d, this one understands %d: start that version", ErrNewerVersion, of.Version, formatVersion)
	}
	var id identity
	if err == nil {
		err = json.Unmarshal(data, &id)
	}
	if err != nil || id.Version < 1 || id.NodeID < 1 {
		return identity{}, errors.Join(fmt.Errorf("%w: not a node's identity: restore it from a backup of the directory", ErrDamagedDir), err)
	}
	return id, nil
}

func (d *dataDir) writeIdentity(id identity) error {
	data, err := json.Marshal(id)
	if err != nil {
		return err
	}
	name := path.Join(d.path, identityFile)
	if err := writeFile(d.fs, name, append(data, '\n')); err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return d.syncIdentity()
}

func (d *dataDir) syncIdentity() error {
	if err := d.fs.SyncDir(d.path); err != nil {
		return fmt.Errorf("making %s durable: %w", path.Join(d.path, identityFile), err)
	}
	return nil
}

// writeFile puts data under a name in one step: all of it is there, or nothing.
func writeFile(fs vfs.FS, name string, data []byte) error {
	tmp := name + ".tmp"
	if err := fs.Remove(tmp); err != nil && !errors.Is(err, vfs.ErrNotExist) {
		return err
	}
	f, err := fs.Create(tmp)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return fs.Rename(tmp, name)
}

// maxIdentity bounds what is read as node.json, in bytes.
const maxIdentity = 1 << 16

func readFile(fs vfs.FS, name string) ([]byte, error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > maxIdentity {
		return nil, fmt.Errorf("%d bytes are too many", size)
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data, nil
}

package broker

import (
	"errors"
	"fmt"
	"path"
	"slices"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/vfs"
)

// DirFinding is something in a data directory, beside the logs of its shards, that is
// not as it should be.
type DirFinding struct {
	File string // in the directory
	What error
	Do   string // what to do about it
}

// CheckDir looks at a data directory that no node uses, and changes nothing. It lists
// the directories of the shards, which it does not look into. The error is a
// directory that cannot be read.
func CheckDir(fs vfs.FS, dir string) (shards []string, findings []DirFinding, err error) {
	find := func(file, do string, what error) {
		findings = append(findings, DirFinding{file, what, do})
	}
	data, err := readFile(fs, path.Join(dir, identityFile))
	switch {
	case errors.Is(err, vfs.ErrNotExist):
		find(identityFile, "Restore it from a backup of the directory: the node does not start without it.", fmt.Errorf("%w: it is missing", ErrDamagedDir))
	case err != nil:
		find(identityFile, "See whether the disk is failing.", err)
	default:
		if _, err := parseIdentity(data); errors.Is(err, ErrNewerVersion) {
			find(identityFile, "Use the version of the program that wrote it, or a newer one.", err)
		} else if err != nil {
			find(identityFile, "Restore it from a backup of the directory: the node does not start without it.", err)
		}
	}
	names, err := fs.List(dir)
	if err != nil {
		return nil, nil, err
	}
	for _, name := range names {
		if !slices.Contains([]string{lockFile, identityFile, shardsDir}, name) && name != identityFile+".tmp" {
			find(name, "No node reads it: move it away if you do not know why it is there.", errors.New("it is not part of a data directory"))
		}
	}
	names, err = fs.List(path.Join(dir, shardsDir))
	if err != nil {
		return nil, nil, err
	}
	next := record.MetadataShard
	for _, name := range names {
		var id record.ShardID
		if _, err := fmt.Sscanf(name, "%d", &id); err != nil || shardName(id) != name {
			find(path.Join(shardsDir, name), "No node reads it: move it away if you do not know why it is there.", errors.New("it is not the directory of a shard"))
			continue
		}
		for ; next < id; next++ {
			find(path.Join(shardsDir, shardName(next)), "Restore it from a backup: what was in the shard is not here.", fmt.Errorf("%w: it is missing", ErrDamagedDir))
		}
		next = id + 1
		shards = append(shards, path.Join(dir, shardsDir, name))
	}
	return shards, findings, nil
}

// ReadMetadata reads the cluster's metadata in a data directory that no node uses, and
// changes nothing. With an error it returns what it had read before: older metadata, which
// is enough to name topics, since an id is never given to another. Metadata that is not
// yet committed counts as if it were.
func ReadMetadata(fs vfs.FS, dir string) (*cluster.View, error) {
	v := cluster.Empty()
	restore := func(snap *commitlog.Snapshot) error {
		data, ok := snap.Section(sectionCluster)
		if !ok {
			return nil // the first one, before anything happened
		}
		got, err := cluster.Restore(data)
		if err == nil {
			v = got
		}
		return err
	}
	apply := func(e record.Entry) (err error) {
		e.Each(func(_ int, p record.Part) bool {
			var c record.Command
			if p.Kind != record.KindCommand {
				return true
			}
			if c, err = record.ParseCommand(p.Bytes); err != nil || c.Owner() != record.OwnerCluster {
				return err == nil
			}
			var next *cluster.View
			if next, err = v.Apply(c, e.Time()); err == nil {
				v = next
			}
			return err == nil
		})
		return err
	}
	err := commitlog.Replay(fs, path.Join(dir, shardsDir, shardName(record.MetadataShard)), restore, apply)
	return v, err
}

// shardName is the name of a shard's directory.
func shardName(id record.ShardID) string { return fmt.Sprintf("%04d", id) }

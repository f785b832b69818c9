package main

import (
	"errors"
	"fmt"
	"io"
	"path"

	"github.com/splashdam/splashdam/internal/vfs"
)

// What a data directory looks like from outside: a lock, and a directory for the
// log of each shard.
const (
	lockName      = "LOCK"
	shardsName    = "shards"
	segmentSuffix = ".log"
)

// shardDirs lists the directories of the shards under a data directory, by name.
func shardDirs(fsys vfs.FS, dir string) ([]string, error) {
	shards := path.Join(dir, shardsName)
	there, err := fsys.Exists(shards)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, notADataDir(fsys, dir)
	}
	names, err := fsys.List(shards)
	if err != nil {
		return nil, err
	}
	var all []string
	for _, n := range names {
		all = append(all, path.Join(shards, n))
	}
	return all, nil
}

func notADataDir(fsys vfs.FS, dir string) error {
	e := &problem{what: dir + " is not a data directory: it has no " + shardsName}
	if there, err := fsys.Exists(dir); err == nil && !there {
		e.what = dir + " does not exist"
	}
	e.next = []string{"give the directory that serve was given with --data"}
	return e
}

// dumpFiles lists what dump was asked for: one file; the files of a shard; those of
// all shards of a data directory.
func dumpFiles(fsys vfs.FS, name string) ([]string, error) {
	if _, err := fsys.List(name); err != nil {
		// Not a directory, or not there: opening it says which.
		f, openErr := fsys.Open(name)
		if errors.Is(openErr, vfs.ErrNotExist) {
			return nil, &problem{what: name + " does not exist"}
		}
		if openErr != nil {
			return nil, openErr
		}
		return []string{name}, f.Close()
	}
	dirs := []string{name}
	if there, err := fsys.Exists(path.Join(name, shardsName)); err != nil {
		return nil, err
	} else if there {
		if dirs, err = shardDirs(fsys, name); err != nil {
			return nil, err
		}
	}
	var all []string
	for _, dir := range dirs {
		names, err := fsys.List(dir)
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			if logFile(n) {
				all = append(all, path.Join(dir, n))
			}
		}
	}
	if len(all) == 0 {
		return nil, &problem{what: "there is no file of a shard in " + name, next: []string{"give a data directory, a shard in it, or a file"}}
	}
	return all, nil
}

// logFile reports whether a file belongs to the log of a shard, by its name.
func logFile(name string) bool {
	switch path.Ext(name) {
	case segmentSuffix, ".idx", ".snap":
		return true
	}
	return name == "manifest" || name == "hardstate" || name == "scrub"
}

// lockIdle takes the lock of a data directory, so that no node starts on it. A
// copy without a lock file needs none.
func lockIdle(fsys vfs.FS, dir string) (io.Closer, error) {
	lock := path.Join(dir, lockName)
	there, err := fsys.Exists(lock)
	if err != nil || !there {
		return io.NopCloser(nil), err
	}
	held, err := fsys.Lock(lock)
	if errors.Is(err, vfs.ErrLocked) {
		return nil, &problem{
			what: fmt.Sprintf("data directory %s is in use: a node writes to it", dir),
			next: []string{"stop the node first, or verify a copy of the directory"},
		}
	}
	return held, err
}

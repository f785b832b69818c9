package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
)

// readiness is the content of the ready file. Scripts, tests and health read it;
// its fields are never renamed.
type readiness struct {
	PID       int             `json:"pid"`
	Version   string          `json:"version"`
	NodeID    int32           `json:"node_id"`
	ClusterID string          `json:"cluster_id"`
	Data      string          `json:"data"`
	Listeners []readyListener `json:"listeners"`
}

type readyListener struct {
	Name       string     `json:"name"`
	Protocol   string     `json:"protocol"`
	Host       string     `json:"host"`
	Port       int        `json:"port"`
	Advertised advertised `json:"advertised"`
}

type advertised struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// writeReadyFile puts the file in place in one step: whoever sees it sees all of
// it. The returned function, never nil, removes it if it still is this process's;
// it may be called more than once. Without a configured path it does nothing.
func writeReadyFile(cfg ServeConfig, clusterID string, on []BoundListener) (remove func(), err error) {
	remove = func() {}
	if cfg.ReadyFile == "" {
		return remove, nil
	}
	r := readiness{PID: os.Getpid(), Version: thisBuild().Version, NodeID: cfg.NodeID, ClusterID: clusterID, Data: cfg.Data}
	for _, l := range on {
		r.Listeners = append(r.Listeners, readyListener{
			Name: l.Name, Protocol: l.Protocol, Host: l.Host, Port: l.Port,
			Advertised: advertised{l.Advertised.Host, l.Advertised.Port},
		})
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return remove, fmt.Errorf("ready file: %w", err)
	}
	temporary := fmt.Sprintf("%s.%d", cfg.ReadyFile, r.PID)
	if err := os.WriteFile(temporary, append(content, '\n'), 0o644); err != nil {
		return remove, fmt.Errorf("ready file: %w", err)
	}
	if err := os.Rename(temporary, cfg.ReadyFile); err != nil {
		_ = os.Remove(temporary)
		return remove, fmt.Errorf("ready file: %w", err)
	}
	return sync.OnceFunc(func() {
		if now, err := readReadyFile(cfg.ReadyFile); err == nil && now.PID == r.PID {
			_ = os.Remove(cfg.ReadyFile)
		}
	}), nil
}

func readReadyFile(path string) (readiness, error) {
	var r readiness
	content, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(content, &r); err != nil {
		return r, fmt.Errorf("%s is not a ready file: %w", path, err)
	}
	return r, nil
}

// removeStaleReadyFile removes what a process left that was killed, so that nobody
// takes it for this one's. A file whose process is alive is left alone: only the
// lock of the data directory can say whether the two are in each other's way.
func removeStaleReadyFile(path string) error {
	if path == "" {
		return nil
	}
	r, err := readReadyFile(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return &problem{
			what:  "ready file " + path,
			cause: err,
			next:  []string{"it would be overwritten; name another file, or remove it"},
			kind:  errUsage,
		}
	case r.PID != os.Getpid() && syscall.Kill(r.PID, 0) == nil:
		return nil
	}
	return os.Remove(path)
}

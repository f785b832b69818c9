package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is the release, or the one that is being worked on. A release sets it
// with -ldflags "-X main.version=...".
var version = "0.1.0-dev"

// build is what a bug report needs to name a binary.
type build struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // there were changes that are not in the commit
	Time     string `json:"commit_time,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func thisBuild() build {
	b := build{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Time = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// shortCommit is the commit as a person writes it; a build outside a checkout has
// none.
func (b build) shortCommit() string {
	short := b.Commit
	switch {
	case short == "":
		return "unknown"
	case len(short) > 12:
		short = short[:12]
	}
	if b.Modified {
		short += "+changes"
	}
	return short
}

func (b build) String() string {
	return fmt.Sprintf("splashdam %s  commit %s  %s", b.Version, b.shortCommit(), b.Go)
}

func (p *program) versionCommand() *cobra.Command {
	var out listing
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print version, commit and Go version",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := out.check(cmd); err != nil {
				return err
			}
			b := thisBuild()
			if out.json {
				return printJSON(p.stdout, b)
			}
			_, err := fmt.Fprintf(p.stdout, "%s  %s\n", b, b.Platform)
			return err
		},
	}
	out.flags(cmd)
	return cmd
}

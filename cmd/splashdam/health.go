package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// healthTimeout bounds the check of one listener.
const healthTimeout = 5 * time.Second

// checked is the outcome for one listener.
type checked struct {
	Listener string `json:"listener"`
	Address  string `json:"address"`
	Healthy  bool   `json:"healthy"`
	Error    string `json:"error,omitempty"`
}

func (p *program) healthCommand() *cobra.Command {
	var out listing
	var readyFile string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Check that every listener answers; exit 0 if so, 1 if not",
		Long: `Check each listener: it answers ApiVersions and Metadata, knows at least one
broker, and knows who leads the cluster.

The listeners are those of the ready file, if one is given, else the brokers.`,
		Args: cobra.NoArgs,
	}
	c := p.clusterFlags(cmd)
	out.flags(cmd)
	cmd.Flags().StringVar(&readyFile, "ready-file", "", "`PATH` that serve was given ("+variable("ready-file")+"), unless -b is")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		targets, err := p.healthTargets(c, readyFile)
		if err != nil {
			return err
		}
		unwell := false
		results := []checked{}
		for _, t := range targets {
			ctx, cancel := context.WithTimeout(cmd.Context(), healthTimeout)
			if err := askListener(ctx, t.Address); err != nil {
				t.Error, unwell = describe(err), true
			} else {
				t.Healthy = true
			}
			cancel()
			results = append(results, t)
		}
		if err := p.printHealth(out, results); err != nil {
			return err
		}
		if unwell {
			return errUnwell
		}
		return nil
	}
	return cmd
}

func (p *program) healthTargets(c *cluster, readyFile string) ([]checked, error) {
	if readyFile == "" && c.brokers == "" {
		readyFile = p.env[variable("ready-file")]
	}
	if readyFile == "" {
		if err := c.resolve(); err != nil {
			return nil, err
		}
		var all []checked
		for _, seed := range c.seeds {
			all = append(all, checked{Address: seed})
		}
		return all, nil
	}
	r, err := readReadyFile(readyFile)
	if errors.Is(err, os.ErrNotExist) {
		return nil, &problem{what: fmt.Sprintf("the node is not ready: there is no %s", readyFile)}
	}
	if err != nil {
		return nil, err
	}
	var all []checked
	for _, l := range r.Listeners {
		all = append(all, checked{Listener: l.Name, Address: dialable(HostPort{l.Host, l.Port}).String()})
	}
	return all, nil
}

func (p *program) printHealth(out listing, results []checked) error {
	switch {
	case out.json:
		return printJSON(p.stdout, results)
	case p.quiet:
		for _, r := range results {
			if !r.Healthy {
				fmt.Fprintf(p.stderr, "%s: %s\n", r.Address, r.Error)
			}
		}
		return nil
	}
	g := grid{heads: []string{"LISTENER", "ADDRESS", "HEALTH"}}
	for _, r := range results {
		state := "ok"
		if !r.Healthy {
			state = r.Error
		}
		g.add(orDash(r.Listener), r.Address, state)
	}
	return g.print(p.stdout)
}

// askListener asks the broker at an address, and nobody it refers to, whether it
// serves.
func askListener(ctx context.Context, at string) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(at),
		kgo.ClientID("splashdam-health"),
		kgo.DialTimeout(healthTimeout),
		kgo.RequestRetries(0),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	broker := client.SeedBrokers()[0]
	// The client opens every connection with ApiVersions.
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{}
	answer, err := broker.Request(ctx, req)
	if err != nil {
		return err
	}
	m := answer.(*kmsg.MetadataResponse)
	switch {
	case m.ErrorCode != 0:
		return kerr.ErrorForCode(m.ErrorCode)
	case len(m.Brokers) == 0:
		return errors.New("it knows no broker yet")
	case m.ControllerID < 0:
		return errors.New("nobody leads the cluster")
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

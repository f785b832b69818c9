package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/sdk"
)

// healthTimeout bounds the check of one listener.
const healthTimeout = 5 * time.Second

// checked is the outcome for one listener.
type checked struct {
	Listener string `json:"listener"`
	Address  string `json:"address"`
	Healthy  bool   `json:"healthy"`
	Error    string `json:"error,omitempty"`

	protocol string // security protocol, "" if it is not known
}

func (p *program) healthCommand() *cobra.Command {
	var out listing
	var readyFile string
	cmd := &cobra.Command{
		Use:   "health",
		Short: "Check that every listener answers; exit 0 if so, 1 if not",
		Long: `Check each listener: it answers ApiVersions and Metadata, knows at least one
broker, and knows who leads the cluster.

The listeners are those of the ready file, if one is given, else the brokers. One
where clients have to log in, or to encrypt, is asked that if --command-config says
how, for its security protocol. If not it only has to answer: a handshake of TLS, or
ApiVersions.`,
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
			if err := askListener(ctx, t, c.security); err != nil {
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
	if err := c.resolve(); err != nil {
		return nil, err
	}
	if readyFile == "" {
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
		all = append(all, checked{Listener: l.Name, Address: dialable(HostPort{l.Host, l.Port}).String(), protocol: l.Protocol})
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
func askListener(ctx context.Context, t checked, security sdk.Security) error {
	opts := security.Options()
	if t.protocol != "" && t.protocol != protocolOf(security) {
		if t.protocol != kafka.Plaintext {
			return greetListener(ctx, t)
		}
		opts = nil
	}
	client, err := kgo.NewClient(append(opts,
		kgo.SeedBrokers(t.Address),
		kgo.ClientID("splashdam-health"),
		kgo.DialTimeout(healthTimeout),
		kgo.RequestRetries(0),
	)...)
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

func protocolOf(s sdk.Security) string {
	switch {
	case s.TLS != nil && s.SASL != nil:
		return kafka.SASLSSL
	case s.TLS != nil:
		return kafka.SSL
	case s.SASL != nil:
		return kafka.SASLPlaintext
	}
	return kafka.Plaintext
}

// greetListener asks what a listener tells everyone.
func greetListener(ctx context.Context, t checked) error {
	dialer := net.Dialer{Timeout: healthTimeout}
	nc, err := dialer.DialContext(ctx, "tcp", t.Address)
	if err != nil {
		return err
	}
	defer nc.Close()
	if err := nc.SetDeadline(time.Now().Add(healthTimeout)); err != nil {
		return err
	}
	if t.protocol != kafka.SASLPlaintext {
		// Whether it is there is the question, not who it is: nothing is sent to it.
		secured := tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
		if err := secured.HandshakeContext(ctx); err != nil {
			return fmt.Errorf("TLS handshake: %w", err)
		}
		nc = secured
	}
	if t.protocol == kafka.SSL {
		return nil // it may want a certificate
	}
	req := kmsg.NewPtrApiVersionsRequest()
	req.SetVersion(0)
	if _, err := nc.Write(kmsg.NewRequestFormatter(kmsg.FormatterClientID("splashdam-health")).AppendRequest(nil, req, 1)); err != nil {
		return err
	}
	if _, err := io.ReadFull(nc, make([]byte, 10)); err != nil {
		return fmt.Errorf("ApiVersions is not answered: %w", err)
	}
	return nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

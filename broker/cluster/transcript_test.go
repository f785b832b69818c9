package cluster

import (
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/broker/record"
)

var rewrite = flag.Bool("rewrite", false, "write the transcripts anew; read the diff")

// TestLifeOfACluster plays testdata/life.txt: a request per line behind "> ", then
// the command it leads to or the refusal, then what there is.
func TestLifeOfACluster(t *testing.T) {
	const file = "testdata/life.txt"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p := player{ctl: Lead(Empty()), newID: ids(), settings: DefaultBrokerSettings()}
	var out strings.Builder
	for line := range strings.Lines(string(text)) {
		switch {
		case strings.HasPrefix(line, "> "):
			fmt.Fprintf(&out, "\n%s%s", line, p.play(strings.Fields(line[2:])))
		case strings.HasPrefix(line, "#"):
			fmt.Fprintf(&out, "\n%s", line)
		}
	}
	got := strings.TrimPrefix(out.String(), "\n")
	if *rewrite {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != string(text) {
		t.Errorf("%s has changed; run with -rewrite and read the diff. Got:\n%s", file, got)
	}
}

type player struct {
	ctl      *Controller
	newID    func() [16]byte
	settings *BrokerSettings
}

func (p *player) play(words []string) string {
	cmd, err := p.request(words[0], words[1:])
	if err != nil {
		return fmt.Sprintf("  refused: %v\n", err)
	}
	return fmt.Sprintf("  %s\n%s", Describe(cmd), picture(p.ctl.View()))
}

func (p *player) request(verb string, args []string) (cmd record.Command, err error) {
	switch verb {
	case "bootstrap":
		var shards []record.ShardID
		for _, a := range args[1:] {
			shards = append(shards, record.ShardID(atoi(a)))
		}
		return p.ctl.Bootstrap(args[0], shards)
	case "register":
		return p.ctl.RegisterNode(node(int32(atoi(args[0]))))
	case "shard":
		return p.ctl.AddShard(record.ShardID(atoi(args[0])))
	case "create":
		r := plain(args[0], int32(atoi(args[1])))
		r.Configs = map[string]*string{}
		for _, a := range args[2:] {
			name, value, _ := strings.Cut(a, "=")
			r.Configs[name] = &value
		}
		cmd, _, err = p.ctl.CreateTopic(r, p.settings, p.newID)
	case "internal":
		cmd, _, err = p.ctl.CreateInternal(args[0], p.settings, p.newID)
	case "delete":
		cmd, _, err = p.ctl.DeleteTopic(args[0], p.settings)
	case "grow":
		cmd, _, err = p.ctl.AddPartitions(args[0], int32(atoi(args[1])), nil)
	case "alter":
		var changes []ConfigChange
		for _, a := range args[1:] {
			changes = append(changes, configChange(a))
		}
		cmd, _, err = p.ctl.AlterConfigs(args[0], changes, p.settings)
	case "user":
		credential, err := auth.NewCredential(args[1], "x", auth.MinIterations)
		if err != nil {
			return nil, err
		}
		return p.ctl.SetCredential(args[0], credential)
	case "drop":
		return p.ctl.DeleteCredential(args[0], args[1])
	case "producers":
		cmd, _, _, err = p.ctl.AllocateProducerIDs(int32(atoi(args[0])), atoi(args[1]))
	default:
		panic("no request " + verb)
	}
	return cmd, err
}

// configChange reads "name=value", "name+=value", "name-=value" and "-name".
func configChange(a string) ConfigChange {
	name, value, ok := strings.Cut(a, "=")
	if !ok {
		return ConfigChange{Name: strings.TrimPrefix(a, "-"), Op: kmsg.IncrementalAlterConfigOpDelete}
	}
	c := ConfigChange{Name: strings.TrimRight(name, "+-"), Op: kmsg.IncrementalAlterConfigOpSet, Value: &value}
	switch {
	case strings.HasSuffix(name, "+"):
		c.Op = kmsg.IncrementalAlterConfigOpAppend
	case strings.HasSuffix(name, "-"):
		c.Op = kmsg.IncrementalAlterConfigOpSubtract
	}
	return c
}

func atoi(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// picture prints what a View holds.
func picture(v *View) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  version %d, next partition %v, next producer %d, shards", v.Version(), v.NextPartitionID(), v.NextProducerID())
	for _, s := range v.Shards() {
		fmt.Fprintf(&b, " %d:%d", s, v.PartitionsOf(s))
	}
	b.WriteByte('\n')
	for _, t := range v.Topics() {
		fmt.Fprintf(&b, "    %s", t.Name)
		for i, p := range t.Partitions {
			if i == 6 {
				fmt.Fprintf(&b, " ... %d", len(t.Partitions))
				break
			}
			fmt.Fprintf(&b, " %v/%d", p.ID, p.Shard)
		}
		fmt.Fprintf(&b, "%s\n", configWords(pairsOf(t.Configs), nil))
	}
	for _, u := range v.Users() {
		fmt.Fprintf(&b, "    user %s", u.Name)
		for _, c := range u.Credentials {
			fmt.Fprintf(&b, " %s", c.Mechanism)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

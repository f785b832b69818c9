package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (p *program) quotaCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quota",
		Short: "Manage what clients may take",
		Long: `Manage what clients may take: of users, client ids, both together, or addresses.

producer_byte_rate, consumer_byte_rate       bytes a second
request_percentage                           of a processor, 100 for one
controller_mutation_rate                     partitions made and deleted a second
connection_creation_rate                     connections a second, of an address

The most special quota holds: by user and client id, by user, by client id; a name
before the default, which --default-user and the like stand for.`,
	}
	cmd.AddCommand(p.quotaSet(), p.quotaList(), p.quotaRemove())
	return cmd
}

// quotaEntity is the flags that say whose quotas.
type quotaEntity struct {
	named      [3]string
	everybody  [3]bool
	components []quotaComponent
}

type quotaComponent struct {
	kind string
	name *string // nil for the default
}

// quotaKinds are the types of entities by Kafka's names, which are the flags' too.
var quotaKinds = [3]string{"user", "client-id", "ip"}

func (e *quotaEntity) flags(cmd *cobra.Command) {
	for i, kind := range quotaKinds {
		cmd.Flags().StringVar(&e.named[i], kind, "", "`NAME` of whom the quotas are for")
		cmd.Flags().BoolVar(&e.everybody[i], "default-"+kind, false, "all who have none by their names, each for itself")
	}
}

func (e *quotaEntity) read() error {
	e.components = nil
	for i, kind := range quotaKinds {
		switch {
		case e.named[i] != "" && e.everybody[i]:
			return fmt.Errorf("--%s and --default-%s exclude each other", kind, kind)
		case e.named[i] != "":
			e.components = append(e.components, quotaComponent{kind, &e.named[i]})
		case e.everybody[i]:
			e.components = append(e.components, quotaComponent{kind, nil})
		}
	}
	return nil
}

// describedQuota is an entity with its quotas in JSON; its fields are never renamed. A
// null name is the default of its type.
type describedQuota struct {
	Entity map[string]*string `json:"entity"`
	Quotas map[string]float64 `json:"quotas"`
}

func (p *program) quotaList() *cobra.Command {
	var out listing
	var whose quotaEntity
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List quotas, of all or of some",
		Example: "  splashdam quota list\n  splashdam quota list --user alice",
		Args:    cobra.NoArgs,
	}
	c := p.clusterFlags(cmd)
	out.flags(cmd)
	whose.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		if err := whose.read(); err != nil {
			return usage(cmd, err)
		}
		all := []describedQuota{}
		g := grid{heads: []string{"ENTITY", "QUOTA", "VALUE"}}
		err := c.connected(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
			entries, err := c.quotas(ctx, client, &whose, false)
			for _, e := range entries {
				d := describedQuota{map[string]*string{}, map[string]float64{}}
				var words []string
				for _, part := range e.Entity {
					d.Entity[part.Type] = part.Name
					words = append(words, entityWord(part.Type, part.Name))
				}
				for _, v := range e.Values {
					d.Quotas[v.Key] = v.Value
					g.add(strings.Join(words, " "), v.Key, strconv.FormatFloat(v.Value, 'f', -1, 64))
				}
				all = append(all, d)
			}
			return err
		})
		if err != nil {
			return err
		}
		if out.json {
			return printJSON(p.stdout, all)
		}
		return g.print(p.stdout)
	}
	return cmd
}

func entityWord(kind string, name *string) string {
	if name == nil {
		return "default-" + kind
	}
	return kind + "=" + printable(*name)
}

// quotas asks for the quotas of an entity: of it alone, or also with other components.
func (c *cluster) quotas(ctx context.Context, client *kgo.Client, whose *quotaEntity, alone bool) ([]kmsg.DescribeClientQuotasResponseEntry, error) {
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	req.Strict = alone
	for _, part := range whose.components {
		component := kmsg.DescribeClientQuotasRequestComponent{EntityType: part.kind, MatchType: kmsg.QuotasMatchTypeDefault}
		if part.name != nil {
			component.MatchType, component.Match = kmsg.QuotasMatchTypeExact, part.name
		}
		req.Components = append(req.Components, component)
	}
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return nil, err
	}
	if err := answered(resp.ErrorCode, resp.ErrorMessage); err != nil {
		return nil, c.unauthorized("listing quotas", err)
	}
	return resp.Entries, nil
}

func (p *program) quotaSet() *cobra.Command {
	var whose quotaEntity
	cmd := &cobra.Command{
		Use:   "set QUOTA=VALUE...",
		Short: "Set quotas",
		Example: `  splashdam quota set --user alice producer_byte_rate=1048576 consumer_byte_rate=2097152
  splashdam quota set --default-user request_percentage=50
  splashdam quota set --default-ip connection_creation_rate=20`,
		Args: cobra.MinimumNArgs(1),
	}
	c := p.clusterFlags(cmd)
	whose.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var ops []kmsg.AlterClientQuotasRequestEntryOp
		for _, arg := range args {
			key, text, _ := strings.Cut(arg, "=")
			value, err := strconv.ParseFloat(text, 64)
			if err != nil {
				return usage(cmd, fmt.Errorf("%s is not of the form quota=number", arg))
			}
			ops = append(ops, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Value: value})
		}
		if err := whose.check(cmd); err != nil {
			return err
		}
		return c.connected(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
			if err := c.alterQuotas(ctx, client, &whose, ops); err != nil {
				return err
			}
			p.talk("%s set\n", count(len(ops), "quota"))
			return nil
		})
	}
	return cmd
}

func (p *program) quotaRemove() *cobra.Command {
	var whose quotaEntity
	cmd := &cobra.Command{
		Use:     "remove [QUOTA]...",
		Aliases: []string{"rm", "delete"},
		Short:   "Remove quotas: those that are named, or all of an entity",
		Example: "  splashdam quota remove --user alice\n  splashdam quota remove --user alice producer_byte_rate",
	}
	c := p.clusterFlags(cmd)
	whose.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := whose.check(cmd); err != nil {
			return err
		}
		return c.connected(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
			if len(args) == 0 {
				entries, err := c.quotas(ctx, client, &whose, true)
				if err != nil {
					return err
				}
				for _, e := range entries {
					for _, v := range e.Values {
						args = append(args, v.Key)
					}
				}
			}
			var ops []kmsg.AlterClientQuotasRequestEntryOp
			for _, key := range args {
				ops = append(ops, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Remove: true})
			}
			if len(ops) > 0 {
				if err := c.alterQuotas(ctx, client, &whose, ops); err != nil {
					return err
				}
			}
			p.talk("%s removed\n", count(len(ops), "quota"))
			return nil
		})
	}
	return cmd
}

// check reads the flags of a change, which needs somebody to be for.
func (e *quotaEntity) check(cmd *cobra.Command) error {
	err := e.read()
	if err == nil && len(e.components) == 0 {
		err = errors.New("say whose: --user, --client-id, --ip, or one of the defaults")
	}
	if err != nil {
		return usage(cmd, err)
	}
	return nil
}

func (c *cluster) alterQuotas(ctx context.Context, client *kgo.Client, whose *quotaEntity, ops []kmsg.AlterClientQuotasRequestEntryOp) error {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	e := kmsg.AlterClientQuotasRequestEntry{Ops: ops}
	for _, part := range whose.components {
		e.Entity = append(e.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: part.kind, Name: part.name})
	}
	req.Entries = append(req.Entries, e)
	resp, err := req.RequestWith(ctx, client)
	if err != nil {
		return err
	}
	for _, r := range resp.Entries {
		if err := answered(r.ErrorCode, r.ErrorMessage); err != nil {
			return c.unauthorized("changing quotas", err)
		}
	}
	return nil
}

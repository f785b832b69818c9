package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (p *program) aclCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "acl",
		Short: "Manage who may do what",
		Long: `Manage who may do what.

A broker obeys the access control list if it has authorizer.class.name set; then it
refuses what no line allows, and what any line denies, but for its super.users.`,
	}
	cmd.AddCommand(p.aclAdd(), p.aclList(), p.aclRemove())
	return cmd
}

// describedACL is a line of the list in JSON; its fields are never renamed.
type describedACL struct {
	Resource   string `json:"resource"`
	Pattern    string `json:"pattern"`
	Name       string `json:"name"`
	Principal  string `json:"principal"`
	Host       string `json:"host"`
	Operation  string `json:"operation"`
	Permission string `json:"permission"`
}

// aclResources are the flags that name a resource, of each type.
type aclResources struct {
	topics, groups, ids []string
	cluster             bool
	pattern             string
}

const clusterResource = "kafka-cluster"

func (r *aclResources) flags(cmd *cobra.Command, pattern string, patterns ...string) {
	cmd.Flags().StringSliceVar(&r.topics, "topic", nil, "`NAME`,... of topics; * for all")
	cmd.Flags().StringSliceVar(&r.groups, "group", nil, "`NAME`,... of groups; * for all")
	cmd.Flags().StringSliceVar(&r.ids, "transactional-id", nil, "`ID`,... of transactional producers; * for all")
	cmd.Flags().BoolVar(&r.cluster, "cluster", false, "the cluster")
	cmd.Flags().StringVar(&r.pattern, "pattern", pattern, "`type` of the names: "+strings.Join(patterns, ", "))
	completeWords(cmd, "pattern", patterns...)
}

type aclResource struct {
	kind kmsg.ACLResourceType
	name string
}

func (r *aclResources) all() (all []aclResource) {
	for _, named := range []struct {
		kind  kmsg.ACLResourceType
		names []string
	}{
		{kmsg.ACLResourceTypeTopic, r.topics}, {kmsg.ACLResourceTypeGroup, r.groups}, {kmsg.ACLResourceTypeTransactionalId, r.ids},
	} {
		for _, n := range named.names {
			all = append(all, aclResource{named.kind, n})
		}
	}
	if r.cluster {
		all = append(all, aclResource{kmsg.ACLResourceTypeCluster, clusterResource})
	}
	return all
}

func (p *program) aclAdd() *cobra.Command {
	var resources aclResources
	var allow, deny, operations, hosts []string
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Allow or deny principals something",
		Example: `  splashdam acl add --allow User:alice --operation read --topic orders --group billing
  splashdam acl add --allow User:alice --operation write --topic team-a. --pattern prefixed
  splashdam acl add --deny 'User:*' --operation delete --topic '*'`,
		Args: cobra.NoArgs,
	}
	c := p.clusterFlags(cmd)
	resources.flags(cmd, "literal", "literal", "prefixed")
	cmd.Flags().StringSliceVar(&allow, "allow", nil, "`PRINCIPAL`,... who may, as in User:alice; User:* for everybody")
	cmd.Flags().StringSliceVar(&deny, "deny", nil, "`PRINCIPAL`,... who may not, whatever allows it")
	cmd.Flags().StringSliceVar(&operations, "operation", nil, "`OPERATION`,...: all, read, write, create, delete, alter, describe, describe-configs, alter-configs, cluster-action, idempotent-write")
	cmd.Flags().StringSliceVar(&hosts, "host", []string{"*"}, "`ADDRESS`,... from where; * for anywhere")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		pattern, err := kmsg.ParseACLResourcePatternType(resources.pattern)
		if err != nil || pattern < kmsg.ACLResourcePatternTypeLiteral {
			return usage(cmd, fmt.Errorf("--pattern %s: a line is literal or prefixed", resources.pattern))
		}
		req := kmsg.NewPtrCreateACLsRequest()
		for _, r := range resources.all() {
			kind := pattern
			if r.kind == kmsg.ACLResourceTypeCluster {
				kind = kmsg.ACLResourcePatternTypeLiteral
			}
			for _, name := range operations {
				op, err := kmsg.ParseACLOperation(name)
				if err != nil || op <= kmsg.ACLOperationAny {
					return usage(cmd, fmt.Errorf("--operation %s: there is no such operation", name))
				}
				for i, principal := range append(append([]string{}, allow...), deny...) {
					permission := kmsg.ACLPermissionTypeAllow
					if i >= len(allow) {
						permission = kmsg.ACLPermissionTypeDeny
					}
					for _, host := range hosts {
						req.Creations = append(req.Creations, kmsg.CreateACLsRequestCreation{
							ResourceType: r.kind, ResourcePatternType: kind, ResourceName: r.name,
							Principal: principal, Host: host, Operation: op, PermissionType: permission,
						})
					}
				}
			}
		}
		if len(req.Creations) == 0 {
			return usage(cmd, errors.New("a line needs whom (--allow, --deny), what (--operation), and on what (--topic, --group, --transactional-id, --cluster)"))
		}
		return c.connected(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
			resp, err := req.RequestWith(ctx, client)
			if err != nil {
				return err
			}
			for i, r := range resp.Results {
				if err := answered(r.ErrorCode, r.ErrorMessage); err != nil {
					return c.unauthorized(fmt.Sprintf("line %d of %d", i+1, len(resp.Results)), err)
				}
			}
			p.talk("%s added\n", count(len(req.Creations), "line"))
			return nil
		})
	}
	return cmd
}

// aclFilter is the flags that choose lines.
type aclFilter struct {
	resources                              aclResources
	principal, host, operation, permission string
}

func (f *aclFilter) flags(cmd *cobra.Command) {
	f.resources.flags(cmd, "any", "any", "match", "literal", "prefixed")
	cmd.Flags().StringVar(&f.principal, "principal", "", "`PRINCIPAL` of the lines, as in User:alice")
	cmd.Flags().StringVar(&f.host, "host", "", "`ADDRESS` of the lines")
	cmd.Flags().StringVar(&f.operation, "operation", "any", "`OPERATION` of the lines")
	cmd.Flags().StringVar(&f.permission, "permission", "any", "`PERMISSION` of the lines: any, allow, deny")
	completeWords(cmd, "permission", "any", "allow", "deny")
}

// empty says that all lines are chosen.
func (f *aclFilter) empty() bool {
	return len(f.resources.all()) == 0 && f.principal == "" && f.host == "" && f.operation == "any" && f.permission == "any"
}

// requests are one for each resource, or one for all.
func (f *aclFilter) requests() ([]kmsg.DescribeACLsRequest, error) {
	pattern, err := kmsg.ParseACLResourcePatternType(f.resources.pattern)
	if err != nil {
		return nil, fmt.Errorf("--pattern %s: the types are any, match, literal and prefixed", f.resources.pattern)
	}
	op, err := kmsg.ParseACLOperation(f.operation)
	if err != nil {
		return nil, fmt.Errorf("--operation %s: there is no such operation", f.operation)
	}
	permission, err := kmsg.ParseACLPermissionType(f.permission)
	if err != nil {
		return nil, fmt.Errorf("--permission %s: it is any, allow or deny", f.permission)
	}
	base := kmsg.NewDescribeACLsRequest()
	base.ResourceType, base.ResourcePatternType, base.Operation, base.PermissionType = kmsg.ACLResourceTypeAny, pattern, op, permission
	if f.principal != "" {
		base.Principal = &f.principal
	}
	if f.host != "" {
		base.Host = &f.host
	}
	var all []kmsg.DescribeACLsRequest
	for _, r := range f.resources.all() {
		req := base
		req.ResourceType, req.ResourceName = r.kind, &r.name
		all = append(all, req)
	}
	if len(all) == 0 {
		all = append(all, base)
	}
	return all, nil
}

func (p *program) aclList() *cobra.Command {
	var out listing
	var filter aclFilter
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List who may do what",
		Example: `  splashdam acl list
  splashdam acl list --topic orders --pattern match    all lines that are about a topic`,
		Args: cobra.NoArgs,
	}
	c := p.clusterFlags(cmd)
	out.flags(cmd)
	filter.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		requests, err := filter.requests()
		if err != nil {
			return usage(cmd, err)
		}
		all := []describedACL{}
		err = c.connected(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
			for i := range requests {
				resp, err := requests[i].RequestWith(ctx, client)
				if err != nil {
					return err
				}
				if err := answered(resp.ErrorCode, resp.ErrorMessage); err != nil {
					return c.unauthorized("listing who may do what", err)
				}
				for _, r := range resp.Resources {
					for _, a := range r.ACLs {
						all = append(all, described(r.ResourceType, r.ResourcePatternType, r.ResourceName, a.Principal, a.Host, a.Operation, a.PermissionType))
					}
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		return p.printACLs(out, all)
	}
	return cmd
}

func (p *program) aclRemove() *cobra.Command {
	var out listing
	var filter aclFilter
	var everything bool
	cmd := &cobra.Command{
		Use:     "remove",
		Aliases: []string{"rm", "delete"},
		Short:   "Remove lines, and list which they were",
		Example: `  splashdam acl remove --principal User:alice
  splashdam acl remove --topic orders --pattern literal --operation write`,
		Args: cobra.NoArgs,
	}
	c := p.clusterFlags(cmd)
	out.flags(cmd)
	filter.flags(cmd)
	cmd.Flags().BoolVar(&everything, "all", false, "all lines, where nothing else is said")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		if filter.empty() && !everything {
			return usage(cmd, errors.New("say which lines, or --all"))
		}
		requests, err := filter.requests()
		if err != nil {
			return usage(cmd, err)
		}
		req := kmsg.NewPtrDeleteACLsRequest()
		for _, r := range requests {
			req.Filters = append(req.Filters, kmsg.DeleteACLsRequestFilter{
				ResourceType: r.ResourceType, ResourcePatternType: r.ResourcePatternType, ResourceName: r.ResourceName,
				Principal: r.Principal, Host: r.Host, Operation: r.Operation, PermissionType: r.PermissionType,
			})
		}
		all := []describedACL{}
		err = c.connected(cmd.Context(), func(ctx context.Context, client *kgo.Client) error {
			resp, err := req.RequestWith(ctx, client)
			if err != nil {
				return err
			}
			for _, r := range resp.Results {
				if err := answered(r.ErrorCode, r.ErrorMessage); err != nil {
					return c.unauthorized("removing lines", err)
				}
				for _, a := range r.MatchingACLs {
					all = append(all, described(a.ResourceType, a.ResourcePatternType, a.ResourceName, a.Principal, a.Host, a.Operation, a.PermissionType))
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		p.talk("%s removed\n", count(len(all), "line"))
		return p.printACLs(out, all)
	}
	return cmd
}

func described(kind kmsg.ACLResourceType, pattern kmsg.ACLResourcePatternType, name, principal, host string, op kmsg.ACLOperation, permission kmsg.ACLPermissionType) describedACL {
	word := func(s fmt.Stringer) string { return strings.ToLower(s.String()) }
	return describedACL{word(kind), word(pattern), name, principal, host, word(op), word(permission)}
}

func (p *program) printACLs(out listing, all []describedACL) error {
	if out.json {
		return printJSON(p.stdout, all)
	}
	g := grid{heads: []string{"RESOURCE", "PATTERN", "NAME", "PRINCIPAL", "HOST", "OPERATION", "PERMISSION"}}
	for _, a := range all {
		g.add(a.Resource, a.Pattern, a.Name, a.Principal, a.Host, a.Operation, a.Permission)
	}
	return g.print(p.stdout)
}

// refusal is what a broker has said against a request.
type refusal struct {
	error        // of its code
	text  string // what the broker said besides
}

func (r *refusal) Error() string { return withDetail(r.error, r.text) }
func (r *refusal) Unwrap() error { return r.error }

// answered is the error of an answer.
func answered(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil || message == nil {
		return err
	}
	return &refusal{err, *message}
}

// unauthorized says what to do about the errors that only an operator can help with.
func (c *cluster) unauthorized(what string, err error) error {
	e := &problem{what: what + " on " + c.where(), cause: err}
	switch {
	case errors.Is(err, kerr.SecurityDisabled):
		e.next = append(e.next, "the broker obeys no list:  start it with authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer and super.users")
	case errors.Is(err, kerr.ClusterAuthorizationFailed):
		e.next = append(e.next, "be one of its super.users, or have one of them run:  splashdam acl add --allow User:YOU --operation all --cluster")
	}
	return e
}

package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
)

// completionTimeout bounds what a shell waits for when tab is pressed.
const completionTimeout = 2 * time.Second

// completeWords offers fixed words for a flag.
func completeWords(cmd *cobra.Command, flag string, words ...string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// completeTopics offers the topics that there are.
func (c *cluster) completeTopics(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.complete(cmd, func(ctx context.Context, admin *kadm.Client) ([]string, error) {
		all, err := admin.ListTopics(ctx)
		return all.Names(), err
	})
}

// completeGroups offers the groups that there are.
func (c *cluster) completeGroups(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return c.complete(cmd, func(ctx context.Context, admin *kadm.Client) ([]string, error) {
		all, err := admin.ListGroups(ctx)
		return all.Groups(), err
	})
}

// complete asks the cluster, and offers nothing where that does not answer.
func (c *cluster) complete(cmd *cobra.Command, ask func(context.Context, *kadm.Client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	ctx := cmd.Context()
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, cancel := context.WithTimeout(ctx, completionTimeout)
	defer cancel()
	client, err := c.dial(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer client.Close()
	names, err := ask(ctx, kadm.NewClient(client))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes; see the package comment.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // the second signal finds its default action: the end
	os.Exit(Run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ()))
}

// Run is the program without the process around it: args are those behind the
// program's name, env is in the form of os.Environ. It returns the exit code.
// When ctx ends the command winds up; a read of stdin that blocks is left behind.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer, env []string) int {
	p := &program{
		stdin:  stdin,
		stdout: stdout,
		stderr: stderr,
		env:    newEnvironment(env),
	}
	p.openNode = p.openBroker
	p.checkSetting = checkBrokerSetting
	return p.run(ctx, args)
}

// program is what all commands share: the outside world and the flags of the root.
type program struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	env            environment
	openNode       openNode
	// checkSetting, if not nil, says what is wrong with one setting of the broker.
	checkSetting func(name, value string) error

	quiet   bool
	noColor bool
}

// commands is the table of all there is.
func (p *program) commands() []*cobra.Command {
	return []*cobra.Command{
		p.demoCommand(),
		p.serveCommand(),
		p.topicCommand(),
		p.produceCommand(),
		p.consumeCommand(),
		p.groupCommand(),
		p.userCommand(),
		p.aclCommand(),
		p.quotaCommand(),
		p.connectCommand(),
		p.healthCommand(),
		p.arrowCommand(),
		p.dumpCommand(),
		p.verifyCommand(),
		p.versionCommand(),
	}
}

func (p *program) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "splashdam",
		Short: "An event-streaming platform that speaks the Kafka protocol",
		Long: `Splashdam is an event-streaming platform: brokers on a shared commit log that
speak the Kafka protocol, in one binary together with the tools.

Exit codes: 0 it worked, 1 it failed, 2 wrong usage or configuration,
130 interrupted before the work was done.`,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return cmd.Help()
		},
	}
	root.PersistentFlags().BoolVarP(&p.quiet, "quiet", "q", false, "print nothing on standard error but errors")
	root.PersistentFlags().BoolVar(&p.noColor, "no-color", false, "no colours (NO_COLOR does the same)")
	root.SetIn(p.stdin)
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	root.AddCommand(p.commands()...)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage(cmd, err) })
	checkArguments(root)
	return root
}

// checkArguments makes the complaints of cobra's argument checks, of which there
// are as many as commands, usage errors that name the command's help.
func checkArguments(cmd *cobra.Command) {
	for _, sub := range cmd.Commands() {
		checkArguments(sub)
	}
	check := cmd.Args
	switch {
	case check == nil && cmd.HasSubCommands() && !cmd.Runnable():
		check = unknownSubcommand
		cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	case check == nil:
		return
	case !cmd.HasParent():
		check = unknownSubcommand
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usage(cmd, err)
		}
		return nil
	}
}

func unknownSubcommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	err := &problem{what: fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])}
	var names []string
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() {
			names = append(names, sub.Name())
		}
	}
	if near, ok := nearest(args[0], names); ok {
		err.next = append(err.next, fmt.Sprintf("did you mean %q?", near))
	}
	return err
}

func (p *program) run(ctx context.Context, args []string) int {
	root := p.root()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errUnwell):
		return exitFailed // said already, on standard output
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		p.talk("interrupted\n")
		return exitInterrupted
	}
	p.printError(err)
	if errors.Is(err, errUsage) {
		return exitUsage
	}
	return exitFailed
}

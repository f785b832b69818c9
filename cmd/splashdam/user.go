package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"golang.org/x/term"
)

// maxPassword bounds a password that is read, in bytes.
const maxPassword = 1024

// mechanisms are those that have credentials, as kadm knows them.
var mechanisms = []kadm.ScramMechanism{kadm.ScramSha256, kadm.ScramSha512}

func (p *program) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Manage who can log in by a password",
	}
	cmd.AddCommand(p.userAddCommand(), p.userListCommand(), p.userDeleteCommand())
	return cmd
}

// describedUser is a user in JSON; its fields are never renamed.
type describedUser struct {
	User        string                `json:"user"`
	Credentials []describedCredential `json:"credentials"`
}

type describedCredential struct {
	Mechanism  string `json:"mechanism"`
	Iterations int32  `json:"iterations"`
}

func (p *program) userAddCommand() *cobra.Command {
	var out listing
	var names []string
	var iterations int32
	cmd := &cobra.Command{
		Use:   "add NAME",
		Short: "Make a user, or give one a new password",
		Long: `Make a user, or give one a new password.

The password is asked for, or read from standard input up to the end of its first
line, or taken from ` + variable("user-password") + `. It is salted here and never leaves this
process. Without --mechanism the user can log in by every SCRAM mechanism, and by
PLAIN where a listener offers it.`,
		Example: `  splashdam user add alice
  splashdam user add alice --mechanism SCRAM-SHA-512 < password.txt`,
		Args: cobra.ExactArgs(1),
	}
	c := p.clusterFlags(cmd)
	out.flags(cmd)
	cmd.Flags().StringSliceVar(&names, "mechanism", nil, "`NAME`,... of SCRAM-SHA-256 and SCRAM-SHA-512; the default is both")
	cmd.Flags().Int32Var(&iterations, "iterations", 4096, "`N`, from 4096 to 16384: how much work a guess is")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		chosen, err := chosenMechanisms(names)
		if err != nil {
			return usage(cmd, err)
		}
		password, err := p.readPassword(args[0])
		if err != nil {
			return err
		}
		err = c.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
			for _, m := range chosen { // one by one: a request names a user once
				done, err := admin.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{{User: args[0], Mechanism: m, Iterations: iterations, Password: password}})
				if err := alteredUser(args[0], done, err); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		if out.json {
			made := describedUser{User: args[0]}
			for _, m := range chosen {
				made.Credentials = append(made.Credentials, describedCredential{m.String(), iterations})
			}
			return printJSON(p.stdout, made)
		}
		p.talk("user %s can log in\n", printable(args[0]))
		return nil
	}
	return cmd
}

func (p *program) userListCommand() *cobra.Command {
	var out listing
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the users",
		Args:  cobra.NoArgs,
	}
	c := p.clusterFlags(cmd)
	out.flags(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(cmd); err != nil {
			return err
		}
		all := []describedUser{}
		err := c.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
			found, err := admin.DescribeUserSCRAMs(ctx)
			for _, u := range found.Sorted() {
				d := describedUser{User: u.User, Credentials: []describedCredential{}}
				for _, i := range u.CredInfos {
					d.Credentials = append(d.Credentials, describedCredential{i.Mechanism.String(), i.Iterations})
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
		g := grid{heads: []string{"USER", "MECHANISM", "ITERATIONS"}}
		for _, u := range all {
			for _, i := range u.Credentials {
				g.add(u.User, i.Mechanism, strconv.Itoa(int(i.Iterations)))
			}
		}
		return g.print(p.stdout)
	}
	return cmd
}

func (p *program) userDeleteCommand() *cobra.Command {
	var names []string
	cmd := &cobra.Command{
		Use:   "delete NAME",
		Short: "Delete a user's passwords, and so the user",
		Long: `Delete a user's passwords, and so the user. Who is logged in stays so until the
connection ends, or the login (connections.max.reauth.ms).`,
		Args: cobra.ExactArgs(1),
	}
	c := p.clusterFlags(cmd)
	cmd.Flags().StringSliceVar(&names, "mechanism", nil, "`NAME`,... of SCRAM-SHA-256 and SCRAM-SHA-512; the default is all that the user has")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		chosen, err := chosenMechanisms(names)
		if err != nil {
			return usage(cmd, err)
		}
		err = c.admin(cmd.Context(), func(ctx context.Context, admin *kadm.Client) error {
			if len(names) == 0 {
				found, err := admin.DescribeUserSCRAMs(ctx, args[0])
				if err != nil {
					return err
				}
				if err := found[args[0]].Err; err != nil {
					return userProblem(args[0], err)
				}
				chosen = nil
				for _, i := range found[args[0]].CredInfos {
					chosen = append(chosen, i.Mechanism)
				}
			}
			for _, m := range chosen {
				done, err := admin.AlterUserSCRAMs(ctx, []kadm.DeleteSCRAM{{User: args[0], Mechanism: m}}, nil)
				if err := alteredUser(args[0], done, err); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			p.talk("deleted %s of user %s\n", count(len(chosen), "password"), printable(args[0]))
		}
		return err
	}
	return cmd
}

func alteredUser(name string, done kadm.AlteredUserSCRAMs, err error) error {
	if err != nil {
		return err
	}
	return userProblem(name, done[name].Err)
}

func userProblem(name string, err error) error {
	if err == nil {
		return nil
	}
	e := &problem{what: fmt.Sprintf("user %q", name), cause: err}
	if errors.Is(err, kerr.ResourceNotFound) {
		e.what, e.cause = fmt.Sprintf("there is no user %q with such a password", name), nil
		e.next = []string{"who is there:  splashdam user list"}
	}
	return e
}

func chosenMechanisms(names []string) ([]kadm.ScramMechanism, error) {
	if len(names) == 0 {
		return mechanisms, nil
	}
	var chosen []kadm.ScramMechanism
	for _, name := range names {
		found := false
		for _, m := range mechanisms {
			if strings.EqualFold(m.String(), strings.TrimSpace(name)) {
				chosen, found = append(chosen, m), true
			}
		}
		if !found {
			return nil, fmt.Errorf("--mechanism %q: there are SCRAM-SHA-256 and SCRAM-SHA-512", name)
		}
	}
	return chosen, nil
}

// readPassword asks for a password, twice and without showing it, where there is a
// terminal, and reads it otherwise.
func (p *program) readPassword(user string) (string, error) {
	if password := p.env[variable("user-password")]; password != "" {
		return password, nil
	}
	f, ok := p.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, maxPassword+2)).ReadString('\n')
		line = strings.TrimRight(line, "\r\n")
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return "", &problem{what: "reading the password", cause: err}
		case line == "":
			return "", &problem{what: "there is no password on standard input", kind: errUsage}
		case len(line) > maxPassword:
			return "", &problem{what: fmt.Sprintf("the password has more than %d bytes", maxPassword), kind: errUsage}
		}
		return line, nil
	}
	ask := func(prompt string) (string, error) {
		fmt.Fprint(p.stderr, prompt)
		typed, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(p.stderr)
		return string(typed), err
	}
	first, err := ask(fmt.Sprintf("password of user %s: ", printable(user)))
	if err != nil {
		return "", &problem{what: "reading the password", cause: err}
	}
	again, err := ask("and again: ")
	switch {
	case err != nil:
		return "", &problem{what: "reading the password", cause: err}
	case first == "" || first != again:
		return "", &problem{what: "the passwords are empty, or not the same; nothing was changed", kind: errUsage}
	}
	return first, nil
}

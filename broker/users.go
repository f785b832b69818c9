package broker

import (
	"context"
	"errors"
	"fmt"

	"github.com/splashdam/splashdam/broker/auth"
	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
	"github.com/splashdam/splashdam/broker/record"
)

// This file is the node as kafka.Users, and the users that it is started with.

// NewUser is a user that the node makes at its start, if he is not there with this
// password already.
type NewUser struct {
	Name     string
	Password string
	// Mechanism is the only one of the user's, "" for all SCRAM mechanisms.
	Mechanism string
}

// String hides the password.
func (u NewUser) String() string { return u.Name }

func (u NewUser) mechanisms() []string {
	if u.Mechanism != "" {
		return []string{u.Mechanism}
	}
	return []string{auth.ScramSHA256, auth.ScramSHA512}
}

func (u NewUser) validate() error {
	if err := auth.CheckUser(u.Name); err != nil {
		return err
	}
	for _, m := range u.mechanisms() {
		if _, err := auth.NewCredential(m, u.Password, auth.DefaultIterations); err != nil {
			return fmt.Errorf("user %q: %w", u.Name, err)
		}
	}
	return nil
}

// maxNewUsers bounds the users in a configuration.
const maxNewUsers = 1000

// makeUsers sets the passwords of the configuration.
func (b *Broker) makeUsers(ctx context.Context) error {
	for _, u := range b.cfg.Users {
		for _, m := range u.mechanisms() {
			if known, ok := b.credential(u.Name, m); ok && known.Matches(u.Password) {
				continue
			}
			c, err := auth.NewCredential(m, u.Password, auth.DefaultIterations)
			if err == nil {
				err = b.SetCredential(ctx, u.Name, c)
			}
			if err != nil {
				return fmt.Errorf("making user %q: %w", u.Name, err)
			}
		}
	}
	return nil
}

// credential is the node as auth.Users.
func (b *Broker) credential(user, mechanism string) (auth.Credential, bool) {
	u, ok := b.view().User(user)
	if !ok {
		return auth.Credential{}, false
	}
	return u.Credential(mechanism)
}

func (b *Broker) Users() []kafka.User {
	users := b.view().Users()
	all := make([]kafka.User, len(users))
	for i, u := range users {
		all[i] = kafka.User(u)
	}
	return all
}

func (b *Broker) User(name string) (kafka.User, bool) {
	u, ok := b.view().User(name)
	return kafka.User(u), ok
}

func (b *Broker) SetCredential(ctx context.Context, user string, credential auth.Credential) error {
	return b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) { return c.SetCredential(user, credential) })
}

func (b *Broker) DeleteCredential(ctx context.Context, user, mechanism string) error {
	return b.changeMetadata(ctx, func(c *cluster.Controller) (record.Command, error) { return c.DeleteCredential(user, mechanism) })
}

func validateUsers(users []NewUser) error {
	if len(users) > maxNewUsers {
		return fmt.Errorf("%d users: at most %d are made at the start", len(users), maxNewUsers)
	}
	var errs []error
	for _, u := range users {
		errs = append(errs, u.validate())
	}
	return errors.Join(errs...)
}

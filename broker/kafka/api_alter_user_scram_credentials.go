package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/auth"
)

// AlterUserScramCredentials sets and deletes credentials of users (KIP-554). The
// client salts the password, so the server never sees it.
//
//	0    flexible
//
// A user who is named twice gets DUPLICATE_RESOURCE, and nothing of him is changed.
func alterUserScramCredentialsAPI() *api {
	return waiting(kmsg.AlterUserSCRAMCredentials, 0, 0, "[s 1] [s 1 4 b b]", (*call).alterUserScramCredentials)
}

func (c *call) alterUserScramCredentials(ctx context.Context, req *kmsg.AlterUserSCRAMCredentialsRequest) kmsg.Response {
	resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
	ctx, cancel := context.WithTimeout(ctx, c.limits.MaxAdminWait)
	defer cancel()
	var order []string
	changes := make(map[string][]func() error)
	add := func(user string, change func() error) {
		if changes[user] == nil {
			order = append(order, user)
		}
		changes[user] = append(changes[user], change)
	}
	for i := range req.Deletions {
		d := &req.Deletions[i]
		add(d.Name, func() error { return c.deleteCredential(ctx, d) })
	}
	for i := range req.Upsertions {
		u := &req.Upsertions[i]
		add(u.Name, func() error { return c.setCredential(ctx, u) })
	}
	for _, user := range order {
		var err error
		if all := changes[user]; len(all) > 1 {
			err = fmt.Errorf("credentials of user %s are altered %d times in one request: %w", safe(user), len(all), kerr.DuplicateResource)
		} else {
			err = all[0]()
		}
		r := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		r.User, r.ErrorCode, r.ErrorMessage = user, c.code(err), message(err)
		resp.Results = append(resp.Results, r)
	}
	return resp
}

func (c *call) deleteCredential(ctx context.Context, d *kmsg.AlterUserSCRAMCredentialsRequestDeletion) error {
	mechanism, err := namedMechanism(d.Name, d.Mechanism)
	if err != nil {
		return err
	}
	return c.backend.DeleteCredential(ctx, d.Name, mechanism)
}

func (c *call) setCredential(ctx context.Context, u *kmsg.AlterUserSCRAMCredentialsRequestUpsertion) error {
	mechanism, err := namedMechanism(u.Name, u.Mechanism)
	if err != nil {
		return err
	}
	// The request's memory is used again.
	salt := append([]byte(nil), u.Salt...)
	credential, err := auth.CredentialFromSalted(mechanism, salt, u.SaltedPassword, int(u.Iterations))
	if err != nil {
		return fmt.Errorf("user %s: %w: %w", safe(u.Name), err, kerr.UnacceptableCredential)
	}
	return c.backend.SetCredential(ctx, u.Name, credential)
}

func namedMechanism(user string, number int8) (string, error) {
	if err := auth.CheckUser(user); err != nil {
		return "", fmt.Errorf("%w: %w", err, kerr.UnacceptableCredential)
	}
	mechanism, ok := mechanismNumbers[number]
	if !ok {
		return "", fmt.Errorf("user %s: there is no SCRAM mechanism %d: %w", safe(user), number, kerr.UnsupportedSaslMechanism)
	}
	return mechanism, nil
}

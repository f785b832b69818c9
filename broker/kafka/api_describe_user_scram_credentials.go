package kafka

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeUserScramCredentials lists users and, of each, the mechanisms and
// iterations of their credentials (KIP-554), nothing that could be used.
//
//	0    flexible
func describeUserScramCredentialsAPI() *api {
	return waiting(kmsg.DescribeUserSCRAMCredentials, 0, 0, "[s]", (*call).describeUserScramCredentials)
}

func (c *call) describeUserScramCredentials(_ context.Context, req *kmsg.DescribeUserSCRAMCredentialsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeUserSCRAMCredentialsResponse()
	if len(req.Users) == 0 {
		for _, u := range c.backend.Users() {
			resp.Results = append(resp.Results, describedUser(u))
		}
		return resp
	}
	asked := make(map[string]int, len(req.Users))
	for _, u := range req.Users {
		asked[u.Name]++
	}
	for _, u := range req.Users {
		times := asked[u.Name]
		delete(asked, u.Name)
		if times == 0 {
			continue // it was answered where it came first
		}
		r := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		r.User = u.Name
		var err error
		if known, ok := c.backend.User(u.Name); times > 1 {
			err = fmt.Errorf("user %s is asked for %d times: %w", safe(u.Name), times, kerr.DuplicateResource)
		} else if !ok {
			err = fmt.Errorf("there is no user %s with a SCRAM credential: %w", safe(u.Name), kerr.ResourceNotFound)
		} else {
			r = describedUser(known)
		}
		r.ErrorCode, r.ErrorMessage = c.code(err), message(err)
		resp.Results = append(resp.Results, r)
	}
	return resp
}

func describedUser(u User) kmsg.DescribeUserSCRAMCredentialsResponseResult {
	r := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
	r.User = u.Name
	for _, credential := range u.Credentials {
		i := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
		i.Mechanism, i.Iterations = mechanismNumber(credential.Mechanism), int32(credential.Iterations)
		r.CredentialInfos = append(r.CredentialInfos, i)
	}
	return r
}

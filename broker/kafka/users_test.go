package kafka

import (
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/auth"
)

func upsertion(user string, mechanism int8, iterations int32) kmsg.AlterUserSCRAMCredentialsRequestUpsertion {
	u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
	u.Name, u.Mechanism, u.Iterations, u.Salt = user, mechanism, iterations, []byte("salt")
	u.SaltedPassword = make([]byte, 32*max(int(mechanism), 1))
	return u
}

func deletion(user string, mechanism int8) kmsg.AlterUserSCRAMCredentialsRequestDeletion {
	d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
	d.Name, d.Mechanism = user, mechanism
	return d
}

func TestUsersAreAlteredOneByOneAsInKafka(t *testing.T) {
	f := newFake()
	w := to(t, f)
	alter := func(ds []kmsg.AlterUserSCRAMCredentialsRequestDeletion, us ...kmsg.AlterUserSCRAMCredentialsRequestUpsertion) string {
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		req.Deletions, req.Upsertions = ds, us
		var b strings.Builder
		for _, r := range ask[*kmsg.AlterUserSCRAMCredentialsResponse](w, req).Results {
			fmt.Fprintf(&b, "%s:%d ", r.User, r.ErrorCode)
			if (r.ErrorMessage == nil) != (r.ErrorCode == 0) {
				t.Errorf("%s: message %v", r.User, r.ErrorMessage)
			}
		}
		return strings.TrimSpace(b.String())
	}
	short := upsertion("short", 2, 4096)
	short.SaltedPassword = nil
	unsalted := upsertion("unsalted", 1, 4096)
	unsalted.Salt = nil
	for _, c := range []struct{ got, want string }{
		{alter(nil, upsertion("a", 1, 4096), upsertion("b", 2, 16384)), "a:0 b:0"},
		{alter(nil, upsertion("c", 1, 4095), upsertion("d", 1, 16385), short, unsalted), "c:93 d:93 short:93 unsalted:93"}, // UNACCEPTABLE_CREDENTIAL
		{alter(nil, upsertion("e", 3, 4096), upsertion("", 1, 4096)), "e:33 :93"},                                          // UNSUPPORTED_SASL_MECHANISM
		{alter(nil, upsertion("f", 1, 4096), upsertion("g", 1, 4096), upsertion("f", 2, 4096)), "f:92 g:0"},                // DUPLICATE_RESOURCE
		{alter([]kmsg.AlterUserSCRAMCredentialsRequestDeletion{deletion("a", 1), deletion("x", 1), deletion("b", 0)}, upsertion("a", 1, 4096)), "a:92 x:91 b:33"},
		{alter([]kmsg.AlterUserSCRAMCredentialsRequestDeletion{deletion("a", 1)}), "a:0"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
	if u, ok := f.User("b"); !ok || u.Credentials[0].Mechanism != auth.ScramSHA512 || u.Credentials[0].Check() != nil || string(u.Credentials[0].Salt) != "salt" {
		t.Errorf("%+v", u)
	}
	if len(f.users) != 2 {
		t.Errorf("%d users", len(f.users))
	}
}

func TestUsersAreDescribedWithoutWhatCouldBeUsed(t *testing.T) {
	f := newFake()
	w := to(t, f)
	for _, name := range []string{"a", "b"} {
		c, err := auth.NewCredential(auth.ScramSHA512, "x", 8192)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.SetCredential(t.Context(), name, c); err != nil {
			t.Fatal(err)
		}
	}
	describe := func(names ...string) string {
		req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
		for _, n := range names {
			u := kmsg.NewDescribeUserSCRAMCredentialsRequestUser()
			u.Name = n
			req.Users = append(req.Users, u)
		}
		var b strings.Builder
		for _, r := range ask[*kmsg.DescribeUserSCRAMCredentialsResponse](w, req).Results {
			fmt.Fprintf(&b, "%s:%d", r.User, r.ErrorCode)
			for _, i := range r.CredentialInfos {
				fmt.Fprintf(&b, "(%d %d)", i.Mechanism, i.Iterations)
			}
			b.WriteByte(' ')
		}
		return strings.TrimSpace(b.String())
	}
	for _, c := range []struct{ got, want string }{
		{describe(), "a:0(2 8192) b:0(2 8192)"},
		{describe("b", "x"), "b:0(2 8192) x:91"},
		{describe("a", "b", "a"), "a:92 b:0(2 8192)"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}

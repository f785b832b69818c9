package broker

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/internal/vfs"
)

// allow adds a line to the node's access control list.
func (a asker) allow(ctx context.Context, name string, op kmsg.ACLOperation) error {
	req := kmsg.NewPtrCreateACLsRequest()
	req.Creations = []kmsg.CreateACLsRequestCreation{{
		ResourceType: kmsg.ACLResourceTypeTopic, ResourcePatternType: kmsg.ACLResourcePatternTypeLiteral, ResourceName: name,
		Principal: "User:ANONYMOUS", Host: "*", Operation: op, PermissionType: kmsg.ACLPermissionTypeAllow,
	}}
	resp, err := req.RequestWith(ctx, a)
	if err != nil {
		return err
	}
	return said(resp.Results[0].ErrorCode, resp.Results[0].ErrorMessage)
}

// TestWhatIsAllowedIsRememberedOverARestart: the list is in the metadata shard, how it
// is read is a setting of the node.
func TestWhatIsAllowedIsRememberedOverARestart(t *testing.T) {
	disk := vfs.NewMem()
	authorizer := map[string]string{"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer"}
	super := map[string]string{"authorizer.class.name": authorizer["authorizer.class.name"], "super.users": "User:root;User:ANONYMOUS"}

	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 1))
		if err := ask.allow(ctx, orders, kmsg.ACLOperationWrite); !errors.Is(err, kerr.SecurityDisabled) {
			t.Errorf("without an authorizer: %v", err)
		}
	})
	within(t, Config{FS: disk, Settings: settings(t, authorizer)}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		if _, err := ask.produce(ctx, orders, 0, batch(-1, 0, "one")); !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("nobody is allowed anything: %v", err)
		}
		if err := ask.allow(ctx, orders, kmsg.ACLOperationWrite); !errors.Is(err, kerr.ClusterAuthorizationFailed) {
			t.Errorf("who may not alter the cluster changes the list: %v", err)
		}
	})
	within(t, Config{FS: disk, Settings: settings(t, super)}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.allow(ctx, orders, kmsg.ACLOperationWrite))
	})
	within(t, Config{FS: disk, Settings: settings(t, authorizer)}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		if _, err := ask.produce(ctx, orders, 0, batch(-1, 0, "one")); err != nil {
			t.Error(err)
		}
		if _, err := ask.read(ctx, orders, 0); !errors.Is(err, kerr.TopicAuthorizationFailed) {
			t.Errorf("who may write reads: %v", err)
		}
	})
}

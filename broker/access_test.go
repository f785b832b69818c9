package broker

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/broker/kafka"
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
		lines := n.log.find("denied")
		if len(lines) != 1 || !strings.Contains(lines[0], "principal=User:ANONYMOUS") ||
			!strings.Contains(lines[0], "request=Produce operation=WRITE resource=TOPIC name="+orders) {
			t.Errorf("logged: %q", lines)
		}
		defer n.log.forget() // what is denied is unusual
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
		n.log.forget()
	})
}

// TestARegularExpressionShowsWhatItsMemberMayDescribe: also when what it may changes.
func TestARegularExpressionShowsWhatItsMemberMayDescribe(t *testing.T) {
	disk := vfs.NewMem()
	set := map[string]string{"authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:root"}
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		must(t, ask.createTopic(ctx, orders, 1))
		must(t, ask.createTopic(ctx, "orders.secret", 1))
		must(t, n.ensureTopic(ctx, cluster.NewTopic{Name: offsetsTopic, Partitions: -1, ReplicationFactor: -1}))
		n.AddACLs(ctx, []acl.Binding{allowed(kmsg.ACLResourceTypeGroup, "g", kmsg.ACLOperationRead), allowed(kmsg.ACLResourceTypeTopic, orders, kmsg.ACLOperationRead)})
	})
	within(t, Config{FS: disk, Settings: settings(t, set)}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		regex, epoch := "orders.*", int32(0)
		beat := func() []string {
			req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
			req.Version, req.Group, req.MemberID, req.MemberEpoch, req.RebalanceTimeoutMillis = 1, "g", "m", epoch, 60_000
			req.SubscribedTopicRegex, req.Topics = &regex, []kmsg.ConsumerGroupHeartbeatRequestTopic{}
			r := n.ConsumerGroupHeartbeat(ctx, kafka.Client{ID: "c", Host: "/127.0.0.1", Principal: "User:ANONYMOUS"}, req)
			must(t, said(r.ErrorCode, r.ErrorMessage))
			epoch = r.MemberEpoch
			var topics []string
			if r.Assignment != nil {
				for _, a := range r.Assignment.Topics {
					topic, _ := n.view().TopicByID(a.TopicID)
					topics = append(topics, topic.Name)
				}
			}
			slices.Sort(topics)
			return topics
		}
		if got := beat(); !slices.Equal(got, []string{orders}) {
			t.Errorf("it is shown %q", got)
		}
		n.AddACLs(ctx, []acl.Binding{allowed(kmsg.ACLResourceTypeTopic, "orders.secret", kmsg.ACLOperationDescribe)})
		time.Sleep(2 * time.Second)
		if got := beat(); !slices.Equal(got, []string{orders, "orders.secret"}) {
			t.Errorf("when it may describe the other one too, it is shown %q", got)
		}
		must(t, n.RemoveACLs(ctx, []acl.Binding{allowed(kmsg.ACLResourceTypeTopic, orders, kmsg.ACLOperationRead)}))
		elsewhere := allowed(kmsg.ACLResourceTypeTopic, orders, kmsg.ACLOperationRead)
		elsewhere.Host = "192.0.2.1"
		n.AddACLs(ctx, []acl.Binding{elsewhere})
		time.Sleep(2 * time.Second)
		if got := beat(); !slices.Equal(got, []string{"orders.secret"}) {
			t.Errorf("when it may describe the first one from elsewhere only, it is shown %q", got)
		}
	})
}

func allowed(on kmsg.ACLResourceType, name string, op kmsg.ACLOperation) acl.Binding {
	return acl.Binding{
		Resource: on, Pattern: kmsg.ACLResourcePatternTypeLiteral, Name: name,
		Principal: "User:ANONYMOUS", Host: acl.Anywhere, Operation: op, Allow: true,
	}
}

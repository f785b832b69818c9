package kafka

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
	"github.com/splashdam/splashdam/internal/invariant"
)

// need is a permission that an API may ask for.
type need struct {
	op kmsg.ACLOperation
	on kmsg.ACLResourceType
}

const (
	onTopic   = kmsg.ACLResourceTypeTopic
	onGroup   = kmsg.ACLResourceTypeGroup
	onCluster = kmsg.ACLResourceTypeCluster
	onTxnID   = kmsg.ACLResourceTypeTransactionalId
)

// anybody may ask; so an API has to say it in so many words.
var anybody = []need{}

// access is what each API asks the authorizer for, as Kafka's documentation has it
// ("Operations and Resources on Protocols"). An API that is not here is not served:
// the table of APIs cannot be made. A handler asks by call.may, which knows nothing
// but what is declared here; the test of the matrix sees that each of it is asked for.
var access = map[kmsg.Key][]need{
	kmsg.Produce:                      {{kmsg.ACLOperationWrite, onTopic}, {kmsg.ACLOperationWrite, onTxnID}},
	kmsg.Fetch:                        {{kmsg.ACLOperationRead, onTopic}},
	kmsg.ListOffsets:                  {{kmsg.ACLOperationDescribe, onTopic}},
	kmsg.Metadata:                     {{kmsg.ACLOperationDescribe, onTopic}, {kmsg.ACLOperationCreate, onCluster}, {kmsg.ACLOperationCreate, onTopic}},
	kmsg.OffsetCommit:                 {{kmsg.ACLOperationRead, onGroup}, {kmsg.ACLOperationRead, onTopic}},
	kmsg.OffsetFetch:                  {{kmsg.ACLOperationDescribe, onGroup}, {kmsg.ACLOperationDescribe, onTopic}},
	kmsg.FindCoordinator:              {{kmsg.ACLOperationDescribe, onGroup}, {kmsg.ACLOperationDescribe, onTxnID}},
	kmsg.JoinGroup:                    {{kmsg.ACLOperationRead, onGroup}},
	kmsg.Heartbeat:                    {{kmsg.ACLOperationRead, onGroup}},
	kmsg.LeaveGroup:                   {{kmsg.ACLOperationRead, onGroup}},
	kmsg.SyncGroup:                    {{kmsg.ACLOperationRead, onGroup}},
	kmsg.DescribeGroups:               {{kmsg.ACLOperationDescribe, onGroup}},
	kmsg.ListGroups:                   {{kmsg.ACLOperationDescribe, onCluster}, {kmsg.ACLOperationDescribe, onGroup}},
	kmsg.SASLHandshake:                anybody,
	kmsg.ApiVersions:                  anybody,
	kmsg.SASLAuthenticate:             anybody,
	kmsg.CreateTopics:                 {{kmsg.ACLOperationCreate, onCluster}, {kmsg.ACLOperationCreate, onTopic}, {kmsg.ACLOperationDescribeConfigs, onTopic}},
	kmsg.DeleteTopics:                 {{kmsg.ACLOperationDelete, onCluster}, {kmsg.ACLOperationDelete, onTopic}, {kmsg.ACLOperationDescribe, onTopic}},
	kmsg.DeleteRecords:                {{kmsg.ACLOperationDelete, onTopic}},
	kmsg.InitProducerID:               {{kmsg.ACLOperationWrite, onTxnID}, {kmsg.ACLOperationIdempotentWrite, onCluster}, {kmsg.ACLOperationWrite, onTopic}},
	kmsg.OffsetForLeaderEpoch:         {{kmsg.ACLOperationClusterAction, onCluster}, {kmsg.ACLOperationDescribe, onTopic}},
	kmsg.AddPartitionsToTxn:           {{kmsg.ACLOperationWrite, onTxnID}, {kmsg.ACLOperationWrite, onTopic}, {kmsg.ACLOperationClusterAction, onCluster}},
	kmsg.AddOffsetsToTxn:              {{kmsg.ACLOperationWrite, onTxnID}, {kmsg.ACLOperationRead, onGroup}},
	kmsg.EndTxn:                       {{kmsg.ACLOperationWrite, onTxnID}},
	kmsg.WriteTxnMarkers:              {{kmsg.ACLOperationAlter, onCluster}, {kmsg.ACLOperationClusterAction, onCluster}},
	kmsg.TxnOffsetCommit:              {{kmsg.ACLOperationWrite, onTxnID}, {kmsg.ACLOperationRead, onGroup}, {kmsg.ACLOperationRead, onTopic}},
	kmsg.DescribeACLs:                 {{kmsg.ACLOperationDescribe, onCluster}},
	kmsg.CreateACLs:                   {{kmsg.ACLOperationAlter, onCluster}},
	kmsg.DeleteACLs:                   {{kmsg.ACLOperationAlter, onCluster}},
	kmsg.DescribeConfigs:              {{kmsg.ACLOperationDescribeConfigs, onTopic}, {kmsg.ACLOperationDescribeConfigs, onGroup}, {kmsg.ACLOperationDescribeConfigs, onCluster}},
	kmsg.AlterConfigs:                 {{kmsg.ACLOperationAlterConfigs, onTopic}, {kmsg.ACLOperationAlterConfigs, onGroup}, {kmsg.ACLOperationAlterConfigs, onCluster}},
	kmsg.CreatePartitions:             {{kmsg.ACLOperationAlter, onTopic}},
	kmsg.DeleteGroups:                 {{kmsg.ACLOperationDelete, onGroup}},
	kmsg.IncrementalAlterConfigs:      {{kmsg.ACLOperationAlterConfigs, onTopic}, {kmsg.ACLOperationAlterConfigs, onGroup}, {kmsg.ACLOperationAlterConfigs, onCluster}},
	kmsg.OffsetDelete:                 {{kmsg.ACLOperationDelete, onGroup}, {kmsg.ACLOperationRead, onTopic}},
	kmsg.DescribeClientQuotas:         {{kmsg.ACLOperationDescribeConfigs, onCluster}},
	kmsg.AlterClientQuotas:            {{kmsg.ACLOperationAlterConfigs, onCluster}},
	kmsg.DescribeUserSCRAMCredentials: {{kmsg.ACLOperationDescribe, onCluster}},
	kmsg.AlterUserSCRAMCredentials:    {{kmsg.ACLOperationAlter, onCluster}},
	kmsg.DescribeLogDirs:              {{kmsg.ACLOperationDescribe, onCluster}},
	kmsg.AlterReplicaLogDirs:          {{kmsg.ACLOperationAlter, onCluster}},
	kmsg.DescribeQuorum:               {{kmsg.ACLOperationDescribe, onCluster}},
	kmsg.UpdateFeatures:               {{kmsg.ACLOperationAlter, onCluster}},
	kmsg.ElectLeaders:                 {{kmsg.ACLOperationAlter, onCluster}},
	kmsg.AlterPartitionAssignments:    {{kmsg.ACLOperationAlter, onCluster}},
	kmsg.ListPartitionReassignments:   {{kmsg.ACLOperationDescribe, onCluster}},
	kmsg.GetTelemetrySubscriptions:    anybody,
	kmsg.PushTelemetry:                anybody,
	kmsg.ListConfigResources:          {{kmsg.ACLOperationDescribeConfigs, onCluster}},
	kmsg.DescribeTopicPartitions:      {{kmsg.ACLOperationDescribe, onTopic}},
	kmsg.DescribeProducers:            {{kmsg.ACLOperationRead, onTopic}},
	kmsg.DescribeTransactions:         {{kmsg.ACLOperationDescribe, onTxnID}, {kmsg.ACLOperationDescribe, onTopic}},
	kmsg.ListTransactions:             {{kmsg.ACLOperationDescribe, onTxnID}},
	kmsg.ConsumerGroupHeartbeat:       {{kmsg.ACLOperationRead, onGroup}, {kmsg.ACLOperationDescribe, onTopic}},
	kmsg.ConsumerGroupDescribe:        {{kmsg.ACLOperationDescribe, onGroup}, {kmsg.ACLOperationDescribe, onTopic}},
	// What a client may do to the cluster is told to who may describe it; the rest to all.
	kmsg.DescribeCluster: anybody,
}

// refusals are the codes for what may not be done to a type of resource.
var refusals = map[kmsg.ACLResourceType]*kerr.Error{
	onTopic:   kerr.TopicAuthorizationFailed,
	onGroup:   kerr.GroupAuthorizationFailed,
	onCluster: kerr.ClusterAuthorizationFailed,
	onTxnID:   kerr.TransactionalIDAuthorizationFailed,
}

// maxToldName is how much of a name is told of what is refused: of a topic all.
const maxToldName = 249

// isRefusal says whether an error is that of may.
func isRefusal(err error) bool {
	for _, k := range refusals {
		if isCode(err, k) {
			return true
		}
	}
	return false
}

// declare gives an API its needs.
func (a *api) declare() {
	needs, ok := access[a.key]
	invariant.That(ok, "%s has no entry in the table of access (access.go), so nobody may send it: say what it needs, or that anybody may", a.key.Name())
	a.needs = needs
}

// allows says whether the client may do an operation to the resource of a name, for what
// is left out where it may not, and where another permission would do as well. The API must
// have declared that it asks for this. Nothing is allocated.
func (c *call) allows(op kmsg.ACLOperation, on kmsg.ACLResourceType, name string) bool {
	c.mustDeclare(op, on)
	return c.authorizer.Allowed(c.subject, op, on, name)
}

// allowsCluster is allows for the cluster.
func (c *call) allowsCluster(op kmsg.ACLOperation) bool {
	return c.allows(op, onCluster, acl.ClusterName)
}

// may errors where allows is false, and the request is refused for that: an event tells
// whoever runs the cluster.
func (c *call) may(op kmsg.ACLOperation, on kmsg.ACLResourceType, name string) error {
	if c.allows(op, on, name) {
		return nil
	}
	c.events.denied(Denial{
		Request: c.request(), Principal: c.client.Principal, Operation: op.String(), Resource: on.String(), Name: name[:min(len(name), maxToldName)],
	})
	return fmt.Errorf("%s from %s may not %s %s %.*q: %w", c.client.Principal, c.client.Host, op, on, maxToldName, name, refusals[on])
}

func (c *call) mustDeclare(op kmsg.ACLOperation, on kmsg.ACLResourceType) {
	if !slices.Contains(c.api.needs, need{op, on}) {
		invariant.That(false, "%s asks for %s on %s, which its entry in access.go does not say", c.api.key.Name(), op, on)
	}
}

// maySomewhere says whether there is any resource of a type that the client may do an
// operation to.
func (c *call) maySomewhere(op kmsg.ACLOperation, on kmsg.ACLResourceType) bool {
	c.mustDeclare(op, on)
	return c.authorizer.AllowedSomewhere(c.subject, op, on)
}

// mayCluster is may for the cluster.
func (c *call) mayCluster(op kmsg.ACLOperation) error { return c.may(op, onCluster, acl.ClusterName) }

// topicFor finds a topic by its name or, in newer versions of an API, by its id, for
// an operation. To who may not do it a name that is there looks like one that is not.
// The topic is that of when the request named it first: one with many partitions takes
// its time to describe, and a request may name it a hundred thousand times.
func (c *call) topicFor(op kmsg.ACLOperation, name string, id [16]byte, byID bool) (Topic, error) {
	if !byID {
		t, err := c.topicNamed(op, name)
		return t, nameless(err)
	}
	t, err := c.described("", id, true)
	if err == nil && c.may(op, onTopic, t.Name) != nil {
		err = fmt.Errorf("topic id %x: %w", id, refusals[onTopic]) // not even its name is told
	}
	if err != nil {
		return Topic{}, err
	}
	return t, nil
}

// topicNamed is topicFor by name, where a name that no topic can have is
// INVALID_TOPIC_EXCEPTION: in Kafka only who creates topics or describes them hears so.
func (c *call) topicNamed(op kmsg.ACLOperation, name string) (Topic, error) {
	if err := c.may(op, onTopic, name); err != nil {
		return Topic{}, err
	}
	return c.described(name, [16]byte{}, false)
}

// topicKey names a topic as a request does: by its id if name is empty.
type topicKey struct {
	name string
	id   [16]byte
}

// fewPartitions is up to how many a topic is rather described again.
const fewPartitions = 16

// described asks the Backend for a topic, for a large one once in a request.
func (c *call) described(name string, id [16]byte, byID bool) (t Topic, err error) {
	k := topicKey{name, id}
	if t, ok := c.topics[k]; ok {
		return t, nil
	}
	if byID {
		t, err = c.backend.TopicByID(id)
	} else {
		t, err = c.backend.Topic(name)
	}
	if err == nil && len(t.Partitions) > fewPartitions {
		if c.topics == nil {
			c.topics = make(map[topicKey]Topic)
		}
		c.topics[k] = t
	}
	return t, err
}

// notAsked is what a field of operations holds unless the client asked for it
// (KIP-430).
const notAsked = -1 << 31

// operations are what the client may do to a resource, as bits, of the operations
// that exist for its type.
func (c *call) operations(asked bool, on kmsg.ACLResourceType, name string) int32 {
	if !asked {
		return notAsked
	}
	return c.authorizer.AllowedOperations(c.subject, on, name)
}

// clusterOperations are told to who may describe the cluster.
func (c *call) clusterOperations(asked bool) int32 {
	if asked && !c.authorizer.Allowed(c.subject, kmsg.ACLOperationDescribe, onCluster, acl.ClusterName) {
		return 0
	}
	return c.operations(asked, onCluster, acl.ClusterName)
}

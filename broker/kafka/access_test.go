package kafka

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/broker/acl"
)

// sample is a request of an API that touches topic t, group g, or transactional id x.
type sample struct {
	// request is nil for a version that cannot say it.
	request func(version int16, t Topic) kmsg.Request
	// enough has every least set of permissions with which it is carried out.
	enough [][]need
	// hidden, where a client without permission is told nothing instead of a code, says
	// whether an answer hides t, or g.
	hidden func(kmsg.Response) bool
}

func topicNeed(op kmsg.ACLOperation) []need { return []need{{op, onTopic}} }
func groupNeed(op kmsg.ACLOperation) []need { return []need{{op, onGroup}} }
func txnNeed(op kmsg.ACLOperation) []need   { return []need{{op, onTxnID}} }
func clusterNeed(op kmsg.ACLOperation) []need {
	return []need{{op, onCluster}}
}

// either are permissions each of which is enough.
func either(sets ...[]need) [][]need { return sets }

// both are permissions that only together are enough.
func both(sets ...[]need) [][]need { return [][]need{slices.Concat(sets...)} }

// inAll makes a sample of a request that is the same in all versions.
func inAll[Q kmsg.Request](req Q, fill func(Q)) func(int16, Topic) kmsg.Request {
	return func(v int16, _ Topic) kmsg.Request {
		fresh := kmsg.RequestForKey(req.Key())
		if d, ok := fresh.(interface{ Default() }); ok {
			d.Default()
		}
		fresh.SetVersion(v)
		fill(fresh.(Q))
		return fresh
	}
}

func s(v string) *string { return &v }

// samples has one request at least of every API: the test of the matrix fails for one
// that has none.
var samples = map[kmsg.Key][]sample{
	kmsg.Produce: {
		{request: produceSample(nil), enough: either(topicNeed(kmsg.ACLOperationWrite))},
		{request: produceSample(s("x")), enough: both(txnNeed(kmsg.ACLOperationWrite), topicNeed(kmsg.ACLOperationWrite))},
	},
	kmsg.Fetch: {{
		request: func(v int16, t Topic) kmsg.Request {
			req := at(kmsg.NewPtrFetchRequest(), v)
			rt := kmsg.NewFetchRequestTopic()
			rt.Topic, rt.TopicID = t.Name, t.ID
			p := kmsg.NewFetchRequestTopicPartition()
			p.PartitionMaxBytes = 1000
			rt.Partitions = append(rt.Partitions, p)
			req.Topics, req.MaxBytes = append(req.Topics, rt), 1000
			return req
		},
		enough: either(topicNeed(kmsg.ACLOperationRead)),
	}},
	kmsg.ListOffsets: {{
		request: inAll(kmsg.NewPtrListOffsetsRequest(), func(req *kmsg.ListOffsetsRequest) {
			p := kmsg.NewListOffsetsRequestTopicPartition()
			p.Timestamp, p.MaxNumOffsets = -1, 1
			req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: "t", Partitions: []kmsg.ListOffsetsRequestTopicPartition{p}}}
		}),
		enough: either(topicNeed(kmsg.ACLOperationDescribe)),
	}},
	kmsg.Metadata: {
		{request: metadataSample("t"), enough: either(topicNeed(kmsg.ACLOperationDescribe))},
		{
			request: func(v int16, t Topic) kmsg.Request {
				if v < 12 {
					return nil
				}
				req := at(kmsg.NewPtrMetadataRequest(), v)
				req.Topics = []kmsg.MetadataRequestTopic{{TopicID: t.ID}}
				return req
			},
			enough: either(topicNeed(kmsg.ACLOperationDescribe)),
		},
		{
			request: func(v int16, _ Topic) kmsg.Request { return at(kmsg.NewPtrMetadataRequest(), v) },
			enough:  either(topicNeed(kmsg.ACLOperationDescribe)),
			hidden:  func(r kmsg.Response) bool { return len(r.(*kmsg.MetadataResponse).Topics) == 0 },
		},
		// A topic that is to be made.
		{request: metadataSample("t-new"), enough: either(
			slices.Concat(topicNeed(kmsg.ACLOperationDescribe), topicNeed(kmsg.ACLOperationCreate)),
			slices.Concat(topicNeed(kmsg.ACLOperationDescribe), clusterNeed(kmsg.ACLOperationCreate)),
		)},
	},
	kmsg.OffsetCommit: {{
		request: func(v int16, t Topic) kmsg.Request {
			req := at(kmsg.NewPtrOffsetCommitRequest(), v)
			req.Group = "g"
			req.Topics = []kmsg.OffsetCommitRequestTopic{{Topic: t.Name, TopicID: t.ID, Partitions: []kmsg.OffsetCommitRequestTopicPartition{{}}}}
			return req
		},
		enough: both(groupNeed(kmsg.ACLOperationRead), topicNeed(kmsg.ACLOperationRead)),
	}},
	kmsg.OffsetFetch: {
		{
			request: func(v int16, t Topic) kmsg.Request {
				req := at(kmsg.NewPtrOffsetFetchRequest(), v)
				req.Group, req.Topics = "g", []kmsg.OffsetFetchRequestTopic{{Topic: "t", Partitions: []int32{0}}}
				req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberEpoch: -1, Topics: []kmsg.OffsetFetchRequestGroupTopic{{Topic: "t", TopicID: t.ID, Partitions: []int32{0}}}}}
				return req
			},
			enough: both(groupNeed(kmsg.ACLOperationDescribe), topicNeed(kmsg.ACLOperationDescribe)),
		},
		{
			request: func(v int16, _ Topic) kmsg.Request {
				if v < 8 {
					return nil
				}
				req := at(kmsg.NewPtrOffsetFetchRequest(), v)
				req.Groups = []kmsg.OffsetFetchRequestGroup{{Group: "g", MemberEpoch: -1}}
				return req
			},
			enough: both(groupNeed(kmsg.ACLOperationDescribe), topicNeed(kmsg.ACLOperationDescribe)),
			hidden: func(r kmsg.Response) bool { return len(r.(*kmsg.OffsetFetchResponse).Groups[0].Topics) == 0 },
		},
	},
	kmsg.FindCoordinator: {
		{request: coordinatorSample(coordinatorOfGroup, "g"), enough: either(groupNeed(kmsg.ACLOperationDescribe))},
		{request: coordinatorSample(coordinatorOfTransaction, "x"), enough: either(txnNeed(kmsg.ACLOperationDescribe))},
	},
	kmsg.JoinGroup:  {{request: inAll(kmsg.NewPtrJoinGroupRequest(), func(r *kmsg.JoinGroupRequest) { r.Group = "g" }), enough: either(groupNeed(kmsg.ACLOperationRead))}},
	kmsg.Heartbeat:  {{request: inAll(kmsg.NewPtrHeartbeatRequest(), func(r *kmsg.HeartbeatRequest) { r.Group = "g" }), enough: either(groupNeed(kmsg.ACLOperationRead))}},
	kmsg.LeaveGroup: {{request: inAll(kmsg.NewPtrLeaveGroupRequest(), func(r *kmsg.LeaveGroupRequest) { r.Group = "g" }), enough: either(groupNeed(kmsg.ACLOperationRead))}},
	kmsg.SyncGroup:  {{request: inAll(kmsg.NewPtrSyncGroupRequest(), func(r *kmsg.SyncGroupRequest) { r.Group = "g" }), enough: either(groupNeed(kmsg.ACLOperationRead))}},
	kmsg.DescribeGroups: {{
		request: inAll(kmsg.NewPtrDescribeGroupsRequest(), func(r *kmsg.DescribeGroupsRequest) { r.Groups = []string{"g"} }),
		enough:  either(groupNeed(kmsg.ACLOperationDescribe)),
	}},
	kmsg.ListGroups: {{
		request: inAll(kmsg.NewPtrListGroupsRequest(), func(*kmsg.ListGroupsRequest) {}),
		enough:  either(groupNeed(kmsg.ACLOperationDescribe), clusterNeed(kmsg.ACLOperationDescribe)),
		hidden:  func(r kmsg.Response) bool { return len(r.(*kmsg.ListGroupsResponse).Groups) == 0 },
	}},
	kmsg.ApiVersions: {{request: inAll(kmsg.NewPtrApiVersionsRequest(), func(*kmsg.ApiVersionsRequest) {})}},
	kmsg.DescribeLogDirs: {{
		request: inAll(kmsg.NewPtrDescribeLogDirsRequest(), func(*kmsg.DescribeLogDirsRequest) {}),
		enough:  either(clusterNeed(kmsg.ACLOperationDescribe)),
		hidden:  func(r kmsg.Response) bool { return len(r.(*kmsg.DescribeLogDirsResponse).Dirs) == 0 },
	}},
	kmsg.AlterReplicaLogDirs: {{
		request: inAll(kmsg.NewPtrAlterReplicaLogDirsRequest(), func(r *kmsg.AlterReplicaLogDirsRequest) {
			r.Dirs = []kmsg.AlterReplicaLogDirsRequestDir{{Dir: "/data", Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: "t", Partitions: []int32{0}}}}}
		}),
		enough: either(clusterNeed(kmsg.ACLOperationAlter)),
	}},
	kmsg.ElectLeaders: {{
		request: inAll(kmsg.NewPtrElectLeadersRequest(), func(r *kmsg.ElectLeadersRequest) {
			r.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		}),
		enough: either(clusterNeed(kmsg.ACLOperationAlter)),
	}},
	kmsg.DescribeQuorum: {{
		request: inAll(kmsg.NewPtrDescribeQuorumRequest(), func(r *kmsg.DescribeQuorumRequest) {
			r.Topics = []kmsg.DescribeQuorumRequestTopic{{Topic: metadataTopic, Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}}
		}),
		enough: either(clusterNeed(kmsg.ACLOperationDescribe)),
	}},
	kmsg.UpdateFeatures: {{
		request: inAll(kmsg.NewPtrUpdateFeaturesRequest(), func(*kmsg.UpdateFeaturesRequest) {}),
		enough:  either(clusterNeed(kmsg.ACLOperationAlter)),
	}},
	kmsg.AlterPartitionAssignments: {{
		request: inAll(kmsg.NewPtrAlterPartitionAssignmentsRequest(), func(*kmsg.AlterPartitionAssignmentsRequest) {}),
		enough:  either(clusterNeed(kmsg.ACLOperationAlter)),
	}},
	kmsg.ListPartitionReassignments: {{
		request: inAll(kmsg.NewPtrListPartitionReassignmentsRequest(), func(*kmsg.ListPartitionReassignmentsRequest) {}),
		enough:  either(clusterNeed(kmsg.ACLOperationDescribe)),
	}},
	kmsg.GetTelemetrySubscriptions: {{request: inAll(kmsg.NewPtrGetTelemetrySubscriptionsRequest(), func(*kmsg.GetTelemetrySubscriptionsRequest) {})}},
	kmsg.PushTelemetry:             {{request: inAll(kmsg.NewPtrPushTelemetryRequest(), func(*kmsg.PushTelemetryRequest) {})}},
	kmsg.ListConfigResources: {{
		request: inAll(kmsg.NewPtrListConfigResourcesRequest(), func(*kmsg.ListConfigResourcesRequest) {}),
		enough:  either(clusterNeed(kmsg.ACLOperationDescribeConfigs)),
	}},
	kmsg.DescribeTopicPartitions: {
		{
			request: inAll(kmsg.NewPtrDescribeTopicPartitionsRequest(), func(r *kmsg.DescribeTopicPartitionsRequest) {
				r.Topics, r.ResponsePartitionLimit = []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "t"}}, 10
			}),
			enough: either(topicNeed(kmsg.ACLOperationDescribe)),
		},
		{
			request: inAll(kmsg.NewPtrDescribeTopicPartitionsRequest(), func(r *kmsg.DescribeTopicPartitionsRequest) { r.ResponsePartitionLimit = 10 }),
			enough:  either(topicNeed(kmsg.ACLOperationDescribe)),
			hidden:  func(r kmsg.Response) bool { return len(r.(*kmsg.DescribeTopicPartitionsResponse).Topics) == 0 },
		},
	},
	kmsg.AddPartitionsToTxn: {
		{
			request: func(v int16, _ Topic) kmsg.Request {
				if v >= 4 {
					return nil
				}
				req := at(kmsg.NewPtrAddPartitionsToTxnRequest(), v)
				req.TransactionalID, req.Topics = "x", []kmsg.AddPartitionsToTxnRequestTopic{{Topic: "t", Partitions: []int32{0}}}
				return req
			},
			enough: both(txnNeed(kmsg.ACLOperationWrite), topicNeed(kmsg.ACLOperationWrite)),
		},
		{
			request: func(v int16, _ Topic) kmsg.Request {
				if v < 4 {
					return nil
				}
				req := at(kmsg.NewPtrAddPartitionsToTxnRequest(), v)
				req.Transactions = []kmsg.AddPartitionsToTxnRequestTransaction{{
					TransactionalID: "x", Topics: []kmsg.AddPartitionsToTxnRequestTransactionTopic{{Topic: "t", Partitions: []int32{0}}},
				}}
				return req
			},
			enough: either(clusterNeed(kmsg.ACLOperationClusterAction)),
		},
	},
	kmsg.AddOffsetsToTxn: {{
		request: inAll(kmsg.NewPtrAddOffsetsToTxnRequest(), func(r *kmsg.AddOffsetsToTxnRequest) { r.TransactionalID, r.Group = "x", "g" }),
		enough:  both(txnNeed(kmsg.ACLOperationWrite), groupNeed(kmsg.ACLOperationRead)),
	}},
	kmsg.EndTxn: {{
		request: inAll(kmsg.NewPtrEndTxnRequest(), func(r *kmsg.EndTxnRequest) { r.TransactionalID = "x" }),
		enough:  either(txnNeed(kmsg.ACLOperationWrite)),
	}},
	kmsg.WriteTxnMarkers: {{
		request: inAll(kmsg.NewPtrWriteTxnMarkersRequest(), func(r *kmsg.WriteTxnMarkersRequest) {
			r.Markers = []kmsg.WriteTxnMarkersRequestMarker{{Topics: []kmsg.WriteTxnMarkersRequestMarkerTopic{{Topic: "t", Partitions: []int32{0}}}}}
		}),
		enough: either(clusterNeed(kmsg.ACLOperationAlter), clusterNeed(kmsg.ACLOperationClusterAction)),
	}},
	kmsg.TxnOffsetCommit: {{
		request: inAll(kmsg.NewPtrTxnOffsetCommitRequest(), func(r *kmsg.TxnOffsetCommitRequest) {
			r.TransactionalID, r.Group = "x", "g"
			r.Topics = []kmsg.TxnOffsetCommitRequestTopic{{Topic: "t", Partitions: []kmsg.TxnOffsetCommitRequestTopicPartition{{}}}}
		}),
		enough: both(txnNeed(kmsg.ACLOperationWrite), groupNeed(kmsg.ACLOperationRead), topicNeed(kmsg.ACLOperationRead)),
	}},
	kmsg.DescribeTransactions: {
		{
			request: inAll(kmsg.NewPtrDescribeTransactionsRequest(), func(r *kmsg.DescribeTransactionsRequest) { r.TransactionalIDs = []string{"x"} }),
			enough:  either(txnNeed(kmsg.ACLOperationDescribe)),
		},
		{
			request: inAll(kmsg.NewPtrDescribeTransactionsRequest(), func(r *kmsg.DescribeTransactionsRequest) { r.TransactionalIDs = []string{"x"} }),
			enough:  both(txnNeed(kmsg.ACLOperationDescribe), topicNeed(kmsg.ACLOperationDescribe)),
			hidden: func(r kmsg.Response) bool {
				return len(r.(*kmsg.DescribeTransactionsResponse).TransactionStates[0].Topics) == 0
			},
		},
	},
	kmsg.ListTransactions: {{
		request: inAll(kmsg.NewPtrListTransactionsRequest(), func(*kmsg.ListTransactionsRequest) {}),
		enough:  either(txnNeed(kmsg.ACLOperationDescribe)),
		hidden:  func(r kmsg.Response) bool { return len(r.(*kmsg.ListTransactionsResponse).TransactionStates) == 0 },
	}},
	kmsg.DescribeProducers: {{
		request: inAll(kmsg.NewPtrDescribeProducersRequest(), func(r *kmsg.DescribeProducersRequest) {
			r.Topics = []kmsg.DescribeProducersRequestTopic{{Topic: "t", Partitions: []int32{0}}}
		}),
		enough: either(topicNeed(kmsg.ACLOperationRead)),
	}},
	kmsg.OffsetDelete: {{
		request: inAll(kmsg.NewPtrOffsetDeleteRequest(), func(r *kmsg.OffsetDeleteRequest) {
			r.Group = "g"
			r.Topics = []kmsg.OffsetDeleteRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetDeleteRequestTopicPartition{{}}}}
		}),
		enough: both(groupNeed(kmsg.ACLOperationDelete), topicNeed(kmsg.ACLOperationRead)),
	}},
	kmsg.ConsumerGroupHeartbeat: {{
		request: inAll(kmsg.NewPtrConsumerGroupHeartbeatRequest(), func(r *kmsg.ConsumerGroupHeartbeatRequest) {
			r.Group, r.SubscribedTopicNames = "g", []string{"t"}
		}),
		enough: both(groupNeed(kmsg.ACLOperationRead), topicNeed(kmsg.ACLOperationDescribe)),
	}},
	kmsg.ConsumerGroupDescribe: {{
		request: inAll(kmsg.NewPtrConsumerGroupDescribeRequest(), func(r *kmsg.ConsumerGroupDescribeRequest) { r.Groups = []string{"g"} }),
		enough:  both(groupNeed(kmsg.ACLOperationDescribe), topicNeed(kmsg.ACLOperationDescribe)),
	}},
	kmsg.DescribeClientQuotas: {{
		request: inAll(kmsg.NewPtrDescribeClientQuotasRequest(), func(*kmsg.DescribeClientQuotasRequest) {}),
		enough:  either(clusterNeed(kmsg.ACLOperationDescribeConfigs)),
	}},
	kmsg.AlterClientQuotas: {{
		request: inAll(kmsg.NewPtrAlterClientQuotasRequest(), func(r *kmsg.AlterClientQuotasRequest) {
			r.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: []kmsg.AlterClientQuotasRequestEntryEntity{{Type: entityUser}}}}
		}),
		enough: either(clusterNeed(kmsg.ACLOperationAlterConfigs)),
	}},
	kmsg.SASLHandshake:    {{request: inAll(kmsg.NewPtrSASLHandshakeRequest(), func(*kmsg.SASLHandshakeRequest) {})}},
	kmsg.SASLAuthenticate: {{request: inAll(kmsg.NewPtrSASLAuthenticateRequest(), func(*kmsg.SASLAuthenticateRequest) {})}},
	kmsg.DescribeUserSCRAMCredentials: {{
		request: inAll(kmsg.NewPtrDescribeUserSCRAMCredentialsRequest(), func(*kmsg.DescribeUserSCRAMCredentialsRequest) {}),
		enough:  either(clusterNeed(kmsg.ACLOperationDescribe)),
	}},
	kmsg.AlterUserSCRAMCredentials: {{
		request: inAll(kmsg.NewPtrAlterUserSCRAMCredentialsRequest(), func(r *kmsg.AlterUserSCRAMCredentialsRequest) {
			r.Deletions = []kmsg.AlterUserSCRAMCredentialsRequestDeletion{{Name: "u", Mechanism: 1}}
		}),
		enough: either(clusterNeed(kmsg.ACLOperationAlter)),
	}},
	kmsg.CreateTopics: {
		{
			request: createSample("t-new"),
			enough: either(
				slices.Concat(topicNeed(kmsg.ACLOperationCreate), topicNeed(kmsg.ACLOperationDescribeConfigs)),
				slices.Concat(clusterNeed(kmsg.ACLOperationCreate), topicNeed(kmsg.ACLOperationDescribeConfigs)),
			),
		},
	},
	kmsg.DeleteTopics: {
		{
			request: inAll(kmsg.NewPtrDeleteTopicsRequest(), func(r *kmsg.DeleteTopicsRequest) {
				r.TopicNames, r.Topics = []string{"t"}, []kmsg.DeleteTopicsRequestTopic{{Topic: s("t")}}
			}),
			enough: either(topicNeed(kmsg.ACLOperationDelete), clusterNeed(kmsg.ACLOperationDelete)),
		},
		{
			request: func(v int16, t Topic) kmsg.Request {
				if v < 6 {
					return nil
				}
				req := at(kmsg.NewPtrDeleteTopicsRequest(), v)
				req.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: t.ID}}
				return req
			},
			enough: either(topicNeed(kmsg.ACLOperationDelete), clusterNeed(kmsg.ACLOperationDelete)),
		},
	},
	kmsg.DeleteRecords: {{
		request: inAll(kmsg.NewPtrDeleteRecordsRequest(), func(r *kmsg.DeleteRecordsRequest) {
			r.Topics = []kmsg.DeleteRecordsRequestTopic{{Topic: "t", Partitions: []kmsg.DeleteRecordsRequestTopicPartition{{Offset: -1}}}}
		}),
		enough: either(topicNeed(kmsg.ACLOperationDelete)),
	}},
	kmsg.InitProducerID: {
		{request: producerSample(nil), enough: either(clusterNeed(kmsg.ACLOperationIdempotentWrite), topicNeed(kmsg.ACLOperationWrite))},
		{request: producerSample(s("x")), enough: either(txnNeed(kmsg.ACLOperationWrite))},
	},
	kmsg.OffsetForLeaderEpoch: {{
		request: inAll(kmsg.NewPtrOffsetForLeaderEpochRequest(), func(r *kmsg.OffsetForLeaderEpochRequest) {
			r.Topics = []kmsg.OffsetForLeaderEpochRequestTopic{{Topic: "t", Partitions: []kmsg.OffsetForLeaderEpochRequestTopicPartition{{}}}}
		}),
		enough: either(topicNeed(kmsg.ACLOperationDescribe), clusterNeed(kmsg.ACLOperationClusterAction)),
	}},
	kmsg.DescribeACLs: {{request: inAll(kmsg.NewPtrDescribeACLsRequest(), func(r *kmsg.DescribeACLsRequest) {
		r.ResourceType, r.ResourcePatternType, r.Operation, r.PermissionType = 1, 1, 1, 1
	}), enough: either(clusterNeed(kmsg.ACLOperationDescribe))}},
	kmsg.CreateACLs: {{request: inAll(kmsg.NewPtrCreateACLsRequest(), func(r *kmsg.CreateACLsRequest) {
		r.Creations = []kmsg.CreateACLsRequestCreation{{ResourceType: onTopic, ResourcePatternType: 3, ResourceName: "other", Principal: "User:a", Host: "*", Operation: 3, PermissionType: 3}}
	}), enough: either(clusterNeed(kmsg.ACLOperationAlter))}},
	kmsg.DeleteACLs: {{request: inAll(kmsg.NewPtrDeleteACLsRequest(), func(r *kmsg.DeleteACLsRequest) {
		r.Filters = []kmsg.DeleteACLsRequestFilter{{ResourceType: 1, ResourcePatternType: 1, ResourceName: s("other"), Operation: 1, PermissionType: 1}}
	}), enough: either(clusterNeed(kmsg.ACLOperationAlter))}},
	kmsg.DescribeConfigs: {
		{request: inAll(kmsg.NewPtrDescribeConfigsRequest(), func(r *kmsg.DescribeConfigsRequest) {
			r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}
		}), enough: either(topicNeed(kmsg.ACLOperationDescribeConfigs))},
		{request: inAll(kmsg.NewPtrDescribeConfigsRequest(), func(r *kmsg.DescribeConfigsRequest) {
			r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}}
		}), enough: either(clusterNeed(kmsg.ACLOperationDescribeConfigs))},
		{request: inAll(kmsg.NewPtrDescribeConfigsRequest(), func(r *kmsg.DescribeConfigsRequest) {
			r.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "g"}}
		}), enough: either(groupNeed(kmsg.ACLOperationDescribeConfigs))},
	},
	kmsg.AlterConfigs: {
		{request: inAll(kmsg.NewPtrAlterConfigsRequest(), func(r *kmsg.AlterConfigsRequest) {
			r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}
		}), enough: either(topicNeed(kmsg.ACLOperationAlterConfigs))},
		{request: inAll(kmsg.NewPtrAlterConfigsRequest(), func(r *kmsg.AlterConfigsRequest) {
			r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}}
		}), enough: either(clusterNeed(kmsg.ACLOperationAlterConfigs))},
		{request: inAll(kmsg.NewPtrAlterConfigsRequest(), func(r *kmsg.AlterConfigsRequest) {
			r.Resources = []kmsg.AlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "g"}}
		}), enough: either(groupNeed(kmsg.ACLOperationAlterConfigs))},
	},
	kmsg.IncrementalAlterConfigs: {
		{request: inAll(kmsg.NewPtrIncrementalAlterConfigsRequest(), func(r *kmsg.IncrementalAlterConfigsRequest) {
			r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t"}}
		}), enough: either(topicNeed(kmsg.ACLOperationAlterConfigs))},
		{request: inAll(kmsg.NewPtrIncrementalAlterConfigsRequest(), func(r *kmsg.IncrementalAlterConfigsRequest) {
			r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1"}}
		}), enough: either(clusterNeed(kmsg.ACLOperationAlterConfigs))},
		{request: inAll(kmsg.NewPtrIncrementalAlterConfigsRequest(), func(r *kmsg.IncrementalAlterConfigsRequest) {
			r.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeGroupConfig, ResourceName: "g"}}
		}), enough: either(groupNeed(kmsg.ACLOperationAlterConfigs))},
	},
	kmsg.CreatePartitions: {{request: inAll(kmsg.NewPtrCreatePartitionsRequest(), func(r *kmsg.CreatePartitionsRequest) {
		r.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: "t", Count: 9}}
	}), enough: either(topicNeed(kmsg.ACLOperationAlter))}},
	kmsg.DeleteGroups: {{
		request: inAll(kmsg.NewPtrDeleteGroupsRequest(), func(r *kmsg.DeleteGroupsRequest) { r.Groups = []string{"g"} }),
		enough:  either(groupNeed(kmsg.ACLOperationDelete)),
	}},
	kmsg.DescribeCluster: {{request: inAll(kmsg.NewPtrDescribeClusterRequest(), func(*kmsg.DescribeClusterRequest) {})}},
}

func produceSample(id *string) func(int16, Topic) kmsg.Request {
	return func(v int16, t Topic) kmsg.Request {
		req := at(kmsg.NewPtrProduceRequest(), v)
		req.Acks, req.TransactionID = -1, id
		req.Topics = []kmsg.ProduceRequestTopic{{Topic: t.Name, TopicID: t.ID, Partitions: []kmsg.ProduceRequestTopicPartition{{Records: batchOf(1)}}}}
		return req
	}
}

func metadataSample(name string) func(int16, Topic) kmsg.Request {
	return inAll(kmsg.NewPtrMetadataRequest(), func(r *kmsg.MetadataRequest) {
		r.Topics, r.AllowAutoTopicCreation = []kmsg.MetadataRequestTopic{{Topic: s(name)}}, true
	})
}

func coordinatorSample(kind int8, key string) func(int16, Topic) kmsg.Request {
	return func(v int16, _ Topic) kmsg.Request {
		if v < 1 && kind != coordinatorOfGroup {
			return nil
		}
		req := at(kmsg.NewPtrFindCoordinatorRequest(), v)
		req.CoordinatorType, req.CoordinatorKey, req.CoordinatorKeys = kind, key, []string{key}
		return req
	}
}

func createSample(name string) func(int16, Topic) kmsg.Request {
	return func(v int16, _ Topic) kmsg.Request {
		req := at(kmsg.NewPtrCreateTopicsRequest(), v)
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = name, 1, 1
		req.Topics = append(req.Topics, t)
		return req
	}
}

func producerSample(id *string) func(int16, Topic) kmsg.Request {
	return inAll(kmsg.NewPtrInitProducerIDRequest(), func(r *kmsg.InitProducerIDRequest) { r.TransactionalID = id })
}

// granting is an authorizer that allows the anonymous user some needs, on what
// samples touch, and nothing else. Names that begin with t are about t.
func granting(needs []need) acl.Authorizer {
	a := acl.Authorizer{}
	a.Policy, _ = acl.NewPolicy("User:root", false)
	names := map[kmsg.ACLResourceType]string{onTopic: "t", onGroup: "g", onCluster: acl.ClusterName, onTxnID: "x"}
	for _, n := range needs {
		b := acl.Binding{Resource: n.on, Pattern: kmsg.ACLResourcePatternTypeLiteral, Name: names[n.on], Principal: "User:ANONYMOUS", Host: acl.Anywhere, Operation: n.op, Allow: true}
		if n.on == onTopic {
			b.Pattern = kmsg.ACLResourcePatternTypePrefixed
		}
		a.List = a.List.Add(b)
	}
	return a
}

// refusedBy says whether any code in an answer is one of a refusal.
func refusedBy(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Pointer, reflect.Interface:
		return !v.IsNil() && refusedBy(v.Elem())
	case reflect.Slice:
		for i := range v.Len() {
			if refusedBy(v.Index(i)) {
				return true
			}
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if strings.HasSuffix(v.Type().Field(i).Name, "ErrorCode") {
				for _, k := range refusals {
					if int16(v.Field(i).Int()) == k.Code {
						return true
					}
				}
			} else if refusedBy(v.Field(i)) {
				return true
			}
		}
	}
	return false
}

// TestTheMatrixOfAccess sends every API in every version as a client that may do just
// enough, everything but one thing of it, or nothing; as a super user; and where there
// is no authorizer. It is made from the table of APIs.
func TestTheMatrixOfAccess(t *testing.T) {
	for _, a := range newAPITable().sorted() {
		t.Run(a.key.Name(), func(t *testing.T) {
			if len(samples[a.key]) == 0 {
				t.Fatal("there is no sample of a request: the matrix cannot be tested")
			}
			var asked []need
			for i, smp := range samples[a.key] {
				for v := a.min; v <= a.max; v++ {
					t.Run(fmt.Sprintf("%d v%d", i, v), func(t *testing.T) { tryAccess(t, a, smp, v) })
				}
				for _, set := range smp.enough {
					asked = append(asked, set...)
				}
			}
			for _, n := range a.needs {
				implied := a.key == kmsg.DeleteTopics && n.op == kmsg.ACLOperationDescribe
				if !slices.Contains(asked, n) && !implied {
					t.Errorf("no sample needs %s on %s, which is declared", n.op, n.on)
				}
			}
		})
	}
}

// sampled is a backend that has what samples touch.
func sampled(access acl.Authorizer) (*fake, Topic) {
	f := newFake()
	f.auto = true
	f.access = access
	topic := f.add("t", 2)
	f.produce("t", 0, 1)
	f.groups = []string{"g"}
	f.transactions.known = []TransactionState{{ID: "x", State: "Ongoing", Started: 1, Partitions: []TopicPartition{{"t", 0}}}}
	f.offsets["g"] = map[TopicPartition]kmsg.OffsetCommitRequestTopicPartition{{"t", 0}: {}}
	return f, topic.Topic
}

func tryAccess(t *testing.T, a *api, smp sample, v int16) {
	refused := func(who string, access acl.Authorizer) (refused, sent bool) {
		f, topic := sampled(access)
		req := smp.request(v, topic)
		if req == nil {
			return false, false
		}
		server := serverOf(t, f, Limits{}, Events{Failed: func(r Request, err error) { t.Errorf("%s as %s: %v", r, who, err) }})
		w := connect(t, context.Background(), server)
		resp := ask[kmsg.Response](w, req)
		return refusedBy(reflect.ValueOf(resp)) || smp.hidden != nil && smp.hidden(resp), true
	}
	expect := func(who string, access acl.Authorizer, want bool) {
		t.Helper()
		if got, sent := refused(who, access); sent && got != want {
			t.Errorf("as %s: refused is %v", who, got)
		}
	}
	expect("anybody without an authorizer", acl.Authorizer{}, false)
	expect("nobody who may do anything", granting(nil), len(smp.enough) > 0)
	root := granting(nil)
	root.Policy, _ = acl.NewPolicy("User:ANONYMOUS", false)
	root.List = root.List.Add(acl.Binding{Resource: onTopic, Pattern: 3, Name: "*", Principal: "User:*", Host: "*", Operation: kmsg.ACLOperationAll})
	expect("a super user", root, false)
	everyone := granting(nil)
	everyone.Policy, _ = acl.NewPolicy("", true)
	expect("everyone", everyone, false)
	for _, set := range smp.enough {
		expect(fmt.Sprintf("who has %v", set), granting(set), false)
		for i := range set {
			less := slices.Delete(slices.Clone(set), i, i+1)
			// The configuration of a new topic was not told before version 5, so nothing of it was refused.
			if a.key == kmsg.CreateTopics && set[i].op == kmsg.ACLOperationDescribeConfigs && v < 5 {
				continue
			}
			expect(fmt.Sprintf("who lacks %v", set[i]), granting(less), true)
		}
		denied := granting(set)
		denied.List.All(func(b acl.Binding) bool {
			b.Allow = false
			denied.List = denied.List.Add(b)
			return true
		})
		expect("who is denied what he is allowed", denied, true)
	}
}

func TestATopicThatMayNotBeSeenLooksLikeNone(t *testing.T) {
	f := newFake()
	f.access = granting(nil)
	f.add("t", 1)
	w := to(t, f)
	for _, name := range []string{"t", "none"} {
		req := at(kmsg.NewPtrMetadataRequest(), 13)
		req.Topics, req.AllowAutoTopicCreation = []kmsg.MetadataRequestTopic{{Topic: s(name)}}, true
		got := ask[*kmsg.MetadataResponse](w, req).Topics[0]
		if got.ErrorCode != kerr.TopicAuthorizationFailed.Code || got.TopicID != [16]byte{} || len(got.Partitions) > 0 || *got.Topic != name {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if len(f.created) > 0 {
		t.Errorf("%v was created", f.created)
	}
}

func TestOperationsAreThoseThatAreAllowed(t *testing.T) {
	f := newFake()
	f.access = granting([]need{{kmsg.ACLOperationRead, onTopic}, {kmsg.ACLOperationDelete, onGroup}, {kmsg.ACLOperationAlter, onCluster}})
	f.add("t", 1)
	w := to(t, f)
	bit := func(ops ...kmsg.ACLOperation) (bits int32) {
		for _, op := range ops {
			bits |= 1 << op
		}
		return bits
	}
	req := at(kmsg.NewPtrMetadataRequest(), 10)
	req.IncludeTopicAuthorizedOperations, req.IncludeClusterAuthorizedOperations = true, true
	resp := ask[*kmsg.MetadataResponse](w, req)
	if got, want := resp.Topics[0].AuthorizedOperations, bit(kmsg.ACLOperationRead, kmsg.ACLOperationDescribe); got != want {
		t.Errorf("topic: %b, want %b", got, want)
	}
	if got, want := resp.AuthorizedOperations, bit(kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe); got != want {
		t.Errorf("cluster: %b, want %b", got, want)
	}
	groups := at(kmsg.NewPtrDescribeGroupsRequest(), 5)
	groups.Groups, groups.IncludeAuthorizedOperations = []string{"g", "other"}, true
	for _, g := range ask[*kmsg.DescribeGroupsResponse](w, groups).Groups {
		want := bit(kmsg.ACLOperationDelete, kmsg.ACLOperationDescribe)
		if g.Group == "other" {
			want = notAsked
		}
		if g.AuthorizedOperations != want {
			t.Errorf("group %s: %b, want %b", g.Group, g.AuthorizedOperations, want)
		}
	}
	f.access = granting(nil)
	cluster := at(kmsg.NewPtrDescribeClusterRequest(), 0)
	cluster.IncludeClusterAuthorizedOperations = true
	if got := ask[*kmsg.DescribeClusterResponse](w, cluster).ClusterAuthorizedOperations; got != 0 {
		t.Errorf("who may not describe the cluster is told %b", got)
	}
}

func TestAccessControlListsAreReadAndChanged(t *testing.T) {
	f := newFake()
	f.access.Policy, _ = acl.NewPolicy("User:ANONYMOUS", false)
	w := to(t, f)
	create := at(kmsg.NewPtrCreateACLsRequest(), 3)
	add := func(change func(*kmsg.CreateACLsRequestCreation)) {
		a := kmsg.CreateACLsRequestCreation{ResourceType: onTopic, ResourcePatternType: 4, ResourceName: "o", Principal: "User:a", Host: "*", Operation: 3, PermissionType: 3}
		change(&a)
		create.Creations = append(create.Creations, a)
	}
	add(func(*kmsg.CreateACLsRequestCreation) {})
	add(func(a *kmsg.CreateACLsRequestCreation) { a.ResourcePatternType, a.ResourceName = 3, "orders" })
	add(func(a *kmsg.CreateACLsRequestCreation) { a.PermissionType = 2; a.Operation = 4 })
	add(func(a *kmsg.CreateACLsRequestCreation) { a.Principal = "nobody" })
	add(func(a *kmsg.CreateACLsRequestCreation) { a.PermissionType = 1 })
	add(func(a *kmsg.CreateACLsRequestCreation) { a.ResourceType, a.ResourceName = onCluster, "other" })
	invalid := kerr.InvalidRequest.Code
	for i, want := range []int16{0, 0, 0, invalid, invalid, invalid} {
		if got := ask[*kmsg.CreateACLsResponse](w, create).Results[i]; got.ErrorCode != want || (want != 0) != (got.ErrorMessage != nil) {
			t.Errorf("creation %d: %+v", i, got)
		}
	}
	describe := at(kmsg.NewPtrDescribeACLsRequest(), 3)
	describe.ResourceType, describe.ResourcePatternType, describe.ResourceName = onTopic, kmsg.ACLResourcePatternTypeMatch, s("orders")
	describe.Operation, describe.PermissionType = 1, 1
	all := ask[*kmsg.DescribeACLsResponse](w, describe)
	if len(all.Resources) != 2 || len(all.Resources[0].ACLs) != 1 || len(all.Resources[1].ACLs) != 2 || all.Resources[1].ResourceName != "o" {
		t.Errorf("%+v", all)
	}
	describe.Operation = 0
	if got := ask[*kmsg.DescribeACLsResponse](w, describe); got.ErrorCode != invalid || len(got.Resources) > 0 {
		t.Errorf("an unknown operation: %+v", got)
	}
	remove := at(kmsg.NewPtrDeleteACLsRequest(), 3)
	remove.Filters = []kmsg.DeleteACLsRequestFilter{
		{ResourceType: onTopic, ResourcePatternType: 4, ResourceName: s("o"), Operation: 1, PermissionType: 2},
		{ResourceType: onTopic, ResourcePatternType: 4, ResourceName: s("o"), Operation: 1, PermissionType: 1},
		{ResourceType: onTopic, ResourcePatternType: 9, Operation: 1, PermissionType: 1},
	}
	gone := ask[*kmsg.DeleteACLsResponse](w, remove).Results
	if len(gone[0].MatchingACLs) != 1 || len(gone[1].MatchingACLs) != 1 || gone[2].ErrorCode != invalid || f.access.List.Len() != 1 {
		t.Errorf("%+v, %d left", gone, f.access.List.Len())
	}
	f.access.Policy = nil
	describe.Operation = 1
	if got := ask[*kmsg.DescribeACLsResponse](w, describe); got.ErrorCode != kerr.SecurityDisabled.Code {
		t.Errorf("without an authorizer: %+v", got)
	}
}

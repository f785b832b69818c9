package acl

import "github.com/twmb/franz-go/pkg/kmsg"

// operations are those that exist for a type of resource.
var operations = map[kmsg.ACLResourceType][]kmsg.ACLOperation{
	kmsg.ACLResourceTypeTopic: {
		kmsg.ACLOperationRead, kmsg.ACLOperationWrite, kmsg.ACLOperationCreate, kmsg.ACLOperationDelete, kmsg.ACLOperationAlter,
		kmsg.ACLOperationDescribe, kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
	},
	kmsg.ACLResourceTypeGroup: {
		kmsg.ACLOperationRead, kmsg.ACLOperationDelete, kmsg.ACLOperationDescribe,
		kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs,
	},
	kmsg.ACLResourceTypeCluster: {
		kmsg.ACLOperationCreate, kmsg.ACLOperationAlter, kmsg.ACLOperationDescribe, kmsg.ACLOperationClusterAction,
		kmsg.ACLOperationDescribeConfigs, kmsg.ACLOperationAlterConfigs, kmsg.ACLOperationIdempotentWrite,
	},
	kmsg.ACLResourceTypeTransactionalId: {kmsg.ACLOperationWrite, kmsg.ACLOperationDescribe},
	kmsg.ACLResourceTypeDelegationToken: {kmsg.ACLOperationDescribe},
	kmsg.ACLResourceTypeUser:            {kmsg.ACLOperationCreateTokens, kmsg.ACLOperationDescribeTokens},
}

// Operations are those that exist for a type of resource. They must not be changed.
func Operations(on kmsg.ACLResourceType) []kmsg.ACLOperation { return operations[on] }

// AllowedOperations are the operations that a subject may do to the resource of a
// name, of those that exist for its type, as bits (KIP-430): 1<<n for number n.
func (a Authorizer) AllowedOperations(s Subject, on kmsg.ACLResourceType, name string) int32 {
	var bits int32
	for _, op := range operations[on] {
		if a.Allowed(s, op, on, name) {
			bits |= 1 << op
		}
	}
	return bits
}

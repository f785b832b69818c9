package kafka

// Operations that a client may do, as bits (KIP-430): 1<<n for Kafka's
// AclOperation n. Only those that exist for a type of resource are named.
// Nobody is refused anything yet, so all are allowed.
const (
	opRead            = 1 << 3
	opWrite           = 1 << 4
	opCreate          = 1 << 5
	opDelete          = 1 << 6
	opAlter           = 1 << 7
	opDescribe        = 1 << 8
	opClusterAction   = 1 << 9
	opDescribeConfigs = 1 << 10
	opAlterConfigs    = 1 << 11
	opIdempotentWrite = 1 << 12

	topicOperations   = opRead | opWrite | opCreate | opDelete | opAlter | opDescribe | opDescribeConfigs | opAlterConfigs
	clusterOperations = opCreate | opAlter | opDescribe | opClusterAction | opDescribeConfigs | opAlterConfigs | opIdempotentWrite

	// notAsked is what the field holds unless the client asked for it.
	notAsked = -1 << 31
)

func operations(asked bool, all int32) int32 {
	if asked {
		return all
	}
	return notAsked
}

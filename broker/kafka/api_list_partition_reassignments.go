package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListPartitionReassignments lists partitions that are being moved (KIP-455). None ever
// is, see api_alter_partition_assignments.go.
//
//	0    flexible
func listPartitionReassignmentsAPI() *api {
	return waiting(kmsg.ListPartitionReassignments, 0, 0, "4 [s (4)]", (*call).listPartitionReassignments)
}

func (c *call) listPartitionReassignments(context.Context, *kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	return kmsg.NewPtrListPartitionReassignmentsResponse()
}

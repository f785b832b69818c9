package acl

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// Everything is the name of a literal binding that is about all resources of its
	// type, and Anywhere the host of one that holds wherever a client comes from.
	Everything = "*"
	Anywhere   = "*"
	// Anyone is the principal of a binding that holds for everybody.
	Anyone = "User:*"
	// ClusterName is the only resource of type Cluster, by Kafka's name.
	ClusterName = "kafka-cluster"

	// maxText bounds each text of a binding, in bytes.
	maxText = 1024
)

// Binding is one line of an access control list.
type Binding struct {
	Resource  kmsg.ACLResourceType
	Pattern   kmsg.ACLResourcePatternType // literal or prefixed
	Name      string                      // of the resource, or what its name begins with
	Principal string                      // "User:alice"
	Host      string                      // an address, or Anywhere
	Operation kmsg.ACLOperation
	Allow     bool // else it denies
}

// Check says what is wrong with a binding.
func (b Binding) Check() error {
	switch {
	case b.Resource < kmsg.ACLResourceTypeTopic || b.Resource > kmsg.ACLResourceTypeUser:
		return fmt.Errorf("there are no resources of type %s (%d)", b.Resource, b.Resource)
	case b.Pattern != kmsg.ACLResourcePatternTypeLiteral && b.Pattern != kmsg.ACLResourcePatternTypePrefixed:
		return fmt.Errorf("the pattern type %s (%d) is neither LITERAL nor PREFIXED", b.Pattern, b.Pattern)
	case b.Operation < kmsg.ACLOperationAll || b.Operation > kmsg.ACLOperationDescribeTokens:
		return fmt.Errorf("there is no operation %s (%d)", b.Operation, b.Operation)
	case b.Name == "":
		return errors.New("the resource's name is empty")
	case b.Host == "":
		return errors.New("the host is empty")
	case len(b.Name) > maxText || len(b.Host) > maxText || len(b.Principal) > maxText:
		return fmt.Errorf("a text is longer than %d bytes", maxText)
	case b.Resource == kmsg.ACLResourceTypeCluster && b.Name != ClusterName:
		return fmt.Errorf("the only resource of type CLUSTER is %q", ClusterName)
	}
	return CheckPrincipal(b.Principal)
}

// CheckPrincipal says what is wrong with the form of a principal.
func CheckPrincipal(p string) error {
	if kind, name, ok := strings.Cut(p, ":"); !ok || kind == "" || name == "" {
		return fmt.Errorf("principal %.100q is not of the form type:name, as in User:alice", p)
	}
	return nil
}

// Compare orders bindings.
func (b Binding) Compare(o Binding) int {
	return cmp.Or(
		cmp.Compare(b.Resource, o.Resource), cmp.Compare(b.Pattern, o.Pattern), cmp.Compare(b.Name, o.Name),
		cmp.Compare(b.Principal, o.Principal), cmp.Compare(b.Host, o.Host), cmp.Compare(b.Operation, o.Operation),
		compareBools(b.Allow, o.Allow),
	)
}

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// Permission is what the binding does, as the protocol numbers it.
func (b Binding) Permission() kmsg.ACLPermissionType {
	if b.Allow {
		return kmsg.ACLPermissionTypeAllow
	}
	return kmsg.ACLPermissionTypeDeny
}

// String is the binding in words: "allow User:alice from * READ on TOPIC orders.*"
// for a prefix, with the name alone for a literal.
func (b Binding) String() string {
	name := fmt.Sprintf("%q", b.Name)
	if b.Pattern == kmsg.ACLResourcePatternTypePrefixed {
		name += "..."
	}
	return fmt.Sprintf("%s %s from %s %s on %s %s", strings.ToLower(b.Permission().String()), b.Principal, b.Host, b.Operation, b.Resource, name)
}

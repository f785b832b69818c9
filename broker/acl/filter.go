package acl

import (
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Filter chooses bindings: nil, and the type Any, choose all. Pattern Match chooses
// whatever is about the resource of that name, literally, by a prefix, or by "*".
type Filter struct {
	Resource   kmsg.ACLResourceType
	Pattern    kmsg.ACLResourcePatternType
	Name       *string
	Principal  *string
	Host       *string
	Operation  kmsg.ACLOperation
	Permission kmsg.ACLPermissionType
}

// Check says what is wrong with a filter: a type that this binary does not know.
func (f Filter) Check() error {
	switch {
	case f.Resource < kmsg.ACLResourceTypeAny || f.Resource > kmsg.ACLResourceTypeUser:
		return fmt.Errorf("there are no resources of type %s (%d)", f.Resource, f.Resource)
	case f.Pattern < kmsg.ACLResourcePatternTypeAny || f.Pattern > kmsg.ACLResourcePatternTypePrefixed:
		return fmt.Errorf("there is no pattern type %s (%d)", f.Pattern, f.Pattern)
	case f.Operation < kmsg.ACLOperationAny || f.Operation > kmsg.ACLOperationDescribeTokens:
		return fmt.Errorf("there is no operation %s (%d)", f.Operation, f.Operation)
	case f.Permission < kmsg.ACLPermissionTypeAny || f.Permission > kmsg.ACLPermissionTypeAllow:
		return fmt.Errorf("there is no permission %s (%d)", f.Permission, f.Permission)
	}
	return nil
}

// Matches says whether the filter chooses a binding.
func (f Filter) Matches(b Binding) bool {
	return f.matchesResource(b) &&
		is(f.Principal, b.Principal) && is(f.Host, b.Host) &&
		(f.Operation == kmsg.ACLOperationAny || f.Operation == b.Operation) &&
		(f.Permission == kmsg.ACLPermissionTypeAny || f.Permission == b.Permission())
}

func is(want *string, have string) bool { return want == nil || *want == have }

func (f Filter) matchesResource(b Binding) bool {
	if f.Resource != kmsg.ACLResourceTypeAny && f.Resource != b.Resource {
		return false
	}
	switch f.Pattern {
	case kmsg.ACLResourcePatternTypeAny:
		return is(f.Name, b.Name)
	case kmsg.ACLResourcePatternTypeMatch:
		return f.Name == nil || b.about(*f.Name)
	}
	return f.Pattern == b.Pattern && is(f.Name, b.Name)
}

// about says whether the binding is about the resource of a name.
func (b Binding) about(name string) bool {
	if b.Pattern == kmsg.ACLResourcePatternTypePrefixed {
		return strings.HasPrefix(name, b.Name)
	}
	return b.Name == name || b.Name == Everything
}

// Package acl decides who may do what: Kafka's access control lists (KIP-11,
// KIP-290) and the rules by which a list is read, those of its StandardAuthorizer.
//
// A Binding allows or denies a principal, from a host, one operation on a resource:
// on the one of a name, on all whose names begin with a prefix, or on all ("*").
// An Authorizer answers by a List of them:
//
//   - a super user may do anything;
//   - else one binding that denies is enough to refuse, whatever allows;
//   - else one that allows is enough. Allowing Read, Write, Delete or Alter allows
//     Describe, and allowing AlterConfigs allows DescribeConfigs; denying implies
//     nothing;
//   - else it is refused, unless no binding at all is about the resource and
//     allow.everyone.if.no.acl.found is set.
//
// A List never changes: Add and Remove return another one that shares what stayed
// the same. So a reader that holds one needs no lock, and a decision allocates
// nothing. The package has no goroutine, no clock and no I/O.
package acl

// Package clients runs other clients' own tests against the real program. Each suite
// is copied from the module that this one depends on; what of it may fail is listed
// by name beside it, with the reason.
package clients

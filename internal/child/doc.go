// Package child starts processes that do not outlive this one, also where this one
// is killed and has no time to clean up. That is a promise on Linux; elsewhere a
// process that is not ended stays.
package child

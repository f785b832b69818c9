// Package kafka is the protocol server: it turns bytes on a connection into
// calls of a Backend and its answers back into bytes.
package kafka

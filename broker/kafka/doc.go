// Package kafka is the protocol server: it turns bytes on a connection into
// calls of a Backend and its answers back into bytes.
//
//	bytes ─▶ conn.go      frames, in the order of arrival, bounded in size and number
//	          │
//	          ▼
//	        dispatch.go   key and version ─▶ shape.go checks every length, kmsg decodes
//	          │
//	          ▼
//	        api_*.go      check what the request alone can tell, call the Backend
//	          │
//	          ▼
//	bytes ◀─ conn.go      answers, in the order of the requests
//
// A connection has two goroutines. The reader decodes a request and runs the
// part of it that must happen in the order of arrival (a produced batch enters
// the Backend here); what that returns is the rest, which the writer runs in the
// same order, and which may wait: for a commit, for data, for a rebalance. So the
// batches of one connection are pipelined, and its answers are never reordered.
//
// Where clients have to log in, login.go says which request may come when: before the
// first login all but three end the connection, whatever the table of APIs holds.
//
// Nothing a client sends is trusted: each limit and what happens at it is in
// limits.go, each error and its code in errors.go. One file per API says which
// versions are served and what each changed; docs/protocol.md has the table.
package kafka

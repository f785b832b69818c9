// Package record knows what the log is made of: the numbers that name things in
// it, the entry, which is one frame's body, and Kafka's record batch.
//
// A batch is kept as the bytes that the client sent. Batch is a view over them:
// it reads and patches the header and never copies. Only the few places that
// must look inside (timestamps of compacted topics, held messages, tools) pay for
// decompressing and parsing.
package record

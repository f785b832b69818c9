// Package checkpoint keeps the positions of sources in a compacted topic, in the
// format of Kafka Connect, so that its tools read them and a connector can move
// here with what it has already done.
//
//	key    ["connector name",{source partition}]
//	value  {source offset}, or null once the partition is forgotten
package checkpoint

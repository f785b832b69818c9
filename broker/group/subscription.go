package group

import "github.com/twmb/franz-go/pkg/kbin"

// subscription reads the topics from the metadata of a consumer
// (ConsumerProtocolSubscription): version i16, then topics as an array of strings
// in all versions.
func subscription(b []byte) (topics []string, ok bool) {
	r := kbin.Reader{Src: b}
	version := r.Int16()
	n := r.ArrayLen()
	for range n {
		topics = append(topics, r.String())
		if !r.Ok() {
			return nil, false
		}
	}
	return topics, r.Ok() && version >= 0 && n >= 0
}

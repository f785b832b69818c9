package kafka

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kbin"
)

// minHeader is the length of a request header of version 0: key, version and
// correlation id. Only ControlledShutdown used it.
const minHeader = 8

// ErrRequest is a request that does not decode.
var ErrRequest = errors.New("malformed request")

// header begins every request. Version 1 of it ends behind the client id, version
// 2 (KIP-482, for flexible versions of an API) adds tagged fields.
type header struct {
	key         int16
	version     int16
	correlation int32
	clientID    string
}

// readHeader decodes a header up to the client id, which has the same form in
// both versions, and returns what follows.
func readHeader(frame []byte) (header, []byte, error) {
	r := kbin.Reader{Src: frame}
	h := header{key: r.Int16(), version: r.Int16(), correlation: r.Int32()}
	if id := r.NullableString(); id != nil {
		h.clientID = *id
	}
	if err := r.Complete(); err != nil {
		return h, nil, fmt.Errorf("%w: the header of key %d version %d is cut off", ErrRequest, h.key, h.version)
	}
	return h, r.Src, nil
}

// skipHeaderTags skips the tagged fields of a header of version 2.
func skipHeaderTags(b []byte) ([]byte, error) {
	r := kbin.Reader{Src: b}
	n := r.Uvarint()
	if n > maxHeaderTags {
		return nil, fmt.Errorf("%w: %d tagged fields in the header, more than %d", ErrRequest, n, maxHeaderTags)
	}
	for range n {
		r.Uvarint()
		r.Span(int(r.Uvarint()))
	}
	if err := r.Complete(); err != nil {
		return nil, fmt.Errorf("%w: the tagged fields of the header are cut off", ErrRequest)
	}
	return r.Src, nil
}

package mysql

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/klauspost/compress/zstd"
)

// maxEvent bounds an event that was compressed, in bytes: a server takes no longer
// packet.
const maxEvent = 1 << 30

// The fields of a TRANSACTION_PAYLOAD event and its compressions, from MySQL's
// codecs/binary.h and compression/base.h.
const (
	payloadEnds        = 0
	payloadSize        = 1
	payloadCompression = 2

	compressedZstd = 0
	compressedNot  = 255
)

// payload is the events of a transaction that MySQL wrote compressed
// (binlog_transaction_compression). They are taken out one by one: the whole of
// them may be much longer than memory.
type payload struct {
	at   event
	from io.Reader
	zstd *zstd.Decoder
}

func openPayload(e event) (*payload, error) {
	c := cursor{rest: e.body}
	size, compression := uint64(0), uint64(compressedNot)
	for c.err == nil {
		field := c.packed()
		if field == payloadEnds {
			break
		}
		value := cursor{rest: c.text()}
		switch field {
		case payloadSize:
			size = value.packed()
		case payloadCompression:
			compression = value.packed()
		}
		c.err = errors.Join(c.err, value.err)
	}
	if c.err == nil && size != uint64(len(c.rest)) {
		c.err = fmt.Errorf("it has %d bytes, and says %d", len(c.rest), size)
	}
	if c.err != nil {
		return nil, fmt.Errorf("a compressed transaction: %w", c.err)
	}
	p := &payload{at: e, from: bytes.NewReader(c.rest)}
	switch compression {
	case compressedNot:
	case compressedZstd:
		var err error
		if p.zstd, err = zstd.NewReader(p.from, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true)); err != nil {
			return nil, fmt.Errorf("a compressed transaction: %w", err)
		}
		p.from = p.zstd
	default:
		return nil, fmt.Errorf("a transaction is compressed in an unknown way (%d)", compression)
	}
	return p, nil
}

func (p *payload) next() (event, bool, error) {
	var header [replication.EventHeaderSize]byte
	switch _, err := io.ReadFull(p.from, header[:]); {
	case err == io.EOF:
		if p.zstd != nil {
			p.zstd.Close()
		}
		return event{}, false, nil
	case err != nil:
		return event{}, false, fmt.Errorf("a compressed transaction: %w", err)
	}
	e := event{
		kind: header[4], time: binary.LittleEndian.Uint32(header[:]), serverID: binary.LittleEndian.Uint32(header[5:]),
		end: p.at.end, carried: true,
	}
	size := int64(binary.LittleEndian.Uint32(header[9:])) - int64(len(header))
	if size < 0 || size > maxEvent {
		return event{}, false, fmt.Errorf("a compressed transaction: an event in it has %d bytes", size)
	}
	// What is there decides how much memory it takes, and not what it says.
	for int64(len(e.body)) < size {
		n := len(e.body)
		e.body = slices.Grow(e.body, int(min(size-int64(n), max(64<<10, int64(n)))))
		e.body = e.body[:min(int64(cap(e.body)), size)]
		if _, err := io.ReadFull(p.from, e.body[n:]); err != nil {
			return event{}, false, fmt.Errorf("a compressed transaction: an event of %d bytes: %w", size, err)
		}
	}
	return e, true, nil
}

package oracle

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/splashdam/splashdam/broker/record"
)

// batch makes a record batch. All fields are optional:
//
//	values   the records' values; null is a tombstone
//	keys     their keys
//	times    their timestamps in ms; without, all have the time of now
//	codec    gzip, snappy, lz4 or zstd
//	pid, epoch, seq   of an idempotent producer
//	transactional, control   true
//	base     the base offset
//	damage   crc, magic, length or count: what is wrong with it
//	twice    true: two batches, one behind the other
func (v *values) batch(fields map[string]any) ([]byte, error) {
	num := func(name string, otherwise int64) (n int64, err error) {
		switch x := fields[name].(type) {
		case nil:
			return otherwise, nil
		case uint64:
			return int64(x), nil
		case int64:
			return x, nil
		case string:
			known, err := v.value(strings.TrimPrefix(x, "$"))
			n, ok := known.(int64)
			if err == nil && !ok {
				err = fmt.Errorf("%s is no number", x)
			}
			return n, err
		default:
			return 0, fmt.Errorf("%s: %v is no number", name, x)
		}
	}
	var o record.BuildOptions
	for _, f := range []struct {
		name      string
		otherwise int64
		to        func(int64)
	}{
		{"pid", -1, func(n int64) { o.ProducerID = n }},
		{"epoch", -1, func(n int64) { o.ProducerEpoch = int16(n) }},
		{"seq", -1, func(n int64) { o.BaseSequence = int32(n) }},
		{"base", 0, func(n int64) { o.BaseOffset = n }},
	} {
		n, err := num(f.name, f.otherwise)
		if err != nil {
			return nil, err
		}
		f.to(n)
	}
	o.Transactional, _ = fields["transactional"].(bool)
	o.Control, _ = fields["control"].(bool)
	o.LeaderEpoch = -1
	for c := record.None; c <= record.Zstd; c++ {
		if fields["codec"] == c.String() {
			o.Codec = c
		}
	}
	list := func(name string) []any { l, _ := fields[name].([]any); return l }
	times := list("times")
	o.BaseTimestamp = time.Now().UnixMilli()
	if len(times) > 0 {
		o.BaseTimestamp = int64(times[0].(uint64))
	}
	var records []record.Record
	for i, value := range list("values") {
		var r record.Record
		if s, ok := value.(string); ok {
			r.Value = []byte(s)
		}
		if keys := list("keys"); i < len(keys) && keys[i] != nil {
			r.Key = []byte(keys[i].(string))
		}
		if i < len(times) {
			r.TimestampDelta = int64(times[i].(uint64)) - o.BaseTimestamp
		}
		records = append(records, r)
	}
	b := record.Build(o, records)
	switch fields["damage"] {
	case nil:
	case "crc":
		b[len(b)-1] ^= 1
	case "magic":
		b[16] = 1
	case "length":
		b = b[:len(b)-1]
	case "count":
		binary.BigEndian.PutUint32(b[57:], uint32(len(records)+1))
		binary.BigEndian.PutUint32(b[17:], crc32.Checksum(b[21:], crc32.MakeTable(crc32.Castagnoli)))
	default:
		return nil, fmt.Errorf("damage %v", fields["damage"])
	}
	if fields["twice"] == true {
		b = append(b, b...)
	}
	return b, nil
}

// batches writes fetched batches down: offsets, and of each record key and value.
func (v *values) batches(data []byte) string {
	var words []string
	for len(data) > 0 {
		b, rest, err := record.SplitBatch(data)
		if err != nil {
			words = append(words, fmt.Sprintf("(%d bytes of a batch)", len(data)))
			break
		}
		data = rest
		w := fmt.Sprintf("%d-%d", b.BaseOffset(), b.NextOffset()-1)
		if b.Codec() != record.None {
			w += " " + b.Codec().String()
		}
		if b.IsLogAppendTime() {
			w += " log-append-time"
		}
		if b.IsTransactional() {
			w += " transactional"
		}
		if b.IsControl() {
			w += " control"
		}
		if b.IsIdempotent() {
			w += fmt.Sprintf(" %s/%d/%d", v.name("pid", b.ProducerID()), b.ProducerEpoch(), b.BaseSequence())
		}
		if records, err := b.Decode(1 << 20); err != nil || b.Validate() != nil {
			w += " unreadable"
		} else if !b.IsControl() {
			for _, r := range records {
				w += " "
				if r.Key != nil {
					w += string(r.Key) + "="
				}
				w += shortened(r.Value)
			}
		}
		words = append(words, w)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

func shortened(value []byte) string {
	const most = 20
	switch {
	case value == nil:
		return "null"
	case len(value) > most:
		return fmt.Sprintf("(%d bytes)", len(value))
	}
	return string(value)
}

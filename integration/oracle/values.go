package oracle

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"time"
)

// chosen is a value that the broker has made up, of a kind.
type chosen struct {
	kind  string
	value any
}

// values are what a broker has chosen freely in the course of a script, by the names
// that the script has for them.
type values struct {
	prefix string // stands for "o." on the wire
	names  map[chosen]string
	byName map[string]any
	counts map[string]int
	epoch  int32 // the newest leader epoch seen
}

func newValues(prefix string) *values {
	return &values{prefix: prefix, names: map[chosen]string{}, byName: map[string]any{}, counts: map[string]int{}}
}

// copied is what is known, to come back to.
func (v *values) copied() values {
	w := *v
	w.names, w.byName, w.counts = maps.Clone(v.names), maps.Clone(v.byName), maps.Clone(v.counts)
	return w
}

// ours begins the names of topics and groups in a script.
const ours = "o."

func (v *values) outward(s string) string {
	if rest, ok := strings.CutPrefix(s, ours); ok {
		return v.prefix + rest
	}
	return s
}

func (v *values) inward(s string) string { return strings.ReplaceAll(s, v.prefix, ours) }

// value is what a request means by $name.
func (v *values) value(name string) (any, error) {
	switch name {
	case "now":
		return time.Now().UnixMilli(), nil
	case "epoch":
		return v.epoch, nil
	}
	if x, ok := v.byName[name]; ok {
		return x, nil
	}
	return nil, fmt.Errorf("$%s: no answer so far had it", name)
}

// name is the name of a value of a kind, a new one if it was not seen before.
func (v *values) name(kind string, x any) string {
	c := chosen{kind, x}
	if n, ok := v.names[c]; ok {
		return n
	}
	v.counts[kind]++
	n := fmt.Sprintf("%s%d", kind, v.counts[kind])
	v.names[c], v.byName[n] = n, x
	return n
}

// around says how far from now a time may be to count as now.
const around = time.Hour

// known is the word for a value that is not compared as it is.
func (v *values) known(field string, f reflect.Value) (word string, ok bool) {
	switch x := f.Interface().(type) {
	case [16]byte:
		if x == ([16]byte{}) {
			return "none", true
		}
		return v.name("id", x), true
	case string:
		switch {
		case x == "":
		case field == "MemberID" || field == "LeaderID":
			return v.name("member", x), true
		case field == "ClusterID" || field == "Host" && x != "*" || field == "ClientHost" || field == "LogDir" || field == "Dir":
			return "<" + strings.ToLower(field) + ">", true
		}
	case int16:
		if field == "ErrorCode" {
			return codeOf(x), true
		}
	case uint16:
		if field == "Port" {
			return "<port>", true
		}
	case int32:
		switch {
		case field == "Port":
			return "<port>", true
		case field == "SubscriptionID" && x != 0:
			return v.name("subscription", x), true
		case field == "SessionID" && x > 0:
			return v.name("session", x), true
		case (field == "MemberEpoch" || field == "Epoch" || field == "AssignmentEpoch") && x > 0:
			return v.name("e", x), true
		case strings.HasSuffix(field, "LeaderEpoch") && x >= 0:
			v.epoch = x
			return "<epoch>", true
		}
	case int64:
		switch {
		case field == "ProducerID" && x >= 0:
			return v.name("pid", x), true
		case strings.HasSuffix(field, "Bytes") || field == "Size":
			return "<bytes>", true
		case time.Since(time.UnixMilli(x)).Abs() < around:
			return "<now>", true
		}
	case []byte:
		if field == "RecordBatches" || field == "Records" {
			return v.batches(x), true
		}
	}
	return "", false
}

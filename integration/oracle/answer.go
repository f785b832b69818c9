package oracle

import (
	"fmt"
	"reflect"
	"slices"
	"sort"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// answer writes a response down, indented, without what has its default.
func (v *values) answer(resp kmsg.Response) string {
	var b strings.Builder
	rv := reflect.ValueOf(resp).Elem()
	for i, fresh := range v.told(rv) {
		name, f := rv.Type().Field(i).Name, rv.Field(i)
		if reflect.DeepEqual(f.Interface(), fresh.Interface()) {
			continue
		}
		if f.Kind() != reflect.Slice || f.Type().Elem().Kind() != reflect.Struct {
			fmt.Fprintf(&b, indent+"%s: %s\n", name, v.word(name, f))
			continue
		}
		fmt.Fprintf(&b, indent+"%s:\n", name)
		v.sorted(f)
		for j := range f.Len() {
			fmt.Fprintf(&b, indent+"- %s\n", v.word(name, f.Index(j)))
		}
	}
	if b.Len() == 0 {
		return indent + "{}\n"
	}
	return b.String()
}

// told lists the fields of a struct that are written down, by number, each with its
// default.
func (v *values) told(s reflect.Value) fieldsOf {
	fresh := reflect.New(s.Type())
	if d, ok := fresh.Interface().(interface{ Default() }); ok {
		d.Default()
	}
	return func(yield func(int, reflect.Value) bool) {
		for i := range s.NumField() {
			switch s.Type().Field(i).Name {
			case "Version", "UnknownTags", "ThrottleMillis", "ErrorMessage":
				continue
			case "CoordinatorEpoch": // a term, which begins anywhere
				if s.Field(i).Int() >= 0 {
					continue
				}
			case "HighWatermark", "LogEndOffset":
				if strings.HasPrefix(s.Type().Name(), "DescribeQuorum") {
					continue // the metadata's log grows by itself
				}
			}
			if !yield(i, fresh.Elem().Field(i)) {
				return
			}
		}
	}
}

type fieldsOf func(yield func(int, reflect.Value) bool)

// wide is the length from which a list of structs gets a line for each.
const wide = 150

// word is a value of a field, on one line unless that would be a wide one.
func (v *values) word(field string, f reflect.Value) string {
	if w, ok := v.known(field, f); ok {
		return w
	}
	switch f.Kind() {
	case reflect.Pointer:
		if f.IsNil() {
			return "null"
		}
		return v.word(field, f.Elem())
	case reflect.Struct:
		var words []string
		for i, fresh := range v.told(f) {
			name, g := f.Type().Field(i).Name, f.Field(i)
			if !reflect.DeepEqual(g.Interface(), fresh.Interface()) {
				words = append(words, name+": "+v.word(name, g))
			}
		}
		return "{" + strings.Join(words, ", ") + "}"
	case reflect.Slice:
		if f.Type().Elem().Kind() == reflect.Uint8 {
			return strconv.Quote(v.inward(string(f.Bytes())))
		}
		if f.IsNil() {
			return "null"
		}
		v.sorted(f)
		if numbers, ok := f.Interface().([]int32); ok && field == "Partitions" {
			slices.Sort(numbers)
		}
		words := make([]string, f.Len())
		for i := range f.Len() {
			words[i] = v.word(field, f.Index(i))
		}
		if one := "[" + strings.Join(words, ", ") + "]"; len(one) < wide || f.Type().Elem().Kind() != reflect.Struct {
			return one
		}
		deeper := "\n" + indent + indent
		for i, w := range words {
			words[i] = strings.ReplaceAll(w, "\n", deeper)
		}
		return "[" + deeper + strings.Join(words, ","+deeper) + "]"
	case reflect.String:
		if s := v.inward(f.String()); s == "" || strings.ContainsAny(s, " ,:{}[]") {
			return strconv.Quote(s)
		} else {
			return s
		}
	}
	return fmt.Sprint(f.Interface())
}

// sorted brings a list of structs into the order of what they are about: brokers list
// them in any.
func (v *values) sorted(f reflect.Value) {
	if f.Type().Elem().Kind() != reflect.Struct {
		return
	}
	about := func(e reflect.Value) (name string, number int64) {
		for _, field := range []string{
			"Topic", "Group", "Name", "User", "TransactionalID", "ResourceType", "ResourceName", "Principal", "Operation", "Type", "Key", "Mechanism",
		} {
			if n := reflect.Indirect(e.FieldByName(field)); e.FieldByName(field).IsValid() && n.IsValid() {
				name += fmt.Sprint(n.Interface()) + "\x00"
			}
		}
		if n := e.FieldByName("Entity"); n.IsValid() { // of a quota
			name += v.word("Entity", n)
		}
		if n := e.FieldByName("MemberID"); n.IsValid() {
			name = v.names[chosen{"member", n.String()}]
		}
		if n := e.FieldByName("TopicID"); n.IsValid() {
			name += v.names[chosen{"id", n.Interface()}]
		}
		if n := e.FieldByName("ProducerID"); n.IsValid() {
			name += v.names[chosen{"pid", n.Int()}]
		}
		for _, field := range []string{"Partition", "FirstOffset"} {
			if n := e.FieldByName(field); n.IsValid() {
				number = n.Int()
			}
		}
		return name, number
	}
	sort.Stable(byAbout{f, reflect.Swapper(f.Interface()), about})
}

// byAbout sorts a slice of structs.
type byAbout struct {
	list  reflect.Value
	swap  func(i, j int)
	about func(reflect.Value) (string, int64)
}

func (s byAbout) Len() int      { return s.list.Len() }
func (s byAbout) Swap(i, j int) { s.swap(i, j) }
func (s byAbout) Less(i, j int) bool {
	a, n := s.about(s.list.Index(i))
	b, m := s.about(s.list.Index(j))
	return a < b || a == b && n < m
}

// codeOf is an error code by its name.
func codeOf(code int16) string {
	if code == 0 {
		return "NONE"
	}
	if k, ok := kerr.ErrorForCode(code).(*kerr.Error); ok && k.Code == code {
		return k.Message
	}
	return strconv.Itoa(int(code))
}

// codes lists the error codes anywhere in a response.
func codes(r reflect.Value) []int16 {
	var all []int16
	switch r.Kind() {
	case reflect.Pointer:
		if !r.IsNil() {
			all = codes(r.Elem())
		}
	case reflect.Slice:
		if r.Type().Elem().Kind() == reflect.Struct {
			for i := range r.Len() {
				all = append(all, codes(r.Index(i))...)
			}
		}
	case reflect.Struct:
		for i := range r.NumField() {
			if r.Type().Field(i).Name == "ErrorCode" {
				all = append(all, int16(r.Field(i).Int()))
			} else {
				all = append(all, codes(r.Field(i))...)
			}
		}
	}
	return all
}

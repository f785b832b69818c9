package oracle

import (
	"encoding"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// request makes the request of a step.
func (v *values) request(s *step) (kmsg.Request, error) {
	key := kmsg.Key(-1)
	for k := range int16(kmsg.MaxKey + 1) {
		if kmsg.NameForKey(k) == s.name {
			key = kmsg.Key(k)
		}
	}
	if key < 0 {
		return nil, fmt.Errorf("there is no request %s", s.name)
	}
	req := key.Request()
	if err := v.fill(reflect.ValueOf(req).Elem(), s.fields); err != nil {
		return nil, fmt.Errorf("%s: %w", s.name, err)
	}
	req.SetVersion(s.version)
	return req, nil
}

// fill gives a struct its defaults, and the fields that are named.
func (v *values) fill(to reflect.Value, fields map[string]any) error {
	if d, ok := to.Addr().Interface().(interface{ Default() }); ok {
		d.Default()
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		f := to.FieldByName(name)
		if !f.IsValid() {
			return fmt.Errorf("%s has no field %s", to.Type().Name(), name)
		}
		if err := v.set(f, fields[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

func (v *values) set(to reflect.Value, from any) error {
	if s, ok := from.(string); ok && strings.HasPrefix(s, "$") {
		known, err := v.value(s[1:])
		if err != nil {
			return err
		}
		from = known
	}
	if from == nil {
		to.SetZero()
		return nil
	}
	switch to.Kind() {
	case reflect.Pointer:
		p := reflect.New(to.Type().Elem())
		to.Set(p)
		return v.set(p.Elem(), from)
	case reflect.Struct:
		m, ok := from.(map[string]any)
		if !ok {
			return fmt.Errorf("%v is no struct", from)
		}
		return v.fill(to, m)
	case reflect.Slice:
		return v.setSlice(to, from)
	case reflect.String:
		s, ok := from.(string)
		if !ok {
			return fmt.Errorf("%v is no text", from)
		}
		to.SetString(v.outward(s))
		return nil
	}
	if s, ok := from.(string); ok {
		if u, ok := to.Addr().Interface().(encoding.TextUnmarshaler); ok {
			return u.UnmarshalText([]byte(s))
		}
	}
	r := reflect.ValueOf(from)
	if !r.CanConvert(to.Type()) || r.Kind() == reflect.String {
		return fmt.Errorf("%v (%T) is no %s", from, from, to.Type())
	}
	to.Set(r.Convert(to.Type()))
	return nil
}

func (v *values) setSlice(to reflect.Value, from any) error {
	if to.Type().Elem().Kind() == reflect.Uint8 {
		switch b := from.(type) {
		case string:
			to.SetBytes([]byte(b))
			return nil
		case map[string]any: // record batches
			records, err := v.batch(b)
			to.SetBytes(records)
			return err
		}
		return fmt.Errorf("%v is neither a text nor a batch", from)
	}
	list, ok := from.([]any)
	if !ok {
		return fmt.Errorf("%v is no list", from)
	}
	to.Set(reflect.MakeSlice(to.Type(), len(list), len(list)))
	for i, e := range list {
		if err := v.set(to.Index(i), e); err != nil {
			return err
		}
	}
	return nil
}

package kafka

import (
	"errors"
	"math/rand/v2"
	"reflect"
	"runtime"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

const someString = "some string"

// fill sets every field of a request to something.
func fill(v reflect.Value, r *rand.Rand, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			tags := v.Addr().Interface().(*kmsg.Tags)
			for range r.IntN(3) {
				tags.Set(100+r.Uint32N(1000), make([]byte, r.IntN(5)))
			}
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" {
				fill(v.Field(i), r, depth)
			}
		}
	case reflect.Slice:
		s := reflect.MakeSlice(v.Type(), r.IntN(4), 4)
		for i := range s.Len() {
			fill(s.Index(i), r, depth+1)
		}
		v.Set(s)
	case reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), r, depth)
		}
	case reflect.Pointer:
		if r.IntN(3) > 0 {
			v.Set(reflect.New(v.Type().Elem()))
			fill(v.Elem(), r, depth)
		}
	case reflect.String:
		v.SetString(someString[:r.IntN(len(someString)+1)])
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 1)
	case reflect.Uint8:
		v.SetUint(uint64(r.IntN(256)))
	case reflect.Float64:
		v.SetFloat(float64(int8(r.Uint32())) / 2)
	default:
		v.SetInt(int64(int8(r.Uint32())))
	}
}

func filled(a *api, version int16, r *rand.Rand) kmsg.Request {
	req := a.key.Request()
	fill(reflect.ValueOf(req).Elem(), r, 0)
	req.SetVersion(version)
	return req
}

func TestShapesAreThoseOfKmsgInEveryVersion(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, a := range newAPITable().sorted() {
		for v := a.min; v <= a.max; v++ {
			for range 200 {
				body := filled(a, v, r).AppendTo(nil)
				if _, err := a.shape.walk(body, v, 1<<20); err != nil {
					t.Fatalf("%s v%d: %x: %v", a.key.Name(), v, body, err)
				}
				if len(body) > 0 {
					if _, err := a.shape.walk(body[:len(body)-1], v, 1<<20); !errors.Is(err, ErrRequest) {
						t.Fatalf("%s v%d: a byte too few: %v", a.key.Name(), v, err)
					}
				}
			}
		}
	}
}

// Whatever passes the walk must be cheap to decode, and whatever does not must be
// cheap to refuse.
func TestHostileCountsCostNothing(t *testing.T) {
	varint := []byte{0xff, 0xff, 0xff, 0xff, 0x0f} // 2^32-1
	cases := map[string]struct {
		key  kmsg.Key
		v    int16
		body []byte
	}{
		"an array of 2^31-1 topics":         {kmsg.Metadata, 1, []byte{0x7f, 0xff, 0xff, 0xff}},
		"a compact array of 2^32-2 topics":  {kmsg.Metadata, 12, varint},
		"an array of -2 topics":             {kmsg.Metadata, 1, []byte{0xff, 0xff, 0xff, 0xfe}},
		"2^32-1 tagged fields":              {kmsg.Metadata, 12, append([]byte{1, 0, 0}, varint...)},
		"2^32-1 tagged fields of a topic":   {kmsg.DeleteTopics, 6, append(append([]byte{2, 2, 'a'}, make([]byte, 16)...), varint...)},
		"a tagged field of 2^32-1 bytes":    {kmsg.Metadata, 12, append([]byte{1, 0, 0, 1, 9}, varint...)},
		"2^32-1 tagged fields inside a tag": {kmsg.Fetch, 18, append(append(make([]byte, 21), 1, 1, 1, 1, 1, 17), append(make([]byte, 12), varint...)...)},
		"a string of -5 bytes":              {kmsg.Heartbeat, 0, []byte{0xff, 0xfb}},
		"null for a string":                 {kmsg.Heartbeat, 0, []byte{0xff, 0xff}},
		"an overlong varint":                {kmsg.Metadata, 12, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}},
	}
	table := newAPITable()
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			began := time.Now()
			if _, err := table[int16(c.key)].shape.walk(c.body, c.v, 1<<18); !errors.Is(err, ErrRequest) {
				t.Fatalf("got %v", err)
			}
			runtime.ReadMemStats(&after)
			if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
				t.Errorf("%d bytes were allocated for %d", used, len(c.body))
			}
			if d := time.Since(began); d > time.Second {
				t.Errorf("it took %v", d)
			}
		})
	}
}

func TestElementsOfARequestAreLimited(t *testing.T) {
	req := kmsg.NewPtrMetadataRequest()
	req.SetVersion(1)
	req.Topics = make([]kmsg.MetadataRequestTopic, 1000)
	for i := range req.Topics {
		req.Topics[i].Topic = new(string)
	}
	s := newAPITable()[int16(kmsg.Metadata)].shape
	if _, err := s.walk(req.AppendTo(nil), 1, 1000); err != nil {
		t.Fatalf("at the limit: %v", err)
	}
	if _, err := s.walk(req.AppendTo(nil), 1, 999); !errors.Is(err, ErrRequest) {
		t.Fatalf("over the limit: %v", err)
	}
}

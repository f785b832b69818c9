package main

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func sampleRecord() *kgo.Record {
	return &kgo.Record{
		Topic: "orders", Partition: 2, Offset: 41,
		Key: []byte("k"), Value: []byte{0, 0, 0, 7, 'a', 'b'},
		Timestamp: time.Date(2026, 2, 14, 8, 30, 0, 0, time.UTC),
		Headers:   []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "b", Value: []byte("2")}},
	}
}

func TestOutputFormatsPrintWhatTheHelpSays(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{`%t/%p/%o %k\n`, "orders/2/41 k\n"},
		{`%T %K %V %H`, "6 1 6 2"},
		{`%h{%k=%v }`, "a=1 b=2 "},
		{`%h{%K:%V,}`, "1:1,1:1,"},
		{`%v{hex}`, "000000076162"},
		{`%v{base64}`, "AAAAB2Fi"},
		{`%v{unpack[>Is]}`, "7ab"},
		{`%k{unpack{c$}}`, "k"},
		{`%d`, "1771057800000"},
		{`%d{strftime[%F %T]}`, "2026-02-14 08:30:00"},
		{`%d{go[2006]}`, "2026"},
		{`%o{hex}`, "29"},
		{`%o{big16}`, "\x00\x29"},
		{`\t\r\\\x41%%%{%}`, "\t\r\\A%{}"},
		{`%i`, "1"},
	} {
		write, err := recordWriter(consuming{format: c.format})
		if err != nil {
			t.Errorf("%s: %v", c.format, err)
			continue
		}
		got, err := write(nil, &kgo.FetchPartition{}, sampleRecord())
		if err != nil || string(got) != c.want {
			t.Errorf("%s: got %q %v, want %q", c.format, got, err, c.want)
		}
	}
	for _, format := range []string{"", "%", "%q", `\q`, "%v{hax}", "%h{%k", "%d{strftime[%F}", "%v{unpack[>}"} {
		if _, err := recordWriter(consuming{format: format}); err == nil {
			t.Errorf("the format %q was accepted", format)
		}
	}
}

func TestJSONKeepsWhatItCannotShowAsText(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*kgo.Record)
		meta bool
		want string
	}{
		{"text", func(r *kgo.Record) { r.Value = []byte("<v>") }, false,
			`{"topic":"orders","partition":2,"offset":41,"timestamp":1771057800000,"key":"k","value":"<v>","headers":[{"key":"a","value":"1"},{"key":"b","value":"2"}]}`},
		{"bytes", func(r *kgo.Record) { r.Value, r.Headers = []byte{0xff}, nil }, false,
			`{"topic":"orders","partition":2,"offset":41,"timestamp":1771057800000,"key":"k","value_base64":"/w=="}`},
		{"nothing", func(r *kgo.Record) { r.Key, r.Value, r.Headers = nil, nil, nil }, false,
			`{"topic":"orders","partition":2,"offset":41,"timestamp":1771057800000,"key":null,"value":null}`},
		{"empty is not null", func(r *kgo.Record) { r.Key, r.Value, r.Headers = []byte{}, []byte{}, nil }, false,
			`{"topic":"orders","partition":2,"offset":41,"timestamp":1771057800000,"key":"","value":""}`},
		{"sizes", func(*kgo.Record) {}, true,
			`{"topic":"orders","partition":2,"offset":41,"timestamp":1771057800000,"key_size":1,"value_size":6}`},
	} {
		write, err := recordWriter(consuming{format: "json", metaOnly: c.meta})
		if err != nil {
			t.Fatal(err)
		}
		r := sampleRecord()
		c.edit(r)
		got, err := write(nil, nil, r)
		if err != nil || string(got) != c.want+"\n" {
			t.Errorf("%s: got %s %v\nwant %s", c.name, got, err, c.want)
		}
	}
}

func readAll(t *testing.T, format, in string) ([]*kgo.Record, error) {
	t.Helper()
	p := &program{stdin: iotest.OneByteReader(strings.NewReader(in))}
	reader, err := kgo.NewRecordReader(p.inputFor(format), format)
	if err != nil {
		t.Fatalf("%s: %v", format, err)
	}
	var all []*kgo.Record
	for {
		r, err := reader.ReadRecord()
		if err != nil {
			if errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			return all, err
		}
		all = append(all, r)
	}
}

func TestInputFormatsReadWhatTheHelpSays(t *testing.T) {
	for _, c := range []struct {
		format, in string
		want       string // key=value, a space between records
	}{
		{`%v\n`, "a\nb\n", "=a =b"},
		{`%v\n`, "a\nb", "=a =b"}, // no newline at the end
		{`%v\n`, "a\n\nb\n", "=a = =b"},
		{`%v\n`, "", ""},
		{`%k %v\n`, "k1 v1\nk2 v 2\n", "k1=v1 k2=v 2"},
		{`%k\t%v\n`, "k\tv", "k=v"},
		{`%V{big32}%v`, "\x00\x00\x00\x01a\x00\x00\x00\x02bc", "=a =bc"},
		{`%V{2}%v`, "abcd", "=ab =cd"},
		{`%v{json}`, "{\"a\":\n 1} [2]", `={"a":1} =[2]`},
		{`%v{hex}\n`, "6162\n", "=ab"},
		{`%v{base64}\n`, "YWI=\n", "=ab"},
	} {
		all, err := readAll(t, c.format, c.in)
		if err != nil {
			t.Errorf("%s of %q: %v", c.format, c.in, err)
			continue
		}
		var got []string
		for _, r := range all {
			got = append(got, string(r.Key)+"="+string(r.Value))
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s of %q: got %q, want %q", c.format, c.in, s, c.want)
		}
	}
	if _, err := readAll(t, `%k %v\n`, "nokey\n"); err == nil {
		t.Error("a line without the separator was accepted")
	}
	if _, err := readAll(t, `%V{big32}%v`, "\xff\xff\xff\xffa"); err == nil {
		t.Error("a length behind the end of the input was accepted")
	}
}

func TestInputFormatsSayWhatTheyRead(t *testing.T) {
	for _, c := range []struct{ format, want string }{
		{`%v\n`, "v"},
		{`%t %k %v\n`, "tkv"},
		{`%p %v\n`, "pv"},
		{`%H %h{%k=%v;}%v\n`, "Hhv"},
		{`%V{big32}%v`, "Vv"},
	} {
		got, err := inputVerbs(c.format)
		if err != nil || len(got) != len(c.want) {
			t.Errorf("%s: got %v %v, want %s", c.format, got, err, c.want)
		}
		for _, v := range []byte(c.want) {
			if !got[v] {
				t.Errorf("%s: %%%c was not seen", c.format, v)
			}
		}
	}
	for _, format := range []string{"", "x", `\n`, "%%", "%q", "%v{"} {
		if got, err := inputVerbs(format); err == nil {
			t.Errorf("the format %q was taken to read %v", format, got)
		}
	}
}

func FuzzOutputFormat(f *testing.F) {
	for _, s := range []string{`%t %p\n`, `%h{%k=%v}`, `%v{unpack[<bBhH>iIqQc.$]}`, `%d{strftime[%F]}`, `%a{compression;hex8}`, `%d{go##2006##}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, format string) {
		write, err := recordWriter(consuming{format: format})
		if err != nil {
			return
		}
		if _, err := write(nil, &kgo.FetchPartition{}, sampleRecord()); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzInputFormat(f *testing.F) {
	f.Add(`%v\n`, "a\nb")
	f.Add(`%k %v\n`, "k v\n")
	f.Add(`%V{big32}%v`, "\x00\x00\x00\x01a")
	f.Add(`%v{json}`, `{"a":[1,2,{}]} "x"`)
	f.Add(`%k{re[\d+]}%v\n`, "12v\n")
	f.Fuzz(func(t *testing.T, format, in string) {
		if _, err := inputVerbs(format); err != nil {
			return
		}
		p := &program{stdin: strings.NewReader(in)}
		reader, err := kgo.NewRecordReader(p.inputFor(format), format)
		if err != nil {
			t.Fatalf("checked, then refused: %v", err)
		}
		for range len(in) + 2 {
			if _, err := reader.ReadRecord(); err != nil {
				return
			}
		}
	})
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
)

func TestTheNearestNameIsTheOneMeant(t *testing.T) {
	names := []string{"orders", "order-status", "payments", "x"}
	for _, c := range []struct{ in, want string }{
		{"ordres", "orders"}, {"order", "orders"}, {"ORDERS", "orders"}, {"payment", "payments"}, {"pyaments", "payments"},
		{"orderstatus", "order-status"}, {"stock", ""}, {"orders", ""}, {"", "x"},
	} {
		got, ok := nearest(c.in, names)
		if got != c.want || ok != (c.want != "") {
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestErrorsSayWhatWhyAndWhatNext(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{errors.New("plain"), "error: plain\n"},
		{kerr.UnknownTopicOrPartition, "error: UNKNOWN_TOPIC_OR_PARTITION (3): This server does not host this topic-partition\n"},
		{&problem{what: "it failed", next: []string{"do this", "or that"}}, "error: it failed\n  do this\n  or that\n"},
		{&problem{what: "topic", cause: kerr.TopicAlreadyExists}, "error: topic: TOPIC_ALREADY_EXISTS (36): Topic with this name already exists\n"},
		{&problem{what: "f:1:2", cause: errors.New("bad"), excerpt: ">  1 | x\n       ^", next: []string{"n"}}, "error: f:1:2: bad\n  >  1 | x\n         ^\n  n\n"},
		{fmt.Errorf("outer: %w", &problem{what: "inner", next: []string{"n"}}), "error: outer: inner\n  n\n"},
	} {
		var b bytes.Buffer
		(&program{stderr: &b}).printError(c.err)
		if b.String() != c.want {
			t.Errorf("got %q\nwant %q", b.String(), c.want)
		}
	}
}

func TestTablesQuoteWhatWouldSpoilThem(t *testing.T) {
	var b bytes.Buffer
	g := grid{heads: []string{"GROUP", "STATE"}}
	g.add("plain", "ok")
	g.add("a\x1b[2J\tb", "ok")
	g.add("größe", "ok")
	if err := g.print(&b); err != nil {
		t.Fatal(err)
	}
	want := "GROUP          STATE\nplain          ok\n\"a\\x1b[2J\\tb\"  ok\ngröße          ok\n"
	if b.String() != want {
		t.Errorf("got\n%q\nwant\n%q", b.String(), want)
	}
}

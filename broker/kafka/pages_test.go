package kafka

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// pages reads descriptions of topics page by page, as a client does, and returns what
// it has seen, as topic/partition, and how many partitions each page had.
func (w *wire) pages(limit int32, topics ...string) (seen []string, sizes []int) {
	w.t.Helper()
	req := at(kmsg.NewPtrDescribeTopicPartitionsRequest(), 0)
	req.ResponsePartitionLimit = limit
	for _, name := range topics {
		req.Topics = append(req.Topics, kmsg.DescribeTopicPartitionsRequestTopic{Topic: name})
	}
	for {
		resp := ask[*kmsg.DescribeTopicPartitionsResponse](w, req)
		n := 0
		for _, rt := range resp.Topics {
			if rt.ErrorCode != 0 || len(rt.Partitions) == 0 {
				seen = append(seen, fmt.Sprintf("%s: %d", *rt.Topic, rt.ErrorCode))
			}
			for _, p := range rt.Partitions {
				seen = append(seen, fmt.Sprintf("%s/%d", *rt.Topic, p.Partition))
				n++
			}
		}
		sizes = append(sizes, n)
		next := resp.NextCursor
		if next == nil {
			return seen, sizes
		}
		if len(sizes) > 100 {
			w.t.Fatal("there is always another page")
		}
		req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: next.Topic, Partition: next.Partition}
	}
}

func TestPagesHaveEveryPartitionOnceInTheOrderOfNames(t *testing.T) {
	f := newFake()
	f.add("b", 5)
	f.add("a", 3)
	f.add("c", 1)
	w := to(t, f)
	all := []string{"a/0", "a/1", "a/2", "b/0", "b/1", "b/2", "b/3", "b/4", "c/0"}
	for limit := int32(1); limit <= 10; limit++ {
		for _, topics := range [][]string{nil, {"c", "a", "b", "a"}} {
			seen, sizes := w.pages(limit, topics...)
			if !slices.Equal(seen, all) {
				t.Errorf("limit %d, of %v: %v", limit, topics, seen)
			}
			for i, n := range sizes {
				if last := i == len(sizes)-1; n > int(limit) || !last && n < int(limit) {
					t.Errorf("limit %d, of %v: pages of %v", limit, topics, sizes)
				}
			}
		}
	}
	if seen, sizes := w.pages(0); !slices.Equal(seen, all) || len(sizes) != len(all) {
		t.Errorf("a limit of 0 is one of 1: %v, pages of %v", seen, sizes)
	}
	missing := fmt.Sprintf("aa: %d", kerr.UnknownTopicOrPartition.Code)
	if seen, _ := w.pages(2, "aa", "a", "b"); !slices.Equal(seen, slices.Insert(slices.Clone(all[:8]), 3, missing)) {
		t.Errorf("one that is missing between them: %v", seen)
	}
}

func TestAPageHasNoMorePartitionsThanTheServersLimit(t *testing.T) {
	f := newFake()
	f.add("t", maxDescribedPartitions+1)
	_, sizes := to(t, f).pages(1<<31 - 1)
	if !slices.Equal(sizes, []int{maxDescribedPartitions, 1}) {
		t.Errorf("pages of %v", sizes)
	}
}

func TestACursorBehindEverythingFindsNothingAndABadOneIsRefused(t *testing.T) {
	f := newFake()
	f.add("t", 2)
	w := to(t, f)
	for name, c := range map[string]struct {
		cursor kmsg.DescribeTopicPartitionsRequestCursor
		want   string
	}{
		"the topic's end":       {kmsg.DescribeTopicPartitionsRequestCursor{Topic: "t", Partition: 2}, "t: 0 partitions, error 0"},
		"a number out of range": {kmsg.DescribeTopicPartitionsRequestCursor{Topic: "t", Partition: 1 << 30}, "t: 0 partitions, error 0"},
		"another topic's":       {kmsg.DescribeTopicPartitionsRequestCursor{Topic: "u", Partition: 0}, ""},
		"one before it":         {kmsg.DescribeTopicPartitionsRequestCursor{Topic: "s", Partition: 7}, "t: 2 partitions, error 0"},
		"a negative number":     {kmsg.DescribeTopicPartitionsRequestCursor{Topic: "t", Partition: -1}, fmt.Sprintf("t: 0 partitions, error %d", kerr.InvalidRequest.Code)},
	} {
		req := at(kmsg.NewPtrDescribeTopicPartitionsRequest(), 0)
		req.ResponsePartitionLimit, req.Cursor = 10, &c.cursor
		resp := ask[*kmsg.DescribeTopicPartitionsResponse](w, req)
		got := ""
		for _, rt := range resp.Topics {
			got += fmt.Sprintf("%s: %d partitions, error %d", *rt.Topic, len(rt.Partitions), rt.ErrorCode)
		}
		if got != c.want || resp.NextCursor != nil {
			t.Errorf("%s: %q, want %q, next %v", name, got, c.want, resp.NextCursor)
		}
	}
}

func TestWhatCanBeConfiguredIsListedByType(t *testing.T) {
	f := newFake()
	f.self = append(f.self, Node{ID: 7, Host: "other", Port: 9092})
	f.add("t", 1)
	w := to(t, f)
	for _, c := range []struct {
		version int16
		types   []int8
		want    []string
		code    int16
	}{
		{0, nil, nil, 0},
		{1, nil, []string{"2 t", "4 1", "4 7", "8 1", "8 7", "32 g"}, 0},
		{1, []int8{2}, []string{"2 t"}, 0},
		{1, []int8{4, 2, 4}, []string{"2 t", "4 1", "4 7"}, 0},
		{1, []int8{8}, []string{"8 1", "8 7"}, 0},
		{1, []int8{16}, nil, 0},
		{1, []int8{16, 32}, []string{"32 g"}, 0},
		{1, []int8{2, 3}, nil, kerr.UnsupportedVersion.Code},
		{1, []int8{0}, nil, kerr.UnsupportedVersion.Code},
		{1, []int8{-1}, nil, kerr.UnsupportedVersion.Code},
	} {
		req := at(kmsg.NewPtrListConfigResourcesRequest(), c.version)
		req.ResourceTypes = c.types
		resp := ask[*kmsg.ListConfigResourcesResponse](w, req)
		var got []string
		for _, r := range resp.ConfigResources {
			got = append(got, fmt.Sprintf("%d %s", r.Type, r.Name))
		}
		if resp.ErrorCode != c.code || !slices.Equal(got, c.want) {
			t.Errorf("v%d, %v: %v, error %d", c.version, c.types, got, resp.ErrorCode)
		}
	}
}

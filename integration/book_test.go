package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// book is what those who commit for a group in the topic "original" have sent, and what
// they were told. Offsets of a partition only rise: members read on from where the one
// before them has committed.
type book struct {
	group string

	mu     sync.Mutex
	places map[int32]*place // by partition
	acked  int              // commits of partitions
	undone int              // in transactions that were aborted
	reads  int
}

// place is a partition of a book. Offsets are -1 where there are none.
type place struct {
	sent  map[int64]sentCommit // by offset
	acked int64                // acknowledged last
	seen  int64                // the last that was read: what could be seen must not go
}

type sentCommit struct {
	leaderEpoch int32
	// inDoubt is where it is open for good whether it has happened.
	inDoubt bool
}

// metadataOf is what a commit carries, so that one is not taken for another.
func metadataOf(group string, offset int64) string { return fmt.Sprintf("%s at %d", group, offset) }

func (b *book) at(partition int32) *place {
	if b.places[partition] == nil {
		b.places[partition] = &place{sent: map[int64]sentCommit{}, acked: -1, seen: -1}
	}
	return b.places[partition]
}

// sending notes a commit before it is sent, and gives it its metadata.
func (b *book) sending(req *kmsg.OffsetCommitRequest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			p.Metadata = kmsg.StringPtr(metadataOf(b.group, p.Offset))
			b.send(p.Partition, p.Offset, p.LeaderEpoch)
		}
	}
	return nil
}

func (b *book) send(partition int32, offset int64, leaderEpoch int32) {
	at := b.at(partition)
	s := at.sent[offset]
	s.leaderEpoch = leaderEpoch
	at.sent[offset] = s
}

// answered notes what was acknowledged. A partition that was refused may be there
// nevertheless: the client repeats what it has no answer to.
func (b *book) answered(req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, t := range resp.Topics {
		for j, p := range t.Partitions {
			sent := req.Topics[i].Partitions[j]
			if p.Partition != sent.Partition {
				return fmt.Errorf("group %s: the answer for partition %d stands where that for %d is due", b.group, p.Partition, sent.Partition)
			}
			if p.ErrorCode == 0 {
				if err := b.acknowledge(sent.Partition, sent.Offset); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (b *book) acknowledge(partition int32, offset int64) error {
	at := b.at(partition)
	if offset < at.acked {
		return fmt.Errorf("group %s, partition %d: offset %d is committed behind %d: its member did not read on from there", b.group, partition, offset, at.acked)
	}
	at.acked = offset
	b.acked++
	return nil
}

func (b *book) sendingInTransaction(req *kmsg.TxnOffsetCommitRequest) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			p := &req.Topics[i].Partitions[j]
			p.Metadata = kmsg.StringPtr(metadataOf(b.group, p.Offset))
			b.send(p.Partition, p.Offset, p.LeaderEpoch)
		}
	}
	return nil
}

// ended notes how a transaction ended that commits for the group. One that is known to
// be aborted has committed nothing.
func (b *book) ended(req *kmsg.TxnOffsetCommitRequest, committed bool, err error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, t := range req.Topics {
		for _, p := range t.Partitions {
			at := b.at(p.Partition)
			s := at.sent[p.Offset]
			switch {
			case err != nil:
				s.inDoubt = true
				at.sent[p.Offset] = s
			case !committed:
				b.undone++
				if !s.inDoubt {
					delete(at.sent, p.Offset)
				}
			default:
				if err := b.acknowledge(p.Partition, p.Offset); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (b *book) acknowledged() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.acked
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return fmt.Sprintf("%d commits acknowledged, %d undone with their transactions, read %d times", b.acked, b.undone, b.reads)
}

// namesOnly are versions in which commits go by the names of topics.
func namesOnly() *kversion.Versions {
	v := kversion.Stable()
	v.SetMaxKeyVersion(int16(kmsg.OffsetCommit), 9)
	v.SetMaxKeyVersion(int16(kmsg.OffsetFetch), 9)
	return v
}

// newFetcher is a client for check.
func newFetcher(t *testing.T, addr string) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.MaxVersions(namesOnly()),
		kgo.RetryBackoffFn(func(int) time.Duration { return 5 * time.Millisecond }), kgo.RetryTimeout(time.Minute), kgo.RequestRetries(1000))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// check reads what the group has committed for three partitions, and holds it against the
// book: neither the last that was acknowledged is lost, nor one that was read before. A
// read that the node does not answer yet is repeated, and so is one of a partition for
// which a transaction commits.
func (b *book) check(ctx context.Context, cl *kgo.Client) error {
	for left := map[int32]bool{0: true, 1: true, 2: true}; ; {
		err := b.read(ctx, cl, left)
		if err != nil {
			return fmt.Errorf("group %s: %w", b.group, err)
		}
		if len(left) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("group %s: what is committed cannot be read: %w", b.group, ctx.Err())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// read reads once, and removes from left what could be read.
func (b *book) read(ctx context.Context, cl *kgo.Client, left map[int32]bool) error {
	req := kmsg.NewPtrOffsetFetchRequest()
	req.RequireStable = true
	g := kmsg.NewOffsetFetchRequestGroup()
	g.Group = b.group
	g.Topics = []kmsg.OffsetFetchRequestGroupTopic{{Topic: "original", Partitions: slices.Collect(maps.Keys(left))}}
	req.Groups = []kmsg.OffsetFetchRequestGroup{g}
	atLeast := b.floors()
	resp, err := req.RequestWith(ctx, cl)
	switch {
	case err != nil:
		return ctx.Err() // the node is not there, or has just come
	case len(resp.Groups) != 1 || resp.Groups[0].ErrorCode == 0 && len(resp.Groups[0].Topics) != 1:
		return fmt.Errorf("one group and topic are asked for, the answer is %+v", resp)
	case notYet(resp.Groups[0].ErrorCode):
		return nil
	case resp.Groups[0].ErrorCode != 0:
		return fmt.Errorf("reading what is committed: %w", kerr.ErrorForCode(resp.Groups[0].ErrorCode))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	for _, p := range resp.Groups[0].Topics[0].Partitions {
		if notYet(p.ErrorCode) {
			continue
		}
		if err := b.judge(p, atLeast[p.Partition]); err != nil {
			return fmt.Errorf("partition %d: %w", p.Partition, err)
		}
		delete(left, p.Partition)
	}
	return nil
}

func notYet(code int16) bool {
	switch code {
	case kerr.UnstableOffsetCommit.Code, kerr.NotCoordinator.Code, kerr.CoordinatorNotAvailable.Code, kerr.CoordinatorLoadInProgress.Code:
		return true
	}
	return false
}

// floors are what must not be lost, by partition, of all that is known before a read.
func (b *book) floors() map[int32]int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	floors := map[int32]int64{}
	for p := range int32(3) {
		at := b.at(p)
		floors[p] = max(at.acked, at.seen)
	}
	return floors
}

func (b *book) judge(p kmsg.OffsetFetchResponseGroupTopicPartition, atLeast int64) error {
	at := b.at(p.Partition)
	s, sent := at.sent[p.Offset]
	switch {
	case p.ErrorCode != 0:
		return fmt.Errorf("reading what is committed: %w", kerr.ErrorForCode(p.ErrorCode))
	case p.Offset < atLeast:
		return fmt.Errorf("offset %d is committed, and %d was acknowledged or seen: lost", p.Offset, atLeast)
	case p.Offset == -1:
		return nil // and nothing was acknowledged
	case !sent:
		return fmt.Errorf("offset %d is committed, which nobody has sent, or whose transaction was aborted", p.Offset)
	case p.LeaderEpoch != s.leaderEpoch || p.Metadata == nil || *p.Metadata != metadataOf(b.group, p.Offset):
		return fmt.Errorf("offset %d is committed with leader epoch %d and metadata %q, it was sent with %d and %q",
			p.Offset, p.LeaderEpoch, *p.Metadata, s.leaderEpoch, metadataOf(b.group, p.Offset))
	}
	at.seen = max(at.seen, p.Offset)
	return nil
}

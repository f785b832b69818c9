package replica_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/splashdam/splashdam/broker/commitlog"
	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/broker/replica"
	"github.com/splashdam/splashdam/internal/vfs"
)

// words is a state machine: the list of the words it has applied.
type words struct {
	mu      sync.Mutex
	waiting []string
	applied []string
	at      record.Index
	term    record.Term // of the entry there
	leading bool
	failed  error
}

func (m *words) Next(b *record.EntryBuilder, _ record.Index) (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.waiting) == 0 {
		return 0, false
	}
	b.Add(record.KindCommand, 0, []byte(m.waiting[0]))
	m.waiting = m.waiting[1:]
	return 0, true
}

func (m *words) Proposed(record.Index, bool) {}
func (m *words) Written(record.Index)        {}

func (m *words) Apply(e record.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Each(func(_ int, p record.Part) bool {
		if p.Kind == record.KindCommand {
			m.applied = append(m.applied, string(p.Bytes))
		}
		return true
	})
	m.at, m.term = e.Index(), e.Term()
	return nil
}

func (m *words) Restore(snap *commitlog.Snapshot) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	data, _ := snap.Section("words")
	m.applied, m.at, m.term = nil, snap.Index, snap.Term
	if len(data) > 0 {
		m.applied = strings.Split(string(data), " ")
	}
	return nil
}

func (m *words) set(do func()) { m.mu.Lock(); do(); m.mu.Unlock() }

func (m *words) Lead(record.Term) { m.set(func() { m.leading = true }) }
func (m *words) Follow()          { m.set(func() { m.leading = false }) }
func (m *words) Tick(time.Time)   {}
func (m *words) NoSpace(bool)     {}
func (m *words) Failed(err error) { m.set(func() { m.failed = err }) }

func (m *words) has() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.applied)
}

// member is one replica of a group that lives in a test, and how it reaches the others.
type member struct {
	t     *testing.T
	id    uint64
	group *[]*member
	disk  *vfs.Mem
	ill   atomic.Bool // syncs fail
	*words
	running atomic.Pointer[replica.Host]
	host    *replica.Host // the same, for the test
	log     *commitlog.Log
	stop    func()
}

// Send hands the messages to the others at once.
func (m *member) Send(messages []replica.Message) {
	for _, msg := range messages {
		to := (*m.group)[msg.Raft.GetTo()-1]
		host := to.running.Load()
		if host == nil || msg.Incomplete() && msg.Load(m.log) != nil {
			continue
		}
		host.Receive(msg)
	}
}

func (m *member) SendTransfers(messages []replica.TransferMessage) {
	for _, msg := range messages {
		if host := (*m.group)[msg.To-1].running.Load(); host != nil {
			host.ReceiveTransfer(msg)
		}
	}
}

func (m *member) start() {
	m.t.Helper()
	log, err := commitlog.Open(vfs.NewFault(m.disk, func(op vfs.Op) error {
		if m.ill.Load() && op.Kind == vfs.OpSync {
			return errors.New("the disk is ill")
		}
		return nil
	}), "shard", commitlog.Options{})
	if err != nil {
		m.t.Fatal(err)
	}
	if log.Snapshot() == nil {
		if err := replica.Bootstrap(log, []uint64{1, 2, 3}, 1); err != nil {
			m.t.Fatal(err)
		}
	}
	m.words = &words{}
	if err := m.Restore(log.Snapshot()); err != nil {
		m.t.Fatal(err)
	}
	host, err := replica.NewHost(replica.Config{ID: m.id, Log: log, StateMachine: m.words, SegmentSize: 2000, Transport: m, Logger: quiet()})
	if err != nil {
		m.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	m.host, m.log = host, log
	m.running.Store(host)
	go func() { ended <- host.Run(ctx) }()
	m.stop = func() {
		m.running.Store(nil)
		cancel()
		m.host = nil
		err := errors.Join(<-ended, log.Close())
		if m.failed == nil && err != nil {
			m.t.Error(err)
		}
	}
}

// snapshot writes one of what is applied.
func (m *member) snapshot() {
	m.t.Helper()
	var snap commitlog.Snapshot
	err := m.host.Do(context.Background(), func() {
		snap = commitlog.Snapshot{
			Index: m.at, Term: m.term, Level: 1, ConfState: m.host.ConfState(),
			Sections: []commitlog.Section{{Name: "words", Data: []byte(strings.Join(m.has(), " "))}},
		}
	})
	if err := errors.Join(err, m.log.WriteSnapshot(&snap)); err != nil {
		m.t.Fatal(err)
	}
}

// inGroup runs a test with a group of three, in virtual time.
func inGroup(t *testing.T, test func(t *testing.T, group []*member)) {
	synctest.Test(t, func(t *testing.T) {
		var group []*member
		for id := range uint64(3) {
			group = append(group, &member{t: t, id: id + 1, group: &group, disk: vfs.NewMem()})
		}
		for _, m := range group {
			m.start()
		}
		test(t, group)
		for _, m := range group {
			if m.host != nil {
				m.stop()
			}
		}
	})
}

// leader waits for one among the members that run.
func leader(t *testing.T, group []*member) *member {
	t.Helper()
	for range 100 {
		time.Sleep(100 * time.Millisecond)
		for _, m := range group {
			leads := false
			m.set(func() { leads = m.leading })
			if m.host != nil && leads && m.failed == nil {
				return m
			}
		}
	}
	t.Fatal("nobody leads after 10 s")
	return nil
}

// say proposes words and waits until all that run have applied everything.
func say(t *testing.T, group []*member, l *member, from, n int) {
	t.Helper()
	l.set(func() {
		for i := range n {
			l.waiting = append(l.waiting, fmt.Sprintf("w%d", from+i))
		}
	})
	l.host.Wake()
	var want []string
	for i := range from + n {
		want = append(want, fmt.Sprintf("w%d", i))
	}
	agreed(t, group, want)
}

func agreed(t *testing.T, group []*member, want []string) {
	t.Helper()
	for range 600 {
		time.Sleep(50 * time.Millisecond)
		all := true
		for _, m := range group {
			all = all && (m.host == nil || m.failed != nil || slices.Equal(m.has(), want))
		}
		if all {
			return
		}
	}
	for _, m := range group {
		t.Errorf("replica %d has %d of %d words", m.id, len(m.has()), len(want))
	}
	t.FailNow()
}

func TestThreeReplicasGoOnWithoutTheirLeader(t *testing.T) {
	inGroup(t, func(t *testing.T, group []*member) {
		first := leader(t, group)
		say(t, group, first, 0, 50)
		first.stop()
		second := leader(t, group)
		if second == first {
			t.Fatal("the leader that was stopped leads")
		}
		say(t, group, second, 50, 50)
		first.start()
		say(t, group, leader(t, group), 100, 50)
	})
}

// TestAReplicaBehindTheWindowGetsASnapshot stops one until the others have forgotten
// what it needs.
func TestAReplicaBehindTheWindowGetsASnapshot(t *testing.T) {
	inGroup(t, func(t *testing.T, group []*member) {
		l := leader(t, group)
		say(t, group, l, 0, 20)
		behind := group[l.id%3]
		behind.stop()
		for i := range 4 {
			say(t, group, l, 20+20*i, 20)
			for _, m := range group {
				if m.host != nil {
					m.snapshot()
				}
			}
		}
		if l.log.First() <= 21 {
			t.Fatalf("the window of the leader begins at %d: nothing is forgotten", l.log.First())
		}
		behind.start()
		say(t, group, l, 100, 20)
		if got := behind.log.Snapshot().Index; got == 0 {
			t.Error("the replica that was behind has no snapshot")
		}
		behind.stop()
		behind.start()
		say(t, group, leader(t, group), 120, 1)
	})
}

// TestALeaderWhoseDiskFailsHandsOver sees another one lead long before an election
// timeout, and with all that was acknowledged.
func TestALeaderWhoseDiskFailsHandsOver(t *testing.T) {
	inGroup(t, func(t *testing.T, group []*member) {
		l := leader(t, group)
		say(t, group, l, 0, 20)
		began := time.Now()
		l.ill.Store(true)
		l.set(func() { l.waiting = append(l.waiting, "w20") })
		l.host.Wake()
		for {
			time.Sleep(time.Millisecond)
			if next := slices.IndexFunc(group, func(m *member) bool {
				leads := false
				m.set(func() { leads = m.leading })
				return m != l && leads
			}); next >= 0 {
				l = group[next]
				break
			}
			if time.Since(began) > 10*time.Second {
				t.Fatal("nobody leads")
			}
		}
		if d := time.Since(began); d > 500*time.Millisecond {
			t.Errorf("another one leads after %v, an election timeout is at least 1 s", d)
		}
		// Whether the word that met the failure is there, nobody was told.
		time.Sleep(time.Second)
		had := l.has()
		if len(had) < 20 {
			t.Fatalf("the new leader has %d words, 20 were acknowledged", len(had))
		}
		say(t, group, l, len(had), 20)
	})
}

func TestTheLeaderKnowsHowFarTheOthersAre(t *testing.T) {
	inGroup(t, func(t *testing.T, group []*member) {
		l := leader(t, group)
		say(t, group, l, 0, 5)
		time.Sleep(time.Second)
		for _, m := range group {
			var committed record.Index
			var members []replica.Member
			if err := m.host.Do(t.Context(), func() { committed, members = m.host.Group() }); err != nil {
				t.Fatal(err)
			}
			if committed == 0 || committed != m.log.Last() {
				t.Errorf("replica %d: committed up to %d of %d", m.id, committed, m.log.Last())
			}
			if m != l {
				if members != nil {
					t.Errorf("replica %d, which does not lead, knows %v", m.id, members)
				}
				continue
			}
			for i, x := range members {
				if x != (replica.Member{ID: uint64(i + 1), Voter: true, Match: committed}) {
					t.Errorf("%+v, committed up to %d", x, committed)
				}
			}
			if len(members) != 3 {
				t.Errorf("%d members", len(members))
			}
		}
	})
}

package txn

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/transcript"
)

func TestTranscripts(t *testing.T) {
	transcript.Run(t, func(out *strings.Builder) func(transcript.Args) error {
		s := &stage{policy: DefaultPolicy(), retention: (7 * 24 * time.Hour).Milliseconds(), halves: NewHalves(), now: start, next: 1, out: out}
		s.lead()
		o := newOffice(out)
		return func(a transcript.Args) error {
			if strings.HasPrefix(a.Verb, "tx-") { // of Kafka transactions
				return o.do(args{a})
			}
			return s.do(args{a})
		}
	})
}

// start is the time at which all transcripts begin, in ms.
const start = int64(1_000_000)

// logged is a command of an entry.
type logged struct {
	at      record.Index
	target  record.PartitionID
	command record.Command
}

// stage is a leader with the shell that a transcript drives by hand. A request goes
// into an entry of its own, or with "same" into the newest one.
type stage struct {
	policy    Policy
	retention int64
	halves    *Halves
	l         *Leading
	now       int64
	next      record.Index
	held      int64 // next offset of the hidden partition
	offset    int64 // next offset of all others
	inFlight  []logged
	applied   []logged
	actions   []Action
	mark      Mark
	marked    int
	out       *strings.Builder
}

// args are a command's words.
type args struct{ transcript.Args }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func (a args) key() Key {
	return Key{record.PartitionID(a.Int("partition", 1)), a.Objects[0]}
}

func (s *stage) lead() {
	s.l = Lead(s.halves, s.policy, func(record.PartitionID) int64 { return s.retention })
}

func (s *stage) do(a args) error {
	switch a.Verb {
	case "config":
		s.policy.Checks = a.Int("checks", s.policy.Checks)
		s.policy.MaxHalves = a.Int("max", s.policy.MaxHalves)
		s.policy.Immunity = a.Duration("immunity", s.policy.Immunity)
		s.policy.Interval = a.Duration("interval", s.policy.Interval)
		s.policy.History = a.Duration("history", s.policy.History)
		s.lead()
	case "retention":
		switch a.Objects[0] {
		case "forever":
			s.retention = -1
		case "maximal":
			s.retention = 1<<63 - 1
		default:
			s.retention = must(time.ParseDuration(a.Objects[0])).Milliseconds()
		}
	case "at":
		s.now = start + must(time.ParseDuration(a.Objects[0])).Milliseconds()
	case "prepare":
		k := a.key()
		r := PrepareRequest{
			Held: s.held, Group: a.Text("group", "g"), Principal: a.Text("as", "alice"),
			Body: BodyHash(nil, []byte(a.Text("body", "x"))),
		}
		if n := a.Int("principal-bytes", 0); n > 0 {
			r.Principal = strings.Repeat("p", n)
		}
		at := s.entry(a)
		if room, c := s.l.MakeRoom(at); c != nil {
			s.log(at, room.Target, c)
		}
		c, v, err := s.l.Prepare(k, r, s.now, at)
		s.decided(at, k.Target, c, v, err)
		if c != nil {
			s.held++
		}
	case "commit", "rollback":
		k, to, offset := a.key(), RolledBack, int64(-1)
		if a.Verb == "commit" {
			to, offset = Committed, s.offset
		}
		at := s.entry(a)
		c, v, err := s.l.End(k, to, a.Text("as", "alice"), offset, at)
		s.decided(at, k.Target, c, v, err)
		if c != nil && to == Committed {
			s.offset++
		}
	case "due":
		s.actions = append(s.actions, s.due(a.Int("max", 100))...)
	case "act":
		s.act(s.entry(a))
	case "fail":
		for _, x := range s.actions {
			s.l.Failed(x, s.now)
		}
		s.actions = nil
	case "run":
		// As the shell does: what is due each second is done and applied.
		for end := start + a.Duration("until", 0).Milliseconds(); s.now < end; {
			s.now = min(s.now+1000, end)
			if s.actions = s.due(100); len(s.actions) > 0 {
				s.act(s.next)
				s.apply(s.next)
			}
		}
	case "apply":
		last := s.next - 1
		if n := a.Int("n", 0); n > 0 {
			last = s.inFlight[0].at + record.Index(n) - 1
		}
		s.apply(last)
	case "again":
		// The log has the last command once more.
		x := s.applied[len(s.applied)-1]
		return s.halves.Apply(x.target, x.command, s.now)
	case "drop":
		at := s.next - 1
		s.l.Dropped(at)
		s.inFlight = slices.DeleteFunc(s.inFlight, func(x logged) bool { return x.at == at })
		s.next--
	case "mark":
		s.mark, s.marked = s.l.Mark(), len(s.inFlight)
	case "undo":
		s.l.Undo(s.mark)
		s.inFlight = s.inFlight[:s.marked]
	case "lead":
		// A new leader has nothing but the log: its state, and a snapshot of it. The
		// first n entries that were in flight are in the log, the others are lost.
		keep := 0
		if len(s.inFlight) > 0 {
			keep = int(s.inFlight[0].at) + a.Int("kept", 0)
		}
		for _, x := range s.inFlight {
			if int(x.at) < keep {
				s.applyCommand(x)
			}
		}
		s.inFlight, s.actions = nil, nil
		s.halves = must(RestoreHalves(s.halves.View().Encode()))
		s.lead()
	case "delete-topic":
		s.halves.Close(record.PartitionID(a.Int("partition", 1)))
	case "show":
		s.show()
	default:
		return errors.New("unknown verb")
	}
	return nil
}

// entry is the index for a request.
func (s *stage) entry(a args) record.Index {
	if slices.Contains(a.Objects, "same") {
		return s.next - 1
	}
	return s.next
}

func (s *stage) log(at record.Index, target record.PartitionID, c record.Command) {
	s.inFlight = append(s.inFlight, logged{at, target, c})
	s.next = max(s.next, at+1)
	s.printf("entry %d: %s %s", at, target, describe(c))
}

func (s *stage) decided(at record.Index, target record.PartitionID, c record.Command, v Verdict, err error) {
	switch {
	case err != nil:
		var code *kerr.Error
		errors.As(err, &code)
		text, _, _ := strings.Cut(err.Error(), ": "+code.Message)
		s.printf("%s: %s", code.Message, text)
	case v.Duplicate && v.InFlight != 0:
		s.printf("the same as in entry %d", v.InFlight)
	case v.Duplicate:
		s.printf("done before")
	default:
		s.log(at, target, c)
	}
}

func (s *stage) due(limit int) []Action {
	actions := s.l.Due(s.now, limit)
	for _, x := range actions {
		line := fmt.Sprintf("due at %s: ", s.since(s.now))
		switch x.Kind {
		case Ask:
			h, _ := s.halves.Get(x.Key)
			line += fmt.Sprintf("ask %s, question %d to %s/%d", x.Key.ID, x.Number, CheckTopic(h.Group), QuestionPartition(x.Key.ID, x.Number))
		case Park:
			line += "park " + x.Key.ID
		case GiveUp:
			line += "give up " + x.Key.ID
		case Forget:
			line += "forget " + x.Key.ID
		}
		s.printf("%s", line)
	}
	return actions
}

func (s *stage) act(at record.Index) {
	for _, x := range s.actions {
		if c := s.l.Act(x, s.now, at); c != nil {
			s.log(at, x.Key.Target, c)
		} else {
			s.printf("overtaken: %s", x.Key.ID)
		}
	}
	s.actions = nil
}

// apply applies all entries in flight up to last.
func (s *stage) apply(last record.Index) {
	for len(s.inFlight) > 0 && s.inFlight[0].at <= last {
		x := s.inFlight[0]
		s.inFlight = s.inFlight[1:]
		s.applyCommand(x)
		if len(s.inFlight) == 0 || s.inFlight[0].at > x.at {
			s.l.Applied(x.at)
		}
	}
}

func (s *stage) applyCommand(x logged) {
	if err := s.halves.Apply(x.target, x.command, s.now); err != nil {
		panic(err)
	}
	s.applied = append(s.applied, x)
}

func (s *stage) show() {
	keys := s.halves.View().keys
	slices.SortFunc(keys, Key.compare)
	s.printf("%d known, %d undecided", s.halves.Len(), s.halves.Undecided())
	for _, k := range keys {
		h, _ := s.halves.Get(k)
		line := fmt.Sprintf("  %s %s: %s, held at %d for %s by %s, prepared at %s, asked %d times", k.Target, k.ID, h.State, h.Held, h.Group, h.Principal, s.since(h.Prepared), h.Asked)
		switch {
		case h.State == Undecided:
			line += fmt.Sprintf(", left alone until %s", s.since(h.Wait))
		case h.State.Ended():
			line += fmt.Sprintf(", ended at %s", s.since(h.Ended))
		}
		if h.Offset >= 0 {
			line += fmt.Sprintf(", offset %d", h.Offset)
		}
		s.printf("%s", line)
	}
}

func (s *stage) since(ms int64) time.Duration { return time.Duration(ms-start) * time.Millisecond }

func (s *stage) printf(format string, a ...any) {
	s.out.WriteString("  " + fmt.Sprintf(format, a...) + "\n")
}

// describe prints a command as command.go documents it.
func describe(c record.Command) string {
	r := kbin.Reader{Src: c.Payload()}
	id := r.String()
	switch c.Kind() {
	case kindPrepared:
		held, group, principal := r.Int64(), r.String(), r.String()
		if len(principal) > 20 {
			principal = fmt.Sprintf("%d bytes", len(principal))
		}
		r.Span(len(Hash{}))
		wait := time.Duration(r.Int64()-start) * time.Millisecond
		return fmt.Sprintf("prepared %s: held at %d for %s by %s, left alone until %s", id, held, group, principal, wait)
	case kindAsked:
		n, wait := r.Int32(), time.Duration(r.Int64()-start)*time.Millisecond
		return fmt.Sprintf("asked %s: question %d, left alone until %s", id, n, wait)
	case kindParked:
		return "parked " + id
	case kindEnded:
		s, offset := State(r.Int8()), r.Int64()
		return fmt.Sprintf("ended %s: %s, offset %d", id, s, offset)
	case kindExpired:
		return "expired " + id
	}
	return cmp.Or(id, "unknown")
}

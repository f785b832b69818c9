package partition

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
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
		s := &stage{table: NewTable(), term: 1, now: start, next: 1, out: out}
		s.l = Lead(s.table, s.term)
		return func(a transcript.Args) error { return s.do(args{a}) }
	})
}

// start is the time at which all transcripts begin, in ms.
const start = int64(1_000_000)

// part is a batch or a command of an entry.
type part struct {
	at        record.Index
	partition record.PartitionID
	batch     record.Batch
	command   record.Command
}

// stage is a leader with the shell that a transcript drives by hand. What is decided
// goes into an entry of its own, or with "same" into the newest one.
type stage struct {
	table    *Table
	l        *Leading
	term     record.Term
	now      int64
	next     record.Index
	inFlight []part
	queue    []part
	mark     Mark
	marked   int
	out      *strings.Builder
}

// args are a command's words.
type args struct{ transcript.Args }

func (a args) num(key string, otherwise int) int64 { return int64(a.Int(key, otherwise)) }

func (a args) duration(key string) int64 { return a.Duration(key, 0).Milliseconds() }

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// partition is the one that is named "partition=2" or "partition=h0".
func (a args) partition() record.PartitionID {
	if n, hidden := strings.CutPrefix(a.Values["partition"], "h"); hidden {
		return record.FirstHidden + record.PartitionID(must(strconv.Atoi(n)))
	}
	return record.PartitionID(a.num("partition", 1))
}

func (s *stage) do(a args) error {
	p := a.partition()
	at := s.next
	if slices.Contains(a.Objects, "same") {
		at--
	}
	producer, epoch, seq, n := a.num("producer", -1), int16(a.num("epoch", 0)), int32(a.num("seq", 0)), int32(a.num("n", 1))
	switch a.Verb {
	case "at":
		s.now = start + must(time.ParseDuration(a.Objects[0])).Milliseconds()
	case "open":
		s.log(part{at: at, partition: p, command: OpenCommand([16]byte{byte(a.num("topic", 1))}, int32(a.num("number", 0)))})
	case "close":
		s.log(part{at: at, partition: p, command: CloseCommand()})
	case "log-start":
		s.log(part{at: at, partition: p, command: LogStartCommand(a.num("offset", 0))})
	case "append":
		b := sequenced(producer, epoch, seq, int(n))
		if t, ok := a.Values["time"]; ok {
			b.StampLogAppendTime(start + must(time.ParseDuration(t)).Milliseconds())
		} else {
			b.StampLogAppendTime(s.now)
		}
		d, err := s.l.Append(p, b, at)
		if s.decided(at, d, err) {
			s.log(part{at: at, partition: p, batch: b})
		}
	case "hold":
		d, err := s.l.Sequence(p, producer, epoch, seq, n, s.now, at)
		if s.decided(at, d, err) && producer >= 0 {
			s.log(part{at: at, partition: p, command: SequenceCommand(producer, epoch, seq, n)})
		}
	case "expire":
		for _, e := range s.l.ExpiredProducers(s.now, a.duration("after"), int(a.num("max", 100))) {
			x := part{at: at, partition: e.Partition, command: e.Command}
			if slices.Contains(a.Objects, "later") { // it waits in the queue
				s.queue = append(s.queue, x)
				s.printf("waiting: %v %s", x.partition, describe(x.command))
			} else {
				s.log(x)
			}
		}
	case "propose":
		for _, x := range s.queue {
			x.at = at
			s.log(x)
		}
		s.queue = nil
	case "apply":
		last := s.next - 1
		if n := a.num("entries", 0); n > 0 {
			last = s.inFlight[0].at + record.Index(n) - 1
		}
		for len(s.inFlight) > 0 && s.inFlight[0].at <= last {
			at := s.inFlight[0].at
			s.apply(s.inFlight[0])
			if s.inFlight = s.inFlight[1:]; len(s.inFlight) == 0 || s.inFlight[0].at > at {
				s.l.Applied(at)
			}
		}
	case "drop":
		s.next--
		s.l.Dropped(s.next)
		s.inFlight = slices.DeleteFunc(s.inFlight, func(x part) bool { return x.at == s.next })
	case "mark":
		s.mark, s.marked = s.l.Mark(), len(s.inFlight)
	case "undo":
		s.l.Undo(s.mark)
		s.inFlight = s.inFlight[:s.marked]
	case "lead":
		// A new leader has nothing but the log: its state, and a snapshot of it. The
		// first entries that were in flight are in the log, the others are lost.
		if len(s.inFlight) > 0 {
			kept := s.inFlight[0].at + record.Index(a.num("kept", 0))
			for _, x := range s.inFlight {
				if x.at < kept {
					s.apply(x)
				}
			}
		}
		s.inFlight = nil
		s.table = must(Restore(s.table.View().Encode()))
		s.term++
		s.l = Lead(s.table, s.term)
	case "show":
		s.show()
	case "epoch-end":
		for _, o := range a.Objects {
			epoch, offset, ok := s.table.EpochEnd(p, int32(must(strconv.Atoi(o))))
			s.printf("epoch %s: %d ends at %d, %v", o, epoch, offset, ok)
		}
	default:
		return errors.New("unknown verb")
	}
	return nil
}

func (s *stage) log(x part) {
	s.inFlight = append(s.inFlight, x)
	s.next = max(s.next, x.at+1)
	what := describe(x.command)
	if x.batch != nil {
		what = fmt.Sprintf("%d records at offset %d, leader epoch %d", x.batch.Records(), x.batch.BaseOffset(), x.batch.LeaderEpoch())
	}
	s.printf("entry %d: %v %s", x.at, x.partition, what)
}

// decided prints a decision that is not an acceptance.
func (s *stage) decided(at record.Index, d Decision, err error) bool {
	switch {
	case err != nil:
		var code *kerr.Error
		errors.As(err, &code)
		text, _, _ := strings.Cut(err.Error(), ": "+code.Message)
		s.printf("%s: %s", code.Message, text)
	case d.Duplicate:
		line := fmt.Sprintf("a duplicate, offset %d", d.BaseOffset)
		if d.Timestamp != NoTimestamp {
			line += fmt.Sprintf(" at %s", s.since(d.Timestamp))
		}
		if d.InFlight != 0 {
			line += fmt.Sprintf(", in entry %d", d.InFlight)
		}
		s.printf("%s", line)
	}
	return err == nil && !d.Duplicate
}

func (s *stage) apply(x part) {
	if x.batch == nil {
		if err := s.table.Apply(x.partition, x.command, s.now); err != nil {
			panic(err)
		}
	} else if !s.table.ApplyBatch(x.partition, x.batch, s.term, s.now) {
		s.printf("entry %d: belongs to nobody", x.at)
	}
}

func (s *stage) show() {
	s.printf("%d partitions", s.table.Len())
	s.table.Each(func(p record.PartitionID, b Bounds) {
		line := fmt.Sprintf("  %v: offsets %d to %d, stable to %d, next %d", p, b.LogStart, b.HighWatermark, b.LastStable, s.l.NextOffset(p))
		if b.MaxTimestamp != NoTimestamp {
			line += fmt.Sprintf(", newest at %s", s.since(b.MaxTimestamp))
		}
		if topic, number, ok := s.table.Info(p); ok {
			line += fmt.Sprintf(", is %d of topic %d", number, topic[0])
		}
		s.printf("%s", line)
	})
}

func (s *stage) since(ms int64) time.Duration { return time.Duration(ms-start) * time.Millisecond }

func (s *stage) printf(format string, a ...any) {
	s.out.WriteString("  " + fmt.Sprintf(format, a...) + "\n")
}

// describe prints a command as command.go documents it.
func describe(c record.Command) string {
	if c == nil {
		return ""
	}
	r := kbin.Reader{Src: c.Payload()}
	switch c.Kind() {
	case kindOpen:
		topic := r.Uuid()
		return fmt.Sprintf("open as %d of topic %d", r.Int32(), topic[0])
	case kindClose:
		return "close"
	case kindLogStart:
		return fmt.Sprintf("log start %d", r.Int64())
	case kindSequence:
		id, epoch, first, n := r.Int64(), r.Int16(), r.Int32(), r.Int32()
		return fmt.Sprintf("%d held messages of producer %d epoch %d from sequence %d", n, id, epoch, first)
	case kindExpire:
		before, line := r.Int64(), "expire"
		for range r.Int32() {
			line += fmt.Sprintf(" %d", r.Int64())
		}
		return line + fmt.Sprintf(" if not used since %s", time.Duration(before-start)*time.Millisecond)
	}
	return "unknown"
}

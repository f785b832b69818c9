package txn

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
)

// office is a coordinator with the shell that a transcript drives by hand: every
// decision is an entry of its own.
type office struct {
	cfg      CoordinatorConfig
	ts       *Transactions
	c        *Coordinator
	term     record.Term
	now      int64
	next     record.Index
	fresh    int64
	inFlight []logged
	markers  []Marker
	out      *strings.Builder
}

func newOffice(out *strings.Builder) *office {
	o := &office{
		cfg: CoordinatorConfig{MaxTimeoutMs: 900_000, Expiration: 7 * 24 * time.Hour, MaxIDs: 1000},
		ts:  NewTransactions(), now: start, next: 1, fresh: 1000, out: out,
	}
	o.lead()
	return o
}

func (o *office) lead() {
	o.term++
	o.markers = nil
	o.c = Coordinate(o.ts, o.cfg, o.term, o.now)
}

func (o *office) printf(format string, args ...any) { fmt.Fprintf(o.out, "  "+format+"\n", args...) }

// txnVerbs are the commands of stories about Kafka transactions.
//
//	tx-config max=N max-timeout=D expiration=D
//	tx-init ID timeout=D as=PRODUCER/EPOCH
//	tx-add ID as=P/E partitions=1,2 [verify]
//	tx-end ID as=P/E commit|abort [bumps]
//	tx-at D        the time passes
//	tx-apply       all that is in flight
//	tx-drop        the newest entry
//	tx-markers     hands out orders
//	tx-written N.. partitions' markers are in their logs;  tx-failed N..
//	tx-due         times out and forgets
//	tx-lead        another leader, by the snapshot
//	tx-show ID
func (o *office) do(a args) (err error) {
	id := ""
	if len(a.Objects) > 0 {
		id = a.Objects[0]
	}
	at := o.next
	switch strings.TrimPrefix(a.Verb, "tx-") {
	case "config":
		o.cfg.MaxIDs = a.Int("max", o.cfg.MaxIDs)
		o.cfg.MaxTimeoutMs = int32(a.Duration("max-timeout", 15*time.Minute).Milliseconds())
		o.cfg.Expiration = a.Duration("expiration", o.cfg.Expiration)
		o.lead()
	case "at":
		o.now = start + must(time.ParseDuration(id)).Milliseconds()
	case "init":
		r := InitRequest{TimeoutMs: int32(a.Duration("timeout", time.Minute).Milliseconds()), Identity: a.identity()}
		cmd, who, err := o.c.Init(id, r, -1, o.now, at)
		if errors.Is(err, ErrNeedsProducer) {
			o.fresh++
			cmd, who, err = o.c.Init(id, r, o.fresh, o.now, at)
		}
		o.decided(cmd, who, err)
	case "add":
		e := Enlistment{Identity: a.identity(), VerifyOnly: slices.Contains(a.Objects, "verify")}
		for _, p := range strings.Split(a.Values["partitions"], ",") {
			e.Partitions = append(e.Partitions, record.PartitionID(must(strconv.Atoi(p))))
		}
		cmd, err := o.c.Enlist(id, e, o.now, at)
		o.decided(cmd, Identity{-1, -1}, err)
	case "end":
		r := EndRequest{Identity: a.identity(), Commit: slices.Contains(a.Objects, "commit"), Bumps: slices.Contains(a.Objects, "bumps")}
		cmd, who, err := o.c.End(id, r, -1, o.now, at)
		if errors.Is(err, ErrNeedsProducer) {
			o.fresh++
			cmd, who, err = o.c.End(id, r, o.fresh, o.now, at)
		}
		o.decided(cmd, who, err)
	case "apply":
		for _, l := range o.inFlight {
			if err := o.ts.Apply(l.command, o.now); err != nil {
				return err
			}
			o.c.Applied(l.at)
		}
		o.inFlight = nil
	case "drop":
		last := len(o.inFlight) - 1
		o.c.Dropped(o.inFlight[last].at)
		o.inFlight = o.inFlight[:last]
		o.next--
	case "markers":
		ms := o.c.Markers(o.now)
		slices.SortFunc(ms, func(a, b Marker) int { return int(a.Partition) - int(b.Partition) })
		for _, m := range ms {
			o.printf("order: %s %v producer %d/%d commit %t bumped %t by %d", m.ID, m.Partition, m.Producer, m.Epoch, m.Commit, m.Bumped, m.Coordinator)
		}
		o.markers = append(o.markers, ms...)
	case "written", "failed":
		for _, n := range a.Objects {
			i := slices.IndexFunc(o.markers, func(m Marker) bool { return strconv.Itoa(int(m.Partition)) == n })
			m := o.markers[i]
			o.markers = slices.Delete(o.markers, i, i+1)
			if a.Verb == "tx-failed" {
				o.c.Failed(m, o.now)
			} else {
				o.log(o.c.Written(m, o.now, o.next))
			}
		}
	case "due":
		timedOut, expired := o.c.Due(o.now, 100)
		slices.Sort(timedOut)
		slices.Sort(expired)
		for _, id := range timedOut {
			o.log(o.c.TimeOut(id, o.now, o.next))
		}
		for _, id := range expired {
			o.log(o.c.Forget(id, o.now, o.next))
		}
	case "lead":
		o.ts, err = RestoreTransactions(o.ts.View().Encode())
		o.inFlight = nil
		o.lead()
	case "show":
		t := o.c.current(id)
		if t == nil {
			o.printf("%s is not known", id)
			break
		}
		o.printf("%s: %v %d/%d last %d/%d next %d timeout %v bumped %t partitions %v started %s", id, t.Phase, t.Producer, t.Epoch, t.LastProducer, t.LastEpoch,
			t.NextProducer, time.Duration(t.TimeoutMs)*time.Millisecond, t.Bumped, t.Partitions, since(t.Started))
	default:
		return fmt.Errorf("unknown verb")
	}
	return err
}

func since(ms int64) string {
	if ms < 0 {
		return "never"
	}
	return (time.Duration(ms-start) * time.Millisecond).String()
}

// identity is that of "as=7/3", nobody's without it.
func (a args) identity() Identity {
	p, e, ok := strings.Cut(a.Values["as"], "/")
	if !ok {
		return Identity{-1, -1}
	}
	return Identity{int64(must(strconv.Atoi(p))), int16(must(strconv.Atoi(e)))}
}

func (o *office) decided(cmd record.Command, who Identity, err error) {
	if err != nil {
		code := "?"
		if k, ok := errors.AsType[*kerr.Error](err); ok {
			code = k.Message
		}
		o.printf("%s", code)
	} else if who.Producer >= 0 {
		o.printf("ok %d/%d", who.Producer, who.Epoch)
	} else {
		o.printf("ok")
	}
	o.log(cmd)
}

func (o *office) log(cmd record.Command) {
	if cmd != nil {
		o.printf("logged: %s", [...]string{kindChanged: "changed", kindEnlisted: "enlisted", kindForgotten: "forgotten"}[cmd.Kind()])
		o.inFlight = append(o.inFlight, logged{at: o.next, command: cmd})
		o.next++
	}
}

package txn

import (
	"fmt"
	"math"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
	"github.com/splashdam/splashdam/internal/invariant"
)

// CoordinatorConfig bounds what a coordinator keeps.
type CoordinatorConfig struct {
	// MaxTimeoutMs is the longest timeout a producer may ask for
	// (transaction.max.timeout.ms).
	MaxTimeoutMs int32
	// Expiration is how long an id without a transaction is remembered
	// (transactional.id.expiration.ms).
	Expiration time.Duration
	// MaxIDs bounds the transactional ids of a shard. One more is refused.
	MaxIDs int
}

const (
	// DefaultMaxIDs is how many transactional ids a shard remembers at most.
	DefaultMaxIDs = 1_000_000
	// maxIDBytes bounds the length of all of them together.
	maxIDBytes = 256 << 20
)

const (
	// maxTransactionalID bounds an id, in bytes, as Kafka's older versions do.
	maxTransactionalID = math.MaxInt16
	// exhausted is the first epoch behind which there is no room for a producer: the one
	// behind it is kept for fencing.
	exhausted int16 = math.MaxInt16 - 1
	// markerRetry is the pause before a marker that could not be written is tried again.
	markerRetry = 100 * time.Millisecond
	// sweepInterval is how often it is looked for ids that have expired, and sweepBatch
	// how many are looked at in one go.
	sweepInterval = time.Minute
	sweepBatch    = 10_000
)

// ErrNeedsProducer is a request that can be decided only with a new producer id at hand.
var ErrNeedsProducer = fmt.Errorf("a new producer id is needed")

// Coordinator is the leading half for Kafka transactions. It decides inside of the
// shard's loop, on what is applied and what is in flight. A command that a method
// returns must go into the entry of that index; without one, what the method says is
// true when all entries before are applied.
type Coordinator struct {
	table *Transactions
	cfg   CoordinatorConfig
	epoch int32 // the term, as participants see it

	flights []transition
	newest  map[string]transition // of flights, the last by id
	open    map[string]bool       // ids with a transaction that may time out

	ending map[string]*ending
	outbox []Marker
	late   []Marker // to be tried again at lateAt
	lateAt int64

	sweepAt int64
	sweep   []string
}

// transition is a command in flight, and what it makes of the id: nil if forgotten.
type transition struct {
	at    record.Index
	id    string
	after *Transaction
}

// ending is a decided transaction whose markers are on their way.
type ending struct {
	epoch int16
	left  map[record.PartitionID]bool
}

// Marker is the order to write the end of a transaction into a partition.
type Marker struct {
	ID        string
	Partition record.PartitionID
	Producer  int64
	Epoch     int16
	Commit    bool
	Bumped    bool
	// Coordinator is the coordinator's term: participants take no order from an older one.
	Coordinator int32
}

// Coordinate takes the lead over ts in a term; the caller goes on applying commands to
// it. Ends that were decided before are carried out.
func Coordinate(ts *Transactions, cfg CoordinatorConfig, term record.Term, now int64) *Coordinator {
	c := &Coordinator{
		table: ts, cfg: cfg, epoch: term.LeaderEpoch(),
		newest: make(map[string]transition), open: make(map[string]bool), ending: make(map[string]*ending),
		sweepAt: now + sweepInterval.Milliseconds(),
	}
	for id, t := range ts.byID {
		c.watch(id, t)
		c.carryOut(id, t)
	}
	return c
}

// current is what will be when all that is in flight is applied.
func (c *Coordinator) current(id string) *Transaction {
	if f, ok := c.newest[id]; ok {
		return f.after
	}
	return c.table.byID[id]
}

func (c *Coordinator) watch(id string, t *Transaction) {
	if t != nil && t.Phase == Ongoing {
		c.open[id] = true
	} else {
		delete(c.open, id)
	}
}

func (c *Coordinator) fly(id string, after *Transaction, at record.Index) {
	f := transition{at, id, after}
	c.flights = append(c.flights, f)
	c.newest[id] = f
	c.watch(id, after)
}

// change makes a transition to t. It keeps in mind what Apply will make of it.
func (c *Coordinator) change(id string, t Transaction, now int64, at record.Index) record.Command {
	t.Updated = now
	if t.Phase.idle() {
		t.Partitions, t.Started = nil, -1
	}
	c.fly(id, &t, at)
	return changedCommand(id, &t)
}

// Applied tells that the entries up to at are applied.
func (c *Coordinator) Applied(at record.Index) {
	for len(c.flights) > 0 && c.flights[0].at <= at {
		id := c.flights[0].id
		c.flights = c.flights[1:]
		if c.newest[id].at <= at {
			delete(c.newest, id)
			if t := c.table.byID[id]; t != nil {
				c.carryOut(id, t)
			}
		}
	}
}

// Dropped takes back what was decided for entry at, the last one.
func (c *Coordinator) Dropped(at record.Index) {
	for n := len(c.flights) - 1; n >= 0 && c.flights[n].at == at; n-- {
		id := c.flights[n].id
		c.flights = c.flights[:n]
		delete(c.newest, id)
		for i := n - 1; i >= 0; i-- {
			if c.flights[i].id == id {
				c.newest[id] = c.flights[i]
				break
			}
		}
		t := c.current(id)
		c.watch(id, t)
		if _, flying := c.newest[id]; !flying && t != nil {
			c.carryOut(id, t) // if it was to be complete
		}
	}
}

// Identity is the producer id and epoch that a client goes on with.
type Identity struct {
	Producer int64
	Epoch    int16
}

// InitRequest asks for a producer id. Producer and Epoch are -1, or what the client has
// and wants the next epoch of (KIP-360).
type InitRequest struct {
	TimeoutMs int32
	Identity
}

// Init gives a transactional id a producer id, and fences who had it before. fresh is a
// producer id that nobody has, or -1.
//
// Errors, with nothing to log: kerr.InvalidRequest, kerr.InvalidTransactionTimeout,
// kerr.ProducerFenced, kerr.ConcurrentTransactions, kerr.PolicyViolation at MaxIDs,
// ErrNeedsProducer. Of an open transaction the command is its abort, which must be
// logged, and the error is kerr.ConcurrentTransactions: the client asks again.
func (c *Coordinator) Init(id string, r InitRequest, fresh, now int64, at record.Index) (record.Command, Identity, error) {
	t := c.current(id)
	switch {
	case id == "" || len(id) > maxTransactionalID:
		return nil, Identity{}, fmt.Errorf("a transactional id of %d bytes, between 1 and %d are possible: %w", len(id), maxTransactionalID, kerr.InvalidRequest)
	case r.TimeoutMs <= 0 || r.TimeoutMs > c.cfg.MaxTimeoutMs:
		return nil, Identity{}, fmt.Errorf("transactional id %q: a timeout of %d ms, transaction.max.timeout.ms is %d: %w", id, r.TimeoutMs, c.cfg.MaxTimeoutMs, kerr.InvalidTransactionTimeout)
	case t == nil:
		return c.initNew(id, r, fresh, now, at)
	case r.Producer >= 0 && r.Producer != t.Producer && !(r.Producer == t.LastProducer && r.Epoch >= exhausted):
		return nil, Identity{}, fmt.Errorf("transactional id %q: producer id %d, it is %d: %w", id, r.Producer, t.Producer, kerr.ProducerFenced)
	case t.Phase.Prepared():
		return nil, Identity{}, c.concurrent(id, t)
	case t.Phase == Ongoing:
		return c.abort(id, t, -1, now, at), Identity{}, c.concurrent(id, t)
	}
	n := *t
	n.Phase, n.TimeoutMs, n.LastEpoch, n.LastProducer, n.Bumped = Empty, r.TimeoutMs, -1, -1, false
	switch has := r.Producer >= 0; {
	case t.Epoch >= exhausted && (!has || r.Epoch == t.Epoch):
		if fresh < 0 {
			return nil, Identity{}, ErrNeedsProducer
		}
		n.Producer, n.Epoch, n.LastProducer = fresh, 0, t.Producer
		if has {
			n.LastEpoch = t.Epoch
		}
	case !has:
		n.Epoch++
	case r.Epoch == t.Epoch:
		n.Epoch, n.LastEpoch = t.Epoch+1, t.Epoch
	case r.Epoch == t.LastEpoch: // again
		n.LastEpoch, n.LastProducer = t.LastEpoch, t.LastProducer
	default:
		return nil, Identity{}, fmt.Errorf("transactional id %q: producer epoch %d, it is %d: %w", id, r.Epoch, t.Epoch, kerr.ProducerFenced)
	}
	return c.change(id, n, now, at), Identity{n.Producer, n.Epoch}, nil
}

func (c *Coordinator) initNew(id string, r InitRequest, fresh, now int64, at record.Index) (record.Command, Identity, error) {
	if c.table.Len()+len(c.flights) >= c.cfg.MaxIDs || c.table.idBytes+len(id) > maxIDBytes {
		return nil, Identity{}, fmt.Errorf("transactional id %q: the shard remembers %d of %d bytes already: %w", clip(id), c.table.Len(), c.table.idBytes, kerr.PolicyViolation)
	}
	if fresh < 0 {
		return nil, Identity{}, ErrNeedsProducer
	}
	t := Transaction{Phase: Empty, Producer: fresh, LastEpoch: -1, LastProducer: -1, NextProducer: -1, TimeoutMs: r.TimeoutMs}
	return c.change(id, t, now, at), Identity{fresh, 0}, nil
}

func (c *Coordinator) concurrent(id string, t *Transaction) error {
	return fmt.Errorf("transactional id %q is at %v: %w", id, t.Phase, kerr.ConcurrentTransactions)
}

// abort decides to abort an open transaction, whose producer is fenced by the next
// epoch. lastEpoch is the epoch with which it may yet go on, or -1.
func (c *Coordinator) abort(id string, t *Transaction, lastEpoch int16, now int64, at record.Index) record.Command {
	n := *t
	n.Phase, n.Epoch, n.LastEpoch, n.Bumped = PrepareAbort, t.Epoch+1, lastEpoch, true
	return c.change(id, n, now, at)
}

// Enlistment are partitions that become part of a transaction, or of which is asked
// whether they are.
type Enlistment struct {
	Identity
	Partitions []record.PartitionID
	// VerifyOnly changes nothing (KIP-890).
	VerifyOnly bool
}

// Enlist makes partitions part of the producer's transaction, which begins if there is
// none.
//
// Errors: kerr.InvalidRequest, kerr.InvalidProducerIDMapping, kerr.ProducerFenced,
// kerr.ConcurrentTransactions; of VerifyOnly also kerr.InvalidTxnState, if one of them is
// not part of an open transaction.
func (c *Coordinator) Enlist(id string, e Enlistment, now int64, at record.Index) (record.Command, error) {
	t, err := c.owned(id, e.Identity)
	switch {
	case err != nil:
		return nil, err
	case t.Phase.Prepared():
		return nil, c.concurrent(id, t)
	case t.Phase == Ongoing && t.has(e.Partitions):
		return nil, nil
	case e.VerifyOnly:
		return nil, fmt.Errorf("transactional id %q: partitions that are not part of its transaction: %w", id, kerr.InvalidTxnState)
	case len(e.Partitions) == 0:
		return nil, nil
	}
	n := t.enlisting(e.Partitions, now)
	c.fly(id, &n, at)
	return enlistedCommand(id, e.Partitions), nil
}

// Ending reports whether a transaction of that id is decided and its end not yet carried out.
func (c *Coordinator) Ending(id string) bool {
	t := c.current(id)
	return t != nil && t.Phase.Prepared()
}

// owned returns the id if it is the producer's.
func (c *Coordinator) owned(id string, who Identity) (*Transaction, error) {
	t := c.current(id)
	switch {
	case id == "":
		return nil, fmt.Errorf("an empty transactional id: %w", kerr.InvalidRequest)
	case t == nil:
		return nil, fmt.Errorf("transactional id %q is not known: %w", id, kerr.InvalidProducerIDMapping)
	case who.Producer != t.Producer:
		return nil, fmt.Errorf("transactional id %q: producer id %d, it is %d: %w", id, who.Producer, t.Producer, kerr.InvalidProducerIDMapping)
	case who.Epoch != t.Epoch:
		return nil, fmt.Errorf("transactional id %q: producer epoch %d, it is %d: %w", id, who.Epoch, t.Epoch, kerr.ProducerFenced)
	}
	return t, nil
}

// TimeOut aborts a transaction that is open for too long. The command is nil if it is
// not.
func (c *Coordinator) TimeOut(id string, now int64, at record.Index) record.Command {
	t := c.current(id)
	if t == nil || t.Phase != Ongoing || now < t.Started+int64(t.TimeoutMs) {
		return nil
	}
	return c.abort(id, t, t.Epoch, now, at)
}

// Forget ends an id that nobody has used for long. The command is nil if somebody has.
func (c *Coordinator) Forget(id string, now int64, at record.Index) record.Command {
	t := c.current(id)
	if t == nil || !t.Phase.idle() || now < t.Updated+c.cfg.Expiration.Milliseconds() {
		return nil
	}
	c.fly(id, nil, at)
	return forgottenCommand(id)
}

// Due lists ids about which TimeOut has something to say, and such about which Forget
// may have, up to max of each. They are listed again until that is decided.
func (c *Coordinator) Due(now int64, max int) (timedOut, expired []string) {
	for id := range c.open {
		if t := c.current(id); now >= t.Started+int64(t.TimeoutMs) && len(timedOut) < max {
			timedOut = append(timedOut, id)
		}
	}
	if now >= c.sweepAt {
		c.sweepAt = now + sweepInterval.Milliseconds()
		if len(c.sweep) == 0 {
			for id := range c.table.byID {
				c.sweep = append(c.sweep, id)
			}
		}
	}
	n := min(len(c.sweep), sweepBatch)
	for i, id := range c.sweep[:n] {
		if len(expired) == max {
			n = i
			break
		}
		if t := c.current(id); t != nil && t.Phase.idle() && now >= t.Updated+c.cfg.Expiration.Milliseconds() {
			expired = append(expired, id)
		}
	}
	if c.sweep = c.sweep[n:]; len(c.sweep) == 0 {
		c.sweep = nil
	}
	return timedOut, expired
}

// carryOut puts the markers of a transaction whose end is decided, and applied, into
// the outbox.
func (c *Coordinator) carryOut(id string, t *Transaction) {
	if !t.Phase.Prepared() {
		return
	}
	if e := c.ending[id]; e != nil && e.epoch == t.Epoch {
		return
	}
	invariant.That(len(t.Partitions) > 0, "transactional id %q is at %v without a partition", id, t.Phase)
	e := &ending{epoch: t.Epoch, left: make(map[record.PartitionID]bool, len(t.Partitions))}
	for _, p := range t.Partitions {
		e.left[p] = true
		c.outbox = append(c.outbox, Marker{
			ID: id, Partition: p, Producer: t.Producer, Epoch: t.Epoch,
			Commit: t.Phase.commits(), Bumped: t.Bumped, Coordinator: c.epoch,
		})
	}
	c.ending[id] = e
}

// Markers hands out the orders that are due, each once until Written or Failed.
func (c *Coordinator) Markers(now int64) []Marker {
	out := c.outbox
	c.outbox = nil
	if len(c.late) > 0 && now >= c.lateAt {
		out = append(out, c.late...)
		c.late = nil
	}
	return out
}

// Failed gives an order back that could not be carried out, or of which that is not
// known. It is due again a little later.
func (c *Coordinator) Failed(m Marker, now int64) {
	if c.left(m) {
		if len(c.late) == 0 {
			c.lateAt = now + markerRetry.Milliseconds()
		}
		c.late = append(c.late, m)
	}
}

// left reports whether an order is not carried out yet.
func (c *Coordinator) left(m Marker) bool {
	e := c.ending[m.ID]
	return m.Coordinator == c.epoch && e != nil && e.epoch == m.Epoch && e.left[m.Partition]
}

// Written says that a marker is in its partition's log. With the last of a transaction
// that is complete: the command says so.
func (c *Coordinator) Written(m Marker, now int64, at record.Index) record.Command {
	if !c.left(m) {
		return nil
	}
	e := c.ending[m.ID]
	if delete(e.left, m.Partition); len(e.left) > 0 {
		return nil
	}
	delete(c.ending, m.ID)
	t := c.current(m.ID)
	invariant.That(t != nil && t.Phase.Prepared() && t.Epoch == m.Epoch, "transactional id %q is at %+v, and its markers are written", m.ID, t)
	return c.change(m.ID, completed(*t), now, at)
}

// completed is a transaction whose end is carried out.
func completed(t Transaction) Transaction {
	if t.Phase.commits() {
		t.Phase = CompleteCommit
	} else {
		t.Phase = CompleteAbort
	}
	if t.NextProducer >= 0 {
		t.Producer, t.Epoch, t.LastProducer, t.NextProducer = t.NextProducer, 0, t.Producer, -1
	}
	return t
}

package txn

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/splashdam/splashdam/broker/record"
)

// EndRequest ends a producer's transaction. Bumps says that the client takes a new epoch
// for every transaction (KIP-890, transaction.version=2).
type EndRequest struct {
	Identity
	Commit bool
	Bumps  bool
}

// End decides how a transaction ends; the answer says with which epoch the client goes
// on. The decision stands when the command is applied; markers follow. fresh is a
// producer id that nobody has, or -1.
//
// A request that is repeated is answered as it was. One that comes late, when the next
// transaction is open, is refused if the client bumps; else nothing tells it from the
// end of that transaction, in Kafka either.
//
// Errors: kerr.InvalidRequest, kerr.InvalidProducerIDMapping, kerr.ProducerFenced,
// kerr.InvalidTxnState, kerr.ConcurrentTransactions while the end is carried out,
// ErrNeedsProducer.
func (c *Coordinator) End(id string, r EndRequest, fresh, now int64, at record.Index) (record.Command, Identity, error) {
	t := c.current(id)
	if t != nil && r.Bumps && !(t.Phase == Ongoing) && t.repeats(r.Identity) {
		return c.endAgain(id, t, r)
	}
	t, err := c.owned(id, r.Identity)
	if err != nil {
		return nil, Identity{}, err
	}
	as := t.Phase.commits() == r.Commit
	switch {
	case t.Phase == Ongoing:
		return c.prepare(id, t, r, fresh, now, at)
	case t.Phase.Prepared() && (as || r.Bumps): // of one that bumps, this is the next transaction
		return nil, Identity{}, c.concurrent(id, t)
	case !t.Phase.Prepared() && r.Bumps && !r.Commit:
		// Nothing was begun that the coordinator knows of. What is on its way to a
		// partition under this epoch must not begin anything now.
		return c.prepare(id, t, r, fresh, now, at)
	case t.Phase != Empty && !r.Bumps && as:
		return nil, Identity{t.Producer, t.Epoch}, nil
	}
	return nil, Identity{}, fmt.Errorf("transactional id %q is at %v and cannot be ended with commit=%t: %w", id, t.Phase, r.Commit, kerr.InvalidTxnState)
}

// repeats reports whether a request comes from the epoch before this one, which its
// producer had until it was moved on.
func (t *Transaction) repeats(who Identity) bool {
	if who.Epoch != t.LastEpoch || who.Epoch < 0 {
		return false
	}
	return who.Producer == t.Producer && who.Epoch+1 == t.Epoch ||
		who.Producer == t.LastProducer && t.Epoch == 0 && who.Epoch >= exhausted
}

// endAgain answers an end that was decided before.
func (c *Coordinator) endAgain(id string, t *Transaction, r EndRequest) (record.Command, Identity, error) {
	switch {
	case t.Phase == Empty:
		return nil, Identity{}, fmt.Errorf("transactional id %q: producer epoch %d, it is %d: %w", id, r.Epoch, t.Epoch, kerr.ProducerFenced)
	case t.Phase.commits() != r.Commit: // also of one that has timed out meanwhile
		return nil, Identity{}, fmt.Errorf("transactional id %q is at %v and cannot be ended with commit=%t: %w", id, t.Phase, r.Commit, kerr.InvalidTxnState)
	case t.Phase.Prepared():
		return nil, Identity{}, c.concurrent(id, t)
	}
	return nil, Identity{t.Producer, t.Epoch}, nil
}

// prepare decides the end of the transaction. One without partitions is complete at
// once: there is nobody to tell.
func (c *Coordinator) prepare(id string, t *Transaction, r EndRequest, fresh, now int64, at record.Index) (record.Command, Identity, error) {
	n := *t
	n.Phase = PrepareAbort
	if r.Commit {
		n.Phase = PrepareCommit
	}
	n.LastEpoch, n.LastProducer, n.NextProducer, n.Bumped = -1, -1, -1, r.Bumps
	who := Identity{t.Producer, t.Epoch}
	if r.Bumps {
		n.Epoch, n.LastEpoch = t.Epoch+1, t.Epoch
		who.Epoch = n.Epoch
		if t.Epoch >= exhausted {
			if fresh < 0 {
				return nil, Identity{}, ErrNeedsProducer
			}
			n.NextProducer = fresh
			who = Identity{fresh, 0}
		}
	}
	if t.Phase != Ongoing {
		n = completed(n)
	}
	return c.change(id, n, now, at), who, nil
}

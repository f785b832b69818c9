package kafka

import (
	"math"
	"net/netip"
	"time"
)

// Limits bounds what clients can make the server hold. A zero field takes the
// default named beside it, which is Kafka's where Kafka has the setting.
type Limits struct {
	// Connections bounds the open connections at the beginning.
	Connections ConnectionLimits
	// MaxLoginBytes bounds a request of a client that has to log in and never has
	// (64 KiB, sasl.server.max.receive.size). A larger one closes the connection.
	MaxLoginBytes int
	// LoginTimeout bounds the time from the connection's beginning to the end of the
	// TLS handshake, and of the first login where there must be one (30 seconds).
	LoginTimeout time.Duration
	// FailedLoginDelay is how long after a login that fails the client is told, and
	// the connection closed (100 ms, connection.failed.authentication.delay.ms).
	FailedLoginDelay time.Duration
	// MaxRequestBytes bounds a request as its length field claims it (100 MiB,
	// Kafka's socket.request.max.bytes). A larger one closes the connection before
	// memory is set aside. Memory grows with the bytes that arrive, never ahead of
	// them by more than the double, but where less than half of MaxRequestMemory is taken.
	MaxRequestBytes int
	// MaxRequestElements bounds the elements of all arrays in one request taken
	// together, and its tagged fields (262,144). More close the connection.
	MaxRequestElements int
	// MaxInFlight is how many requests of one connection may wait for their
	// answers (100). The server stops reading from a connection that has as many.
	MaxInFlight int
	// MaxInFlightBytes bounds the memory of those requests (MaxRequestBytes), as they are
	// on the wire and decoded. The server stops reading until some are answered; a single
	// request that is larger gets in alone.
	MaxInFlightBytes int
	// MaxRequestMemory bounds the memory of the requests of all connections together
	// (512 MiB, queued.max.request.bytes). At the limit requests of more than readStep
	// are read one at a time, and a client is cut that takes longer than stallTimeout
	// for a step of its own. Up to readStep for each connection is on top of it.
	MaxRequestMemory int
	// MaxFetchBytes bounds the records in one answer to a fetch (55 MiB, Kafka's
	// fetch.max.bytes). A single batch that is larger still gets through (KIP-74).
	MaxFetchBytes int
	// MaxFetchWait bounds how long a fetch may wait for data (5 minutes), whatever
	// the client asks for.
	MaxFetchWait time.Duration
	// MaxProduceWait bounds how long an answer to a produce request may take (5
	// minutes); then, as at the client's own timeout, it is REQUEST_TIMED_OUT.
	MaxProduceWait time.Duration
	// MaxAdminWait does the same for changes of topics (5 minutes).
	MaxAdminWait time.Duration
	// MaxFetchSessions is the number of fetch sessions (1,000, Kafka's
	// max.incremental.fetch.session.cache.slots). At the limit an old one gives way
	// or the client gets none, and names all its partitions every time (KIP-227).
	MaxFetchSessions int
	// MaxFetchSessionPartitions bounds the partitions remembered by all sessions
	// together (1,000,000), with the same outcome.
	MaxFetchSessionPartitions int
	// FetchSessionEviction is for how long a session is safe from eviction after
	// its last use or its creation (2 minutes).
	FetchSessionEviction time.Duration
	// IdleTimeout closes a connection that has nothing in flight and is silent for
	// so long (10 minutes, Kafka's connections.max.idle.ms). In the middle of a
	// request it bounds the pause between two steps.
	IdleTimeout time.Duration
	// WriteTimeout closes a connection that takes longer to accept writeStep bytes
	// (30 seconds): a client that asks but does not read.
	WriteTimeout time.Duration
	// DrainTimeout bounds how long requests already read may still take once the
	// client has closed its side or the server ends (10 seconds).
	DrainTimeout time.Duration
}

// ConnectionLimits bounds the open connections. One more is closed when it comes, and who is
// there may stay; beyond All first goes who has to log in and has not (strangerTime). A zero field takes the default named beside it.
type ConnectionLimits struct {
	// All is the number of connections (10,000, max.connections).
	All int
	// OfListener bounds those of some listeners besides, by the listener's name.
	OfListener map[string]int
	// OfAddress bounds those of one client address (no bound of its own,
	// max.connections.per.ip), but where Overrides has the address.
	OfAddress int
	Overrides map[netip.Addr]int
}

func (l ConnectionLimits) withDefaults() ConnectionLimits {
	orDefault(&l.All, 10_000)
	orDefault(&l.OfAddress, math.MaxInt32)
	return l
}

const (
	// readStep is how many bytes of a request are read before memory for more is
	// set aside.
	readStep = 64 << 10
	// strangerStep is that for the first bytes of a request of a client that has not logged
	// in: enough for a login by password, and so little that those of all connections
	// that there may be are little.
	strangerStep = 4 << 10
	// elementBytes is what an element of a request takes at most, decoded and while it is
	// worked on: two bytes of an empty name become a structure. Requests of no more than
	// fewElements weigh what they have on the wire.
	elementBytes = 256
	fewElements  = 64
	// writeStep is how many bytes must go out within WriteTimeout.
	writeStep = 256 << 10
	// stallTimeout is how long a step of a request may take while others wait for it.
	stallTimeout = 10 * time.Second
	// maxHeaderTags bounds the tagged fields of a request header; Kafka defines none.
	maxHeaderTags = 64
	// maxAnswer bounds the records in an answer to a fetch, however much the client and
	// MaxFetchBytes allow: they are in memory until the client has taken them. More makes
	// nothing faster. A single batch that is larger still gets through.
	maxAnswer = 8 << 20
	// maxAnswers is from how many bytes of records in all answers on they have no more than
	// readStep each, or a batch.
	maxAnswers = 256 << 20
	// fetchChunk is how much memory a fetch takes at once for what it reads.
	fetchChunk = 2 << 20
	// acceptPause is the pause after a failed accept: the first one, doubled up to
	// the last.
	firstAcceptPause, lastAcceptPause = 5 * time.Millisecond, time.Second
)

func orDefault[T int | time.Duration](v *T, d T) {
	if *v <= 0 {
		*v = d
	}
}

func (l Limits) withDefaults() Limits {
	l.Connections = l.Connections.withDefaults()
	orDefault(&l.MaxLoginBytes, 64<<10)
	orDefault(&l.LoginTimeout, 30*time.Second)
	orDefault(&l.FailedLoginDelay, 100*time.Millisecond)
	orDefault(&l.MaxRequestMemory, 512<<20)
	orDefault(&l.MaxRequestBytes, 100<<20)
	orDefault(&l.MaxRequestElements, 1<<18)
	orDefault(&l.MaxInFlight, 100)
	orDefault(&l.MaxInFlightBytes, l.MaxRequestBytes)
	orDefault(&l.MaxFetchBytes, 55<<20)
	orDefault(&l.MaxFetchWait, 5*time.Minute)
	orDefault(&l.MaxProduceWait, 5*time.Minute)
	orDefault(&l.MaxAdminWait, 5*time.Minute)
	orDefault(&l.MaxFetchSessions, 1000)
	orDefault(&l.MaxFetchSessionPartitions, 1_000_000)
	orDefault(&l.FetchSessionEviction, 2*time.Minute)
	orDefault(&l.IdleTimeout, 10*time.Minute)
	orDefault(&l.WriteTimeout, 30*time.Second)
	orDefault(&l.DrainTimeout, 10*time.Second)
	return l
}

// wait is the time a client asked for in ms, within a limit. None, or a negative
// one, means the limit.
func wait(ms int32, limit time.Duration) time.Duration {
	if ms <= 0 {
		return limit
	}
	return min(time.Duration(ms)*time.Millisecond, limit)
}

package clients

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/splashdam/splashdam/integration"
)

// kgoRecords is how many records each stage of kgo's chains of groups carries.
// The longer run has what its authors run.
func kgoRecords() int {
	if integration.Long() {
		return 500_000
	}
	return 10_000
}

// kgo is the tests of franz-go's client against a node, which has a second listener
// for a user whose password is here.
func kgo(n *integration.Node) suite {
	scram := n.Listeners()[1]
	return suite{
		module: "github.com/twmb/franz-go", dir: "pkg/kgo",
		env: []string{
			"KGO_SEEDS=" + n.Addr, "KGO_TEST_RF=1", fmt.Sprintf("KGO_TEST_RECORDS=%d", kgoRecords()), "KGO_LOG_LEVEL=none",
			"KGO_TEST_SCRAM=suite:suite-secret:256", fmt.Sprintf("KGO_TEST_SCRAM_SEEDS=%s:%d", scram.Host, scram.Port),
		},
		args: []string{"-timeout=25m", "."},
		skipped: map[string]string{
			"TestIssueProduceBrokerTooOldFailsRecords": "is for brokers that do not advertise Produce 0 to 2; Apache Kafka does, and is skipped too",
			"TestShareGroup":                     "share groups are not offered yet",
			"TestShareGroupETL":                  "share groups are not offered yet",
			"TestShareGroupAckOnClose":           "share groups are not offered yet",
			"TestShareGroupOffsetsAdmin":         "share groups are not offered yet",
			"TestConsumeRegexShareSkipsInternal": "share groups are not offered yet",
		},
	}
}

func startForKgo(t *testing.T, shards string) *integration.Node {
	return integration.Start(t, "--shards", shards, "--set", "group.initial.rebalance.delay.ms=0",
		"--listeners", "SASL_PLAINTEXT://127.0.0.1:0", "--user", "suite:suite-secret:SCRAM-SHA-256")
}

func TestFranzGoPassesItsOwnTests(t *testing.T) {
	needTime(t)
	alongside(t)
	for _, shards := range []string{"1", "3"} {
		t.Run(shards+" shards", func(t *testing.T) {
			alongside(t)
			kgo(startForKgo(t, shards)).run(t, 100)
		})
	}
	if !integration.Long() {
		return
	}
	t.Run("race detector", func(t *testing.T) {
		s := kgo(startForKgo(t, "3"))
		s.args = append(s.args, "-race")
		s.run(t, 100)
	})
	// The connections of the client die after about a second.
	t.Run("dying connections", func(t *testing.T) {
		s := kgo(startForKgo(t, "3"))
		s.env = append(s.env, "KGO_TEST_CHAOS=1")
		s.args = append(s.args, "-run=^TestGroupETL$")
		s.run(t, chainsTold)
	})
}

// chainsTold is how many of a chain's six tests are told apart: three have names
// that begin those of others.
const chainsTold = 3

// kills is how often a node is killed under a chain of groups, every so often.
const (
	kills     = 5
	killEvery = 4 * time.Second
)

// TestFranzGosTransactionsOutliveABrokerThatIsKilled runs the chain of groups that
// consume and produce in transactions: nothing is lost, nothing comes twice. The
// chain without transactions is no test of that: where a session of a group ends, its
// members read again what they have not committed, and take it for a fault.
func TestFranzGosTransactionsOutliveABrokerThatIsKilled(t *testing.T) {
	needTime(t)
	if !integration.Long() {
		t.Skip("takes minutes: SPLASHDAM_TEST_LONG=1")
	}
	n := startForKgo(t, "3")
	s := kgo(n)
	s.edit = letSessionsEnd
	s.args = append(s.args, "-run=^TestTxnEtl$")
	r := s.start(t)
	select {
	case <-r.began:
	case <-r.ended:
	}
	for range kills {
		select {
		case <-r.ended:
			t.Error("it ended before the node was killed often enough")
		case <-time.After(killEvery):
		}
		n.Kill()
		n.Restart()
	}
	r.judge(t, chainsTold)
}

// letSessionsEnd has the chain go on where a poll tells one of two things; everything
// else still counts, above all what is lost and what comes twice, which the chain
// finds by its own books at the end:
//
//   - that the session of a group could not be begun: what the client tells where its
//     broker is not there, or goes away under its first request;
//   - that records are lost, found by leader epochs (KIP-320): the client goes over
//     records of aborted transactions, but keeps the epoch of the last record that it
//     returned. Where an epoch has ended between them, as with every kill, it takes the
//     end of its own epoch, which is told rightly, for a log that was cut.
func letSessionsEnd(t *testing.T, dir string) {
	replace(t, filepath.Join(dir, "pkg", "kgo", "txn_test.go"),
		"fetchErrs := fetches.Errors(); len(fetchErrs) > 0 {",
		"fetchErrs := withoutSessions(fetches.Errors()); len(fetchErrs) > 0 {")
	const without = `package kgo

import (
	"errors"
	"slices"
)

func withoutSessions(errs []FetchError) []FetchError {
	return slices.DeleteFunc(errs, func(e FetchError) bool {
		var session *ErrGroupSession
		var lost *ErrDataLoss
		return errors.As(e.Err, &session) || errors.As(e.Err, &lost)
	})
}
`
	if err := os.WriteFile(filepath.Join(dir, "pkg", "kgo", "without_sessions_test.go"), []byte(without), 0o644); err != nil {
		t.Fatal(err)
	}
}

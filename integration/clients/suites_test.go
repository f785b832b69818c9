package clients

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/splashdam/splashdam/integration"
)

// The suites take minutes and want a broker with settings of their own.

func TestFranzGoPassesItsOwnTests(t *testing.T) {
	needTime(t)
	for _, shards := range []string{"1", "3"} {
		t.Run(shards+" shards", func(t *testing.T) {
			n := integration.Start(t, "--shards", shards, "--set", "group.initial.rebalance.delay.ms=0")
			suite{
				module: "github.com/twmb/franz-go", dir: "pkg/kgo",
				env:  []string{"KGO_SEEDS=" + n.Addr, "KGO_TEST_RF=1", "KGO_TEST_RECORDS=10000", "KGO_LOG_LEVEL=none"},
				args: []string{"-timeout=5m", "."},
				excused: map[string]string{
					"TestIssueProduceBrokerTooOldFailsRecords": "skipped everywhere but on old brokers",
					"TestShareGroup":             "share groups are not offered yet",
					"TestShareGroupETL":          "share groups are not offered yet",
					"TestShareGroupAckOnClose":   "share groups are not offered yet",
					"TestShareGroupOffsetsAdmin": "share groups are not offered yet",
				},
			}.run(t, 100)
		})
	}
}

func TestKafkaGoPassesItsOwnTests(t *testing.T) {
	needTime(t)
	const plain, sasl = "localhost:9092", "localhost:9093"
	needPort(t, plain)
	needPort(t, sasl)
	integration.Start(t,
		"--listeners", "PLAINTEXT://"+plain+",SASL_PLAINTEXT://"+sasl,
		"--user", "adminplain:admin-secret:PLAIN",
		"--user", "adminscram256:admin-secret-256:SCRAM-SHA-256", "--user", "adminscram512:admin-secret-512:SCRAM-SHA-512",
		"--set", "message.max.bytes=200000000", "--set", "group.initial.rebalance.delay.ms=0")
	suite{
		module: "github.com/segmentio/kafka-go",
		// Its getOffsets makes a group without a function that connects, which panics
		// against every broker and hides the tests behind it.
		edit: func(t *testing.T, dir string) {
			name := filepath.Join(dir, "reader_test.go")
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			old := []byte("\tconn, err := cg.coordinator()\n")
			if bytes.Count(text, old) != 1 {
				t.Fatalf("%s is not as it was known", name)
			}
			fixed := append([]byte("\tcg.config.Timeout = 5 * time.Second\n\tcg.config.connect = makeConnect(cg.config)\n"), old...)
			if err := os.WriteFile(name, bytes.Replace(text, old, fixed, 1), 0o644); err != nil {
				t.Fatal(err)
			}
		},
		env:     []string{"GOFLAGS=-mod=mod", "KAFKA_SKIP_NETTEST=1", "KAFKA_VERSION=4.0.0"},
		args:    []string{"-timeout=15m", "./..."},
		excused: map[string]string{},
	}.run(t, 200)
}

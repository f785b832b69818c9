package clients

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/splashdam/splashdam/integration"
)

const notSinceKafka3 = "skips itself since Apache Kafka 3.0"

func TestKafkaGoPassesItsOwnTests(t *testing.T) {
	needTime(t)
	alongside(t)
	const plain, sasl = "localhost:9092", "localhost:9093"
	needPort(t, plain)
	needPort(t, sasl)
	integration.StartAt(t, plain,
		"--listeners", "SASL_PLAINTEXT://"+sasl, "--set", "sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
		"--user", "adminplain:admin-secret",
		"--user", "adminscram256:admin-secret-256:SCRAM-SHA-256", "--user", "adminscram512:admin-secret-512:SCRAM-SHA-512",
		"--set", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"--set", "allow.everyone.if.no.acl.found=true", "--set", "super.users=User:ANONYMOUS",
		"--set", "message.max.bytes=200000000", "--set", "group.initial.rebalance.delay.ms=0")
	suite{
		module: "github.com/segmentio/kafka-go",
		edit:   editKafkaGo,
		env:    []string{"GOFLAGS=-mod=mod", "KAFKA_SKIP_NETTEST=1", "KAFKA_VERSION=4.0.0"},
		args:   []string{"-timeout=15m", "./..."},
		slow: []string{
			"TestReaderReadCompactedMessage",                   // two minutes
			"TestReaderConsumerGroup/consumer_group_rebalance", // 40 seconds
		},
		skipped: map[string]string{
			"TestClientAddOffsetsToTxn":         notSinceKafka3,
			"TestClientAddPartitionsToTxn":      notSinceKafka3,
			"TestClientInitProducerId":          notSinceKafka3,
			"TestClientTxnOffsetCommit":         notSinceKafka3,
			"TestConn/nettest":                  "its authors skip it too: KAFKA_SKIP_NETTEST",
			"TestConsumerGroupWithMissingTopic": "is for brokers that create no topics by themselves",
			"TestReadTruncatedMessages":         "is for Kafka 0.10",
		},
		failing: map[string]string{
			"TestReaderConsumerGroup/consumer_group_rebalance": "sends 24 records to three partitions and expects each of two members to get 12",
			"TestReaderReadCompactedMessage":                   "wants a topic to be compacted that has written 6 KiB, by segment.bytes=200. Apache Kafka refuses that since 4.0; here it changes nothing",
		},
	}.run(t, 200)
}

// editKafkaGo changes what keeps its tests from being of use.
func editKafkaGo(t *testing.T, dir string) {
	// Its getOffsets makes a group without a function that connects, which panics
	// against every broker and hides the tests behind it.
	const coordinator = "\tconn, err := cg.coordinator()\n"
	replace(t, filepath.Join(dir, "reader_test.go"), coordinator,
		"\tcg.config.Timeout = 5 * time.Second\n\tcg.config.connect = makeConnect(cg.config)\n"+coordinator)
	if integration.Long() {
		return
	}
	// Most tests begin with a new topic, which the client does not see before its
	// metadata is six seconds old: minutes of the whole.
	const young = "package kafka\n\nimport \"time\"\n\nfunc init() { DefaultTransport.(*Transport).MetadataTTL = 100 * time.Millisecond }\n"
	if err := os.WriteFile(filepath.Join(dir, "metadata_ttl_test.go"), []byte(young), 0o644); err != nil {
		t.Fatal(err)
	}
}

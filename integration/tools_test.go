package integration

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// toolsFile has commands of Apache Kafka's tools, and below each what it prints of
// Apache Kafka, as testdata/java's Tools shows it.
const toolsFile = "testdata/tools.txt"

func TestKafkasToolsSayOfUsWhatTheySayOfKafka(t *testing.T) {
	j := needJava(t)
	// As the Kafka that the answers are from was started.
	n := Start(t, "--shards", "3", "--set", "group.initial.rebalance.delay.ms=0", "--set", "num.partitions=3",
		"--set", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "--set", "allow.everyone.if.no.acl.found=true")
	want := keptTranscript(t)
	if got := transcript(testContext(t, 4*time.Minute), t, j, n.Addr, commands(want)); got != want {
		t.Errorf("the tools do not say what they say of Apache Kafka:\n%s", changedLines(want, got))
	}
}

// With -rewrite what they say is kept from then on.
func TestKafkasToolsSayOfKafkaWhatIsKept(t *testing.T) {
	j := needJava(t)
	addr := kafkaCluster(t).addr
	want := keptTranscript(t)
	got := transcript(testContext(t, 4*time.Minute), t, j, addr, commands(want))
	if *rewrite {
		if err := os.WriteFile(toolsFile, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("Apache Kafka is not told of as %s has it:\n%s", toolsFile, changedLines(want, got))
	}
}

func keptTranscript(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(toolsFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// commands are the lines of a transcript that nothing has printed.
func commands(transcript string) string {
	return regexp.MustCompile(`(?m)^  .*\n`).ReplaceAllString(transcript, "")
}

// transcript runs commands, under names of their own, and returns them with what they
// printed.
func transcript(ctx context.Context, t *testing.T, j java, addr, commands string) string {
	t.Helper()
	prefix := fmt.Sprintf("tools%d", time.Now().UnixNano())
	script := strings.NewReplacer("BROKER", addr, "X.", prefix+".").Replace(commands)
	said := string(run(ctx, t, strings.NewReader(script), j.path, j.arguments("Tools")...))
	said = strings.NewReplacer(addr, "BROKER", prefix, "X").Replace(said)
	for _, r := range unsaid {
		said = r.what.ReplaceAllString(said, r.with)
	}
	return said
}

// unsaid is what differs from run to run, or from server to server with reason.
var unsaid = []struct {
	what *regexp.Regexp
	with string
}{
	// The words of an error; its class stays.
	{regexp.MustCompile(`(?m)^  (\s+at |\s*Caused by: |\s*\.\.\. |\s*Suppressed: |\[[^\]]*\] (WARN|ERROR) ).*\n`), ""},
	{regexp.MustCompile(`(?m)(Exception|Error while executing topic command ): .*$`), "$1"},
	{regexp.MustCompile(`TopicId: \S+`), "TopicId: <id>"},
	{regexp.MustCompile(`\b1[0-9]{12}\b`), "<time>"},
	{regexp.MustCompile(`"time":"[^"]*"`), `"time":"<time>"`},
	{regexp.MustCompile(`"(logDir|log_dirs)":(\["[^"]*"\]|"[^"]*")`), `"$1":"<dir>"`},
	{regexp.MustCompile(`\b20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\S*`), "<date>"},
	// Kafka's own setting, by its feature eligible.leader.replicas.version.
	{regexp.MustCompile(`Configs: min\.insync\.replicas=1,?`), "Configs: "},
	// How often a tool was told to wait before it could go on or had nothing to do yet,
	// and what it prints while the next one runs already.
	{regexp.MustCompile(`(?m)^  \{.*"totalProcessed":.*\n`), ""},
	{regexp.MustCompile(`(?m)^  \{"timestamp".*"name":"(records_consumed|producer_send_success|partitions_assigned","partitions":\[\]).*\n`), ""},
	// A group's epoch rises by more in Kafka.
	{regexp.MustCompile(`(?m)^(  X\.g2 .* uniform .* Empty) .*$`), "$1"},
	{regexp.MustCompile(`(?m)[ \t]+$`), ""},
}

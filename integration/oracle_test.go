package integration

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/integration/oracle"
)

// kafkaAsked is a Kafka that is asked again what is kept of it: for minutes, so only by name.
var kafkaAsked = flag.String("kafka", "", "address of the Apache Kafka whose answers testdata/oracle keeps")

var rewrite = flag.Bool("rewrite", false, "write the answers that a broker now gives into testdata/oracle")

// script is a file of testdata/oracle.
type script struct {
	file string
	*oracle.Script
}

func scripts(t *testing.T) []script {
	files, err := filepath.Glob("testdata/oracle/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scripts: %v", err)
	}
	var all []script
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s, err := oracle.Parse(string(text))
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		all = append(all, script{f, s})
	}
	return all
}

// tell tells all scripts to a broker, and shows where it answers something else than
// what is kept. With -rewrite that is kept from then on.
func tell(t *testing.T, b oracle.Broker) {
	// Producer ids begin at 0, which is what a field that nobody has filled holds.
	first, err := oracle.Parse("await InitProducerID v0 {}\n")
	if err == nil {
		_, err = first.Play(b)
	}
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range scripts(t) {
		t.Run(strings.TrimSuffix(filepath.Base(s.file), ".txt"), func(t *testing.T) {
			b.Prefix = fmt.Sprintf("o%d-%d.", time.Now().UnixNano(), i)
			told, err := s.Play(b)
			if err != nil {
				t.Fatalf("%v; so far:\n%s", err, told)
			}
			got, want := told.String(), s.String()
			if *rewrite {
				if err := os.WriteFile(s.file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("the answers are not those that %s has (read the diff after -rewrite):\n%s", s.file, changedLines(want, got))
			}
		})
	}
}

// changedLines shows the lines that differ between two texts, with a little around them.
func changedLines(was, is string) string {
	a, b := strings.Split(was, "\n"), strings.Split(is, "\n")
	head := 0
	for head < min(len(a), len(b)) && a[head] == b[head] {
		head++
	}
	tail := 0
	for tail < min(len(a), len(b))-head && a[len(a)-1-tail] == b[len(b)-1-tail] {
		tail++
	}
	var out strings.Builder
	fmt.Fprintf(&out, "from line %d on\n", head+1)
	for _, l := range a[head : len(a)-tail] {
		out.WriteString("- " + l + "\n")
	}
	for _, l := range b[head : len(b)-tail] {
		out.WriteString("+ " + l + "\n")
	}
	return out.String()
}

func TestWeAnswerAsKafkaDoesButForWhatIsDeclared(t *testing.T) {
	// As the Kafka that the answers are from was started.
	n := Start(t, "--set", "group.initial.rebalance.delay.ms=0", "--set", "num.partitions=3",
		"--set", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", "--set", "allow.everyone.if.no.acl.found=true")
	tell(t, oracle.Broker{Addr: n.Addr, Ours: true})
}

func TestKafkaAnswersAsItIsKept(t *testing.T) {
	if *kafkaAsked == "" {
		t.Skip("takes minutes, and the answers are kept: -kafka HOST:PORT asks again")
	}
	tell(t, oracle.Broker{Addr: *kafkaAsked, Settle: 700 * time.Millisecond})
}

// proof is a test or a script in the table of rules.
var proof = regexp.MustCompile(`\bTest\w+|\b\w+\.txt\b`)

func TestEveryRuleHasTheTestsThatItNames(t *testing.T) {
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rules, ok := strings.Cut(string(text), "\n## Rules and their tests\n")
	if !ok {
		t.Fatal("docs/protocol.md has no rules")
	}
	there := make(map[string]bool)
	for _, s := range scripts(t) {
		there[filepath.Base(s.file)] = true
	}
	transcripts, err := filepath.Glob("../broker/group/testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range transcripts {
		there[filepath.Base(f)] = true
	}
	tests := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	for _, pattern := range []string{"../broker/*_test.go", "../broker/*/*_test.go", "*_test.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			code, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range tests.FindAllSubmatch(code, -1) {
				there[string(m[1])] = true
			}
		}
	}
	for line := range strings.SplitSeq(rules, "\n") {
		rule, named, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | ")
		if !ok || rule == "rule" {
			continue
		}
		tests := proof.FindAllString(named, -1)
		if len(tests) == 0 {
			t.Errorf("no test for: %s", rule)
		}
		for _, name := range tests {
			if !there[name] {
				t.Errorf("%s is not there, it is named for: %s", name, rule)
			}
		}
	}
}

// declared are the names in the list of known differences.
var declared = regexp.MustCompile("(?m)^\\* `([a-z0-9-]+)`: ")

func TestEveryDifferenceThatAScriptShowsIsDocumentedAndEveryDocumentedOneIsShown(t *testing.T) {
	text, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := make(map[string]bool)
	for _, m := range declared.FindAllStringSubmatch(string(text), -1) {
		documented[m[1]] = true
	}
	shown := make(map[string]string)
	for _, s := range scripts(t) {
		for _, d := range s.Differences() {
			shown[d] = s.file
			if !documented[d] {
				t.Errorf("%s shows the difference %q, which docs/protocol.md does not have among the known ones", s.file, d)
			}
		}
	}
	for _, d := range slices.Sorted(maps.Keys(documented)) {
		if shown[d] == "" {
			t.Errorf("docs/protocol.md has the known difference %q, which no script shows", d)
		}
	}
}

package acl

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

var rewrite = flag.Bool("rewrite", false, "have Apache Kafka answer the questions anew: SPLASHDAM_TEST_JAVA_CLASSPATH names its jars")

const answers = "testdata/kafka.txt"

// TestDecisionsAreThoseOfApacheKafka compares with what Kafka's own authorizer has
// answered, by the lists in testdata/kafka.txt. To have it answered again:
//
//	SPLASHDAM_TEST_JAVA_CLASSPATH=... go test -run ThoseOfApacheKafka -rewrite ./broker/acl
func TestDecisionsAreThoseOfApacheKafka(t *testing.T) {
	if *rewrite {
		answer(t)
	}
	text, err := os.ReadFile(answers)
	if err != nil {
		t.Fatal(err)
	}
	var a Authorizer
	allowed := map[string]int{}
	for n, line := range strings.Split(string(text), "\n") {
		w := strings.Fields(line)
		if len(w) == 0 || w[0] == "#" {
			continue
		}
		switch w[0] {
		case "world":
			p, err := NewPolicy(w[1], w[2] == "true")
			if err != nil {
				t.Fatal(err)
			}
			a = Authorizer{Policy: p}
		case "acl":
			b := Binding{Resource: kind(t, w[1]), Name: w[3], Principal: w[4], Host: w[5], Operation: operation(t, w[6]), Allow: w[7] == "allow"}
			if b.Pattern, err = kmsg.ParseACLResourcePatternType(w[2]); err != nil {
				t.Fatal(err)
			}
			a.List = a.List.Add(b)
		default:
			who, op, on, want := subject(w[1], w[2]), operation(t, w[3]), kind(t, w[4]), w[len(w)-1]
			got := "DENIED"
			if w[0] == "some" && a.AllowedSomewhere(who, op, on) || w[0] == "ask" && a.Allowed(who, op, on, w[5]) {
				got = "ALLOWED"
			}
			allowed[w[0]+got]++
			if got != want {
				t.Errorf("%s:%d: %s, in Kafka %s", answers, n+1, line, want)
			}
		}
	}
	for _, kind := range []string{"askALLOWED", "askDENIED", "someALLOWED", "someDENIED"} {
		if allowed[kind] < 50 {
			t.Errorf("%d answers are %s: too few to tell anything", allowed[kind], kind)
		}
	}
}

func kind(t *testing.T, s string) kmsg.ACLResourceType {
	k, err := kmsg.ParseACLResourceType(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func operation(t *testing.T, s string) kmsg.ACLOperation {
	op, err := kmsg.ParseACLOperation(s)
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// answer makes questions and has Kafka answer them.
func answer(t *testing.T) {
	jars := os.Getenv("SPLASHDAM_TEST_JAVA_CLASSPATH")
	if jars == "" {
		t.Fatal("SPLASHDAM_TEST_JAVA_CLASSPATH does not name the jars of Apache Kafka")
	}
	java := exec.CommandContext(t.Context(), "java", "-cp", jars, "testdata/Answers.java")
	java.Stdin = strings.NewReader(questions())
	var stderr bytes.Buffer
	java.Stderr = &stderr
	said, err := java.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if err := os.WriteFile(answers, said, 0o644); err != nil {
		t.Fatal(err)
	}
}

// questions are lists at random, and what is asked about them.
func questions() string {
	r := rand.New(rand.NewPCG(11, 290))
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	names := func() string { return pick("a", "ab", "abc", "abcd", "b", "bc", "h", "hard", "hardcode", "z") }
	operations := func() string {
		return pick("all", "read", "write", "write", "create", "delete", "alter", "describe", "describe_configs", "alter_configs")
	}
	var b strings.Builder
	b.WriteString("# world: super.users, allow.everyone.if.no.acl.found. acl: a line. ask: may he? some: may he anywhere?\n")
	for range 80 {
		fmt.Fprintf(&b, "world %s %s\n", pick("User:root", "User:root;User:b"), pick("false", "false", "true"))
		for range r.IntN(12) {
			name, principal := names(), pick("User:a", "User:b", "User:c", "User:*")
			if r.IntN(6) == 0 {
				name = "*"
			}
			fmt.Fprintf(&b, "acl %s %s %s %s %s %s %s\n", pick("topic", "topic", "group", "transactional_id"), pick("literal", "prefixed"), name,
				principal, pick("*", "*", "10.0.0.1", "10.0.0.2"), operations(), pick("allow", "allow", "allow", "deny"))
		}
		for range 16 {
			op := operations()
			if op == "all" {
				op = "read"
			}
			fmt.Fprintf(&b, "ask %s %s %s %s %s\n", pick("User:a", "User:b", "User:d"), pick("10.0.0.1", "10.0.0.3"), op, pick("topic", "topic", "topic", "group"), names()+pick("", "", "c", "x"))
		}
		for range 5 {
			fmt.Fprintf(&b, "some %s %s %s topic\n", pick("User:a", "User:b", "User:d"), pick("10.0.0.1", "10.0.0.3"), pick("write", "read", "describe"))
		}
	}
	return b.String()
}

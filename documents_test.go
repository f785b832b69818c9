package splashdam_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestTheReadmeBeginsWithTheTwoCommands(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	const want = "```sh\ngo run ./cmd/splashdam demo\ngo test ./...\n```\n"
	if !strings.HasPrefix(string(text), want) {
		t.Errorf("README.md begins with\n%.100s", text)
	}
}

// link is a Markdown link; what is in a code block is one too, which does no harm.
var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestDocumentsLinkToWhatThereIs(t *testing.T) {
	var documents []string
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: %v, %v", pattern, found, err)
		}
		documents = append(documents, found...)
	}
	links := 0
	for _, doc := range documents {
		text, err := os.ReadFile(doc)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			to, _, _ := strings.Cut(m[1], "#")
			if to == "" || strings.Contains(to, "://") {
				continue
			}
			links++
			if _, err := os.Stat(filepath.Join(filepath.Dir(doc), to)); err != nil {
				t.Errorf("%s links to %s: %v", doc, m[1], err)
			}
		}
	}
	if links < 10 {
		t.Errorf("only %d links found in %v", links, documents)
	}
}

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestTheReadmeUsesCommandsThatThereAre(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	call := regexp.MustCompile("(?:^|[ `|/])splashdam ([a-z][^`|#\n]*)")
	quoted := regexp.MustCompile(`'[^']*'`)
	calls := 0
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "    ") && !strings.Contains(line, "`") && !strings.HasPrefix(line, "go run") {
			continue // prose
		}
		for _, m := range call.FindAllStringSubmatch(line, -1) {
			calls++
			args := strings.Fields(quoted.ReplaceAllString(m[1], "x"))
			if args[0] == "completion" {
				continue // cobra adds it when a command runs
			}
			if _, err := parsed(args); err != nil {
				t.Errorf("%s: %v", strings.TrimSpace(line), err)
			}
		}
	}
	if calls < 8 {
		t.Errorf("only %d calls found", calls)
	}
}

package splashdam_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/splashdam/splashdam/"

// layers is the architecture: a package imports only packages with a smaller
// number, so the parts of the broker (2 to 4) do not know each other sideways
// and nothing knows who uses it. A new package gets its number here first.
var layers = map[string]int{
	"internal/child": 0, "internal/heap": 0, "internal/invariant": 0, "internal/pki": 0, "internal/seeds": 0, "internal/transcript": 0, "internal/vfs": 0,

	"broker/acl": 1, "broker/auth": 1, "broker/record": 1, "broker/quota": 1, "broker/regex": 1, "broker/peer": 1, "connect": 1, "sdk": 1, "console": 1, "internal/dbserver": 1, "internal/loggers": 1,

	"broker/compaction": 2, "broker/cluster": 2, "broker/group": 2, "broker/timer": 2, "broker/kafka": 2, "txn": 2,
	"connect/convert": 2, "connect/checkpoint": 2, "connect/connecttest": 2,

	"broker/commitlog": 3, "broker/partition": 3, "connect/transform": 3, "sources/mysql": 3, "sources/mysql/tape": 3, "sources/generator": 3,
	"sinks/arrow": 3, "sinks/arrow/flight": 3, "sinks/mysql": 3,

	"broker/replica": 4, "connect/runtime": 4,

	"broker": 5, "integration/oracle": 5,

	"connect/admin": 5, "gateway/http": 5, "gateway/mqtt": 5,

	"integration/sim": 6,

	"cmd/splashdam": 7, "integration": 7,

	"integration/scenarios": 8, "integration/clients": 8,
}

// outside lists the folders that speak the Kafka protocol and so run in front of
// any other cluster as well; inside is what they therefore must not know.
var (
	outside = []string{"sdk", "connect", "sources", "sinks", "gateway"}
	inside  = []string{"broker", "txn"}
)

// machines are the packages that decide without a clock, a goroutine or I/O.
var machines = []string{"broker/acl", "broker/quota", "broker/group", "broker/cluster", "broker/partition", "broker/replica", "broker/timer", "txn"}

// actors may start goroutines and open files anywhere: they are tests that are
// not in test files.
var actors = []string{"integration", "connect/connecttest"}

// fileOwners may open files with package os. Those of internal/dbserver are another
// program's, and those of internal/transcript are testdata.
var fileOwners = []string{"internal/vfs", "internal/dbserver", "internal/transcript", "cmd"}

var vague = []string{"util", "utils", "common", "misc", "shared", "base", "types", "helpers"}

// osFiles are the functions of package os that touch a file system.
var osFiles = []string{
	"Chmod", "Chown", "Chtimes", "CopyFS", "Create", "CreateTemp", "DirFS", "Lchown", "Link", "Lstat", "Mkdir",
	"MkdirAll", "MkdirTemp", "NewFile", "Open", "OpenFile", "OpenInRoot", "OpenRoot", "ReadDir", "ReadFile", "Readlink",
	"Remove", "RemoveAll", "Rename", "Stat", "Symlink", "Truncate", "WriteFile",
}

var timeSources = []string{"After", "AfterFunc", "NewTicker", "NewTimer", "Now", "Since", "Sleep", "Tick", "Until"}

// renamed maps module paths that an upstream project has left to the one that it
// uses now, so that its versions count as versions of one thing.
var renamed = map[string]string{"github.com/apache/arrow/go": "github.com/apache/arrow-go"}

// exceptions excuse a file from a rule. Each has a reason, and goes when nothing
// needs it any more.
var exceptions = []exception{}

type exception struct{ file, rule, reason string }

// problem is a broken rule: which, where, and what to do instead.
type problem struct{ rule, file, place, message string }

func (p problem) String() string { return fmt.Sprintf("%s: %s (rule: %s)", p.place, p.message, p.rule) }

func TestTheTreeIsTidy(t *testing.T) {
	tree, err := readTree(os.DirFS("."))
	if err != nil {
		t.Fatal(err)
	}
	if len(tree) < 20 {
		t.Fatalf("only %d Go files found: is this the root of the repository?", len(tree))
	}
	for _, p := range excuse(tidy(tree), exceptions) {
		t.Error(p)
	}
}

// source is one Go file.
type source struct {
	name string // from the root
	dir  string
	test bool
	set  *token.FileSet
	file *ast.File
}

func (s source) problem(rule string, at token.Pos, format string, args ...any) problem {
	place := fmt.Sprintf("%s:%d", s.name, s.set.Position(at).Line)
	return problem{rule, s.name, place, fmt.Sprintf(format, args...)}
}

func readTree(fsys fs.FS) ([]source, error) {
	var tree []source
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if base := d.Name(); base == "testdata" || name != "." && strings.ContainsAny(base[:1], "._") {
				return fs.SkipDir
			}
			return nil
		}
		if path.Ext(name) != ".go" {
			return nil
		}
		text, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		tree = append(tree, source{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), set, file})
		return nil
	})
	return tree, err
}

// tidy holds a tree to every rule. Test files are held to the rule on names, and
// their imports count for the one on versions.
func tidy(tree []source) []problem {
	var found []problem
	documented := map[string]bool{}
	for _, s := range tree {
		if s.file.Doc != nil && !s.test {
			documented[s.dir] = true
		}
	}
	seen := map[string]bool{}
	for _, s := range tree {
		found = append(found, checkName(s)...)
		if s.test {
			continue
		}
		if !seen[s.dir] {
			seen[s.dir] = true
			if _, ok := layers[s.dir]; !ok {
				found = append(found, s.problem("layers", s.file.Package,
					"package %s has no layer: decide where it belongs and give it a number in layers (tidy_test.go)", s.dir))
			}
			if !documented[s.dir] {
				found = append(found, s.problem("package comment", s.file.Package,
					"package %s has no package comment: say in doc.go what it promises", s.dir))
			}
		}
		found = append(found, checkImports(s)...)
		if !under(s.dir, actors) {
			found = append(found, checkGoroutines(s)...)
			found = append(found, checkFiles(s)...)
		}
		if under(s.dir, machines) {
			found = append(found, checkClock(s)...)
		}
	}
	return append(found, checkVersions(tree)...)
}

// under reports whether dir is one of the folders or inside one.
func under(dir string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return dir == f || strings.HasPrefix(dir, f+"/") })
}

func checkName(s source) []problem {
	for _, name := range []string{strings.TrimSuffix(s.file.Name.Name, "_test"), path.Base(s.dir)} {
		if slices.Contains(vague, name) {
			return []problem{s.problem("names", s.file.Name.Pos(), "%q says nothing: name the package for what it holds", name)}
		}
	}
	return nil
}

func importPath(i *ast.ImportSpec) string {
	p, _ := strconv.Unquote(i.Path.Value) // the parser has accepted it
	return p
}

func checkImports(s source) []problem {
	var found []problem
	for _, i := range s.file.Imports {
		dep, ours := strings.CutPrefix(importPath(i), module)
		if !ours {
			continue
		}
		if under(s.dir, outside) && under(dep, inside) {
			found = append(found, s.problem("outside", i.Pos(),
				"%s must work with any Kafka cluster and so must not import %s: speak the protocol instead", s.dir, dep))
			continue
		}
		layer, known := layers[s.dir]
		depLayer, depKnown := layers[dep]
		switch {
		case !depKnown:
			found = append(found, s.problem("layers", i.Pos(), "%s has no layer: give it a number in layers (tidy_test.go)", dep))
		case known && depLayer >= layer:
			found = append(found, s.problem("layers", i.Pos(),
				"%s (layer %d) imports %s (layer %d), imports point down: declare the interface you need and let the package above both introduce them",
				s.dir, layer, dep, depLayer))
		}
	}
	return found
}

func checkGoroutines(s source) []problem {
	if path.Base(s.name) == "run.go" {
		return nil
	}
	const rule, advice = "goroutines", "start it in run.go, where its owner waits for its end"
	var found []problem
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, s.problem(rule, n.Pos(), "a goroutine outside run.go: %s", advice))
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && f.Sel.Name == "Go" {
				found = append(found, s.problem(rule, f.Sel.Pos(), "a goroutine outside run.go: %s", advice))
			}
		}
		return true
	})
	return found
}

func checkFiles(s source) []problem {
	if under(s.dir, fileOwners) {
		return nil
	}
	const rule = "files"
	var found []problem
	for _, i := range s.file.Imports {
		if importPath(i) == "io/ioutil" {
			found = append(found, s.problem(rule, i.Pos(), "io/ioutil: take a vfs.FS, so that tests can make it fail"))
		}
	}
	for _, use := range uses(s, "os", osFiles) {
		found = append(found, s.problem(rule, use.Pos(), "os.%s: take a vfs.FS, so that tests can make it fail", use.Name))
	}
	return found
}

func checkClock(s source) []problem {
	if path.Base(s.name) == "run.go" {
		return nil
	}
	var found []problem
	for _, use := range uses(s, "time", timeSources) {
		found = append(found, s.problem("clock", use.Pos(), "time.%s in a machine: take now as an argument", use.Name))
	}
	return found
}

// uses finds where a file names any of these things of a package.
func uses(s source, pkg string, names []string) []*ast.Ident {
	local := ""
	for _, i := range s.file.Imports {
		if importPath(i) == pkg {
			local = path.Base(pkg)
			if i.Name != nil {
				local = i.Name.Name
			}
		}
	}
	if local == "" {
		return nil
	}
	var found []*ast.Ident
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && x.Name == local && slices.Contains(names, n.Sel.Name) {
				found = append(found, n.Sel)
			}
		case *ast.Ident:
			if local == "." && slices.Contains(names, n.Name) {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

var majorElement = regexp.MustCompile(`^v([2-9]|[1-9][0-9]+)$`)

// splitMajor cuts the path of an import into the module's and its major version,
// which is empty for 0, for 1 and where the module has no such element.
func splitMajor(importPath string) (root, major string) {
	elements := strings.Split(importPath, "/")
	for i, e := range elements {
		if i >= 2 && majorElement.MatchString(e) {
			root = strings.Join(elements[:i], "/")
			major = e
			break
		}
	}
	if root == "" {
		root = importPath
	}
	for old, current := range renamed {
		if under(root, []string{old}) {
			root = current + strings.TrimPrefix(root, old)
		}
	}
	return root, major
}

func checkVersions(tree []source) []problem {
	type first struct {
		source source
		at     token.Pos
	}
	majors := map[string]map[string]first{} // by module and major version
	note := func(root, major string, s source, at token.Pos) {
		if majors[root] == nil {
			majors[root] = map[string]first{}
		}
		if _, ok := majors[root][major]; !ok {
			majors[root][major] = first{s, at}
		}
	}
	each := func(do func(s source, i *ast.ImportSpec, root, major string)) {
		for _, s := range tree {
			for _, i := range s.file.Imports {
				p := importPath(i)
				if host, _, _ := strings.Cut(p, "/"); strings.Contains(host, ".") { // not the standard library
					root, major := splitMajor(p)
					do(s, i, root, major)
				}
			}
		}
	}
	each(func(s source, i *ast.ImportSpec, root, major string) {
		if major != "" {
			note(root, major, s, i.Pos())
		}
	})
	// Without a version an import does not say where its module ends: it is of the
	// first major version of each module seen above whose path it begins with.
	each(func(s source, i *ast.ImportSpec, root, major string) {
		if major != "" {
			return
		}
		for known := range majors {
			if under(root, []string{known}) {
				note(known, "v1", s, i.Pos())
			}
		}
	})
	var found []problem
	for _, root := range slices.Sorted(maps.Keys(majors)) {
		versions := slices.Sorted(maps.Keys(majors[root]))
		for _, v := range versions[1:] {
			f := majors[root][v]
			found = append(found, f.source.problem("versions", f.at, "%s %s, and %s elsewhere: keep to one", root, v, versions[0]))
		}
	}
	return found
}

// excuse takes away what an exception covers, and adds the exceptions that cover
// nothing or give no reason.
func excuse(found []problem, exceptions []exception) []problem {
	needed := make([]bool, len(exceptions))
	found = slices.DeleteFunc(slices.Clone(found), func(p problem) bool {
		for i, e := range exceptions {
			if e.file == p.file && e.rule == p.rule && e.reason != "" {
				needed[i] = true
				return true
			}
		}
		return false
	})
	for i, e := range exceptions {
		if !needed[i] {
			found = append(found, problem{"exceptions", e.file, "tidy_test.go",
				fmt.Sprintf("the exception of %s from %q is not needed, or gives no reason", e.file, e.rule)})
		}
	}
	return found
}

// plant makes a tree of one documented package per file but for what is given.
func plant(t *testing.T, files map[string]string) []source {
	t.Helper()
	planted := fstest.MapFS{}
	for name, text := range files {
		planted[name] = &fstest.MapFile{Data: []byte(text)}
	}
	tree, err := readTree(planted)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestEveryRuleCanGoRed(t *testing.T) {
	const doc = "// Package x is documented.\n"
	for _, test := range []struct {
		name  string
		files map[string]string
		want  []string // the rules broken, in order
	}{
		{"a tidy package", map[string]string{
			"broker/record/doc.go":  doc + "package record",
			"broker/record/file.go": "package record\n" + `import _ "` + module + `internal/vfs"`,
		}, nil},
		{"a package without a number", map[string]string{"broker/new/a.go": doc + "package new_"}, []string{"layers"}},
		{"an import upwards", map[string]string{
			"broker/record/a.go": doc + "package record\n" + `import _ "` + module + `broker/commitlog"`,
		}, []string{"layers"}},
		{"an import sideways", map[string]string{
			"broker/group/a.go": doc + "package group\n" + `import _ "` + module + `broker/kafka"`,
		}, []string{"layers"}},
		{"an import of a package without a number", map[string]string{
			"broker/a.go": doc + "package broker\n" + `import _ "` + module + `broker/new"`,
		}, []string{"layers"}},
		{"a test's import upwards is its own affair", map[string]string{
			"broker/record/a.go":      doc + "package record",
			"broker/record/a_test.go": "package record_test\n" + `import _ "` + module + `broker"`,
		}, nil},
		{"an SDK that knows the broker", map[string]string{
			"sdk/a.go": doc + "package sdk\n" + `import _ "` + module + `broker/record"`,
		}, []string{"outside"}},
		{"a sink that knows the coordinator", map[string]string{
			"sinks/mysql/a.go": doc + "package mysql\n" + `import _ "` + module + `txn"`,
		}, []string{"outside"}},
		{"no package comment", map[string]string{"txn/a.go": "package txn", "txn/b.go": "package txn"}, []string{"package comment"}},
		{"a comment in a test only", map[string]string{"txn/a.go": "package txn", "txn/a_test.go": doc + "package txn"}, []string{"package comment"}},
		{"a vague package name", map[string]string{"txn/a.go": doc + "package util"}, []string{"names"}},
		{"a vague folder name", map[string]string{"broker/common/a_test.go": "package kafka"}, []string{"names"}},
		{"a goroutine", map[string]string{"broker/kafka/conn.go": doc + "package kafka\nfunc f() { go f() }"}, []string{"goroutines"}},
		{"a goroutine of a group", map[string]string{
			"broker/kafka/conn.go": doc + "package kafka\nfunc f(g interface{ Go(func()) }) { g.Go(nil) }",
		}, []string{"goroutines"}},
		{"a goroutine in run.go", map[string]string{"broker/kafka/run.go": doc + "package kafka\nfunc f() { go f() }"}, nil},
		{"a goroutine in integration", map[string]string{"integration/a.go": doc + "package integration\nfunc f() { go f() }"}, nil},
		{"a clock in a machine", map[string]string{
			"broker/group/a.go": doc + "package group\nimport \"time\"\nvar now = time.Now",
		}, []string{"clock"}},
		{"a clock under another name", map[string]string{
			"txn/a.go": doc + "package txn\nimport clock \"time\"\nvar t = clock.NewTimer(clock.Second)",
		}, []string{"clock"}},
		{"a clock without a name", map[string]string{
			"txn/a.go": doc + "package txn\nimport . \"time\"\nvar t = Now()",
		}, []string{"clock"}},
		{"durations in a machine", map[string]string{"txn/a.go": doc + "package txn\nimport \"time\"\nconst d = time.Second"}, nil},
		{"a clock in the run.go of a machine", map[string]string{
			"broker/replica/run.go": doc + "package replica\nimport \"time\"\nvar now = time.Now",
		}, nil},
		{"a clock elsewhere", map[string]string{"broker/a.go": doc + "package broker\nimport \"time\"\nvar now = time.Now"}, nil},
		{"a file past vfs", map[string]string{
			"broker/commitlog/a.go": doc + "package commitlog\nimport \"os\"\nvar open = os.Open",
		}, []string{"files"}},
		{"a file by io/ioutil", map[string]string{"broker/a.go": doc + "package broker\nimport _ \"io/ioutil\""}, []string{"files"}},
		{"a file in run.go", map[string]string{"broker/run.go": doc + "package broker\nimport \"os\"\nvar open = os.Open"}, []string{"files"}},
		{"other things of os", map[string]string{"broker/a.go": doc + "package broker\nimport \"os\"\nvar _ = os.Getpid()"}, nil},
		{"files in vfs and cmd", map[string]string{
			"internal/vfs/a.go":  doc + "package vfs\nimport \"os\"\nvar open = os.Open",
			"cmd/splashdam/a.go": doc + "package main\nimport \"os\"\nvar open = os.Open",
		}, nil},
		{"two major versions", map[string]string{
			"broker/a.go":      doc + "package broker\nimport _ \"example.com/big/v2/x\"",
			"broker/a_test.go": "package broker\nimport _ \"example.com/big/v3/y\"",
		}, []string{"versions"}},
		{"the first major version and another", map[string]string{
			"broker/a.go": doc + "package broker\nimport (\n_ \"example.com/big/v2\"\n_ \"example.com/big/part\"\n)",
		}, []string{"versions"}},
		{"two versions under two names", map[string]string{
			"broker/a.go": doc + "package broker\nimport (\n_ \"github.com/apache/arrow/go/v15/arrow\"\n_ \"github.com/apache/arrow-go/v18/arrow\"\n)",
		}, []string{"versions"}},
		{"one version twice, and the standard library", map[string]string{
			"broker/a.go": doc + "package broker\nimport (\n_ \"example.com/big/v2/x\"\n_ \"example.com/big/v2\"\n_ \"example.com/bigger\"\n_ \"math/rand\"\n_ \"math/rand/v2\"\n)",
		}, nil},
		{"what nobody builds", map[string]string{"broker/testdata/util/a.go": "package util", ".tools/util/a.go": "package util"}, nil},
	} {
		var got []string
		for _, p := range tidy(plant(t, test.files)) {
			got = append(got, p.rule)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: broken rules %q, want %q", test.name, got, test.want)
		}
	}
}

func TestAnExceptionCoversOneRuleInOneFileAndMustBeNeeded(t *testing.T) {
	goroutine := problem{rule: "goroutines", file: "broker/a.go"}
	for _, test := range []struct {
		name string
		list []exception
		want int
	}{
		{"none", nil, 1},
		{"the right one", []exception{{"broker/a.go", "goroutines", "because"}}, 0},
		{"of another rule", []exception{{"broker/a.go", "files", "because"}}, 2},
		{"of another file", []exception{{"broker/b.go", "goroutines", "because"}}, 2},
		{"without a reason", []exception{{"broker/a.go", "goroutines", ""}}, 2},
	} {
		if got := excuse([]problem{goroutine}, test.list); len(got) != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

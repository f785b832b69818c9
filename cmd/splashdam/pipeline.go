package main

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/runtime"
	"github.com/splashdam/splashdam/internal/vfs"
	"github.com/splashdam/splashdam/sinks/arrow"
	"github.com/splashdam/splashdam/sources/generator"
	"github.com/splashdam/splashdam/sources/mysql"
)

// connectors are all that pipelines can name.
var (
	sourceConnectors = []connect.SourceConnector{mysql.Connector, generator.Connector}
	sinkConnectors   = []connect.SinkConnector{arrow.Connector(vfs.SharedOS())}
)

// pipelineFile reads one pipeline from YAML:
//
//	name: shop
//	source:
//	  connector: mysql
//	  database.hostname: db.example.org
//	  database.password: ${env:DB_PASSWORD}
//	sink:
//	  connector: arrow
//	  topics: [shop.shop.orders]
//	  dir: /data/orders
//
// It returns everything that is wrong at once, each with line and column.
type pipelineFile struct {
	path   string
	env    environment
	wrong  []error
	named  place // where the name stands
	result runtime.Pipeline
}

var pipelineName = regexp.MustCompile(`^[a-zA-Z0-9._-]{1,200}$`)

func readPipeline(path string, env environment) (runtime.Pipeline, place, []error) {
	data, err := readYAML(path, "pipeline")
	if err != nil {
		return runtime.Pipeline{}, nil, []error{err}
	}
	return parsePipeline(path, data, env)
}

func parsePipeline(path string, data []byte, env environment) (result runtime.Pipeline, named place, wrong []error) {
	entries, err := parseYAML(path, data, "pipeline")
	if err != nil {
		return runtime.Pipeline{}, nil, []error{err}
	}
	f := &pipelineFile{path: path, env: env}
	for _, e := range entries {
		at := inFile(path, e.Key.GetToken())
		switch name := e.Key.GetToken().Value; name {
		case "name":
			f.name(e.Value)
		case "source":
			f.source(e)
		case "sink":
			f.sink(e)
		default:
			f.complain(at(fmt.Errorf("there is no key %q; a pipeline has name, source and sink", name)))
		}
	}
	switch {
	case f.wrong != nil:
	case f.result.Name == "":
		f.complain(&problem{what: path, cause: errors.New("the pipeline has no name"), kind: errUsage})
	case f.result.Source == nil && f.result.Sink == nil:
		f.complain(&problem{what: path, cause: errors.New("the pipeline has neither a source nor a sink"), kind: errUsage})
	}
	return f.result, f.named, f.wrong
}

func (f *pipelineFile) complain(err error) { f.wrong = append(f.wrong, err) }

func (f *pipelineFile) name(node ast.Node) {
	v, err := scalar(f.path, node, "name")
	if err == nil && !pipelineName.MatchString(v.text) {
		err = v.at(fmt.Errorf("%q is no name for a pipeline: letters, digits, dots, dashes and underscores, 200 at most", v.text))
	}
	if err != nil {
		f.complain(err)
		return
	}
	f.result.Name, f.named = v.text, v.at
}

func (f *pipelineFile) source(e *ast.MappingValueNode) {
	kind, given, places, ok := f.connector(e)
	if !ok {
		return
	}
	names := namesOf(sourceConnectors, func(c connect.SourceConnector) (string, []string) { return c.Name, c.Classes })
	i, ok := f.find(kind, names, "source")
	if !ok {
		return
	}
	c := sourceConnectors[i]
	s, wrong := runtime.NewSource(c, given)
	f.blame(e, places, wrong, slices.Concat(c.Settings, runtime.SourceSettings))
	f.result.Source = s
}

func (f *pipelineFile) sink(e *ast.MappingValueNode) {
	kind, given, places, ok := f.connector(e)
	if !ok {
		return
	}
	names := namesOf(sinkConnectors, func(c connect.SinkConnector) (string, []string) { return c.Name, c.Classes })
	i, ok := f.find(kind, names, "sink")
	if !ok {
		return
	}
	c := sinkConnectors[i]
	s, wrong := runtime.NewSink(c, given)
	f.blame(e, places, wrong, slices.Concat(c.Settings, runtime.SinkSettings))
	f.result.Sink = s
}

// connector reads a source or sink: which, and its settings with their places.
func (f *pipelineFile) connector(e *ast.MappingValueNode) (kind value, given map[string]string, places map[string]place, ok bool) {
	what := e.Key.GetToken().Value
	if e.Value == nil || e.Value.Type() == ast.NullType {
		f.complain(inFile(f.path, e.Key.GetToken())(fmt.Errorf("the %s is empty", what)))
		return
	}
	entries, err := mappingEntries(f.path, e.Value, what)
	if err != nil {
		f.complain(err)
		return
	}
	given, places = map[string]string{}, map[string]place{}
	ok = true
	for _, e := range entries {
		name := e.Key.GetToken().Value
		v, err := f.setting(name, e.Value)
		if err != nil {
			f.complain(err)
			ok = false
			continue
		}
		if name == "connector" || name == "connector.class" {
			kind = v
			continue
		}
		given[name], places[name] = v.text, inFile(f.path, e.Key.GetToken())
	}
	if ok && kind.text == "" {
		f.complain(inFile(f.path, e.Key.GetToken())(fmt.Errorf("the %s does not say which connector it is: add a line  connector: NAME", what)))
		ok = false
	}
	return kind, given, places, ok
}

// setting reads a value; a list of them is one text with commas between.
func (f *pipelineFile) setting(name string, node ast.Node) (value, error) {
	sequence, ok := node.(*ast.SequenceNode)
	if !ok {
		v, err := scalar(f.path, node, name)
		if err == nil {
			v.text, err = f.expand(v)
		}
		return v, err
	}
	var texts []string
	for _, element := range sequence.Values {
		v, err := scalar(f.path, element, "an element of "+name)
		if err == nil {
			v.text, err = f.expand(v)
		}
		if err != nil {
			return value{}, err
		}
		texts = append(texts, v.text)
	}
	return value{text: strings.Join(texts, ","), at: inFile(f.path, firstToken(node))}, nil
}

// variableReference is ${env:NAME} or ${file:PATH}, so that secrets need not
// stand in the file.
var variableReference = regexp.MustCompile(`\$\{(env|file):([^}]*)\}`)

func (f *pipelineFile) expand(v value) (string, error) {
	var failed error
	text := variableReference.ReplaceAllStringFunc(v.text, func(reference string) string {
		m := variableReference.FindStringSubmatch(reference)
		if m[1] == "env" {
			text, ok := f.env[m[2]]
			if !ok {
				failed = errors.Join(failed, fmt.Errorf("the environment has no variable %s", m[2]))
			}
			return text
		}
		data, err := os.ReadFile(m[2])
		if err != nil {
			failed = errors.Join(failed, err)
		}
		return strings.TrimRight(string(data), "\r\n")
	})
	if failed != nil {
		return "", v.at(failed)
	}
	return text, nil
}

// find returns the connector that is called so.
func (f *pipelineFile) find(kind value, names [][]string, what string) (int, bool) {
	var known []string
	for i, n := range names {
		if slices.Contains(n, kind.text) {
			return i, true
		}
		known = append(known, n[0])
	}
	e := &problem{what: fmt.Sprintf("there is no %s connector %q", what, kind.text)}
	if near, ok := nearest(kind.text, known); ok {
		e.next = append(e.next, fmt.Sprintf("did you mean %q?", near))
	}
	e.next = append(e.next, "there are "+strings.Join(known, ", "))
	f.complain(kind.at(e))
	return 0, false
}

func namesOf[C any](connectors []C, names func(C) (string, []string)) [][]string {
	all := make([][]string, len(connectors))
	for i, c := range connectors {
		name, classes := names(c)
		all[i] = append([]string{name}, classes...)
	}
	return all
}

// blame points to where the wrong settings stand, and a missing one to what lacks it.
func (f *pipelineFile) blame(e *ast.MappingValueNode, places map[string]place, wrong []*connect.SettingError, known []connect.Setting) {
	for _, w := range wrong {
		at, ok := places[w.Name]
		if !ok {
			at = inFile(f.path, e.Key.GetToken())
		}
		p := &problem{what: w.Error()}
		if ok && !slices.ContainsFunc(known, func(s connect.Setting) bool { return s.Name == w.Name }) {
			var names []string
			for _, s := range known {
				names = append(names, s.Name)
			}
			if near, ok := nearest(w.Name, names); ok {
				p.next = append(p.next, fmt.Sprintf("did you mean %q?", near))
			}
		}
		f.complain(at(p))
	}
}

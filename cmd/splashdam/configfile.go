package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/printer"
	"github.com/goccy/go-yaml/token"
)

// maxConfigFile bounds what is read as a configuration, in bytes.
const maxConfigFile = 1 << 20

func readConfigFile(path string) (map[string][]value, error) {
	data, err := readYAML(path, "configuration")
	if err != nil {
		return nil, err
	}
	return parseConfigFile(path, data)
}

// readYAML reads a file that a person wrote; kind says what it is.
func readYAML(path, kind string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && info.Size() > maxConfigFile {
		err = fmt.Errorf("%d bytes are more than a %s has (%d)", info.Size(), kind, maxConfigFile)
	}
	var data []byte
	if err == nil {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		if e, ok := errors.AsType[*os.PathError](err); ok {
			err = e.Err
		}
		return nil, &problem{what: kind + " " + path, cause: err, kind: errUsage}
	}
	return data, nil
}

// parseConfigFile reads the values of a file by key. Every complaint, also a
// later one about a value, points to line and column and shows them.
func parseConfigFile(path string, data []byte) (map[string][]value, error) {
	entries, err := parseYAML(path, data, "configuration")
	if err != nil {
		return nil, err
	}
	all := make(map[string][]value)
	for _, e := range entries {
		name := e.Key.GetToken().Value
		k, err := keyNamed(name)
		if err != nil {
			return nil, inFile(path, e.Key.GetToken())(err)
		}
		if all[name], err = k.fromFile(path, e.Value); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// parseYAML returns the entries of the one mapping that the file consists of, none
// of an empty file.
func parseYAML(path string, data []byte, kind string) ([]*ast.MappingValueNode, error) {
	f, err := parser.ParseBytes(data, 0)
	if err != nil {
		if e, ok := errors.AsType[yaml.Error](err); ok {
			return nil, inFile(path, e.GetToken())(errors.New(e.GetMessage()))
		}
		return nil, &problem{what: path, cause: err, kind: errUsage}
	}
	var body ast.Node
	for _, doc := range f.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case body != nil:
			return nil, inFile(path, firstToken(doc.Body))(fmt.Errorf("a second document; one file is one %s", kind))
		default:
			body = doc.Body
		}
	}
	if body == nil || body.Type() == ast.NullType {
		return nil, nil
	}
	return mappingEntries(path, body, "the "+kind)
}

func keyNamed(name string) (key, error) {
	var names []string
	for _, k := range keys {
		if k.name == name {
			return k, nil
		}
		names = append(names, k.name)
	}
	err := &problem{what: fmt.Sprintf("there is no key %q", name)}
	if near, ok := nearest(name, names); ok {
		err.next = append(err.next, fmt.Sprintf("did you mean %q?", near))
	}
	err.next = append(err.next, "the keys are "+strings.Join(names, ", "))
	return key{}, err
}

func (k key) fromFile(path string, node ast.Node) ([]value, error) {
	if node == nil || node.Type() == ast.NullType {
		return nil, nil // "key:" says nothing
	}
	switch k.form {
	case list:
		sequence, ok := node.(*ast.SequenceNode)
		if !ok {
			v, err := scalar(path, node, k.name)
			if err != nil {
				err = inFile(path, firstToken(node))(fmt.Errorf("%s is a list, an element per line with a dash before it", k.name))
			}
			return []value{v}, err
		}
		all := []value{}
		for _, element := range sequence.Values {
			v, err := scalar(path, element, "an element of "+k.name)
			if err != nil {
				return nil, err
			}
			all = append(all, v)
		}
		return all, nil
	case mapping:
		entries, err := mappingEntries(path, node, k.name)
		if err != nil {
			return nil, err
		}
		var all []value
		for _, e := range entries {
			v, err := scalar(path, e.Value, e.Key.GetToken().Value)
			if err != nil {
				return nil, err
			}
			v.name = e.Key.GetToken().Value
			all = append(all, v)
		}
		return all, nil
	}
	v, err := scalar(path, node, k.name)
	return []value{v}, err
}

// mappingEntries demands a mapping with plain keys.
func mappingEntries(path string, node ast.Node, what string) ([]*ast.MappingValueNode, error) {
	var entries []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		return nil, inFile(path, node.GetToken())(fmt.Errorf("%s is key: value, a line each", what))
	}
	seen := make(map[string]bool)
	for _, e := range entries {
		name := e.Key.GetToken().Value
		if e.Key.IsMergeKey() {
			return nil, inFile(path, e.Key.GetToken())(errors.New("a merge key has no meaning here"))
		}
		if seen[name] {
			return nil, inFile(path, e.Key.GetToken())(fmt.Errorf("%q is here for the second time", name))
		}
		seen[name] = true
	}
	return entries, nil
}

// scalar demands a single value, and takes it as it is written: 007 stays 007.
func scalar(path string, node ast.Node, what string) (value, error) {
	at := inFile(path, firstToken(node))
	switch n := node.(type) {
	case *ast.StringNode:
		return value{text: n.Value, at: at}, nil
	case *ast.LiteralNode:
		return value{text: n.Value.Value, at: at}, nil
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return value{text: n.GetToken().Value, at: at}, nil
	}
	return value{}, at(fmt.Errorf("%s is a single value", what))
}

// firstToken is where a node begins; that of a mapping's own is its first colon.
func firstToken(node ast.Node) *token.Token {
	switch n := node.(type) {
	case *ast.MappingNode:
		if len(n.Values) > 0 {
			return firstToken(n.Values[0])
		}
	case *ast.MappingValueNode:
		return n.Key.GetToken()
	}
	return node.GetToken()
}

// inFile blames a place in the file: line and column in front, the lines around
// it below.
func inFile(path string, at *token.Token) place {
	return func(err error) error {
		e := &problem{what: path, cause: err, kind: errUsage}
		if p, ok := errors.AsType[*problem](err); ok {
			e.next = p.next
		}
		if at == nil || at.Position == nil {
			return e
		}
		e.what = fmt.Sprintf("%s:%d:%d", path, at.Position.Line, at.Position.Column)
		var pp printer.Printer
		e.excerpt = pp.PrintErrorToken(at, false)
		return e
	}
}

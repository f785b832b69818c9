package main

import "strings"

// prefix begins the name of every environment variable that splashdam reads,
// but NO_COLOR and TERM.
const prefix = "SPLASHDAM_"

// environment is the environment by name. It is handed down rather than asked
// for, so that a test or a second node in one process can have its own.
type environment map[string]string

func newEnvironment(env []string) environment {
	e := make(environment, len(env))
	for _, kv := range env {
		if name, value, ok := strings.Cut(kv, "="); ok {
			e[name] = value
		}
	}
	return e
}

// variable is the name of the environment variable for a key or a flag.
func variable(name string) string {
	return prefix + strings.ToUpper(strings.NewReplacer("-", "_", ".", "_").Replace(name))
}

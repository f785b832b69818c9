package main

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/splashdam/splashdam/broker"
)

// ServeConfig is what a node is started with, checked and complete.
type ServeConfig struct {
	Data      string     // directory of everything durable, absolute
	NodeID    int32      // of this node in its cluster, for good
	Shards    int        // data shards; 0 is what there is, or 1
	Listeners []Listener // in the order given; the first is the one that is printed
	// Advertise is where clients are sent, by listener. A listener that is not in
	// it is advertised as it is bound.
	Advertise map[string]HostPort
	// Settings are the broker's own, by Kafka's names. What they mean, and which
	// there are, is the broker's to say; what is about listeners is used up here.
	Settings  map[string]string
	Users     []broker.NewUser // made at the start
	Connect   string           // directory of the pipelines that run beside the broker, or empty
	Config    string           // the file that was read, or empty
	ReadyFile string           // written when the node answers, or empty

	places map[string]place // where each setting was written
}

// form is how a key's value is written.
type form int

const (
	one     form = iota // key: value            --key value            SPLASHDAM_KEY=value
	list                // key: [a, b]           --key a,b --key c      SPLASHDAM_KEY=a,b
	mapping             // key: {name: value}    --key name=value       SPLASHDAM_KEY_NAME=value
)

// key is one line of the configuration. The table is the only place that knows
// what there is: file, flags, environment and help are made from it.
type key struct {
	name string // in the file and, with dashes before it, on the command line
	flag string // where it differs from name
	form form
	// whole values of a list are not split at commas.
	whole bool
	def   string
	hint  string // what stands for the value in the help
	help  string
	set   func(c *ServeConfig, given []value) error
}

// value is one value and the place where it was written.
type value struct {
	name string // in a mapping
	text string
	at   place
}

// place turns an error into one that says where the reader has to look.
type place func(err error) error

var keys = []key{
	{
		name: "data", def: "./splashdam-data", hint: "DIR",
		help: "directory of everything durable; made if it is not there",
		set: func(c *ServeConfig, given []value) error {
			return text(given, &c.Data)
		},
	},
	{
		name: "node-id", def: "1", hint: "N",
		help: "number of this node in its cluster, from 1 on; a data directory keeps it for good",
		set: func(c *ServeConfig, given []value) error {
			n, err := number(given, 1, 1<<31-1)
			c.NodeID = int32(n)
			return err
		},
	},
	{
		name: "shards", def: "0", hint: "N",
		help: "data shards: more than there are get added; 0 is what there is, and 1 in a new cluster",
		set: func(c *ServeConfig, given []value) error {
			n, err := number(given, 0, maxShards)
			c.Shards = n
			return err
		},
	},
	{
		name: "listeners", form: list, def: "PLAINTEXT://127.0.0.1:9092", hint: "NAME://HOST:PORT",
		help: "where clients connect; port 0 takes a free one",
		set:  setListeners,
	},
	{
		name: "advertised-listeners", form: list, hint: "NAME://HOST:PORT",
		help: "where clients of a listener are sent, if not to where it is bound",
		set:  setAdvertise,
	},
	{
		name: "settings", flag: "set", form: mapping, hint: "KEY=VALUE",
		help: "a setting of the broker by Kafka's name for it",
		set: func(c *ServeConfig, given []value) error {
			c.Settings, c.places = make(map[string]string, len(given)), make(map[string]place)
			for _, v := range given {
				c.Settings[v.name], c.places[v.name] = v.text, v.at
			}
			return nil
		},
	},
	{
		name: "users", flag: "user", form: list, whole: true, hint: "NAME:PASSWORD[:MECHANISM]",
		help: "a user who can log in, made at the start; other processes see the flag, so it is for tests, and \"splashdam user add\" for people",
		set:  setUsers,
	},
	{
		name: "connect", hint: "DIR",
		help: "run the pipelines of this directory, *.yaml and *.yml, in the node",
		set: func(c *ServeConfig, given []value) error {
			return text(given, &c.Connect)
		},
	},
	{
		name: "ready-file", hint: "PATH",
		help: "written as JSON once the node answers, removed when it ends",
		set: func(c *ServeConfig, given []value) error {
			return text(given, &c.ReadyFile)
		},
	},
}

// maxShards bounds the data shards of one cluster: each costs a Raft group on
// its replicas.
const maxShards = 256

// maxListeners bounds the listeners of one node.
const maxListeners = 16

func (k key) flagName() string {
	if k.flag != "" {
		return k.flag
	}
	return k.name
}

func text(given []value, to *string) error {
	for _, v := range given {
		*to = v.text
	}
	return nil
}

func number(given []value, low, high int64) (int, error) {
	v := given[len(given)-1]
	n, err := strconv.ParseInt(v.text, 10, 64)
	if err != nil || n < low || n > high {
		return 0, v.at(fmt.Errorf("%q is not a number from %d to %d", v.text, low, high))
	}
	return int(n), nil
}

func setListeners(c *ServeConfig, given []value) error {
	byName, byPlace := make(map[string]bool), make(map[HostPort]string)
	for _, v := range given {
		name, at, err := parseListener(v.text)
		switch {
		case err != nil:
			return v.at(err)
		case byName[name]:
			return v.at(fmt.Errorf("there are two listeners named %s", name))
		case at.Port != 0 && byPlace[at] != "":
			return v.at(fmt.Errorf("listeners %s and %s are both at %s", byPlace[at], name, at))
		case len(c.Listeners) == maxListeners:
			return v.at(fmt.Errorf("a node has at most %d listeners", maxListeners))
		}
		byName[name], byPlace[at] = true, name
		c.Listeners = append(c.Listeners, Listener{Name: name, HostPort: at})
	}
	return nil
}

func setAdvertise(c *ServeConfig, given []value) error {
	c.Advertise = make(map[string]HostPort, len(given))
	for _, v := range given {
		name, at, err := parseListener(v.text)
		if err != nil {
			return v.at(err)
		}
		_, twice := c.Advertise[name]
		switch {
		case twice:
			return v.at(fmt.Errorf("listener %s is advertised twice", name))
		case at.wildcard():
			return v.at(fmt.Errorf("%q is no address that a client could connect to", v.text))
		case at.Port == 0:
			return v.at(fmt.Errorf("%q: port 0 is no port that a client could connect to", v.text))
		}
		if !slices.ContainsFunc(c.Listeners, func(l Listener) bool { return l.Name == name }) {
			return v.at(fmt.Errorf("%q: there is no listener %s; there are %s", v.text, name, listenerNames(c.Listeners)))
		}
		c.Advertise[name] = at
	}
	return nil
}

func listenerNames(all []Listener) string {
	var names []string
	for _, l := range all {
		names = append(names, l.Name)
	}
	return strings.Join(names, ", ")
}

// configFlags declares the flags of all keys, and --config.
func configFlags(cmd *cobra.Command) {
	cmd.Flags().String("config", "", "a YAML `FILE` with the same keys ("+variable("config")+")")
	for _, k := range keys {
		help := fmt.Sprintf("%s (%s)", k.help, k.variable())
		if k.form == one {
			cmd.Flags().String(k.flagName(), k.def, "`"+k.hint+"` "+help)
		} else {
			var def []string
			if k.def != "" {
				def = []string{k.def}
			}
			cmd.Flags().StringArray(k.flagName(), def, "`"+k.hint+"` "+help)
		}
	}
}

func (k key) variable() string {
	if k.form == mapping {
		return variable(k.flagName()) + "_..."
	}
	return variable(k.name)
}

// loadConfig decides what a node is started with. The flag wins over the
// environment, that over the file, that over the default; the settings are
// decided one by one.
// The settings that are not about listeners are left to checkSetting, if that is
// not nil.
func loadConfig(cmd *cobra.Command, env environment, checkSetting func(name, value string) error) (ServeConfig, error) {
	var c ServeConfig
	c.Config, _ = cmd.Flags().GetString("config")
	if c.Config == "" {
		c.Config = env[variable("config")]
	}
	file := make(map[string][]value)
	if c.Config != "" {
		var err error
		if file, err = readConfigFile(c.Config); err != nil {
			return c, err
		}
	}
	for _, k := range keys {
		flags, err := k.fromFlags(cmd)
		if err != nil {
			return c, err
		}
		given := k.decide(flags, k.fromEnvironment(env), file[k.name])
		if len(given) == 0 {
			continue
		}
		if err := k.set(&c, given); err != nil {
			return c, err
		}
	}
	if err := c.validate(); err != nil {
		return c, err
	}
	if checkSetting != nil {
		for _, name := range slices.Sorted(maps.Keys(c.Settings)) {
			if err := checkSetting(name, c.Settings[name]); err != nil {
				return c, c.places[name](err)
			}
		}
	}
	return c, nil
}

// decide takes the values of the strongest source that has any, and by name in a
// mapping. An empty list in the file is a value: none.
func (k key) decide(flags, env, file []value) []value {
	if k.form != mapping {
		for _, source := range [][]value{flags, env, file} {
			if source != nil {
				return source
			}
		}
		var def []value
		for _, s := range k.split(k.def) {
			def = append(def, value{text: s, at: func(err error) error { return err }})
		}
		return def
	}
	byName := make(map[string]value)
	for _, source := range [][]value{file, env, flags} {
		for _, v := range source {
			byName[v.name] = v
		}
	}
	var all []value
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, byName[name])
	}
	return all
}

func (k key) split(s string) []string {
	switch {
	case k.form == list && !k.whole:
		return splitList(s)
	case s == "":
		return nil
	}
	return []string{s}
}

func (k key) fromFlags(cmd *cobra.Command) ([]value, error) {
	flag := cmd.Flags().Lookup(k.flagName())
	if !flag.Changed {
		return nil, nil
	}
	at := inPlace("--" + k.flagName())
	if k.form == one {
		return []value{{text: flag.Value.String(), at: at}}, nil
	}
	written, err := cmd.Flags().GetStringArray(k.flagName())
	if err != nil {
		return nil, err
	}
	all := []value{}
	for _, s := range written {
		if k.form == mapping {
			name, text, ok := strings.Cut(s, "=")
			if !ok || name == "" {
				return nil, at(fmt.Errorf("%q is not of the form %s", s, k.hint))
			}
			all = append(all, value{name: name, text: text, at: at})
			continue
		}
		for _, part := range k.split(s) {
			all = append(all, value{text: part, at: at})
		}
	}
	return all, nil
}

// fromEnvironment reads SPLASHDAM_NODE_ID, and SPLASHDAM_SET_LOG_RETENTION_MS for
// the setting log.retention.ms: Kafka's settings have neither capitals nor
// underscores, so its name can be told from the variable's. An empty variable is
// one that is not set.
func (k key) fromEnvironment(env environment) []value {
	if k.form == mapping {
		var all []value
		start := variable(k.flagName()) + "_"
		for _, name := range slices.Sorted(maps.Keys(env)) {
			if rest, ok := strings.CutPrefix(name, start); ok && rest != "" && env[name] != "" {
				setting := strings.ReplaceAll(strings.ToLower(rest), "_", ".")
				all = append(all, value{name: setting, text: env[name], at: inPlace(name)})
			}
		}
		return all
	}
	name := k.variable()
	if env[name] == "" {
		return nil
	}
	all := []value{}
	for _, s := range k.split(env[name]) {
		all = append(all, value{text: s, at: inPlace(name)})
	}
	return all
}

// inPlace blames a flag or a variable.
func inPlace(where string) place {
	return func(err error) error {
		return &problem{what: where, cause: err, kind: errUsage}
	}
}

// strangeVariables lists variables that begin like ours and are not, which are
// likely misspelt. They are no error: Kubernetes sets some for every service in
// the namespace, whatever it is called.
func strangeVariables(env environment) []string {
	known := map[string]bool{variable("config"): true, variable("brokers"): true, variable("command-config"): true, variable("user-password"): true, variable("test-broker"): true, variable("test-require"): true}
	for _, k := range keys {
		known[k.variable()] = true
	}
	var strange []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		rest, ours := strings.CutPrefix(name, prefix)
		if ours && !known[name] && !strings.HasPrefix(name, variable("set")+"_") && !isServiceLink(rest) {
			strange = append(strange, name)
		}
	}
	return strange
}

// isServiceLink recognises what Kubernetes makes of a service called splashdam
// or splashdam-something: _SERVICE_HOST, _SERVICE_PORT_KAFKA, _PORT_9092_TCP_ADDR.
func isServiceLink(rest string) bool {
	rest = "_" + rest
	if strings.HasSuffix(rest, "_SERVICE_HOST") || strings.Contains(rest, "_SERVICE_PORT") || strings.HasSuffix(rest, "_PORT") {
		return true
	}
	_, link, ok := strings.Cut(rest, "_PORT_")
	return ok && link != "" && link[0] >= '0' && link[0] <= '9'
}

// validate holds the rules that need more than one key.
func (c *ServeConfig) validate() error {
	wrong := func(format string, args ...any) *problem {
		return &problem{what: fmt.Sprintf(format, args...), kind: errUsage}
	}
	if c.Data == "" {
		return wrong("there is no data directory")
	}
	data, err := filepath.Abs(c.Data) // what clients are told of it must mean something elsewhere
	if err != nil {
		return &problem{what: fmt.Sprintf("data directory %s", c.Data), cause: err}
	}
	c.Data = data
	if len(c.Listeners) == 0 {
		return wrong("there is no listener")
	}
	text := c.take(protocolMap)
	byName, err := parseProtocolMap(text)
	if err != nil {
		return c.places[protocolMap](fmt.Errorf("%s: %w", protocolMap, err))
	}
	if err := assignProtocols(c.Listeners, byName); err != nil {
		return err
	}
	text = c.take(allowInsecure)
	allowed, err := boolean(text)
	if err != nil {
		return c.places[allowInsecure](fmt.Errorf("%s: %w", allowInsecure, err))
	}
	if !allowed {
		if err := c.checkExposure(); err != nil {
			return err
		}
	}
	for _, l := range c.Listeners {
		if _, told := c.Advertise[l.Name]; l.wildcard() && !told {
			e := wrong("listener %s is bound to every address, so clients have to be told one", l)
			e.next = []string{fmt.Sprintf("for example:  --advertised-listeners %s://%s", l.Name, HostPort{"localhost", max(l.Port, 1)})}
			return e
		}
	}
	return nil
}

// take removes a setting that is not the broker's and returns it.
func (c *ServeConfig) take(name string) string {
	s := c.Settings[name]
	delete(c.Settings, name)
	return s
}

func boolean(s string) (bool, error) {
	switch strings.ToLower(s) {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	}
	return false, errors.New(strconv.Quote(s) + " is neither true nor false")
}

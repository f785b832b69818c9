package mysql

import (
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/splashdam/splashdam/connect"
)

// Connector is MySQL and MariaDB as pipelines name them. Its settings are
// Debezium's, by name and meaning.
var Connector = connect.SourceConnector{
	Name:    "mysql",
	Classes: []string{"io.debezium.connector.mysql.MySqlConnector", "io.debezium.connector.mariadb.MariaDbConnector"},
	Settings: []connect.Setting{
		{Name: "database.hostname", Required: true, Doc: "the server's name or address"},
		{Name: "database.port", Form: connect.Number, Default: "3306", Min: 1, Max: 65535, Doc: "the server's port"},
		{Name: "database.user", Required: true, Doc: "who reads: needs SELECT, REPLICATION SLAVE and, on MySQL, REPLICATION CLIENT"},
		{Name: "database.password", Secret: true, Doc: "the user's password"},
		{Name: "database.server.id", Form: connect.Number, Required: true, Min: 1, Max: 1<<32 - 1,
			Doc: "a number that no other replica of the server has"},
		{Name: "topic.prefix", Required: true, Check: checkPrefix, Doc: "what topics' names begin with: rows go to prefix.database.table"},
		{Name: "table.include.list", Form: connect.List, Required: true, Check: checkPatterns,
			Doc: "which tables, as database.table: regular expressions of the whole name, with commas between"},
		{Name: "snapshot.mode", Default: "initial", OneOf: []string{"initial", "no_data"},
			Doc: "initial: first the rows that are there; no_data: only what changes from now on"},
		{Name: "incremental.snapshot.chunk.size", Form: connect.Number, Default: "10000", Min: 1, Max: 1_000_000,
			Doc: "how many rows are selected at a time"},
		{Name: "decimal.handling.mode", Default: "precise", OneOf: []string{"precise", "string", "double"},
			Doc: "how records have decimals: the unscaled number in base64, text, or the nearest 64-bit number"},
		{Name: "connect.timeout.ms", Form: connect.Number, Default: "30000", Min: 1, Max: 3_600_000,
			Doc: "how many milliseconds connecting may take, and the server may be silent"},
	},
	New: func(c connect.Config, env connect.Environment) (connect.Source, error) {
		patterns, err := compilePatterns(c.List("table.include.list"))
		if err != nil {
			return nil, connect.Permanent(err, "")
		}
		decimals, _ := connect.ParseDecimals(c.Text("decimal.handling.mode"))
		return &source{
			log: env.Log, task: uint32(env.Task),
			config: config{
				host: c.Text("database.hostname"), port: uint16(c.Number("database.port")),
				user: c.Text("database.user"), password: c.Text("database.password"),
				serverID: uint32(c.Number("database.server.id")), prefix: c.Text("topic.prefix"), tables: patterns,
				snapshot: c.Text("snapshot.mode") == "initial", chunkRows: int(c.Number("incremental.snapshot.chunk.size")),
				decimals: decimals, timeout: time.Duration(c.Number("connect.timeout.ms")) * time.Millisecond,
			},
			credits: make(chan struct{}, unacknowledged),
		}, nil
	},
}

type config struct {
	host           string
	port           uint16
	user, password string
	serverID       uint32
	prefix         string
	tables         []*regexp.Regexp
	snapshot       bool
	chunkRows      int
	decimals       connect.Decimals
	timeout        time.Duration
}

var legalPrefix = regexp.MustCompile(`^[a-zA-Z0-9._-]+$`)

func checkPrefix(text string) error {
	if !legalPrefix.MatchString(text) {
		return fmt.Errorf("%q has characters that a topic's name cannot have", text)
	}
	return nil
}

func checkPatterns(text string) error {
	_, err := compilePatterns(strings.Split(text, ","))
	return err
}

// What is put around a pattern, so that it matches whole names.
const patternBegin, patternEnd = `^(?:`, `)$`

func compilePatterns(texts []string) ([]*regexp.Regexp, error) {
	var all []*regexp.Regexp
	for _, text := range texts {
		r, err := regexp.Compile(patternBegin + strings.TrimSpace(text) + patternEnd)
		if err != nil {
			return nil, fmt.Errorf("%q is no regular expression: %w", text, err)
		}
		all = append(all, r)
	}
	return all, nil
}

// captures is whether rows of the table are wanted.
func (c *config) captures(t tableName) bool {
	for _, r := range c.tables {
		if r.MatchString(t.String()) {
			return true
		}
	}
	return false
}

var illegalInTopic = regexp.MustCompile(`[^a-zA-Z0-9_-]`)

// topic is where the table's rows go. Characters that a topic's name cannot have
// become underscores, as with Debezium.
func (c *config) topic(t tableName) string {
	return c.prefix + "." + illegalInTopic.ReplaceAllString(t.database, "_") + "." + illegalInTopic.ReplaceAllString(t.table, "_")
}

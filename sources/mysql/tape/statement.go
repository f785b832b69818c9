package tape

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// What a statement means to the tape. SELECTs of tables go to SQLite as they are;
// this file has the few others that a source sends.

// Names under which SELECTs find what SHOW gives.
const (
	variablesName = "information_schema.global_variables"
	statusName    = "information_schema.global_status"
	indexName     = "information_schema.show_index"
)

var (
	space        = regexp.MustCompile(`\s+`)
	isSet        = regexp.MustCompile(`(?i)^SET (.*)$`)
	isBegin      = regexp.MustCompile(`(?i)^START TRANSACTION WITH CONSISTENT SNAPSHOT(, READ ONLY)?$`)
	isEnd        = regexp.MustCompile(`(?i)^(ROLLBACK|COMMIT)$`)
	isVersion    = regexp.MustCompile(`(?i)^SELECT VERSION\(\)$`)
	isGTIDs      = regexp.MustCompile(`(?i)^SELECT BINLOG_GTID_POS\(\?, \?\)$`)
	isKill       = regexp.MustCompile(`(?i)^KILL (\d+)$`)
	isVariables  = regexp.MustCompile(`(?i)^SHOW GLOBAL VARIABLES\b`)
	isStatus     = regexp.MustCompile(`(?i)^SHOW (GLOBAL |SESSION )?STATUS\b`)
	isIndex      = regexp.MustCompile("(?i)^SHOW INDEX FROM `([^`]+)`\\.`([^`]+)`$")
	isSelect     = regexp.MustCompile(`(?i)^SELECT .* FROM `)
	like         = regexp.MustCompile(`(?i) LIKE '`)
	isHeartbeat  = regexp.MustCompile(`^@master_heartbeat_period ?= ?(\d+)$`)
	isBeginsAt   = regexp.MustCompile(`^@slave_connect_state ?= ?'(.*)'$`)
	isOwnSetting = regexp.MustCompile(`^@\w+ ?=`)
)

// settings are what a session may set: the recording was made by one that had all
// of them. That and user variables, which are its own, change no answer.
var settings = []string{
	"SESSION time_zone = '+00:00'", "sql_mode = ''", "character_set_results = utf8mb4",
	"SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
	"@master_binlog_checksum='NONE'", "@source_binlog_checksum='NONE'", // as the events were recorded
}

// answer answers a statement; nil is an OK.
func (c *session) answer(text string, args []any, binary bool) (*mysql.Result, error) {
	text = strings.TrimSpace(space.ReplaceAllString(text, " "))
	switch {
	case isSet.MatchString(text):
		return nil, c.set(isSet.FindStringSubmatch(text)[1])
	case isBegin.MatchString(text):
		c.snapshot = c.server.now()
		return nil, nil
	case isEnd.MatchString(text):
		c.snapshot = noSnapshot
		return nil, nil
	case isVersion.MatchString(text):
		return result([]column{{"VERSION()", "VARCHAR"}}, [][]any{{c.server.recording.Version}}, binary)
	case isGTIDs.MatchString(text):
		return c.gtidsAt(args, binary)
	case isKill.MatchString(text):
		id, err := strconv.ParseUint(isKill.FindStringSubmatch(text)[1], 10, 32)
		if err != nil {
			return nil, err
		}
		return nil, c.server.kill(uint32(id))
	case isVariables.MatchString(text):
		text = "SELECT * FROM " + variablesName + condition(isVariables.ReplaceAllString(text, ""))
	case isStatus.MatchString(text):
		text = "SELECT * FROM " + statusName + condition(isStatus.ReplaceAllString(text, ""))
	case isIndex.MatchString(text):
		of := isIndex.FindStringSubmatch(text)
		if of[1]+"."+of[2] != c.server.recording.Table {
			return nil, mysql.NewDefaultError(mysql.ER_NO_SUCH_TABLE, of[1], of[2])
		}
		text = "SELECT * FROM " + indexName
	case !isSelect.MatchString(text):
		return nil, unknown(text, nil)
	}
	v, err := c.server.viewOf(c.moment())
	if err != nil {
		return nil, err
	}
	r, err := v.query(text, args, binary)
	if err != nil {
		return nil, unknown(text, err)
	}
	return r, nil
}

func unknown(text string, cause error) error {
	if cause != nil {
		return fmt.Errorf("the tape has no answer to the statement %q: %w", text, cause)
	}
	return fmt.Errorf("the tape has no answer to the statement %q", text)
}

// condition is what comes behind SHOW ..., as a SELECT has it.
func condition(of string) string { return like.ReplaceAllString(of, " WHERE variable_name LIKE '") }

func (c *session) set(assignments string) error {
	for part := range strings.SplitSeq(assignments, ", ") {
		switch {
		case isHeartbeat.MatchString(part):
			nanoseconds, err := strconv.ParseInt(isHeartbeat.FindStringSubmatch(part)[1], 10, 64)
			if err != nil {
				return err
			}
			c.heartbeat = time.Duration(nanoseconds)
		case isBeginsAt.MatchString(part):
			gtids := isBeginsAt.FindStringSubmatch(part)[1]
			c.gtids = &gtids
		default:
			if !isSetting(part) {
				return unknown("SET "+part, nil)
			}
		}
	}
	return nil
}

func isSetting(assignment string) bool {
	for _, s := range settings {
		if strings.EqualFold(s, assignment) {
			return true
		}
	}
	return isOwnSetting.MatchString(assignment) && !strings.Contains(assignment, "checksum")
}

// gtidsAt is which transactions are before a place in the binlog: null where there
// is no such place yet.
func (c *session) gtidsAt(args []any, binary bool) (*mysql.Result, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("BINLOG_GTID_POS takes a file and a place in it, and not %d values", len(args))
	}
	end, err := strconv.ParseUint(fmt.Sprint(args[1]), 10, 32)
	if err != nil {
		return nil, fmt.Errorf("BINLOG_GTID_POS of %v: %w", args[1], err)
	}
	var gtids any
	if now := c.server.now(); args[0] == c.server.recording.File && uint32(end) <= c.server.recording.Moments[now].end() {
		at, ok := c.server.recording.ending(uint32(end))
		if !ok {
			return nil, fmt.Errorf("the tape knows BINLOG_GTID_POS only where transactions end, and %s:%d is no such place", args[0], end)
		}
		gtids = c.server.recording.Moments[at].GTIDs
	}
	return result([]column{{"BINLOG_GTID_POS(?, ?)", "LONGTEXT"}}, [][]any{{gtids}}, binary)
}

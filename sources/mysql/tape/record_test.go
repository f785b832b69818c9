package tape

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gomysql "github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	driver "github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/internal/dbserver"
)

var rewrite = flag.Bool("rewrite", false, "record orders.tape anew, from the MariaDB that is installed")

// What is recorded of a server: what it says of its binlog and of collations, and
// nothing of the machine that it runs on.
const (
	recordedTable = "shop.orders"
	aboutServer   = `^(binlog_(checksum|format|row_image|row_metadata|row_value_options|expire_logs_seconds)|expire_logs_days|gtid_(domain_id|strict_mode)|log_bin|log_bin_compress|log_slave_updates|lower_case_table_names|server_id|server_uid|version|version_comment)$`
)

// The live server is given the same script, and has to say the same of its table
// after every transaction. With -rewrite what it says becomes the tape.
func TestTheTapeIsWhatAServerSays(t *testing.T) {
	program, err := dbserver.Find()
	if err == nil && !program.MariaDB {
		err = fmt.Errorf("%s is installed, and no MariaDB", program)
	}
	if err != nil {
		required := strings.Split(os.Getenv("SPLASHDAM_TEST_REQUIRE"), ",")
		if slices.Contains(required, "all") || slices.Contains(required, "mysqld") {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// As replicas want it: without checksums the events are sent as they are.
	server, err := dbserver.Start(t.Context(), dbserver.Options{
		Program: program, Dir: t.TempDir(), Args: []string{"--binlog-checksum=NONE", "--binlog-annotate-row-events=OFF"},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	live, err := record(t.Context(), server.Config())
	if err != nil {
		t.Fatal(err)
	}
	if *rewrite {
		data, err := live.write()
		if err == nil {
			err = os.WriteFile("orders.tape", data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		orders = data
		t.Logf("%d transactions in %d bytes", len(live.Moments), len(data))
	}
	taped, err := ordersRecording()
	if err != nil {
		t.Fatal(err)
	}
	if len(taped.Moments) != len(live.Moments) {
		t.Fatalf("the tape has %d transactions, and the server %d: record it anew with -rewrite", len(taped.Moments), len(live.Moments))
	}
	for at := range live.Moments {
		if got, want := rowsAt(taped, at), rowsAt(live, at); !slices.Equal(got, want) {
			t.Fatalf("after transaction %d the tape has\n%s\nand the server\n%s\nrecord it anew with -rewrite", at, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

// rowsAt are the table's rows as text, sorted.
func rowsAt(r *recording, at int) (all []string) {
	for _, row := range r.relations(at)[0].Rows {
		all = append(all, fmt.Sprintf("%q", textOf(row)))
	}
	slices.Sort(all)
	return all
}

func textOf(row []*string) (text []string) {
	for _, value := range row {
		if value == nil {
			text = append(text, "NULL")
			continue
		}
		text = append(text, "="+*value)
	}
	return text
}

func (r *recording) write() ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	var data bytes.Buffer
	zip, err := gzip.NewWriterLevel(&data, gzip.BestCompression)
	if err == nil {
		_, err = zip.Write(text)
	}
	if err == nil {
		err = zip.Close()
	}
	return data.Bytes(), err
}

// recorder notes what a server says while the script runs.
type recorder struct {
	conn *sql.Conn
	made recording
	ends []uint32 // of the transactions
	rows map[string][]*string
}

func record(ctx context.Context, config *driver.Config) (*recording, error) {
	db, err := sql.Open("mysql", config.FormatDSN())
	if err != nil {
		return nil, err
	}
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	r := &recorder{conn: conn, made: recording{Table: recordedTable}}
	database, _, _ := strings.Cut(recordedTable, ".")
	script := NewScript(recordedTable)
	before := []string{
		"SET SESSION time_zone = '+00:00', sql_mode = '', character_set_results = utf8mb4", "CREATE DATABASE " + database + " CHARACTER SET utf8mb4",
	}
	for _, statement := range slices.Concat(before, script.Setup) {
		if err := r.execute(ctx, statement); err != nil {
			return nil, err
		}
	}
	if err := r.introduce(ctx); err != nil {
		return nil, err
	}
	if err := r.look(ctx, true); err != nil {
		return nil, err
	}
	for _, statements := range script.Changes {
		for _, s := range slices.Concat([]string{"START TRANSACTION"}, statements, []string{"COMMIT"}) {
			if err := r.execute(ctx, s); err != nil {
				return nil, err
			}
		}
		if err := r.look(ctx, strings.HasPrefix(statements[0], "ALTER")); err != nil {
			return nil, err
		}
	}
	return &r.made, r.events(config)
}

func (r *recorder) execute(ctx context.Context, statement string) error {
	if _, err := r.conn.ExecContext(ctx, statement); err != nil {
		return fmt.Errorf("%.100s: %w", statement, err)
	}
	return nil
}

// introduce notes what the server says of itself.
func (r *recorder) introduce(ctx context.Context) error {
	variables, err := r.ask(ctx, variablesName, "SHOW GLOBAL VARIABLES")
	if err != nil {
		return err
	}
	of := regexp.MustCompile(aboutServer)
	variables.Rows = slices.DeleteFunc(variables.Rows, func(row []*string) bool { return !of.MatchString(*row[0]) })
	for _, row := range variables.Rows {
		if *row[0] == "version" {
			r.made.Version = *row[1]
		}
	}
	collations, err := r.ask(ctx, "information_schema.collations", "SELECT * FROM information_schema.collations")
	r.made.Server = []relation{variables, collations}
	return err
}

// ask notes the answer to a statement.
func (r *recorder) ask(ctx context.Context, name, statement string) (relation, error) {
	a := relation{Name: name}
	rows, err := r.conn.QueryContext(ctx, statement)
	if err != nil {
		return a, fmt.Errorf("%.100s: %w", statement, err)
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return a, err
	}
	for _, t := range types {
		c := column{t.Name(), t.DatabaseTypeName()}
		if digits, _, ok := t.DecimalSize(); ok && c.Type == "DATETIME" {
			c.Type = fmt.Sprintf("DATETIME(%d)", digits)
		}
		a.Columns = append(a.Columns, c)
	}
	for rows.Next() {
		row, to := make([]*string, len(types)), make([]any, len(types))
		for i := range row {
			to[i] = &row[i]
		}
		if err := rows.Scan(to...); err != nil {
			return a, err
		}
		a.Rows = append(a.Rows, row)
	}
	return a, rows.Err()
}

// look notes what there is behind a transaction.
func (r *recorder) look(ctx context.Context, defines bool) error {
	if err := r.execute(ctx, "START TRANSACTION WITH CONSISTENT SNAPSHOT"); err != nil {
		return err
	}
	status, err := r.ask(ctx, "", "SHOW STATUS LIKE 'binlog_snapshot_%'")
	if err != nil {
		return err
	}
	place := map[string]string{}
	for _, row := range status.Rows {
		place[strings.ToLower(*row[0])] = *row[1]
	}
	end, err := strconv.ParseUint(place["binlog_snapshot_position"], 10, 32)
	if err != nil {
		return fmt.Errorf("SHOW STATUS: %w", err)
	}
	r.made.File = place["binlog_snapshot_file"]
	r.ends = append(r.ends, uint32(end))
	m := moment{}
	err = r.conn.QueryRowContext(ctx, fmt.Sprintf("SELECT BINLOG_GTID_POS('%s', %d)", r.made.File, end)).Scan(&m.GTIDs)
	if err != nil {
		return err
	}
	table, err := r.ask(ctx, r.made.Table, "SELECT * FROM "+r.made.Table)
	if err != nil {
		return err
	}
	if defines {
		if m.Definition, err = r.define(ctx, table.Columns); err != nil {
			return err
		}
		r.rows = nil
	}
	now := map[string][]*string{}
	for _, row := range table.Rows {
		now[*row[0]] = row
		if before, ok := r.rows[*row[0]]; !ok || !slices.Equal(textOf(before), textOf(row)) {
			m.Rows = append(m.Rows, row)
		}
	}
	for key := range r.rows {
		if _, ok := now[key]; !ok {
			m.Gone = append(m.Gone, key)
		}
	}
	slices.Sort(m.Gone)
	r.rows = now
	r.made.Moments = append(r.made.Moments, m)
	return r.execute(ctx, "ROLLBACK")
}

// define notes what the server says about the table.
func (r *recorder) define(ctx context.Context, columns []column) (*definition, error) {
	d := &definition{Columns: columns}
	database, table, _ := strings.Cut(r.made.Table, ".")
	of := fmt.Sprintf(" WHERE table_schema = '%s' AND table_name = '%s'", database, table)
	for _, about := range []struct{ name, statement string }{
		{"information_schema.columns", "SELECT * FROM information_schema.columns" + of},
		{"information_schema.tables", "SELECT * FROM information_schema.tables" + of},
		{"information_schema.referential_constraints", "SELECT * FROM information_schema.referential_constraints WHERE constraint_schema = '" + database + "'"},
		{indexName, "SHOW INDEX FROM " + r.made.Table},
	} {
		a, err := r.ask(ctx, about.name, about.statement)
		if err != nil {
			return nil, err
		}
		d.About = append(d.About, a)
	}
	return d, nil
}

// events reads the binlog as a replica does, and gives each transaction its own.
func (r *recorder) events(config *driver.Config) error {
	host, portText, err := net.SplitHostPort(config.Addr)
	if err != nil {
		return err
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return err
	}
	syncer := replication.NewBinlogSyncer(replication.BinlogSyncerConfig{
		ServerID: 4_000_000_000, Flavor: gomysql.MariaDBFlavor, Host: host, Port: uint16(port), User: config.User, Password: config.Passwd,
		RawModeEnabled: true, DisableRetrySync: true, Logger: slog.New(slog.DiscardHandler),
	})
	defer syncer.Close()
	stream, err := syncer.StartSync(gomysql.Position{Name: r.made.File, Pos: binlogMagic})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for at := range r.made.Moments {
		for end := uint32(0); end < r.ends[at]; {
			e, err := stream.GetEvent(ctx)
			if err != nil {
				return err
			}
			if e.Header.Flags&artificial != 0 {
				continue
			}
			end = logPos(e.RawData)
			r.made.Moments[at].Events = append(r.made.Moments[at].Events, e.RawData)
			if end > r.ends[at] {
				return fmt.Errorf("transaction %d: a %v ends at %d, and the server says that its transaction ends at %d", at, e.Header.EventType, end, r.ends[at])
			}
		}
	}
	return nil
}

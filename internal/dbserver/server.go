package dbserver

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/splashdam/splashdam/internal/child"
)

const (
	// startTimeout bounds a start, with the recovery after a kill in it.
	startTimeout = time.Minute
	// stopTimeout is how long a server has for an orderly end before it is killed.
	stopTimeout = 20 * time.Second
	// portTries is how often a start takes another port when somebody else was
	// faster at taking the one that was free.
	portTries = 5
)

// Options say what to run and where.
type Options struct {
	Program Program
	// Dir is a directory of the server's own, made if needed. Its databases stay in it.
	Dir string
	// Args come after the server's other arguments, and so win: --sync-binlog=0.
	Args []string
}

// Server is a running, or ended, server. Config, DSN and Log may be called at any time;
// the rest is for one goroutine.
type Server struct {
	options  Options
	port     int
	password string
	process  *process
}

// process is one run of the program.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}
	err   error // once ended
}

// Start starts the server, after it has made the databases if there are none, and
// waits until it answers. The context is for the start only.
func Start(ctx context.Context, options Options) (*Server, error) {
	dir, err := filepath.Abs(options.Dir)
	if err != nil {
		return nil, err
	}
	options.Dir = dir
	s := &Server{options: options, password: rand.Text()}
	if err := os.MkdirAll(s.temporary(), 0o700); err != nil {
		return nil, err
	}
	if err := s.initialise(ctx); err != nil {
		return nil, fmt.Errorf("making the databases of %s in %s: %w", options.Program, s.data(), err)
	}
	for try := 1; ; try++ {
		if s.port, err = freePort(); err != nil {
			return nil, err
		}
		err = s.start(ctx)
		if err == nil {
			return s, nil
		}
		if try == portTries || !portTaken(s.port) {
			return nil, err
		}
	}
}

func (s *Server) data() string      { return filepath.Join(s.options.Dir, "data") }
func (s *Server) temporary() string { return filepath.Join(s.options.Dir, "tmp") }

// Log is the file with what the server says.
func (s *Server) Log() string { return filepath.Join(s.options.Dir, "server.log") }

// initialise makes the data directory under another name first: half of one, left by
// a kill, would not start.
func (s *Server) initialise(ctx context.Context) error {
	if _, err := os.Stat(s.data()); !errors.Is(err, os.ErrNotExist) {
		return err
	}
	making := s.data() + ".new"
	if err := os.RemoveAll(making); err != nil {
		return err
	}
	cmd, err := s.options.Program.initialise(making)
	if err != nil {
		return err
	}
	p, err := s.launch(cmd)
	if err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
	if p.err != nil {
		return s.withLog(p.err)
	}
	return os.Rename(making, s.data())
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func portTaken(port int) bool {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return true
	}
	l.Close()
	return false
}

// Restart starts the server again, on the same databases and port.
func (s *Server) Restart(ctx context.Context) error {
	if s.process != nil {
		return errors.New("the database server runs already: end it with Stop or Kill first")
	}
	return s.start(ctx)
}

func (s *Server) start(ctx context.Context) error {
	if err := os.WriteFile(s.accounts(), []byte(s.statements()), 0o600); err != nil {
		return err
	}
	p, err := s.launch(s.options.Program.run(s.args()...))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.ready(ctx, p); err != nil {
		p.kill()
		return fmt.Errorf("starting %s in %s: %w", s.options.Program, s.options.Dir, s.withLog(err))
	}
	s.process = p
	return nil
}

func (s *Server) args() []string {
	args := []string{
		"--datadir=" + s.data(),
		// The server works in its data directory. A path from there is short, and the
		// one of a socket has a limit of about a hundred bytes.
		"--socket=server.sock", "--pid-file=server.pid",
		"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(s.port), "--skip-name-resolve",
		"--init-file=" + s.accounts(),
		"--server-id=1", "--log-bin=binlog", "--binlog-row-metadata=FULL",
		"--sync-binlog=1", "--innodb-flush-log-at-trx-commit=1",
		"--innodb-buffer-pool-size=64M",
	}
	if s.options.Program.MariaDB {
		args = append(args, "--binlog-format=ROW", "--gtid-strict-mode=1", "--aria-pagecache-buffer-size=8M")
	} else {
		args = append(args, "--gtid-mode=ON", "--enforce-gtid-consistency=ON", "--mysqlx=OFF",
			// The folder that was compiled in need not be there.
			"--secure-file-priv=NULL")
	}
	return append(args, s.options.Args...)
}

// accounts is the file of statements that the server runs before it answers.
func (s *Server) accounts() string { return filepath.Join(s.options.Dir, "accounts.sql") }

// statements make the account of Config; the password keeps other users of the
// machine out. They are no change that anybody follows, and stay out of the log.
func (s *Server) statements() string {
	const account = "root@'127.0.0.1'"
	return strings.Join([]string{
		"SET sql_log_bin = 0;",
		"CREATE USER IF NOT EXISTS " + account + ";",
		"ALTER USER " + account + " IDENTIFIED BY '" + s.password + "';",
		"GRANT ALL ON *.* TO " + account + " WITH GRANT OPTION;",
		"",
	}, "\n")
}

// ready waits until the server answers.
func (s *Server) ready(ctx context.Context, p *process) error {
	db, err := sql.Open("mysql", s.DSN())
	if err != nil {
		return err
	}
	defer db.Close()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := db.PingContext(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("it ended: %w", p.err)
		case <-ctx.Done():
			return fmt.Errorf("it does not answer: %w (%w)", err, ctx.Err())
		case <-tick.C:
		}
	}
}

// Kill ends the server as kill -9 does, and waits for its end. No server, no matter.
func (s *Server) Kill() {
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
}

// Stop ends the server in order, and kills it if that takes too long, which is the
// error. No server, no matter.
func (s *Server) Stop() error {
	if s.process == nil {
		return nil
	}
	p := s.process
	s.process = nil
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	err := p.cmd.Process.Signal(syscall.SIGTERM)
	if err == nil {
		select {
		case <-p.ended:
			if p.err != nil {
				return s.withLog(fmt.Errorf("the database server: %w", p.err))
			}
			return nil
		case <-timeout.C:
			err = errors.New("it does not end in time")
		}
	}
	p.kill()
	return s.withLog(fmt.Errorf("stopping the database server: %w", err))
}

func (p *process) kill() {
	p.cmd.Process.Kill() // fails only if it has ended
	<-p.ended
}

// Config is how to connect, with every right. The caller may change it.
func (s *Server) Config() *mysql.Config {
	c := mysql.NewConfig()
	c.User, c.Passwd = "root", s.password
	c.Net, c.Addr = "tcp", "127.0.0.1:"+strconv.Itoa(s.port)
	// A server that is killed and starts again is no news.
	c.Logger = &mysql.NopLogger{}
	return c
}

// DSN is Config as text.
func (s *Server) DSN() string { return s.Config().FormatDSN() }

// withLog adds the last lines that the server has logged.
func (s *Server) withLog(err error) error {
	text, readErr := os.ReadFile(s.Log())
	if readErr != nil {
		return errors.Join(err, readErr)
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")
	return fmt.Errorf("%w\n%s ends with\n%s", err, s.Log(), strings.Join(lines[max(0, len(lines)-10):], "\n"))
}

// launch starts a command that writes to the log.
func (s *Server) launch(cmd *exec.Cmd) (*process, error) {
	log, err := os.OpenFile(s.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the process has its own
	cmd.Stdout, cmd.Stderr = log, log
	// A server that starts removes the temporary tables that it finds, whoever's.
	cmd.Env = append(os.Environ(), "TMPDIR="+s.temporary())
	if err := child.Start(cmd); err != nil {
		return nil, err
	}
	return watch(cmd), nil
}

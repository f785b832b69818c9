package tape

import (
	"crypto/rand"
	"fmt"
	"net"
	"sync"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/replication"
	"github.com/go-mysql-org/go-mysql/server"
	driver "github.com/go-sql-driver/mysql"
)

// Server plays the recording. Its methods may be called concurrently.
type Server struct {
	recording *recording
	events    [][]byte // of all transactions
	protocol  *server.Server
	accounts  *server.InMemoryAuthenticationHandler
	listener  net.Listener
	user      string
	password  string
	running   sync.WaitGroup

	mu       sync.Mutex
	moment   int
	moved    chan struct{} // closed when the moment is another
	views    map[int]*view // by moment
	sessions map[*session]bool
	closed   bool
}

// Serve begins before the first change of the Script, on a free port of 127.0.0.1.
func Serve() (*Server, error) {
	r, err := ordersRecording()
	if err != nil {
		return nil, err
	}
	s := &Server{
		recording: r, user: "root", password: rand.Text(),
		protocol: server.NewServer(r.Version, utf8mb4, mysql.AUTH_NATIVE_PASSWORD, nil, nil),
		accounts: server.NewInMemoryAuthenticationHandler(mysql.AUTH_NATIVE_PASSWORD),
		moved:    make(chan struct{}), views: map[int]*view{}, sessions: map[*session]bool{},
	}
	for _, m := range r.Moments {
		s.events = append(s.events, m.Events...)
	}
	if err := s.accounts.AddUser(s.user, s.password); err != nil {
		return nil, err
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, err
	}
	s.accepts()
	return s, nil
}

// Advance goes on by one transaction. False says that there was none left.
func (s *Server) Advance() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.moment == len(s.recording.Moments)-1 {
		return false
	}
	s.moment++
	close(s.moved)
	s.moved = make(chan struct{})
	return true
}

// Close ends all connections.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for c := range s.sessions {
		c.end()
	}
	s.mu.Unlock()
	err := s.listener.Close()
	s.running.Wait()
	for _, v := range s.views {
		v.close()
	}
	return err
}

// Config is how to connect. The caller may change it.
func (s *Server) Config() *driver.Config {
	c := driver.NewConfig()
	c.User, c.Passwd = s.user, s.password
	c.Net, c.Addr = "tcp", s.listener.Addr().String()
	c.Logger = &driver.NopLogger{} // that a server ends before its clients is no news
	return c
}

// Table is the Script's table, database.table.
func (s *Server) Table() string { return s.recording.Table }

// Version is the recorded server's.
func (s *Server) Version() string { return s.recording.Version }

// now is the moment that is.
func (s *Server) now() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.moment
}

// visible is how many events there are now.
func (s *Server) visible() int {
	n, _ := s.since()
	return n
}

// since is how many events there are now, and what is closed when there are more.
func (s *Server) since() (events int, moved <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.recording.Moments[:s.moment+1] {
		events += len(m.Events)
	}
	return events, s.moved
}

// viewOf makes the view of a moment, once.
func (s *Server) viewOf(moment int) (*view, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v, ok := s.views[moment]; ok {
		return v, nil
	}
	v, err := newView(s.recording, moment)
	if err != nil {
		return nil, fmt.Errorf("the tape's transaction %d: %w", moment, err)
	}
	s.views[moment] = v
	return v, nil
}

// serve serves a connection until it ends.
func (s *Server) serve(conn net.Conn) {
	c := &session{
		server: s, conn: conn, snapshot: noSnapshot,
		ended: make(chan struct{}), binlog: replication.NewBinlogStreamer(),
	}
	defer c.end()
	if !s.add(c) {
		return
	}
	defer s.remove(c)
	protocol, err := s.protocol.NewCustomizedConn(conn, s.accounts, c)
	if err != nil {
		return // the client has been told
	}
	s.name(c, protocol.ConnectionID())
	for !protocol.Closed() {
		if protocol.HandleCommand() != nil {
			return // it is the connection's, which then is closed
		}
	}
}

func (s *Server) add(c *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[c] = true
	return !s.closed
}

func (s *Server) remove(c *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, c)
}

// name gives a session the number by which it can be killed.
func (s *Server) name(c *session, id uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.id = id
}

// kill is the statement KILL.
func (s *Server) kill(id uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.sessions {
		if c.id == id {
			c.end()
			return nil
		}
	}
	return mysql.NewDefaultError(mysql.ER_NO_SUCH_THREAD, id)
}

package tape

import "time"

// accepts serves whoever connects, until the listener is closed.
func (s *Server) accepts() {
	s.running.Go(func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return // it was closed
			}
			s.running.Go(func() { s.serve(conn) })
		}
	})
}

// feeds sends the binlog from an event on, until the session ends.
func (s *Server) feeds(c *session, next int) {
	s.running.Go(func() {
		var beat <-chan time.Time
		if c.heartbeat > 0 {
			ticker := time.NewTicker(c.heartbeat)
			defer ticker.Stop()
			beat = ticker.C
		}
		for {
			visible, moved := s.since()
			for ; next < visible; next++ {
				if c.send(s.events[next]) != nil {
					return
				}
			}
			select {
			case <-moved:
			case <-beat:
				if c.send(stillThere(s.recording.File, logPos(s.events[next-1]))) != nil {
					return
				}
			case <-c.ended:
				return
			}
		}
	})
}

package main

import (
	"context"
	"errors"
	"net"
	"sync"
)

// cable is the network of one service. Once cut, nothing of the service gets out
// any more, not even a goodbye: to the others its process has been killed.
type cable struct {
	mu    sync.Mutex
	isCut bool
	conns []net.Conn
}

var errCut = errors.New("the cable is cut")

func (c *cable) dial(ctx context.Context, network, host string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, host)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut {
		return nil, errors.Join(errCut, conn.Close())
	}
	c.conns = append(c.conns, conn)
	return conn, nil
}

func (c *cable) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.isCut = true
	for _, conn := range c.conns {
		_ = conn.Close() // some were closed before
	}
}

func (c *cable) intact() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.isCut
}

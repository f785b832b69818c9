package commitlog

import (
	"container/list"
	"sync"
)

// blockCache keeps the index blocks used last.
type blockCache struct {
	mu    sync.Mutex
	limit int
	used  *list.List // of cachedBlock, the latest in front
	at    map[blockKey]*list.Element
}

type blockKey struct {
	index  *indexFile
	number uint32
}

type cachedBlock struct {
	key blockKey
	b   []byte
}

// indexCacheBlocks is 16 MiB of index blocks for a log.
const indexCacheBlocks = 4096

func newBlockCache(limit int) *blockCache {
	return &blockCache{limit: limit, used: list.New(), at: make(map[blockKey]*list.Element)}
}

// get returns the cached block or reads it. Two readers may read the same block at
// the same time.
func (c *blockCache) get(k blockKey, read func() ([]byte, error)) ([]byte, error) {
	c.mu.Lock()
	if e, ok := c.at[k]; ok {
		c.used.MoveToFront(e)
		b := e.Value.(cachedBlock).b
		c.mu.Unlock()
		return b, nil
	}
	c.mu.Unlock()
	b, err := read()
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.at[k]; !ok {
		c.at[k] = c.used.PushFront(cachedBlock{k, b})
	}
	for c.used.Len() > c.limit {
		oldest := c.used.Back()
		delete(c.at, oldest.Value.(cachedBlock).key)
		c.used.Remove(oldest)
	}
	return b, nil
}

// drop forgets the blocks of an index that was replaced.
func (c *blockCache) drop(x *indexFile) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, e := range c.at {
		if k.index == x {
			c.used.Remove(e)
			delete(c.at, k)
		}
	}
}

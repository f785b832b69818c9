package mysql

import "context"

// run copies tables until it is through, or fails, or is stopped. Stop waits for it.
func (k *copier) run(ctx context.Context, tables []tableName, from map[tableName]copyPosition) {
	go func() {
		defer close(k.chunks)
		k.failed = k.all(ctx, tables, from)
	}()
}

package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/splashdam/splashdam/internal/vfs"
)

// Limits of a key set.
const (
	maxKeySetBytes = 1 << 20
	maxKeys        = 256
	fetchTimeout   = 10 * time.Second
	// refreshPause is the least time between two looks at a key set, also where
	// tokens name a key that is not in it.
	refreshPause = 10 * time.Second
)

// KeySet is a set of public keys (JWKS, RFC 7517) at a URL or in a file. Until it
// is loaded it has no keys, and one that cannot be loaded again keeps those it has.
// Its methods may be called concurrently.
type KeySet struct {
	location string
	fetch    func(context.Context) ([]byte, error)
	refresh  time.Duration
	// told hears of what went wrong with a look, and of nil when it is over.
	told func(error)

	hurry chan struct{} // has room for one

	mu     sync.Mutex
	keys   []jose.JSONWebKey
	looked time.Time
	failed bool
}

// OpenKeySet prepares a key set. The location is an https or a file URL; plain http
// is accepted from this machine only, since whoever can change the answer can log in
// as anybody. A file is read at once, and an error if it cannot be. told may be nil;
// it is called from Run.
func OpenKeySet(fs vfs.FS, location string, refresh time.Duration, told func(error)) (*KeySet, error) {
	u, err := url.Parse(location)
	if err != nil {
		return nil, fmt.Errorf("the key set %q: %w", location, err)
	}
	k := &KeySet{location: u.Redacted(), refresh: refresh, told: told, hurry: make(chan struct{}, 1)}
	switch {
	case u.Scheme == "file" && u.Host == "" && u.Path != "":
		k.fetch = func(context.Context) ([]byte, error) { return readFile(fs, u.Path, maxKeySetBytes) }
		if err := k.load(context.Background(), time.Now()); err != nil {
			return nil, err
		}
	case u.Scheme == "https" && u.Host != "", u.Scheme == "http" && thisMachine(u.Hostname()):
		k.fetch = func(ctx context.Context) ([]byte, error) { return download(ctx, http.DefaultTransport, location) }
	default:
		return nil, fmt.Errorf("the key set %q: not an https:// or file:/// URL", k.location)
	}
	return k, nil
}

func thisMachine(host string) bool {
	if host == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// download gets a key set. A redirect is not followed: it could lead from https to a
// place that is not safe.
func download(ctx context.Context, by http.RoundTripper, from string) ([]byte, error) {
	client := &http.Client{
		Transport: by,
		Timeout:   fetchTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return errors.New("it redirects, which is not followed: name the place where it is")
		},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, from, nil)
	if err != nil {
		return nil, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the answer is %s", resp.Status)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeySetBytes+1))
	switch {
	case err != nil:
		return nil, err
	case len(body) > maxKeySetBytes:
		return nil, fmt.Errorf("it has more than %d bytes", maxKeySetBytes)
	}
	return body, nil
}

// load looks at the key set and takes its keys over.
func (k *KeySet) load(ctx context.Context, now time.Time) error {
	k.mu.Lock()
	k.looked = now
	k.mu.Unlock()
	content, err := k.fetch(ctx)
	if err != nil {
		// net/http's errors name the URL, with what may be a password in it.
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err
		}
		return fmt.Errorf("the key set %s: %w", k.location, err)
	}
	keys, err := parseKeys(content)
	if err != nil {
		return fmt.Errorf("the key set %s: %w", k.location, err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.keys = keys
	return nil
}

// parseKeys reads the keys with which a signature can be checked, and skips the
// others: a set may hold what this binary does not know.
func parseKeys(content []byte) ([]jose.JSONWebKey, error) {
	var raw struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(content, &raw); err != nil {
		return nil, fmt.Errorf("it is no JWKS: %w", err)
	}
	if len(raw.Keys) > maxKeys {
		return nil, fmt.Errorf("it has %d keys, more than %d", len(raw.Keys), maxKeys)
	}
	var keys []jose.JSONWebKey
	for _, r := range raw.Keys {
		var key jose.JSONWebKey
		if err := key.UnmarshalJSON(r); err != nil || !key.IsPublic() || !key.Valid() || key.Use != "" && key.Use != "sig" {
			continue
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("it has no public key that a signature could be checked with")
	}
	return keys, nil
}

// find is the one key that a token names. A key that says for which algorithm it is
// fits no other. A token without a key id needs a set of one key.
func (k *KeySet) find(id, algorithm string, now time.Time) (jose.JSONWebKey, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range k.keys {
		named := key.KeyID == id && id != "" || id == "" && len(k.keys) == 1
		if named && (key.Algorithm == "" || key.Algorithm == algorithm) {
			return key, true
		}
	}
	if id != "" && now.Sub(k.looked) >= refreshPause {
		select {
		case k.hurry <- struct{}{}:
		default:
		}
	}
	return jose.JSONWebKey{}, false
}

// outcome tells of the first failure of a row of them, and of its end.
func (k *KeySet) outcome(err error) {
	if (err != nil) == k.failed {
		return
	}
	k.failed = err != nil
	if k.told != nil {
		k.told(err)
	}
}

// readFile reads a whole file, which must not be larger than most.
func readFile(fs vfs.FS, name string, most int64) (content []byte, err error) {
	f, err := fs.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	size, err := f.Size()
	switch {
	case err != nil:
		return nil, err
	case size > most:
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, size, most)
	}
	content = make([]byte, size)
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, size), content); err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return content, nil
}

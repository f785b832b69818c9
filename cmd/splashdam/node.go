package main

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/splashdam/splashdam/broker"
	settings "github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/internal/loggers"
	"github.com/splashdam/splashdam/internal/vfs"
)

// heapFloor is never touched, so it takes no memory, but the garbage collector counts
// it: it lets the heap grow to twice what there is, and a broker has so little that
// collecting was a sixth of the CPU time of producing. So up to as much garbage as this
// may lie about.
var heapFloor = sync.OnceValue(func() []byte { return make([]byte, 32<<20) })

// openBroker plugs the broker into serve.
func (p *program) openBroker(_ context.Context, cfg ServeConfig, on []BoundListener) (node, error) {
	set, err := brokerSettings(cfg.Settings)
	if err != nil {
		return nil, &problem{what: "the broker's settings do not fit together", cause: err, kind: errUsage}
	}
	heapFloor()
	c := broker.Config{
		FS: vfs.OS(), Dir: cfg.Data, NodeID: cfg.NodeID, Shards: cfg.Shards, Users: cfg.Users, Settings: set,
		Logger:   slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: loggers.Trace})),
		LogLevel: p.logLevel(),
	}
	for _, l := range on {
		at := l.Advertised
		c.Listeners = append(c.Listeners, broker.Listener{
			Name: l.Name, Protocol: l.Protocol, Net: l.Net, Host: at.Host, Port: int32(at.Port),
		})
	}
	b, err := broker.Open(c)
	switch {
	case errors.Is(err, broker.ErrInUse):
		return nil, errDataInUse
	case errors.Is(err, broker.ErrNewerVersion):
		return nil, errors.Join(errDataNewer, err)
	case errors.Is(err, broker.ErrOtherNode):
		return nil, errors.Join(errDataOther, err)
	case err != nil:
		return nil, err
	}
	return b, nil
}

// brokerSettings parses the settings that are the broker's.
func brokerSettings(set map[string]string) (*settings.BrokerSettings, error) {
	rest := make(map[string]string, len(set))
	for name, value := range set {
		if !ofListeners(name) {
			rest[name] = value
		}
	}
	return settings.ParseBrokerSettings(rest)
}

// checkBrokerSetting is what is wrong with one of them by itself.
func checkBrokerSetting(name, value string) error {
	if ofListeners(name) {
		return nil
	}
	return settings.CheckBrokerSetting(name, value)
}

// ofListeners are settings that whoever bound the listeners has taken into account.
func ofListeners(name string) bool { return name == protocolMap || name == allowInsecure }

package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/splashdam/splashdam/internal/vfs"
)

const ofLoggers = kmsg.ConfigResourceTypeBrokerLogger

func TestALevelHoldsForItsPartUntilTheNodeIsStartedAgain(t *testing.T) {
	disk := vfs.NewMem()
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		turnedAway := func() int {
			n.log.forget()
			time.Sleep(logWindow) // so that it is not left out since it was logged before
			raw, err := n.wire.dial(ctx, "", "")
			must(t, err)
			_, err = raw.Write([]byte{0x7f, 0xff, 0xff, 0xff}) // a request of 2 GiB
			must(t, err)
			_, err = raw.Read(make([]byte, 1)) // it is closed
			if err == nil {
				t.Error("a request of 2 GiB is answered")
			}
			must(t, raw.Close())
			return len(n.log.find("a connection ended"))
		}
		is := func(logger, want string) {
			t.Helper()
			if got := ask.configured(ctx, t, ofLoggers, "1", logger); got != want+" DYNAMIC_BROKER_LOGGER_CONFIG" {
				t.Errorf("%s is %q, want %s", logger, got, want)
			}
		}
		is("root", "INFO")
		is("network", "INFO")
		if turnedAway() != 1 {
			t.Error("nothing is heard of a client that is turned away")
		}
		must(t, ask.configure(ctx, ofLoggers, "1", "network", "WARN", true))
		is("network", "INFO") // it was only to be checked
		must(t, ask.configure(ctx, ofLoggers, "1", "network", "WARN", false))
		is("network", "WARN")
		is("log", "INFO")
		if turnedAway() != 0 {
			t.Error("less than a warning is heard")
		}
		must(t, ask.configure(ctx, ofLoggers, "1", "root", "DEBUG", false))
		is("network", "WARN")
		is("log", "DEBUG")
		must(t, ask.configure(ctx, ofLoggers, "1", "network", "", false))
		is("network", "DEBUG")
		if turnedAway() != 1 {
			t.Error("nothing is heard of a client that is turned away")
		}
		n.log.forget()
	})
	within(t, Config{FS: disk}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		if got := ask.configured(ctx, t, ofLoggers, "1", "root"); got != "INFO DYNAMIC_BROKER_LOGGER_CONFIG" {
			t.Errorf("after a restart root is %q", got)
		}
	})
}

func TestLevelsThatMeanNothingAreRefused(t *testing.T) {
	within(t, Config{}, func(ctx context.Context, t *testing.T, n *node, ask asker) {
		for name, c := range map[string]struct {
			broker, logger, level string
			want                  error
		}{
			"a logger that is not there":       {"1", "no.such", "INFO", kerr.InvalidConfig},
			"a reset of one that is not":       {"1", "no.such", "", kerr.InvalidConfig},
			"a level that is not there":        {"1", "log", "LOUD", kerr.InvalidConfig},
			"a level in small letters":         {"1", "log", "debug", kerr.InvalidConfig},
			"a root without a level":           {"1", "root", "", kerr.InvalidRequest},
			"another broker's":                 {"2", "log", "INFO", kerr.InvalidRequest},
			"a broker that is no number":       {"one", "log", "INFO", kerr.InvalidRequest},
			"all brokers, which Kafka has not": {"", "log", "INFO", kerr.InvalidRequest},
		} {
			if err := ask.configure(ctx, ofLoggers, c.broker, c.logger, c.level, false); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		for _, name := range n.loggers.Names() {
			if n.loggers.Level(name) != "INFO" {
				t.Errorf("%s is %s", name, n.loggers.Level(name))
			}
		}
	})
}

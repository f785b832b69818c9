package generator

import (
	"log/slog"
	"testing"

	"github.com/splashdam/splashdam/connect"
	"github.com/splashdam/splashdam/connect/connecttest"
)

func newSource(t testing.TB, given map[string]string) connect.Source {
	given["topic.prefix"] = "load"
	c, wrong := connect.ParseConfig(Connector.Settings, given)
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	s, err := Connector.New(c, connect.Environment{Connector: "test", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestGeneratorKeepsTheContractOfSources(t *testing.T) {
	for _, dataset := range []string{"orders", "vehicles"} {
		t.Run(dataset, func(t *testing.T) {
			connecttest.TestSource(t, connecttest.SourceCase{
				Rows: 4_500,
				New: func(t testing.TB) connect.Source {
					return newSource(t, map[string]string{"dataset": dataset, "rows": "4500"})
				},
			})
		})
	}
}

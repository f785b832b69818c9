package connect

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

var exampleSettings = []Setting{
	{Name: "database.hostname", Required: true, Doc: "the server's name"},
	{Name: "database.port", Form: Number, Default: "3306", Min: 1, Max: 65535},
	{Name: "database.password", Secret: true, OneOf: []string{"a", "b"}},
	{Name: "table.include.list", Form: List},
	{Name: "tombstones.on.delete", Form: Switch, Default: "true"},
	{Name: "snapshot.mode", Default: "initial", OneOf: []string{"initial", "no_data"}},
	{Name: "even", Form: Number, Default: "2", Max: 100, Check: func(text string) error {
		if strings.ContainsAny(text[len(text)-1:], "13579") {
			return errors.New("odd")
		}
		return nil
	}},
}

func TestConfigHasWhatWasGivenAndDefaultsForTheRest(t *testing.T) {
	c, wrong := ParseConfig(exampleSettings, map[string]string{
		"database.hostname": "db", "table.include.list": " a.b, c.d ,", "tombstones.on.delete": "false",
	})
	if len(wrong) > 0 {
		t.Fatal(wrong)
	}
	if c.Text("database.hostname") != "db" || c.Number("database.port") != 3306 || c.Switch("tombstones.on.delete") ||
		c.Text("snapshot.mode") != "initial" || !slices.Equal(c.List("table.include.list"), []string{"a.b", "c.d"}) {
		t.Errorf("read as %v", c)
	}
	changed := c.With("snapshot.mode", "no_data")
	if changed.Text("snapshot.mode") != "no_data" || c.Text("snapshot.mode") != "initial" {
		t.Error("With changed the wrong configuration")
	}
}

func TestEverythingWrongWithAConfigIsSaidAtOnce(t *testing.T) {
	_, wrong := ParseConfig(exampleSettings, map[string]string{
		"database.port": "65536", "database.password": "hunter2", "tombstones.on.delete": "yes", "snapshot.mode": "always",
		"even": "3", "zeal": "1", "adress": "x",
	})
	var got []string
	for _, w := range wrong {
		got = append(got, w.Error())
	}
	want := []string{
		"database.hostname: missing: the server's name",
		"database.port: 65536 is not between 1 and 65535",
		`database.password: "(hidden)" is not one of a, b`,
		`tombstones.on.delete: "yes" is neither true nor false`,
		`snapshot.mode: "always" is not one of initial, no_data`,
		"even: odd",
		"adress: there is no such setting",
		"zeal: there is no such setting",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

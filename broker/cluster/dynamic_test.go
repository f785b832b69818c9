package cluster

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
	"pgregory.net/rapid"
)

func (m *model) alterBroker(t *rapid.T) {
	r := rapid.SampledFrom([]Resource{AllBrokers, OneBroker(1), OneBroker(2)}).Draw(t, "of")
	var changes []ConfigChange
	configs := map[string]string{}
	replace := rapid.Bool().Draw(t, "replace")
	if !replace {
		maps.Copy(configs, m.brokers[r])
	}
	for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"log.roll.ms", "log.retention.ms", "max.connections"}), 0, 3, rapid.ID).Draw(t, "names") {
		if rapid.Bool().Draw(t, "reset") {
			changes = append(changes, configChange("-"+name))
			delete(configs, name)
			continue
		}
		configs[name] = fmt.Sprint(rapid.IntRange(1, 2).Draw(t, "value"))
		changes = append(changes, configChange(name+"="+configs[name]))
	}
	cmd, err := m.ctl.AlterBroker(r, changes, replace, m.s)
	if err != nil || (cmd != nil) == maps.Equal(configs, m.brokers[r]) {
		t.Fatalf("%s from %v to %v: %v", r, m.brokers[r], configs, err)
	}
	if cmd == nil {
		return
	}
	if m.brokers[r] = configs; len(configs) == 0 {
		delete(m.brokers, r)
	}
	m.commit(cmd)
}

func (m *model) checkConfigured(t *rapid.T) {
	for r, want := range m.brokers {
		if !maps.Equal(m.applied.Configs(r), want) {
			t.Fatalf("%s has %v, want %v", r, m.applied.Configs(r), want)
		}
	}
	if len(m.applied.configured) != len(m.brokers) {
		t.Fatalf("%d have settings, want %d", len(m.applied.configured), len(m.brokers))
	}
}

// holding is what a broker's setting is, and from where.
func holding(t *testing.T, s *BrokerSettings, name string) string {
	e := entryNamed(t, s.Entries(), name)
	words := []string{*e.Value, e.Source.String()}
	for _, y := range e.Synonyms {
		words = append(words, y.Name+"="+y.Value)
	}
	return strings.Join(words, " ")
}

func TestABrokersOwnBeatsAllBrokersBeatsTheStartBeatsTheDefault(t *testing.T) {
	s := brokerSettingsOf(t, map[string]string{"log.roll.hours": "2", "message.max.bytes": "1000"})
	with := func(all, own string) *BrokerSettings {
		layers := [2]map[string]string{}
		for i, v := range []string{all, own} {
			if v != "" {
				layers[i] = map[string]string{"message.max.bytes": v, "log.roll.ms": v}
			}
		}
		n, err := s.With(layers[0], layers[1])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, c := range []struct {
		all, own   string
		bytes      int
		roll       int64
		entry      string
		topicValue string
	}{
		{"", "", 1000, 2 * hourMs, "1000 STATIC_BROKER_CONFIG message.max.bytes=1000 message.max.bytes=4194304", "1000"},
		{"7", "", 7, 7, "7 DYNAMIC_DEFAULT_BROKER_CONFIG message.max.bytes=7 message.max.bytes=1000 message.max.bytes=4194304", "7"},
		{"7", "8", 8, 8, "8 DYNAMIC_BROKER_CONFIG message.max.bytes=8 message.max.bytes=7 message.max.bytes=1000 message.max.bytes=4194304", "8"},
		{"", "8", 8, 8, "8 DYNAMIC_BROKER_CONFIG message.max.bytes=8 message.max.bytes=1000 message.max.bytes=4194304", "8"},
	} {
		n := with(c.all, c.own)
		if n.Topic(&Topic{}).MaxMessageBytes != c.bytes || n.RollMs != c.roll {
			t.Errorf("all %q, own %q: %d bytes, %d ms", c.all, c.own, n.Topic(&Topic{}).MaxMessageBytes, n.RollMs)
		}
		if got := holding(t, n, "message.max.bytes"); got != c.entry {
			t.Errorf("got  %s\nwant %s", got, c.entry)
		}
		if e := entryNamed(t, n.Effective(&Topic{}), "max.message.bytes"); *e.Value != c.topicValue {
			t.Errorf("topics have %s", *e.Value)
		}
	}
	if s.RollMs != 2*hourMs || s.all != nil {
		t.Error("With has changed what it was called on")
	}
	if got := holding(t, with("7", "8"), "log.roll.ms"); got != "8 DYNAMIC_BROKER_CONFIG log.roll.ms=8 log.roll.ms=7 log.roll.hours=2 log.roll.hours=168" {
		t.Error(got)
	}
}

func TestTopicsFollowWhatIsSetForAllBrokers(t *testing.T) {
	s, err := brokerSettingsOf(t, map[string]string{"log.retention.hours": "2"}).With(map[string]string{"log.retention.ms": "5"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	e := entryNamed(t, s.Effective(&Topic{}), "retention.ms")
	want := []Synonym{
		{"log.retention.ms", "5", kmsg.ConfigSourceDynamicDefaultBrokerConfig},
		{"log.retention.hours", "2", kmsg.ConfigSourceStaticBrokerConfig},
		{"log.retention.hours", "168", kmsg.ConfigSourceDefaultConfig},
	}
	if s.Topic(&Topic{}).RetentionMs != 5 || *e.Value != "5" || e.Source != want[0].Source || !slices.Equal(e.Synonyms, want) {
		t.Errorf("got %s from %v, %v", *e.Value, e.Source, e.Synonyms)
	}
	common := s.CommonEntries()
	if len(common) != 1 || common[0].Name != "log.retention.ms" || common[0].ReadOnly || !slices.Equal(common[0].Synonyms, want[:1]) {
		t.Errorf("got %+v", common)
	}
}

func TestAListenersConnectionsMayBeLimitedWhileABrokerRuns(t *testing.T) {
	const name = "listener.name.plaintext.max.connections"
	c := lead(t, 1, 1)
	s := DefaultBrokerSettings()
	if _, err := c.AlterBroker(OneBroker(1), []ConfigChange{configChange(name + "=5")}, false, s); err != nil {
		t.Fatal(err)
	}
	all, own := c.View().BrokerConfigs(1)
	n, err := s.With(all, own)
	if err != nil || n.Listener("PLAINTEXT").MaxConnections != 5 || n.Listener("OTHER").MaxConnections != 0 {
		t.Fatalf("got %+v, %v", n.Listener("PLAINTEXT"), err)
	}
	if got := holding(t, n, name); got != "5 DYNAMIC_BROKER_CONFIG "+name+"=5 max.connections=10000" {
		t.Error(got)
	}
}

func TestChangesOfABrokerAnswerAsKafka(t *testing.T) {
	s := brokerSettingsOf(t, map[string]string{cleanerMaxLagMs: "50"})
	for _, c := range []struct {
		of      Resource
		changes string
		want    *kerr.Error
		text    string // in the error, or what is set then
	}{
		{OneBroker(1), "log.roll.ms=007", nil, "log.roll.ms=7 max.connections=3"},
		{OneBroker(1), "-max.connections", nil, ""},
		{OneBroker(1), "-num.partitions -no.such", nil, "max.connections=3"},
		{AllBrokers, "log.cleanup.policy+=compact", nil, "log.cleanup.policy=delete,compact"},
		{AllBrokers, "log.cleanup.policy-=delete", nil, "log.cleanup.policy="},
		{OneBroker(1), "num.partitions=5", kerr.InvalidRequest, "num.partitions is read when a broker starts"},
		{AllBrokers, "ssl.keystore.key=hush", kerr.InvalidRequest, "ssl.keystore.key is read when a broker starts"},
		{OneBroker(1), "log.roll.ms=often", kerr.InvalidRequest, `log.roll.ms: "often" is not an integer of at least 1`},
		{OneBroker(1), "log.roll.m=5", kerr.InvalidRequest, "did you mean log.roll.ms?"},
		{OneBroker(1), "log.roll.ms+=5", kerr.InvalidConfig, "not a list"},
		{OneBroker(1), "log.roll.ms=5 log.roll.ms=6", kerr.InvalidRequest, "twice"},
		{OneBroker(1), cleanerMinLagMs + "=51", kerr.InvalidRequest, "51 is more than"},
		{AllBrokers, cleanerMaxLagMs + "=10 " + cleanerMinLagMs + "=11", kerr.InvalidRequest, "11 is more than"},
		{OneBroker(1), "listener.name.other.max.connections=5", kerr.InvalidRequest, `no broker has a listener "other"`},
	} {
		t.Run(c.of.String()+" "+c.changes, func(t *testing.T) {
			ctl := lead(t, 1, 1)
			if _, err := ctl.AlterBroker(OneBroker(1), []ConfigChange{configChange("max.connections=3")}, false, s); err != nil {
				t.Fatal(err)
			}
			before := ctl.View()
			var changes []ConfigChange
			for _, w := range strings.Fields(c.changes) {
				changes = append(changes, configChange(w))
			}
			_, err := ctl.AlterBroker(c.of, changes, false, s)
			wantKafka(t, err, c.want)
			if err != nil {
				if !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "hush") || ctl.View() != before {
					t.Errorf("got %v, want %q", err, c.text)
				}
				return
			}
			if got := strings.TrimSpace(configWords(pairsOf(ctl.View().Configs(c.of)), nil)); got != c.text {
				t.Errorf("got %q, want %q", got, c.text)
			}
		})
	}
}

// TestSettingsThatABrokerDoesNotKnowDoNotHold: the metadata may be of another version.
func TestSettingsThatABrokerDoesNotKnowDoNotHold(t *testing.T) {
	s := DefaultBrokerSettings()
	n, err := s.With(map[string]string{"of.the.future": "1", "num.partitions": "9", "log.roll.ms": "soon"}, nil)
	if err != nil || n.NumPartitions != 1 || n.RollMs != s.RollMs || len(n.CommonEntries()) != 0 {
		t.Errorf("got %+v, %v", n, err)
	}
	if _, err := s.With(map[string]string{cleanerMaxLagMs: "1"}, map[string]string{cleanerMinLagMs: "2"}); err == nil {
		t.Error("settings that do not go together hold")
	}
}

func TestOnlySoManyResourcesHaveSettingsOfTheirOwn(t *testing.T) {
	c := lead(t, 1, 1)
	v := c.View().next()
	for i := range maxConfigured {
		v.configured = append(v.configured, configured{OneBroker(int32(i + 10)), map[string]string{"log.roll.ms": "1"}})
	}
	slices.SortFunc(v.configured, func(a, b configured) int { return a.compare(b.Resource) })
	c.Reset(v)
	change := []ConfigChange{configChange("log.roll.ms=5")}
	_, err := c.AlterBroker(OneBroker(1), change, false, DefaultBrokerSettings())
	wantKafka(t, err, kerr.InvalidRequest)
	_, err = c.AlterBroker(OneBroker(10), change, false, DefaultBrokerSettings())
	wantKafka(t, err, nil)
}

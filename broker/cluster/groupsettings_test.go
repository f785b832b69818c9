package cluster

import (
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestAGroupGoesByItsOwnSettingsThenTheBrokersThenTheDefault(t *testing.T) {
	s := brokerSettingsOf(t, map[string]string{consumerSessionMs: "50000", consumerAssignmentMs: "3"})
	own := map[string]string{groupHeartbeatMs: "7000", "of.the.future": "1"}
	if got := s.Group(own); got != (GroupSettings{50_000, 7000, 3}) {
		t.Errorf("got %+v", got)
	}
	entries := s.GroupEntries(own)
	for name, want := range map[string]string{
		groupHeartbeatMs: "7000 GROUP_CONFIG consumer.heartbeat.interval.ms=7000 group.consumer.heartbeat.interval.ms=5000",
		groupSessionMs:   "50000 STATIC_BROKER_CONFIG group.consumer.session.timeout.ms=50000 group.consumer.session.timeout.ms=45000",
	} {
		e := entryNamed(t, entries, name)
		got := *e.Value + " " + e.Source.String()
		for _, y := range e.Synonyms {
			got += " " + y.Name + "=" + y.Value
		}
		if got != want || e.ReadOnly {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
	later, err := s.With(map[string]string{consumerAssignmentMs: "9"}, nil)
	if err != nil || later.Group(nil).AssignmentIntervalMs != 9 {
		t.Errorf("a group does not follow the brokers: %v, %v", later, err)
	}
}

// TestAGroupIsHeldToTheBoundsOfTheBroker also where they have become narrower since.
func TestAGroupIsHeldToTheBoundsOfTheBroker(t *testing.T) {
	s := brokerSettingsOf(t, map[string]string{"group.consumer.max.heartbeat.interval.ms": "6000"})
	if got := s.Group(map[string]string{groupHeartbeatMs: "7000", groupSessionMs: "1000"}); got.HeartbeatIntervalMs != 6000 || got.SessionTimeoutMs != 45_000 {
		t.Errorf("got %+v", got)
	}
}

func TestChangesOfAGroupAnswerAsKafka(t *testing.T) {
	s := brokerSettingsOf(t, map[string]string{"group.consumer.min.session.timeout.ms": "1"})
	for _, c := range []struct {
		group, changes string
		want           *kerr.Error
		text           string // in the error, or what is set then
	}{
		{"g", groupSessionMs + "=050000", nil, "consumer.heartbeat.interval.ms=7000 consumer.session.timeout.ms=50000"},
		{"g", "-" + groupHeartbeatMs + " -no.such", nil, ""},
		{"h", "-" + groupHeartbeatMs, nil, ""},
		{"g", groupSessionMs + "=60001", kerr.InvalidConfig, "60001 is not between group.consumer.min.session.timeout.ms, 1, and group.consumer.max.session.timeout.ms, 60000"},
		{"g", groupSessionMs + "=long", kerr.InvalidConfig, `"long" is not an integer`},
		{"g", groupSessionMs + "=7000", kerr.InvalidConfig, "7000 is not more than consumer.heartbeat.interval.ms, 7000"},
		{"g", groupSessionMs + "+=1", kerr.InvalidConfig, "not a list"},
		{"g", "consumer.session.timeout=1", kerr.InvalidConfig, "did you mean consumer.session.timeout.ms?"},
		{"", groupSessionMs + "=50000", kerr.InvalidRequest, "1 to 1024 bytes"},
		{strings.Repeat("g", 1025), groupSessionMs + "=50000", kerr.InvalidRequest, "1 to 1024 bytes"},
	} {
		t.Run(shortened(c.group)+" "+c.changes, func(t *testing.T) {
			ctl := lead(t, 1, 1)
			if _, err := ctl.AlterGroup(OfGroup("g"), []ConfigChange{configChange(groupHeartbeatMs + "=7000")}, false, s); err != nil {
				t.Fatal(err)
			}
			var changes []ConfigChange
			for _, w := range strings.Fields(c.changes) {
				changes = append(changes, configChange(w))
			}
			before := ctl.View()
			_, err := ctl.AlterGroup(OfGroup(c.group), changes, false, s)
			wantKafka(t, err, c.want)
			if err != nil {
				if !strings.Contains(err.Error(), c.text) || ctl.View() != before {
					t.Errorf("got %v, want %q", err, c.text)
				}
				return
			}
			if got := strings.TrimSpace(configWords(pairsOf(ctl.View().Configs(OfGroup(c.group))), nil)); got != c.text {
				t.Errorf("got %q, want %q", got, c.text)
			}
		})
	}
}

func TestTheGroupsThatHaveSettingsAreListed(t *testing.T) {
	c := lead(t, 1, 1)
	for _, r := range []Resource{OfGroup("b"), OfGroup("a"), OfGroup("c"), AllBrokers, OneBroker(1)} {
		var err error
		if r.Type == kmsg.ConfigResourceTypeBroker {
			_, err = c.AlterBroker(r, []ConfigChange{configChange("log.roll.ms=7")}, false, DefaultBrokerSettings())
		} else {
			_, err = c.AlterGroup(r, []ConfigChange{configChange(groupHeartbeatMs + "=7000")}, false, DefaultBrokerSettings())
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.AlterGroup(OfGroup("b"), nil, true, DefaultBrokerSettings()); err != nil {
		t.Fatal(err)
	}
	if got := c.View().ConfiguredGroups(); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("got %q", got)
	}
}

package cluster

import (
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"pgregory.net/rapid"

	"github.com/splashdam/splashdam/broker/quota"
)

func (m *model) alterQuotas(t *rapid.T) {
	parts := rapid.SampledFrom([]quota.Part{{}, quota.Everybody(), quota.Of("a"), quota.Of("b")})
	e := quota.Entity{User: parts.Draw(t, "user"), Client: parts.Draw(t, "client")}
	var changes []quota.Change
	values := m.quotas[e]
	for range rapid.IntRange(0, 3).Draw(t, "changes") {
		ch := quota.Change{Key: rapid.SampledFrom([]quota.Key{quota.ProducerByteRate, quota.RequestPercentage}).Draw(t, "key"), Value: float64(rapid.IntRange(0, 2).Draw(t, "value"))}
		changes = append(changes, ch)
		values[ch.Key] = ch.Value
	}
	cmd, err := m.ctl.AlterQuotas(e, changes)
	if nobody := e == (quota.Entity{}); nobody != (err != nil) || !nobody && (cmd != nil) != (values != m.quotas[e]) {
		t.Fatalf("quotas of %v: %v", e, err)
	}
	if cmd == nil {
		return
	}
	if m.quotas[e] = values; values == (quota.Values{}) {
		delete(m.quotas, e)
	}
	m.commit(cmd)
}

func (m *model) checkQuotas(t *rapid.T) {
	for _, q := range m.applied.Quotas() {
		if m.quotas[q.Entity] != q.Values {
			t.Fatalf("%v has %v", q.Entity, q.Values)
		}
	}
	if len(m.applied.Quotas()) != len(m.quotas) {
		t.Fatalf("%d have quotas, want %d", len(m.applied.Quotas()), len(m.quotas))
	}
}

func TestQuotasThatCannotBeAreRefused(t *testing.T) {
	c := lead(t, 1, 1)
	user := quota.Entity{User: quota.Of("u")}
	_, err := c.AlterQuotas(user, []quota.Change{{Key: quota.ConnectionCreationRate, Value: 1}})
	wantKafka(t, err, kerr.InvalidRequest)
	_, err = c.AlterQuotas(user, []quota.Change{{Key: quota.ProducerByteRate, Value: 0.5}})
	wantKafka(t, err, kerr.InvalidRequest)
	var full quota.Table
	for i := range maxQuotas {
		full = append(full, quota.Quota{Entity: quota.Entity{User: quota.Of(fmt.Sprintf("%05d", i))}, Values: quota.Values{1}})
	}
	v := c.View().next()
	v.quotas = full
	c.Reset(v)
	_, err = c.AlterQuotas(user, []quota.Change{{Key: quota.ProducerByteRate, Value: 1}})
	wantKafka(t, err, kerr.InvalidRequest)
	if _, err = c.AlterQuotas(full[7].Entity, []quota.Change{{Key: quota.ProducerByteRate, Value: 2}}); err != nil {
		t.Error(err)
	}
}

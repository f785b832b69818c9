package broker

import (
	"testing"
	"time"

	"github.com/splashdam/splashdam/broker/cluster"
	"github.com/splashdam/splashdam/txn"
)

func TestTheBrokersSettingsPaceTheQuestions(t *testing.T) {
	if got := halfPolicy(cluster.DefaultBrokerSettings()); got != txn.DefaultPolicy() {
		t.Errorf("with nothing set: %+v, want %+v", got, txn.DefaultPolicy())
	}
	s, err := cluster.ParseBrokerSettings(map[string]string{
		"half.message.immunity.ms": "300", "half.message.check.interval.ms": "500", "half.message.check.max": "7",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := txn.DefaultPolicy()
	want.Immunity, want.Interval, want.Checks = 300*time.Millisecond, 500*time.Millisecond, 7
	if got := halfPolicy(s); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

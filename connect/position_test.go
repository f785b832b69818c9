package connect

import "testing"

func TestPositionsAreWrittenAsKafkaConnectWritesThem(t *testing.T) {
	p, err := NewPosition(map[string]string{"server": "a<b&c"}, map[string]any{"pos": 4, "name": "é"})
	if err != nil || string(p.Partition) != `{"server":"a<b&c"}` || string(p.Offset) != `{"name":"é","pos":4}` {
		t.Errorf("%s %s %v", p.Partition, p.Offset, err)
	}
	if p, err := NewPosition(struct{}{}, nil); err != nil || p.Offset != nil {
		t.Errorf("a partition that is forgotten: %s %v", p.Offset, err)
	}
	if _, err := NewPosition(func() {}, nil); err == nil {
		t.Error("what JSON does not have is a partition")
	}
}

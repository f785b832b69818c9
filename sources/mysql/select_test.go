package mysql

import (
	"strings"
	"testing"
	"time"

	"github.com/splashdam/splashdam/connect"
)

func TestASelectNamesEveryColumn(t *testing.T) {
	s := &connect.Schema{Fields: []connect.Field{
		{Name: "id", Type: connect.Type{Kind: connect.Int64}}, {Name: "a`b", Type: connect.Type{Kind: connect.String}},
		{Name: "f", Type: connect.Type{Kind: connect.Float32}}, {Name: "d", Type: connect.Type{Kind: connect.Float64}},
	}}
	if got, want := selectList(s), "`id`, `a``b`, `f` * 1e0, `d` * 1e0"; got != want {
		t.Errorf("list is %s, want %s", got, want)
	}
}

func TestAValueThatDoesNotFitItsColumnIsAnError(t *testing.T) {
	for _, test := range []struct {
		kind  connect.Kind
		value any
	}{
		{connect.Int8, int64(128)}, {connect.Int16, int64(-32769)}, {connect.Int32, int64(1 << 31)}, {connect.Int32, uint64(1)},
		{connect.Uint8, int64(256)}, {connect.Uint8, int64(-1)}, {connect.Uint16, uint64(1 << 16)}, {connect.Uint32, int64(1 << 32)}, {connect.Uint64, int64(-1)},
		{connect.Uint64, []byte("18446744073709551616")}, {connect.Uint64, []byte("x")}, {connect.Year, int64(-1)},
		{connect.Float32, int64(1)}, {connect.Float64, []byte("1.5")}, {connect.Int8, 1.5}, {connect.Int8, []byte("1")},
		{connect.Bool, []byte{}}, {connect.Bits, []byte{1, 2, 3}}, {connect.String, int64(1)}, {connect.Date, int64(20240203)},
		{connect.DateTime, "2024-02-03 04:05:06"},
	} {
		column := connect.NewColumn(connect.Type{Kind: test.kind, Length: 9, Precision: 5})
		cell := cell{&column}
		if err := cell.Scan(test.value); err == nil || !strings.HasPrefix(err.Error(), "a "+test.kind.String()+": ") {
			t.Errorf("%v of %T %v: error is %v", test.kind, test.value, test.value, err)
		}
	}
	column := connect.NewColumn(connect.Type{Kind: connect.DateTime})
	cell := cell{&column}
	if err := cell.Scan(time.Now()); err == nil || !strings.Contains(err.Error(), "the DSN must not have parseTime") {
		t.Errorf("a time that is parsed already: %v", err)
	}
}

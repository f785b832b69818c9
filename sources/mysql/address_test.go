package mysql

import (
	"encoding/hex"
	"testing"
)

func TestAddressesReadAsMariaDBWritesThem(t *testing.T) {
	for _, test := range []struct{ bytes, want string }{
		{"123e4567e89b12d3a456426655440000", "123e4567-e89b-12d3-a456-426655440000"},
		{"0a000001", "10.0.0.1"},
		{"ffffffff", "255.255.255.255"},
	} {
		b, err := hex.DecodeString(test.bytes)
		if err != nil {
			t.Fatal(err)
		}
		appendValue := appendUUID
		if len(b) == 4 {
			appendValue = appendInet4
		}
		if got := string(appendValue(nil, b)); got != test.want {
			t.Errorf("%s is %s, want %s", test.bytes, got, test.want)
		}
	}
	// What MariaDB 11.8 gave for these.
	for want, bytes := range map[string]string{
		"::":                     "00000000000000000000000000000000",
		"::1":                    "00000000000000000000000000000001",
		"::1.2.3.4":              "00000000000000000000000001020304",
		"::102":                  "00000000000000000000000000000102",
		"::0.1.0.0":              "00000000000000000000000000010000",
		"::ffff:1.2.3.4":         "00000000000000000000FFFF01020304",
		"::ffff:0.0.0.0":         "00000000000000000000FFFF00000000",
		"::ffff":                 "0000000000000000000000000000FFFF",
		"::fffe:102:304":         "00000000000000000000FFFE01020304",
		"1::":                    "00010000000000000000000000000000",
		"1:0:0:2::":              "00010000000000020000000000000000",
		"1:0:0:2::3":             "00010000000000020000000000000003",
		"::1:2:3:4:5:6:0":        "00000001000200030004000500060000",
		"1::2:0:3:0:4:0":         "00010000000200000003000000040000",
		"::1:0:0:1:0:0":          "00000000000100000000000100000000",
		"2001:db8::ff00:42:8329": "20010DB8000000000000FF0000428329",
		"::1:0:0":                "00000000000000000000000100000000",
		"0:0:0:1::":              "00000000000000010000000000000000",
		"1:2:3:4:5:6:7:8":        "00010002000300040005000600070008",
		"abcd:ef01::":            "ABCDEF01000000000000000000000000",
	} {
		b, err := hex.DecodeString(bytes)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(appendInet6(nil, b)); got != want {
			t.Errorf("%s is %s, want %s", bytes, got, want)
		}
	}
}

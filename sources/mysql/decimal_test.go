package mysql

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
)

// binaryDecimal writes a decimal number as servers do, the slow and obvious way:
// digit by digit, in groups.
func binaryDecimal(whole, fraction string, negative bool) []byte {
	var b []byte
	group := func(digits string) {
		n, _ := new(big.Int).SetString("0"+digits, 10)
		b = append(b, n.FillBytes(make([]byte, bytesOfDigits[len(digits)]))...)
	}
	for len(whole) > 0 {
		n := (len(whole)-1)%9 + 1
		group(whole[:n])
		whole = whole[n:]
	}
	for len(fraction) > 0 {
		n := min(9, len(fraction))
		group(fraction[:n])
		fraction = fraction[n:]
	}
	b[0] ^= 0x80
	if negative {
		for i := range b {
			b[i] ^= 0xff
		}
	}
	return b
}

func TestDecimalsOfEveryPrecisionReadBothWays(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for precision := 1; precision <= maxDecimalDigits; precision++ {
		for scale := 0; scale <= min(precision, 30); scale++ {
			for _, fill := range []string{"0", "9", "random"} {
				digits := make([]byte, precision)
				for i := range digits {
					digits[i] = '0' + byte(random.IntN(10))
					if fill != "random" {
						digits[i] = fill[0]
					}
				}
				negative := random.IntN(2) == 0
				whole, fraction := string(digits[:precision-scale]), string(digits[precision-scale:])
				want := strings.TrimLeft(whole, "0")
				if want == "" {
					want = "0"
				}
				if scale > 0 {
					want += "." + fraction
				}
				selected := want
				if negative {
					selected = "-" + want
					if strings.Trim(want, "0.") != "" {
						want = selected
					}
				}

				typ := connect.Type{Kind: connect.Decimal, Precision: precision, Scale: scale}
				fromEvent, fromSelect := connect.NewColumn(typ), connect.NewColumn(typ)
				d := newDecimal(precision, scale)
				read := d.readNumber
				if precision > connect.MaxDecimal128 {
					read = d.readText
				}
				b := binaryDecimal(whole, fraction, negative)
				if n, err := read(append(b, 1, 2, 3), &fromEvent); err != nil || n != len(b) {
					t.Fatalf("decimal(%d,%d) %s: %d bytes of %d: %v", precision, scale, want, n, len(b), err)
				}
				if err := parseDecimal([]byte(selected), &fromSelect); err != nil {
					t.Fatalf("decimal(%d,%d) %s: %v", precision, scale, selected, err)
				}
				if a, b := show(&fromEvent, 0), show(&fromSelect, 0); a != want || b != want {
					t.Fatalf("decimal(%d,%d) is %s from the binlog and %s from a SELECT, want %s", precision, scale, a, b, want)
				}
			}
		}
	}
}

func TestWhatIsNoDecimalOfTheTypeIsAnError(t *testing.T) {
	for _, text := range []string{"", "-", "1", "1.0", "1.000", "x.00", "1.x0", "1234.00", "--1.00", "+1.00", ".00.00", " 1.00", "1,00"} {
		column := connect.NewColumn(connect.Type{Kind: connect.Decimal, Precision: 5, Scale: 2})
		if err := parseDecimal([]byte(text), &column); err == nil {
			t.Errorf("%q is %s", text, show(&column, 0))
		}
	}
	d := newDecimal(5, 2)
	column := connect.NewColumn(connect.Type{Kind: connect.Decimal, Precision: 5, Scale: 2})
	for _, b := range [][]byte{{}, {0x80, 0x01}, {0x83, 0xe8, 0x00}, {0x80, 0x00, 100}} { // 1000 before the point, 100 behind it
		if _, err := d.readNumber(b, &column); err == nil {
			t.Errorf("%x is a decimal(5,2)", b)
		}
	}
}

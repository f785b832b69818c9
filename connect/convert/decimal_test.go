package convert

import (
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/splashdam/splashdam/connect"
	"pgregory.net/rapid"
)

// drawUnscaled makes a number of at most so many digits, often an extreme one.
func drawUnscaled(t *rapid.T, digits int) *big.Int {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	n := new(big.Int)
	switch rapid.IntRange(0, 3).Draw(t, "size") {
	case 0:
		n.Sub(limit, big.NewInt(1))
	case 1: // about a power of 2
		n.Lsh(big.NewInt(1), rapid.UintRange(0, uint(limit.BitLen())).Draw(t, "power"))
		n.Add(n, big.NewInt(rapid.Int64Range(-1, 1).Draw(t, "off by")))
	default:
		n.SetBytes(rapid.SliceOfN(rapid.Byte(), 0, (limit.BitLen()+7)/8).Draw(t, "bytes"))
	}
	n.Mod(n, limit)
	if rapid.Bool().Draw(t, "negative") {
		n.Neg(n)
	}
	return n
}

// decimalText is an unscaled number's text with so many digits behind the point.
func decimalText(n *big.Int, scale int) string {
	digits := new(big.Int).Abs(n).String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale+1-len(digits)) + digits
	}
	if scale > 0 {
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if n.Sign() < 0 {
		return "-" + digits
	}
	return digits
}

// twosComplement is what Java's BigInteger.toByteArray returns.
func twosComplement(n *big.Int) []byte {
	magnitude := n
	if n.Sign() < 0 {
		magnitude = new(big.Int).Not(n)
	}
	length := uint(magnitude.BitLen()/8 + 1)
	modulus := new(big.Int).Lsh(big.NewInt(1), 8*length)
	return new(big.Int).Mod(n, modulus).FillBytes(make([]byte, length))
}

func appendDecimalValue(c *connect.Column, n *big.Int) {
	if c.Layout() == connect.TextLayout {
		c.AppendText([]byte(decimalText(n, c.Type.Scale)))
		return
	}
	words := new(big.Int).And(n, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), big.NewInt(1)))
	c.Append16(new(big.Int).And(words, new(big.Int).SetUint64(1<<64-1)).Uint64(), new(big.Int).Rsh(words, 64).Uint64())
}

func TestDecimalsAreWrittenInEveryMode(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		precision := rapid.IntRange(1, 100).Draw(t, "precision")
		kind := connect.Type{Kind: connect.Decimal, Precision: precision, Scale: rapid.IntRange(0, precision).Draw(t, "scale")}
		n := drawUnscaled(t, precision)
		c := connect.NewColumn(kind)
		appendDecimalValue(&c, n)
		text := decimalText(n, kind.Scale)
		f, err := strconv.ParseFloat(text, 64)
		if err != nil {
			t.Fatal(err)
		}
		for mode, want := range map[connect.Decimals]string{
			connect.DecimalsPrecise: strconv.Quote(base64.StdEncoding.EncodeToString(twosComplement(n))),
			connect.DecimalsString:  strconv.Quote(text),
			connect.DecimalsDouble:  string(appendFloat(nil, f, 64)),
		} {
			if got := string(appendDecimal(nil, &c, 0, mode)); got != want {
				t.Errorf("%s of %d digits, %v, became %s instead of %s", text, precision, mode, got, want)
			}
		}
	})
}

func TestPreciseDecimalsAreWhatJavaWrites(t *testing.T) {
	for _, test := range []struct {
		text  string
		scale int
		bytes []byte
	}{
		{"0", 0, []byte{0}}, {"1", 0, []byte{1}}, {"-1", 0, []byte{0xff}}, {"127", 0, []byte{0x7f}}, {"128", 0, []byte{0, 0x80}},
		{"-128", 0, []byte{0x80}}, {"-129", 0, []byte{0xff, 0x7f}}, {"123.45", 2, []byte{0x30, 0x39}}, {"-0.01", 2, []byte{0xff}},
		{"5", 2, []byte{0x01, 0xf4}}, {"18446744073709551616", 0, []byte{1, 0, 0, 0, 0, 0, 0, 0, 0}},
	} {
		if got := appendUnscaledText(nil, []byte(test.text), test.scale); !slices.Equal(got, test.bytes) {
			t.Errorf("%s became % x instead of % x", test.text, got, test.bytes)
		}
	}
}

func TestATextThatIsNoDecimalPanics(t *testing.T) {
	for _, text := range []string{"", "-", ".5", "1.234", "1e5", "12a", "NaN", "1.2.3"} {
		t.Run(fmt.Sprintf("%q", text), func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("nothing happened")
				}
			}()
			appendUnscaledText(nil, []byte(text), 2)
		})
	}
}

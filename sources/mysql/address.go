package mysql

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strconv"
)

// The texts of MariaDB's types for identifiers and addresses, as a SELECT has them.

func appendUUID(dst, b []byte) []byte {
	for i, part := range [][]byte{b[0:4], b[4:6], b[6:8], b[8:10], b[10:16]} {
		if i > 0 {
			dst = append(dst, '-')
		}
		dst = hex.AppendEncode(dst, part)
	}
	return dst
}

func appendInet4(dst, b []byte) []byte {
	return netip.AddrFrom4([4]byte(b)).AppendTo(dst)
}

// appendInet6 is not netip's text: MariaDB shortens a single zero too, and writes
// addresses of version 4 inside version 6 with dots in both ways.
func appendInet6(dst, b []byte) []byte {
	var groups [8]uint16
	for i := range groups {
		groups[i] = binary.BigEndian.Uint16(b[2*i:])
	}
	from, to := zeroes(groups)
	dotted := from == 0 && (to == 6 || to == 5 && groups[5] == 0xffff)
	for i := 0; i < 8; i++ {
		switch {
		case i == from && to > from:
			dst = append(dst, "::"...)
			i = to - 1
			continue
		case i > 0 && i != to:
			dst = append(dst, ':')
		}
		if dotted && i == 6 {
			return appendInet4(dst, b[12:])
		}
		dst = strconv.AppendUint(dst, uint64(groups[i]), 16)
	}
	return dst
}

// zeroes is the longest run of groups that are zero, the first of the longest.
func zeroes(groups [8]uint16) (from, to int) {
	for i := 0; i < len(groups); i++ {
		j := i
		for j < len(groups) && groups[j] == 0 {
			j++
		}
		if j-i > to-from {
			from, to = i, j
		}
		i = max(i, j-1)
	}
	return from, to
}

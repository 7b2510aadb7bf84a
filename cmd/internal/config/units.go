package config

import (
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

type unit struct {
	name  string
	value uint64
}

// rateUnits are decimal, as those of links are.
func rateUnits() []unit {
	return []unit{{"Gbit", 1e9}, {"Mbit", 1e6}, {"kbit", 1e3}, {"bit", 1}}
}

func sizeUnits() []unit {
	return []unit{{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1e3}, {"B", 1}}
}

// FormatRate returns a rate in bits per second as a file has it: a whole
// number of the largest unit that makes one, such as 2500Mbit; 0 without a unit.
func FormatRate(rate uint64) string { return formatQuantity(rate, rateUnits()) }

// FormatSize returns a size in bytes, not below 0, as a file has it, in the
// manner of FormatRate: 128KiB, 625kB.
func FormatSize(size int) string { return formatQuantity(uint64(max(size, 0)), sizeUnits()) }

func formatQuantity(v uint64, units []unit) string {
	if v == 0 {
		return "0"
	}
	for _, u := range units {
		if v%u.value == 0 {
			return strconv.FormatUint(v/u.value, 10) + u.name
		}
	}
	return "" // not reached: the last unit is 1
}

// parseRate takes 100Mbit, 2.5gbit/s, and 0, but not 100: bits and bytes, thousands
// and millions are all around in such files.
func parseRate(s string) (uint64, error) {
	if s == "0" {
		return 0, nil
	}
	v, ok := parseQuantity(strings.TrimSuffix(strings.ToLower(s), "/s"), rateUnits(), strings.EqualFold)
	if !ok {
		return 0, fmt.Errorf("%s is not a rate: write a number and bit, kbit, Mbit or Gbit, such as 100Mbit", quoted(s))
	}
	return v, nil
}

func parseSize(s string) (int, error) {
	text := s
	if strings.Trim(s, "0123456789") == "" {
		text += "B"
	}
	// In these the case counts: a Mb is a megabit to most.
	v, ok := parseQuantity(text, sizeUnits(), func(a, b string) bool { return a == b })
	if !ok {
		return 0, fmt.Errorf("%s is not a size: write a number and B, kB, KiB, MB or MiB, such as 256KiB", quoted(s))
	}
	return int(min(v, math.MaxInt)), nil
}

// parseQuantity returns the number in front of a unit times the unit, false
// where that is no whole number of 64 bits, or the unit none of those.
func parseQuantity(s string, units []unit, same func(a, b string) bool) (uint64, bool) {
	end := strings.IndexFunc(s, func(c rune) bool { return c != '.' && (c < '0' || c > '9') })
	if end < 0 {
		return 0, false
	}
	whole, fraction, point := strings.Cut(s[:end], ".")
	for _, u := range units {
		if !same(u.name, s[end:]) {
			continue
		}
		v, ok := times(whole, u.value)
		if !ok || !point {
			return v, ok
		}
		part, ok := divided(fraction, u.value)
		sum, carry := bits.Add64(v, part, 0)
		return sum, ok && carry == 0
	}
	return 0, false
}

func times(digits string, value uint64) (uint64, bool) {
	n, err := strconv.ParseUint(digits, 10, 64)
	high, low := bits.Mul64(n, value)
	return low, err == nil && high == 0
}

// divided returns the digits behind a decimal point times value.
func divided(digits string, value uint64) (uint64, bool) {
	const most = 9 // no unit is larger than 1e9
	if len(digits) > most {
		return 0, false
	}
	v, ok := times(digits, value)
	unit := uint64(math.Pow10(len(digits)))
	return v / unit, ok && v%unit == 0
}

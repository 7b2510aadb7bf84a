package config

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRates(t *testing.T) {
	for text, want := range map[string]uint64{
		"0": 0, "0bit": 0, "1bit": 1, "8kbit": 8000, "100Mbit": 100e6, "100mbit": 100e6, "100MBIT/S": 100e6, "1Gbit/s": 1e9,
		"2.5Gbit": 2500e6, "0.5kbit": 500, "1.000000001Gbit": 1_000_000_001, "1000Gbit": 1e12, "007kbit": 7000,
		"18446744073709551615bit": math.MaxUint64,
	} {
		if got, err := parseRate(text); err != nil || got != want {
			t.Errorf("%s: %d %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{
		"", "5", "1000000", "bit", "-1bit", "+1bit", "1 Mbit", " 1Mbit", "1Mbits", "1Mb", "1MB", "1Mibit", "1Tbit", "1e6bit", "1_000bit",
		"1.5bit", "0.0001kbit", "1.Mbit", ".5Mbit", "1.2.3Mbit", "1.0000000000Gbit", "0x1bit", "1Mbit/min", "1Mbit/s/s",
		"18446744073709551616bit", "18446744073709551.616kbit", "99999999999999999999Gbit", "٣bit",
	} {
		if got, err := parseRate(text); err == nil || !strings.Contains(err.Error(), "is not a rate: write") {
			t.Errorf("%q: %d %v", text, got, err)
		}
	}
	for v, want := range map[uint64]string{
		0: "0", 1: "1bit", 1000: "1kbit", 1500: "1500bit", 100e6: "100Mbit", 2500e6: "2500Mbit", 1e9: "1Gbit", 1e12: "1000Gbit",
		math.MaxUint64: "18446744073709551615bit",
	} {
		if got := FormatRate(v); got != want {
			t.Errorf("%d: %s, want %s", v, got, want)
		}
	}
}

func TestSizes(t *testing.T) {
	for text, want := range map[string]int{
		"0": 0, "0B": 0, "1500": 1500, "1500B": 1500, "1kB": 1000, "1KiB": 1024, "256KiB": 262144, "1MB": 1_000_000, "1MiB": 1 << 20,
		"1.5MiB": 3 << 19, "0.5KiB": 512, "1024MiB": 1 << 30,
		"99999999999999999999B": -1, // refused below
		"9223372036854775808B":  math.MaxInt,
	} {
		got, err := parseSize(text)
		if want == -1 {
			if err == nil {
				t.Errorf("%s: %d", text, got)
			}
			continue
		}
		if err != nil || got != want {
			t.Errorf("%s: %d %v, want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "B", "1b", "1KB", "1kb", "1kib", "1Mb", "1GiB", "1.5", "1.5B", "-1", "1 KiB", "0.3KiB", "1e3"} {
		if got, err := parseSize(text); err == nil || !strings.Contains(err.Error(), "is not a size: write") {
			t.Errorf("%q: %d %v", text, got, err)
		}
	}
	for v, want := range map[int]string{
		-5: "0", 0: "0", 1: "1B", 1000: "1kB", 1024: "1KiB", 1025: "1025B", 131072: "128KiB", 625_000: "625kB", 1_000_000: "1MB",
		1 << 20: "1MiB", 1 << 30: "1024MiB", 1_024_000: "1000KiB",
	} {
		if got := FormatSize(v); got != want {
			t.Errorf("%d: %s, want %s", v, got, want)
		}
	}
}

// What is written for people is read back as the same number.
func TestUnitsThereAndBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rate := rapid.Uint64().Draw(t, "rate")
		if got, err := parseRate(FormatRate(rate)); err != nil || got != rate {
			t.Fatalf("%d is %s, is %d %v", rate, FormatRate(rate), got, err)
		}
		size := rapid.IntMin(0).Draw(t, "size")
		if got, err := parseSize(FormatSize(size)); err != nil || got != size {
			t.Fatalf("%d is %s, is %d %v", size, FormatSize(size), got, err)
		}
	})
}

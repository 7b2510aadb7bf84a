package main

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestHumanBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0B", 1023: "1023B", 1024: "1.0KiB", 1536: "1.5KiB", 10 << 10: "10KiB",
		1<<20 - 1: "1.0MiB", 2_500_000: "2.4MiB", 3 << 40: "3.0TiB", math.MaxUint64: "16EiB",
		10188: "9.9KiB", 10189: "10KiB", 1023 << 10: "1023KiB",
	} {
		if got := humanBytes(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestHumanRate(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 bit/s", 999: "999 bit/s", 8000: "8 kbit/s", 999_999: "999.999 kbit/s", 1e6: "1 Mbit/s",
		100e6: "100 Mbit/s", 2_500_000_000: "2.5 Gbit/s", 1e12: "1000 Gbit/s", 1_234_567: "1.234567 Mbit/s",
	} {
		if got := humanRate(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestHumanSize(t *testing.T) {
	for n, want := range map[int]string{
		0: "0 B", 1: "1 B", 1500: "1500 B", 1000: "1 kB", 1024: "1 KiB", 256 << 10: "256 KiB", 625_000: "625 kB",
		3 << 20: "3 MiB", 1 << 30: "1024 MiB", 2_000_000: "2 MB", 1_000_001: "1000001 B",
	} {
		if got := humanSize(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestHumanSeconds(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0s", 59: "59s", 60: "1m0s", 3599: "59m59s", 3600: "1h0m", 86399: "23h59m", 86400: "1d0h", 90000: "1d1h",
	} {
		if got := humanSeconds(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
}

func TestTable(t *testing.T) {
	var out strings.Builder
	o := &output{format: choice{value: "table"}}
	err := o.print(&out, nil, func(t *table) {
		t.row("NAME", "STATE", "N")
		t.row("a", "", 12)
		t.row("longer", "up", uint64(3))
	})
	want := "NAME     STATE   N\na        -       12\nlonger   up      3\n"
	if err != nil || out.String() != want {
		t.Errorf("%v\ngot:\n%swant:\n%s", err, out.String(), want)
	}
}

func TestFieldLeavesOutWhatIsEmpty(t *testing.T) {
	var out strings.Builder
	o := &output{format: choice{value: "table"}}
	err := o.print(&out, nil, func(t *table) {
		t.field("Name", "a")
		t.field("Namespace", "")
		t.field("N", 0)
	})
	if want := "Name:   a\nN:      0\n"; err != nil || out.String() != want {
		t.Errorf("%v\ngot:\n%swant:\n%s", err, out.String(), want)
	}
}

// What stands before and after a gap is aligned by itself.
func TestGap(t *testing.T) {
	var out strings.Builder
	err := (&output{format: choice{value: "table"}}).print(&out, nil, func(t *table) {
		t.field("A long name", 1)
		t.gap()
		t.row("A", "B")
		t.row("aa", "")
	})
	if want := "A long name:   1\n\nA    B\naa   -\n"; err != nil || out.String() != want {
		t.Errorf("%v\ngot:\n%swant:\n%s", err, out.String(), want)
	}
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestOutputReportsWriteErrors(t *testing.T) {
	for _, format := range []string{"table", "json"} {
		o := &output{format: choice{value: format}}
		if err := o.print(fullDisk{}, 1, func(t *table) { t.row("x") }); err == nil {
			t.Errorf("%s: a full disk went unnoticed", format)
		}
	}
}

// Every command describes itself, and takes no argument that its Use line does
// not name in capitals.
func TestEveryCommandIsDescribed(t *testing.T) {
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Short == "" {
			t.Errorf("%s has no description", c.CommandPath())
		}
		if c.RunE == nil && c.Run == nil {
			t.Errorf("%s does nothing", c.CommandPath())
		}
		for _, word := range strings.Fields(c.Use)[1:] {
			if strings.ToUpper(word) != word {
				t.Errorf("%s: argument %q is not in capitals", c.CommandPath(), word)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRootCommand())
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// choice is a flag that takes one of a few words.
type choice struct {
	value string
	among []string
}

func (c *choice) String() string { return c.value }
func (c *choice) Type() string   { return strings.Join(c.among, "|") }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.among, s) {
		return fmt.Errorf("say one of %s", strings.Join(c.among, ", "))
	}
	c.value = s
	return nil
}

// output is the -o flag of a command that shows something.
type output struct{ format choice }

func addOutput(cmd *cobra.Command) *output {
	o := &output{format: choice{"table", []string{"table", "json"}}}
	cmd.Flags().VarP(&o.format, "output", "o", "form of the output")
	return o
}

// print writes v as JSON, or as the table that fill makes.
func (o *output) print(w io.Writer, v any, fill func(*table)) error {
	if o.format.value == "json" {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	t := &table{tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)}
	fill(t)
	return t.w.Flush()
}

// table aligns columns. Its write errors come out of Flush.
type table struct{ w *tabwriter.Writer }

// row adds a line of cells; an empty one shows as a dash, so that columns can
// be counted.
func (t *table) row(cells ...any) {
	for i, c := range cells {
		text := fmt.Sprint(c)
		if text == "" {
			text = "-"
		}
		if i > 0 {
			text = "\t" + text
		}
		io.WriteString(t.w, text)
	}
	io.WriteString(t.w, "\n")
}

// field adds a line that names its value, and nothing for an empty one.
func (t *table) field(name string, value any) {
	if text := fmt.Sprint(value); text != "" {
		fmt.Fprintf(t.w, "%s:\t%s\n", name, text)
	}
}

// gap adds an empty line: what follows has columns of its own.
func (t *table) gap() { io.WriteString(t.w, "\n") }

// humanBytes rounds a number of bytes to two or three digits.
func humanBytes(n uint64) string {
	const units = "KMGTPE"
	if n < 1024 {
		return strconv.FormatUint(n, 10) + "B"
	}
	v, unit := float64(n)/1024, 0
	for v >= 1023.5 {
		v, unit = v/1024, unit+1
	}
	digits := 1
	if v >= 9.95 {
		digits = 0
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + units[unit:unit+1] + "iB"
}

// humanSeconds shows the two largest units of a duration in seconds.
func humanSeconds(n int64) string {
	const day = 24 * 60 * 60
	switch {
	case n < 60:
		return fmt.Sprintf("%ds", n)
	case n < 60*60:
		return (time.Duration(n) * time.Second).String()
	case n < day:
		return fmt.Sprintf("%dh%dm", n/3600, n%3600/60)
	}
	return fmt.Sprintf("%dd%dh", n/day, n%day/3600)
}

// humanRate shows a rate in bits per second with all of its digits, in the
// largest unit that it fills.
func humanRate(rate uint64) string {
	size, unit := 1.0, "bit/s"
	switch {
	case rate >= 1e9:
		size, unit = 1e9, "Gbit/s"
	case rate >= 1e6:
		size, unit = 1e6, "Mbit/s"
	case rate >= 1e3:
		size, unit = 1e3, "kbit/s"
	}
	return strconv.FormatFloat(float64(rate)/size, 'f', -1, 64) + " " + unit
}

// humanSize shows a number of bytes with all of its digits, in the largest
// unit that leaves none behind the point.
func humanSize(n int) string {
	for _, u := range []struct {
		name string
		size int
	}{{"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10}, {"kB", 1000}} {
		if n > 0 && n%u.size == 0 {
			return fmt.Sprintf("%d %s", n/u.size, u.name)
		}
	}
	return fmt.Sprintf("%d B", n)
}

// count writes a number with its noun.
func count[N int | uint64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

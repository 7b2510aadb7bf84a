package bench

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// busyWarning is the share of the CPUs, 0 to 1, that others may use before the
// table warns of it.
const busyWarning = 0.05

// WriteTable writes the report for people: a block for each scenario, the peers
// that are missing, the measurements that failed, and the targets.
func (r *Report) WriteTable(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "machine   %s, %d x %s", r.Machine.System, r.Machine.CPUs, r.Machine.Processor)
	if r.Machine.MemoryMiB > 0 {
		fmt.Fprintf(&b, ", %d MiB", r.Machine.MemoryMiB)
	}
	fmt.Fprintf(&b, "\nversions  weft %s, %s\n", r.Versions.Weft, r.Versions.Go)
	fmt.Fprintf(&b, "rounds    %d of %.3g s each, %.3g s warm-up; x PEER is the median of the rounds' own ratios to it,\n"+
		"          x IPv4 of those to the same peer in IPv4\n",
		r.Settings.Rounds, r.Settings.Measure, r.Settings.Warmup)
	if r.Machine.Busy > busyWarning {
		fmt.Fprintf(&b, "warning   others used %.0f %% of the CPUs before a round: do not trust the figures\n", 100*r.Machine.Busy)
	}
	for _, s := range Scenarios() {
		r.writeScenario(&b, s)
	}
	r.writeMissing(&b)
	r.writeOutcomes(&b)
	_, err := w.Write(b.Bytes())
	return err
}

func (r *Report) writeScenario(b *bytes.Buffer, s Scenario) {
	t := columns(b)
	lines := 0
	for _, row := range r.Rows {
		if row.Scenario != s.Name {
			continue
		}
		if lines == 0 {
			fmt.Fprintf(b, "\n%s: %s (%s, %s is better)\n", s.Name, s.About, s.Unit, s.Better)
			columns := "x " + s.baseline() + "\t(min-max)"
			if s.Twin != "" {
				columns += "\tx IPv4\t(min-max)"
			}
			fmt.Fprintf(t, "  peer\tmedian\tspread\t%s\t%s\n", columns, headings(row.Details))
		}
		lines++
		ratios := row.Ratio.cells()
		if s.Twin != "" {
			ratios += "\t" + row.OfIPv4.cells()
		}
		fmt.Fprintf(t, "  %s\t%s\t%.0f %%\t%s\t%s\n", row.Peer, number(row.Median), 100*row.Spread, ratios, cells(row.Details))
	}
	t.Flush()
}

// cells are two of the table: the median, and the least and the most.
func (r *Ratio) cells() string {
	if r == nil {
		return "-\t-"
	}
	return fmt.Sprintf("%.2f\t(%.2f-%.2f)", r.Median, r.Min, r.Max)
}

func (r *Report) writeMissing(b *bytes.Buffer) {
	for _, p := range r.Peers {
		if p.Missing != "" {
			fmt.Fprintf(b, "\nmissing: %s (%s): %s\n", p.Name, p.About, p.Missing)
		}
	}
	for _, m := range r.Failures() {
		fmt.Fprintf(b, "\nfailed: %s over %s in round %d: %s\n", m.Scenario, m.Peer, m.Round, m.Error)
	}
}

func (r *Report) writeOutcomes(b *bytes.Buffer) {
	if len(r.Outcomes) == 0 {
		return
	}
	fmt.Fprintln(b)
	t := columns(b)
	fmt.Fprintf(t, "target\tpeer\twanted\tmeasured\treached\n")
	for _, o := range r.Outcomes {
		sign := ">="
		if o.Better == Lower {
			sign = "<="
		}
		measured, reached := "nothing", "no"
		if o.Value != nil {
			measured = number(*o.Value)
		}
		if o.Reached {
			reached = "yes"
		}
		fmt.Fprintf(t, "%s\t%s\t%s %s %s\t%s\t%s\n", o.Scenario, o.Peer, sign, number(o.Bound), o.Unit, measured, reached)
	}
	t.Flush()
}

func columns(b *bytes.Buffer) *tabwriter.Writer {
	return tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
}

func headings(details []Figure) string {
	var h []string
	for _, d := range details {
		h = append(h, d.Name+" "+d.Unit)
	}
	return strings.Join(h, "\t")
}

func cells(details []Figure) string {
	var c []string
	for _, d := range details {
		c = append(c, number(d.Value))
	}
	return strings.Join(c, "\t")
}

// number prints three significant digits without an exponent, and every digit
// in front of the point.
func number(v float64) string {
	digits := 2
	for limit := 10.0; digits > 0 && (v >= limit || v <= -limit); limit *= 10 {
		digits--
	}
	if v > -1 && v < 1 && v != 0 {
		digits = 3
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

package bench

import (
	"math"
	"slices"
)

// Row is one peer in one scenario, over all rounds.
type Row struct {
	Scenario string   `json:"scenario"`
	Peer     string   `json:"peer"`
	Unit     string   `json:"unit"`
	Rounds   int      `json:"rounds"` // rounds that yielded a sample
	Median   float64  `json:"median"`
	Min      float64  `json:"min"`
	Max      float64  `json:"max"`
	Spread   float64  `json:"spread"`            // (Max-Min)/Median
	Against  string   `json:"against,omitempty"` // the peer that Ratio refers to; empty: the kernel bridge
	Ratio    *Ratio   `json:"ratio,omitempty"`   // nil where one of the two is missing
	OfIPv4   *Ratio   `json:"of_ipv4,omitempty"` // to the same peer in IPv4, of a scenario in IPv6; nil likewise
	Details  []Figure `json:"details,omitempty"`
}

// Ratio holds the ratios of the single rounds to what is compared with in the same
// round. Median need not be the quotient of the two medians.
type Ratio struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// summarise derives the rows and outcomes of the report from its measurements.
func (r *Report) summarise(scenarios []Scenario, targets []Target) {
	r.Rows, r.Outcomes = nil, nil
	for _, s := range scenarios {
		for _, peer := range r.Peers {
			if row, ok := r.row(s, peer.Name); ok {
				r.Rows = append(r.Rows, row)
			}
		}
	}
	for _, t := range targets {
		r.Outcomes = append(r.Outcomes, t.judge(r))
	}
}

// row derives one row; ok is false where no round yielded a sample.
func (r *Report) row(s Scenario, peer string) (row Row, ok bool) {
	byRound := r.values(s.Name, peer)
	if len(byRound) == 0 {
		return Row{}, false
	}
	var values []float64
	for _, v := range byRound {
		values = append(values, v)
	}
	row = Row{
		Scenario: s.Name, Peer: peer, Unit: s.Unit, Rounds: len(values),
		Median: median(values), Min: slices.Min(values), Max: slices.Max(values),
		Against: s.Against, Details: r.details(s.Name, peer),
	}
	if sp := spread(values); !math.IsNaN(sp) {
		row.Spread = sp
	}
	row.Ratio = ratioTo(r.values(s.Name, s.baseline()), byRound)
	if s.Twin != "" {
		row.OfIPv4 = ratioTo(r.values(s.Twin, peer), byRound)
	}
	return row, true
}

// ratioTo returns the ratios of rounds to a base, nil where no round has both figures.
func ratioTo(base, value map[int]float64) *Ratio {
	ratios := pairedRatios(value, base)
	if len(ratios) == 0 {
		return nil
	}
	return &Ratio{Median: median(ratios), Min: ratios[0], Max: ratios[len(ratios)-1]}
}

// values returns the samples of a peer in a scenario by round.
func (r *Report) values(scenario, peer string) map[int]float64 {
	values := make(map[int]float64)
	for _, m := range r.Measurements {
		if m.Scenario == scenario && m.Peer == peer && m.Error == "" {
			values[m.Round] = m.Value
		}
	}
	return values
}

// details returns the median of every detail, in the order of their first
// appearance.
func (r *Report) details(scenario, peer string) []Figure {
	var figures []Figure
	values := make(map[string][]float64)
	for _, m := range r.Measurements {
		if m.Scenario != scenario || m.Peer != peer || m.Error != "" {
			continue
		}
		for _, d := range m.Details {
			if values[d.Name] == nil {
				figures = append(figures, d)
			}
			values[d.Name] = append(values[d.Name], d.Value)
		}
	}
	for i := range figures {
		figures[i].Value = median(values[figures[i].Name])
	}
	return figures
}

// find returns the row of a peer in a scenario, nil where there is none.
func (r *Report) find(scenario, peer string) *Row {
	for i := range r.Rows {
		if r.Rows[i].Scenario == scenario && r.Rows[i].Peer == peer {
			return &r.Rows[i]
		}
	}
	return nil
}

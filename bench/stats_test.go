package bench

import (
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"
)

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, math.NaN()},
		{[]float64{7}, 7},
		{[]float64{9, 1}, 5},
		{[]float64{100, 1, 2}, 2},
		{[]float64{4, 1, 3, 2}, 2.5},
		{[]float64{-1, -5, 0}, -1},
	} {
		values := slices.Clone(c.values)
		if got := median(values); !cmp.Equal(got, c.want, cmpopts.EquateNaNs()) {
			t.Errorf("median(%v) = %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(values, c.values) {
			t.Errorf("median changed %v to %v", c.values, values)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   float64
	}{
		{nil, math.NaN()},
		{[]float64{0, 0}, math.NaN()},
		{[]float64{5}, 0},
		{[]float64{10, 8, 12}, 0.4},
		{[]float64{10, 10, 10, 20}, 1},
	} {
		if got := spread(c.values); !cmp.Equal(got, c.want, cmpopts.EquateNaNs()) {
			t.Errorf("spread(%v) = %v, want %v", c.values, got, c.want)
		}
	}
}

func TestPercentile(t *testing.T) {
	thousand := make([]float64, 1000)
	for i := range thousand {
		thousand[i] = float64(i + 1)
	}
	for _, c := range []struct {
		sorted []float64
		p      float64
		want   float64
	}{
		{nil, 50, math.NaN()},
		{[]float64{3}, 99.9, 3},
		{[]float64{1, 2}, 50, 1},
		{[]float64{1, 2, 3}, 50, 2},
		{[]float64{1, 2, 3}, 100, 3},
		{[]float64{1, 2, 3}, 0.001, 1},
		{thousand, 50, 500},
		{thousand, 99, 990},
		{thousand, 99.9, 999},
		{thousand, 100, 1000},
	} {
		if got := percentile(c.sorted, c.p); !cmp.Equal(got, c.want, cmpopts.EquateNaNs()) {
			t.Errorf("percentile of %d values, %v %%: %v, want %v", len(c.sorted), c.p, got, c.want)
		}
	}
}

// A percentile is a value that was measured, at least p percent of the values
// do not exceed it, and no smaller one has that property.
func TestPercentileProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Float64Range(0, 1e6), 1, 300).Draw(t, "values")
		p := float64(rapid.IntRange(1, 1000).Draw(t, "tenths")) / 10
		slices.Sort(values)
		got := percentile(values, p)
		if !slices.Contains(values, got) {
			t.Fatalf("%v was not measured", got)
		}
		share := func(limit float64) float64 {
			n := 0
			for _, v := range values {
				if v <= limit {
					n++
				}
			}
			return 100 * float64(n) / float64(len(values))
		}
		if share(got) < p-1e-6 {
			t.Fatalf("only %v %% do not exceed %v, wanted %v %%", share(got), got, p)
		}
		if i := slices.Index(values, got); i > 0 && share(values[i-1]) >= p {
			t.Fatalf("%v does for %v %% as well as %v", values[i-1], p, got)
		}
	})
}

func TestPairedRatios(t *testing.T) {
	value := map[int]float64{1: 5, 2: 12, 3: 7, 5: 1}
	base := map[int]float64{1: 10, 2: 12, 4: 9, 5: 0}
	if got, want := pairedRatios(value, base), []float64{0.5, 1}; !slices.Equal(got, want) {
		t.Errorf("ratios %v, want %v: rounds 3 and 4 have no partner, the base of 5 is zero", got, want)
	}
	if got := pairedRatios(nil, base); got != nil {
		t.Errorf("ratios of nothing: %v", got)
	}
}

// What slows both partners of a round by the same factor leaves the ratio alone.
func TestPairedRatiosIgnoreDrift(t *testing.T) {
	drift := []float64{1, 0.3, 0.9, 0.6, 1.7}
	value, base := map[int]float64{}, map[int]float64{}
	for i, d := range drift {
		value[i+1], base[i+1] = 6*d, 10*d
	}
	for _, r := range pairedRatios(value, base) {
		if math.Abs(r-0.6) > 1e-12 {
			t.Errorf("ratio %v, want 0.6", r)
		}
	}
}

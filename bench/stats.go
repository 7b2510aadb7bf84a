package bench

import (
	"math"
	"slices"
)

// median returns the middle of the values, the mean of the two middle ones
// where their number is even, and NaN where there are none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	mid := len(v) / 2
	if len(v)%2 == 1 {
		return v[mid]
	}
	return (v[mid-1] + v[mid]) / 2
}

// spread returns the distance between the largest and the smallest value as a
// share of the median: 0.1 means that the rounds lie within 10 %. It is NaN
// where there are no values and where the median is zero.
func spread(values []float64) float64 {
	m := median(values)
	if math.IsNaN(m) || m == 0 {
		return math.NaN()
	}
	return (slices.Max(values) - slices.Min(values)) / m
}

// percentile returns the smallest of the sorted values that at least p percent
// (0 < p <= 100) of them do not exceed: the nearest-rank definition, which
// never invents a value that was not measured. It is NaN for no values.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	// The tiny amount taken off keeps 99.9 % of 1000 at rank 999 although
	// 99.9/100*1000 is a little more in binary.
	rank := int(math.Ceil(p/100*float64(len(sorted)) - 1e-9))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// pairedRatios divides value by base round by round and leaves out the rounds
// that lack one of them. What slows the machine for a while slows neighbours in
// a round alike, and falls out of their ratio.
func pairedRatios(value, base map[int]float64) []float64 {
	var ratios []float64
	for round, v := range value {
		if b, ok := base[round]; ok && b != 0 {
			ratios = append(ratios, v/b)
		}
	}
	slices.Sort(ratios)
	return ratios
}

// merge joins two sorted lists.
func merge(a, b []float64) []float64 {
	all := append(slices.Clone(a), b...)
	slices.Sort(all)
	return all
}

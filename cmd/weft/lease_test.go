package main

import (
	"testing"
	"time"

	"github.com/weft/weft/cmd/internal/api"
)

func TestExpires(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) *time.Time { t := now.Add(d); return &t }
	for _, c := range []struct {
		lease api.Lease
		want  string
	}{
		{api.Lease{State: api.LeaseActive, Expires: at(54*time.Minute + 59*time.Second)}, "54m"},
		{api.Lease{State: api.LeaseActive, Expires: at(time.Hour)}, "1h0m"},
		{api.Lease{State: api.LeaseActive, Expires: at(59 * time.Second)}, "59s"},
		{api.Lease{State: api.LeaseActive, Expires: at(time.Minute)}, "1m"},
		{api.Lease{State: api.LeaseActive, Expires: at(50 * time.Hour)}, "2d2h"},
		{api.Lease{State: api.LeaseActive}, "never"},
		{api.Lease{State: api.LeaseReserved}, ""},
		{api.Lease{State: api.LeaseExpired, Expires: at(0)}, ""},
		{api.Lease{State: api.LeaseExpired, Expires: at(-time.Hour)}, ""},
	} {
		if got := expiresCell(c.lease, now); got != c.want {
			t.Errorf("%s, %v: %q, want %q", c.lease.State, c.lease.Expires, got, c.want)
		}
	}
}

func TestLeaseTime(t *testing.T) {
	for text, want := range map[string]int64{
		"1s": 1, "90m": 5400, "12h": 43200, "infinite": api.LeaseForever, "Infinite": api.LeaseForever,
		"4294967294s": 4294967294, "7d": 604800, "1w": 604800, "1d12h": 129600,
		"": 0, "d": 0, "0d": 0, "-1d": 0, "1.5d": 0, "49711d": 0, "1w-1h": 0, "0s": 0, "-1h": 0, "1.5s": 0, "3600": 0, "4294967295s": 0, "for ever": 0,
	} {
		var l leaseTime
		if err := l.Set(text); (err == nil) != (want != 0) || int64(l) != want {
			t.Errorf("%q: %d, %v, want %d", text, l, err, want)
		}
	}
}

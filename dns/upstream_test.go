package dns

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// A name that nobody answers for does not make a server fail that answers for
// others: guests choose the names. The log is told of a server once a minute.
func TestSlowNamesFailNobody(t *testing.T) {
	var log bytes.Buffer
	us := &upstreams{log: slog.New(slog.NewTextHandler(&log, nil)), all: map[netip.AddrPort]*upstream{}}
	u := us.get(netip.MustParseAddrPort("192.0.2.1:53"))
	now := time.Unix(1e9, 0)
	late := errors.New("timeout")
	check := func(what string, want State, warnings, infos int) {
		t.Helper()
		if got := us.state(u); got != want {
			t.Errorf("%s: %v, want %v", what, got, want)
		}
		if w, i := strings.Count(log.String(), "WARN"), strings.Count(log.String(), "INFO"); w != warnings || i != infos {
			t.Errorf("%s: %d warnings and %d notes, want %d and %d\n%s", what, w, i, warnings, infos, log.String())
		}
	}
	us.answered(u, nil, now)
	for range 100 {
		now = now.Add(time.Second)
		us.failed(u, late, now)
		us.answered(u, nil, now)
	}
	check("answers in between", OK, 0, 0)
	now = now.Add(aliveTime)
	us.failed(u, late, now)
	check("no answer for a while", Failing, 1, 0)
	us.answered(u, nil, now)
	check("an answer", OK, 1, 1)
	now = now.Add(2 * aliveTime)
	us.failed(u, late, now)
	check("soon again", Failing, 1, 1)
	us.answered(u, nil, now)
	check("and back", OK, 1, 1)
	now = now.Add(tellPause)
	us.failed(u, late, now)
	check("a minute later", Failing, 2, 1)
}

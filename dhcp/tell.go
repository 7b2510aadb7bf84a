package dhcp

import (
	"context"
	"log/slog"
	"time"

	"github.com/weft/weft/dhcp/lease"
)

// tells reports whether a line about a client is to be written now.
func (e *engine) tells(now lease.Instant, level slog.Level) bool {
	e.endTelling(now)
	return e.telling.Tells(level)
}

// endTelling says at the end of a second what was left out in it.
func (e *engine) endTelling(now lease.Instant) {
	if n := e.telling.End(now); n > 0 {
		e.note(slog.LevelInfo, "dhcp: lines about clients were left out", "lines", n)
	}
}

// lowest returns the lowest level that a log takes.
func lowest(log *slog.Logger) slog.Level {
	for _, level := range []slog.Level{slog.LevelDebug, slog.LevelInfo, slog.LevelWarn} {
		if log.Enabled(context.Background(), level) {
			return level
		}
	}
	return slog.LevelError
}

// logGrant tells of a lease that is about to be given, and of what the client
// does not get. A renewal is worth a line to who looks for one only.
func (e *engine) logGrant(now lease.Instant, c client, m *message, b *binding, name, why string) {
	level, text := slog.LevelInfo, "dhcp: lease is given"
	renewal := e.holds(c, b)
	if renewal {
		level, text = slog.LevelDebug, "dhcp: lease is renewed"
	}
	if e.tells(now, level) {
		e.noteOfLease(level, text, "address", b.addr.addr(), "mac", c.mac, "name", name, "lease", leaseTime(e.set.duration(c, m)), "port", m.port)
	}
	wished := m.wishedName()
	if why != "" && !(renewal && b.name == "" && b.asked == wished) && e.tells(now, slog.LevelInfo) {
		e.noteOfLease(slog.LevelInfo, "dhcp: the client does not get its name: "+why, "name", e.told(m, wished), "address", b.addr.addr(), "mac", c.mac)
	}
	if renewal || c.host == nil || !c.host.Address.IsValid() || toIP4(c.host.Address) == b.addr {
		return
	}
	if holder := e.bindings[toIP4(c.host.Address)]; holder != nil && e.tells(now, slog.LevelWarn) {
		e.noteOfLease(slog.LevelWarn, "dhcp: the client does not get its reserved address: it is not free", "reserved", c.host.Address,
			"mac", c.mac, "address", b.addr.addr(), "holder", holder.mac, "state", holder.shown())
	}
}

// told is a name for the log: the one that a client asked for, or what it sent in
// place of one.
func (e *engine) told(m *message, wished string) string {
	if wished != "" {
		return wished
	}
	raw := m.hostname
	if len(m.fqdn) > fqdnHeader {
		raw = m.fqdn[fqdnHeader:]
	}
	return string(raw[:min(len(raw), 64)])
}

// leaseTime is a duration for the log.
func leaseTime(d time.Duration) string {
	if d == Infinite {
		return "infinite"
	}
	return d.String()
}

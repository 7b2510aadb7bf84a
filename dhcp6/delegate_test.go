package dhcp6

import (
	"net/netip"
	"testing"
	"time"

	"github.com/weft/weft/dhcp"
)

func TestPrefixLengths(t *testing.T) {
	for _, tt := range []struct {
		hint string
		want int
	}{
		{"::/0", 56}, {"::/48", 56}, {"::/56", 56}, {"::/60", 60}, {"::/64", 64}, {"::/80", 64},
		{"2001:db8:100:300::/60", 60}, {"2001:db8:100:300::/56", 56},
	} {
		l := newLab(t)
		p := l.lease(newGuest(1), pd(1, px(tt.hint)))
		if p.Bits() != tt.want || !l.cfg.Delegate[0].Prefix.Contains(p.Addr()) {
			t.Errorf("hint %s: %s", tt.hint, p)
		}
		if h := px(tt.hint); h.Addr() != ip("::") && h != p {
			t.Errorf("wished for %s, got %s", h, p)
		}
		// Nobody gets the rest.
		for i := range 15 {
			h := l.say(newGuest(10+i), solicit, pd(1, px("::/64")), rapidly)
			if h.MessageType == reply && h.leases()[0].Overlaps(p) {
				t.Fatalf("%s and %s", p, h.leases()[0])
			}
		}
	}
	// The pool that fits best.
	l := newLab(t, func(c *Config) {
		c.Delegate = []Pool{{px("2001:db8:1000::/40"), 48}, {px("2001:db8:2000::/48"), 60}, {px("2001:db8:3000::/48"), 56}}
	})
	for hint, want := range map[string]string{"::/0": "2001:db8:1000::/40", "::/56": "2001:db8:3000::/48", "::/62": "2001:db8:2000::/48", "::/40": "2001:db8:1000::/40"} {
		if p := l.lease(newGuest(int(hint[3])), pd(1, px(hint))); !px(want).Contains(p.Addr()) {
			t.Errorf("hint %s: %s, want one of %s", hint, p, want)
		}
	}
}

// TestLengthIsStored: a prefix that is delegated in another length is one record.
func TestLengthIsStored(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Delegate[0].Prefix = px("2001:db8:100::/56") })
	g, h := newGuest(1), newGuest(2)
	p := l.lease(g, pd(1, px("::/60")))
	l.say(g, release, pd(1, p))
	q := l.lease(h, pd(1, px("::/64")))
	if p.Bits() != 60 || q.Bits() != 64 || p.Addr() != q.Addr() {
		t.Fatalf("%s and %s", p, q)
	}
	l.pass(time.Second)
	if len(l.store.networks["lan"]) != 1 {
		t.Errorf("stored: %v", l.store.networks["lan"])
	}
	l.restart()
	l.wantState(q, dhcp.Active)
}

// TestPoolsThatChange: nobody gets what overlaps the prefix of another that is not over,
// also after a restart.
func TestPoolsThatChange(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Delegate = []Pool{{px("2001:db8:100::/60"), 62}} })
	g := newGuest(1)
	p := l.lease(g, pd(1))
	l.reconfigure(func(c *Config) { c.Delegate = []Pool{{px("2001:db8:100::/60"), 64}} })
	l.restart()
	for i := range 20 {
		h := newGuest(10 + i)
		h.port = h.mac.String()
		if x := l.say(h, solicit, pd(1), rapidly); len(x.leases()) > 0 && x.leases()[0].Overlaps(p) {
			t.Fatalf("%s is given away, and %s is another's", x.leases()[0], p)
		}
	}
	// Its client is told to give it up, and has it until then.
	h := l.say(g, renew, pd(1, p))
	if d, ok := h.lifetimes()[p]; !ok || d != 0 {
		t.Errorf("%v", h.lifetimes())
	}
	l.wantState(p, dhcp.Active)
	l.pass(time.Hour + graceTime)
	l.wantGone(p)
	l.check()
}

// TestIdlePlaceOfAnotherLength: what is over, and is part of a bigger place now, is not
// given away beside what is not over in that.
func TestIdlePlaceOfAnotherLength(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Delegate = []Pool{{px("2001:db8:100::/63"), 64}} })
	a, b := newGuest(1), newGuest(2)
	p, q := l.lease(a, pd(1)), l.lease(b, pd(1))
	for _, x := range []struct {
		*guest
		netip.Prefix
	}{{a, p}, {b, q}} {
		if x.Addr() == ip("2001:db8:100::") {
			l.say(x.guest, release, pd(1, x.Prefix))
		}
	}
	l.reconfigure(func(c *Config) { c.Delegate[0].Length = 63 })
	if h := l.say(newGuest(3), solicit, pd(1), rapidly); len(h.leases()) != 0 {
		t.Errorf("%v is given away", h.leases())
	}
	l.pass(time.Hour + graceTime)
	l.lease(newGuest(3), pd(1))
}

// TestRoutesAreToldOnce: what changes nothing is not told.
func TestRoutesAreToldOnce(t *testing.T) {
	l := newLab(t)
	g := newGuest(1)
	p := l.lease(g, pd(1))
	told := l.routed
	l.say(g, renew, pd(1, p))
	l.reconfigure()
	l.say(newGuest(2), solicit, pd(1))
	if l.routed != told {
		t.Errorf("told %d times more", l.routed-told)
	}
}

package ra

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft/weft/dataplane/frame"
	"github.com/weft/weft/ndp"
)

var (
	routerMAC = frame.MAC{2, 0, 0, 0, 0, 0xfe}
	guestMAC  = frame.MAC{2, 0, 0, 0, 0, 5}
	guest     = Solicitation{ndp.LinkLocal(guestMAC), guestMAC}
	nobody    = Solicitation{netip.IPv6Unspecified(), guestMAC} // has no address yet
	prefix    = netip.MustParsePrefix("2001:db8:1::/64")
	other     = netip.MustParsePrefix("2001:db8:2::/64")
)

// config is a router that all tests know.
func config() Config {
	return Config{Interval: 600 * time.Second, Advertisement: ndp.Advertisement{
		HopLimit: 64, Lifetime: 1800 * time.Second, MAC: routerMAC, MTU: 1500,
		Prefixes: []ndp.Prefix{{Prefix: prefix, OnLink: true, Autonomous: true, Valid: 90 * time.Minute, Preferred: 45 * time.Minute}},
	}}
}

// advert is an advertisement that was sent.
type advert struct {
	ndp.Advertisement
	at  time.Duration // since the lab began
	dst netip.Addr
	mac frame.MAC
}

func (a advert) toAll() bool { return a.dst == ndp.AllNodes }

// lab is an Advertiser in a bubble of time.
type lab struct {
	*Advertiser
	t     *testing.T
	begin time.Time

	lock sync.Mutex
	part int64      // in thousandths: what Rand returns of its range
	rand *rand.Rand // instead of that, where it is not nil
	sent []advert
}

// middle is the part that Rand returns where a test does not say.
const middle = 500

// inLab runs a test with an Advertiser.
func inLab(t *testing.T, cfg Config, part int64, f func(l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := &lab{t: t, begin: time.Now(), part: part}
		l.Advertiser = New(cfg, Env{Send: l.take, Rand: l.random, Log: slog.New(slog.DiscardHandler)})
		defer l.Close()
		f(l)
	})
}

// choose says what Rand returns.
func (l *lab) choose(part int64, r *rand.Rand) {
	l.lock.Lock()
	defer l.lock.Unlock()
	l.part, l.rand = part, r
}

func (l *lab) random(below time.Duration) time.Duration {
	l.lock.Lock()
	defer l.lock.Unlock()
	if below <= 0 {
		panic("Rand of nothing")
	}
	if l.rand != nil {
		return time.Duration(l.rand.Int64N(int64(below)))
	}
	return min(below*time.Duration(l.part)/1000, below-1)
}

func (l *lab) take(dst netip.Addr, mac frame.MAC, message []byte) {
	f := ndp.Packet(routerMAC, mac, ndp.LinkLocal(routerMAC), dst, message)
	var p frame.Parsed
	if p.Parse(f); !ndp.Valid(f, &p) {
		l.t.Errorf("sent an advertisement that is not valid: % x", message)
		return
	}
	a, err := ndp.ParseAdvertisement(message)
	if err != nil {
		l.t.Errorf("sent % x: %v", message, err)
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	l.sent = append(l.sent, advert{a, time.Since(l.begin), dst, mac})
}

// pass lets time pass, and returns what is sent in it.
func (l *lab) pass(d time.Duration) []advert {
	time.Sleep(d)
	synctest.Wait()
	l.lock.Lock()
	defer l.lock.Unlock()
	sent := l.sent
	l.sent = nil
	return sent
}

// calm lets the first few advertisements pass, and stops where none is due for at least
// some minutes.
func (l *lab) calm() {
	l.t.Helper()
	if sent := l.pass(time.Minute); len(sent) != maxInitial {
		l.t.Fatalf("%d advertisements in the first minute, want %d", len(sent), maxInitial)
	}
}

// one lets time pass, and returns the only advertisement that is sent in it.
func (l *lab) one(d time.Duration) advert {
	l.t.Helper()
	sent := l.pass(d)
	if len(sent) != 1 {
		l.t.Fatalf("%d advertisements in %v, want 1: %+v", len(sent), d, sent)
	}
	return sent[0]
}

// none lets time pass in which nothing is sent.
func (l *lab) none(d time.Duration) {
	l.t.Helper()
	if sent := l.pass(d); len(sent) != 0 {
		l.t.Fatalf("advertisements in %v: %+v", d, sent)
	}
}

func (l *lab) now() time.Duration { return time.Since(l.begin) }

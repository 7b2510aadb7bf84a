package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Bounds of the values of a configuration.
const (
	maxName      = 15 // a port's name is the name of its interface, where it has no other
	maxInterface = 15 // IFNAMSIZ-1, include/uapi/linux/if.h
	maxNetns     = 255
	maxVLAN      = 4094       // IEEE 802.1Q-2018 table 9-2
	minMTU       = 68         // RFC 791 section 3.2
	maxMTU       = 65535 - 18 // a frame with one tag stays below 64 KiB
	minAgeing    = time.Second
	maxAgeing    = 12 * time.Hour
	maxLimit     = 1 << 20

	maxMACs    = 65536
	maxSources = 64 // each frame of the port is compared with all of them
	maxStorm   = 100_000_000

	minRate         = 8000
	maxRate         = 1_000_000_000_000
	maxBurst        = 1 << 30
	minDefaultBurst = 128 << 10

	maxBridgePriority  = 61440 // IEEE 802.1D-2004 clause 9.2.5
	bridgePriorityStep = 4096
	maxPortPriority    = 240 // clause 9.2.7
	portPriorityStep   = 16
	maxCost            = 200_000_000 // clause 17.14

	minSubnet = 8 // bits
	maxSubnet = 30

	minMTU6      = 1280 // RFC 8200 section 5
	slaacSubnet  = 64   // RFC 4862 section 5.5.3 d, RFC 4291 section 2.5.1
	minSubnet6   = 16
	maxSubnet6   = 126
	maxLink6     = 128
	maxAddresses = 8 // of IPv6: all of them are in every advertisement

	minInterval    = 4 // seconds (RFC 4861 section 6.2.1)
	maxInterval    = 1800
	maxLifetime    = 9000
	routerLifetime = "0s, or the interval up to 9000s in whole seconds"
	maxRDNSS       = 8 // with these and 8 prefixes an advertisement fits the least MTU
	maxDNSSL       = 8
	maxDNSSLBytes  = 256
	maxAdvertised  = 8 // routes
	maxPools       = 64
	minDUID        = 3
	maxDUID        = 130

	day        = 24 * time.Hour
	minLease   = 2 * time.Minute
	maxLease   = 365 * day
	maxLeases  = 1 << 20 // of the ranges of a network too
	maxRanges  = 256     // each is compared with all
	badLease   = "is out of range: give 2m-365d in whole seconds, or infinite"
	maxNTP     = 63 // addresses in one option
	maxCache   = 1_000_000
	maxRecords = 64 // of one name and kind: with maxTexts the answer fits a message by far
	maxText    = 4096
	maxTexts   = 16384 // bytes of one name
	maxDomain  = maxDNSName - 1 - maxLabel

	minClientID = 2 // RFC 2132 section 9.14
	maxClientID = 255
	maxSname    = 63 // RFC 2131 section 2: 64 and 128 with a zero at the end
	maxBootfile = 127

	maxLink    = 31 // bits of an uplink's subnet (RFC 3021)
	maxFlows   = 1 << 22
	maxTimeout = 7 * 24 * 3600 // seconds
	maxOutside = 1024          // addresses
	maxRoutes  = 256
	maxReach   = 64
	maxPublish = 1024
)

var errZeroMAC = errors.New("is the zero address: write another one")

// Validate checks a value that no file stands behind, after Normalize. The
// error is Errors, without file and lines, and holds everything that is wrong.
func Validate(c *Config) error {
	r := newReport("")
	r.config(c)
	return r.err()
}

// ValidateChange is Validate for what a command made of old: of two things that
// clash the one that it changed is blamed.
func ValidateChange(old, c *Config) error {
	r := newReport("")
	r.old = old
	r.config(c)
	return r.err()
}

// byAge returns the networks of c, those last that a change is about.
func (r *report) byAge(c *Config) []*Network {
	var list, changed []*Network
	for i := range c.Networks {
		n := &c.Networks[i]
		if r.old == nil || reflect.DeepEqual(r.old.Network(n.Name), n) {
			list = append(list, n)
		} else {
			changed = append(changed, n)
		}
	}
	return append(list, changed...)
}

func (r *report) config(c *Config) {
	r.listen(place{key: "metrics.listen"}, c.Metrics.Listen)
	if c.LeaseFile == "" {
		r.refuse(place{key: "lease_file"}, "is empty: write the path of a file, such as %s", DefaultLeaseFile)
	}
	r.path(place{key: "lease_file"}, c.LeaseFile)
	seen := map[string]bool{}
	for i := range c.Networks {
		n := &c.Networks[i]
		at := place{network: n.Name}
		if seen[n.Name] {
			r.refuse(at, "is there already: give one of the two another name")
		}
		seen[n.Name] = true
		r.network(at, n)
	}
	r.interfaces(c)
	r.uplinks(c)
	r.subnets(c)
	r.reach(c)
	r.publishes(c)
	r.loops(c)
}

func (r *report) listen(at place, s string) {
	if s == MetricsOff {
		return
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		r.refuse(at, "%s is not host:port: write it such as %s, or %s", quoted(s), DefaultListen, MetricsOff)
		return
	}
	if _, err := netip.ParseAddr(host); err != nil && !isHostName(host) {
		r.refuse(at, "%s is neither an address nor a host name: write it such as %s", quoted(host), DefaultListen)
		return
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		r.refuse(at, "port %s is not a number of 0-65535", quoted(port))
	}
}

// isHostName takes the empty name too: it listens on every address.
func isHostName(s string) bool {
	return len(s) <= 253 && !strings.ContainsFunc(s, func(c rune) bool { return !isNameRune(c) })
}

func isNameRune(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
}

func (r *report) name(at place, what, s string) {
	switch {
	case s == "":
		r.refuse(at, "a %s without a name: write one of 1-%d characters", what, maxName)
	case len(s) > maxName:
		r.refuse(at, "the name has %d characters: at most %d are possible", len(s), maxName)
	case strings.ContainsFunc(s, func(c rune) bool { return !isNameRune(c) }):
		r.refuse(at, "the name may hold A-Z a-z 0-9 . _ - only")
	case s[0] == '-' || s[0] == '.':
		r.refuse(at, "the name must not start with %q", s[0])
	}
}

// word checks one that is of a fixed list.
func (r *report) word(at place, s string, known ...string) {
	if !slices.Contains(known, s) {
		r.refuse(at, "%s is unknown%s", quoted(s), hint(s, known))
	}
}

func (r *report) within(at place, v, least, most int, unit string) {
	if v < least || v > most {
		r.refuse(at, "%d is out of range: give %d-%d%s", v, least, most, unit)
	}
}

func (r *report) steps(at place, v, most, step int) {
	if v < 0 || v > most || v%step != 0 {
		r.refuse(at, "%d is out of range: give 0-%d in steps of %d", v, most, step)
	}
}

// seconds checks a timer that is counted in whole seconds.
func (r *report) seconds(at place, v time.Duration, least, most int, orElse string) {
	if v < time.Duration(least)*time.Second || v > time.Duration(most)*time.Second || v%time.Second != 0 {
		r.refuse(at, "%v is out of range: give %ds-%ds in whole seconds%s", v, least, most, orElse)
	}
}

// badInterface says why the kernel would not take the name of an interface
// (dev_valid_name in net/core/dev.c), empty where it would. A "%" would make
// the kernel number the name, and what does not print nobody can type.
func badInterface(s string) string {
	switch {
	case s == "":
		return "is empty"
	case len(s) > maxInterface:
		return fmt.Sprintf("has %d bytes, the kernel takes at most %d", len(s), maxInterface)
	case s == "." || s == "..":
		return "is not a name"
	case strings.ContainsAny(s, "/:% ") || !printable(s):
		return `must not hold "/", ":", "%", a blank or what does not print`
	}
	return ""
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool { return !unicode.IsPrint(c) })
}

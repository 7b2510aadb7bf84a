package nat

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/weft/weft/dataplane/frame"
)

// template is one frame that is made into packet after packet, without making
// memory.
type template struct {
	bytes []byte
	f     frame.Frame
	p     frame.Parsed
}

func newTemplate(protocol uint8, six bool) *template {
	w := wire{six: six, protocol: protocol, head: []byte{tcpACK}, payload: make([]byte, 18)}
	f, _ := w.frame()
	t := &template{bytes: slices.Clone(f.Bytes())}
	t.f.Set(append(make([]byte, frame.Headroom), t.bytes...), frame.Headroom)
	t.bytes = t.f.Bytes()
	if six {
		for _, at := range []int{22, 38} {
			copy(t.bytes[at:], []byte{0x20, 1, 0xd, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0})
		}
	}
	t.p.Parse(&t.f)
	return t
}

// set makes the frame a packet between two endpoints, whose addresses are the last 32
// bits of those of IPv6.
func (t *template) set(src, dst uint32, sport, dport uint16) {
	if t.p.IPVersion == 6 {
		binary.BigEndian.PutUint32(t.bytes[34:], src)
		binary.BigEndian.PutUint32(t.bytes[50:], dst)
		binary.BigEndian.PutUint16(t.bytes[54:], sport)
		binary.BigEndian.PutUint16(t.bytes[56:], dport)
		t.p.Parse(&t.f)
		return
	}
	binary.BigEndian.PutUint32(t.bytes[26:], src)
	binary.BigEndian.PutUint32(t.bytes[30:], dst)
	binary.BigEndian.PutUint16(t.bytes[34:], sport)
	binary.BigEndian.PutUint16(t.bytes[36:], dport)
	t.p.Parse(&t.f)
}

// cpuTime returns the processor time that the process has used.
func cpuTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// cpu reports what an operation took of a processor, which other work on the
// machine does not make longer, as it does the time on the clock.
func cpu(b *testing.B) func() {
	before := cpuTime(b)
	return func() { b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op") }
}

const (
	benchInside  = 10<<24 | 1<<8
	benchOutside = 192<<24 | 2<<8 | 1
	benchRemote  = 198<<24 | 51<<16 | 100<<8
)

// benchTable returns a table with so many idle UDP flows: 20 from each inside
// endpoint, 100 endpoints to each inside host, by eight ports of the switch.
func benchTable(tb testing.TB, flows int) *Table {
	t := New(Config{Addresses: addresses("192.0.2.1", "2001:db8:0:1::c000:201")})
	if err := t.SetZone(0, ZoneConfig{MaxFlows: 4 << 20, MaxPerHost: 4 << 20}); err != nil {
		tb.Fatal(err)
	}
	m := newTemplate(frame.ProtoUDP, false)
	for i := range flows {
		m.idle(i)
		if r := t.Outbound(0, uint16(i/2000%8), &m.f, &m.p, 1); r.Verdict != Translated {
			tb.Fatalf("flow %d: %v", i, r.Verdict)
		}
	}
	return t
}

// idle makes the frame the packet of one of benchTable's flows.
func (t *template) idle(i int) {
	e, remote := i/20, uint32(i%20)
	t.set(benchInside+uint32(e/100), benchRemote+remote, uint16(2000+e), 53)
}

// eachSize runs f with an empty table and with one of a million idle flows.
func eachSize(b *testing.B, f func(b *testing.B, t *Table, idle int)) {
	for name, idle := range map[string]int{"idle=0": 0, "idle=1M": 1000000} {
		b.Run(name, func(b *testing.B) {
			t := benchTable(b, idle)
			runtime.GC()
			f(b, t, idle)
			runtime.KeepAlive(t)
		})
	}
}

func BenchmarkOutbound(b *testing.B) {
	eachSize(b, func(b *testing.B, t *Table, idle int) {
		b.Run("udp", func(b *testing.B) { benchHot(b, t, frame.ProtoUDP, false) })
		b.Run("udp6", func(b *testing.B) { benchHot(b, t, frame.ProtoUDP, true) })
		b.Run("tcp", func(b *testing.B) { benchHot(b, t, frame.ProtoTCP, false) })
		b.Run("tcp6", func(b *testing.B) { benchHot(b, t, frame.ProtoTCP, true) })
		for name, outside := range map[string]string{"tracked6": "2001:db8:0:1::/64", "prefix6": "fd00:1:2:3::/64"} {
			b.Run(name, func(b *testing.B) {
				t := benchTable(b, 0)
				cfg := ZoneConfig{Prefixes: []PrefixMap{prefixMap("2001:db8:0:1::/64", outside)}}
				if err := t.SetZone(0, cfg); err != nil {
					b.Fatal(err)
				}
				benchHot(b, t, frame.ProtoUDP, true)
			})
		}
		if idle > 0 {
			b.Run("random", func(b *testing.B) { benchRandom(b, t, idle) })
		}
	})
}

// benchHot sends packets of a few flows out.
func benchHot(b *testing.B, t *Table, protocol uint8, six bool) {
	m := newTemplate(protocol, six)
	b.ReportAllocs()
	b.ResetTimer()
	defer cpu(b)()
	for i := range b.N {
		m.set(benchInside+0x10000+uint32(i%64), benchRemote, 4000, 80)
		if r := t.Outbound(0, 0, &m.f, &m.p, 1); r.Verdict != Translated {
			b.Fatal(r.Verdict)
		}
	}
}

// benchRandom sends packets of any of the idle flows out: each finds its flow in
// no cache.
func benchRandom(b *testing.B, t *Table, flows int) {
	m := newTemplate(frame.ProtoUDP, false)
	rnd := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	b.ResetTimer()
	defer cpu(b)()
	for range b.N {
		m.idle(int(rnd.Uint32N(uint32(flows))))
		if r := t.Outbound(0, 0, &m.f, &m.p, 1); r.Verdict != Translated {
			b.Fatal(r.Verdict)
		}
	}
}

// BenchmarkTemplate is what the benchmarks above do beside the table's work.
func BenchmarkTemplate(b *testing.B)  { benchTemplate(b, false) }
func BenchmarkTemplate6(b *testing.B) { benchTemplate(b, true) }

func benchTemplate(b *testing.B, six bool) {
	m := newTemplate(frame.ProtoUDP, six)
	defer cpu(b)()
	for i := range b.N {
		m.set(benchInside+uint32(i&63), benchRemote, 4000, 80)
	}
}

func BenchmarkInbound(b *testing.B) {
	eachSize(b, func(b *testing.B, t *Table, idle int) {
		b.Run("udp", func(b *testing.B) { benchInbound(b, t, false) })
		b.Run("udp6", func(b *testing.B) { benchInbound(b, t, true) })
	})
}

func benchInbound(b *testing.B, t *Table, six bool) {
	var outside [64]uint16
	m := newTemplate(frame.ProtoUDP, six)
	for i := range outside {
		m.set(benchInside+0x20000+uint32(i), benchRemote, 4000, 80)
		t.Outbound(0, 0, &m.f, &m.p, 1)
		outside[i] = m.p.SrcPort
	}
	b.ReportAllocs()
	b.ResetTimer()
	defer cpu(b)()
	for i := range b.N {
		m.set(benchRemote, benchOutside, 80, outside[i%len(outside)])
		if r := t.Inbound(&m.f, &m.p, 1); r.Verdict != Translated {
			b.Fatal(r.Verdict)
		}
	}
}

// BenchmarkCreate makes flows, each with a mapping of its own, and expires them:
// a thousand at a time, which the caches hold, and 30000, which they do not.
func BenchmarkCreate(b *testing.B) {
	for _, protocol := range []uint8{frame.ProtoUDP, frame.ProtoTCP} {
		for _, many := range []int{1000, 30000} {
			name := classOf(protocol).String()
			b.Run(name+"/"+strconv.Itoa(many), func(b *testing.B) { benchCreate(b, protocol, many, false) })
			b.Run(name+"6/"+strconv.Itoa(many), func(b *testing.B) { benchCreate(b, protocol, many, true) })
		}
	}
}

func benchCreate(b *testing.B, protocol uint8, many int, six bool) {
	t := benchTable(b, 0)
	m := newTemplate(protocol, six)
	now := uint32(1)
	b.ReportAllocs()
	b.ResetTimer()
	defer cpu(b)()
	for i := range b.N {
		m.set(benchInside+uint32(i%8), benchRemote, uint16(2000+i%many), 80)
		if r := t.Outbound(0, uint16(i%8), &m.f, &m.p, now); r.Verdict != Translated {
			b.Fatal(i, r.Verdict)
		}
		if i%many == many-1 {
			now += 400
			for range sweepCalls {
				t.Expire(now)
			}
		}
	}
}

// BenchmarkExpire takes a million flows away, all at once, and reports what the
// longest hold of the lock takes: dropBatch flows.
func BenchmarkExpire(b *testing.B) {
	for range b.N {
		b.StopTimer()
		t := benchTable(b, 1000000)
		runtime.GC()
		b.StartTimer()
		start := cpuTime(b)
		for range sweepCalls {
			t.Expire(1000)
		}
		b.ReportMetric(float64(cpuTime(b)-start)/1e6*dropBatch/1e3, "cpu-us-a-hold")
		for range t.Flows {
			b.Fatal("a flow has outlived its time")
		}
	}
}

// BenchmarkGrow doubles a shard of a table of a million flows, which none of the
// caches holds: the longest hold of the lock that a new flow can cause.
func BenchmarkGrow(b *testing.B) {
	t := benchTable(b, 1000000)
	b.ResetTimer()
	defer cpu(b)()
	for i := range b.N {
		s := &t.out.shards[i%len(t.out.shards)]
		t.out.rebuild(s, 2*len(*s.buckets.Load()))
		b.StopTimer()
		t.out.rebuild(s, len(*s.buckets.Load())/2)
		b.StartTimer()
	}
}

// BenchmarkMemory reports what a million idle flows take: of the heap, and of the
// machine, for the process in all. Run it alone.
func BenchmarkMemory(b *testing.B) {
	for range b.N {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		t := benchTable(b, 1000000)
		resident := rss(b)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "B/flow")
		b.ReportMetric(resident, "MiB-resident")
		runtime.KeepAlive(t)
	}
}

// rss returns the resident memory of the process, in MiB (proc(5), statm).
func rss(b *testing.B) float64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		b.Fatal(err)
	}
	return float64(pages*os.Getpagesize()) / (1 << 20)
}

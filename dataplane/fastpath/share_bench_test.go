package fastpath

import (
	"testing"

	"github.com/cilium/ebpf"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// What the program costs a frame, by whose it is and by its family.
func BenchmarkShare(b *testing.B) {
	for name, f := range map[string]family{"IPv4": {}, "IPv6": {v6: true}} {
		b.Run(name, func(b *testing.B) { benchmarkFamily(b, f) })
	}
}

func benchmarkFamily(b *testing.B, f family) {
	s := newSharing(b, f)
	s.attach(b, attachShare)
	s.use(40000, 40009)
	stranger := s.addr("11.0.0.1")
	for i := range 1 << 16 {
		s.SetUsed(unix.IPPROTO_UDP, uint16(i), stranger, true)
	}
	s.setPrefixes(b, "10.5.0.0/16", "10.5.0.1")
	for name, frame := range map[string][]byte{
		"TCP to weft":     s.tcp(b, 4444, 40000, "A"),
		"UDP to weft":     s.udp(b, 4444, 40000),
		"TCP to the host": s.tcp(b, 4444, 50000, "A"),
		"routed":          s.frame(b, s.to("10.5.0.2", layers.IPProtocolTCP), tcpHeader(4444, 80, "A")),
	} {
		b.Run(name, func(b *testing.B) {
			var err error
			s.host.Do(func() {
				b.ResetTimer()
				_, err = s.objs.WeftShareIn.Run(&ebpf.RunOptions{Data: frame, Context: s.received(), Repeat: uint32(b.N)})
			})
			if err != nil {
				b.Fatal(err)
			}
		})
	}
}

package nat

import "net/netip"

// users counts the flows between each outside port, or identifier, and each remote
// address, and tells who wanted to know of the first and the last one. Ports that
// anybody may use have the zero address, and their publishes and mappings are
// counted instead. Nothing is counted where nobody wanted to know, nor of the flows
// that a prefix translates. The table's lock
// guards it.
type users struct {
	changed func(protocol uint8, port uint16, remote netip.Addr, used bool)
	counts  map[user]uint32
}

type user struct {
	remote   [16]byte
	port     uint16
	protocol uint8
}

func userOf(f *flow) user {
	return user{remote: f.remote.Addr, port: f.outside.Port, protocol: f.protocol}
}

// join and leave count a flow.
func (u *users) join(f *flow) {
	if !f.direct && (f.mapping == nil || !f.mapping.open) {
		u.add(userOf(f))
	}
}

func (u *users) leave(f *flow) {
	if !f.direct && (f.mapping == nil || !f.mapping.open) {
		u.remove(userOf(f))
	}
}

// open and close count what opens a port to all.
func (u *users) open(protocol uint8, port uint16) {
	u.add(user{port: port, protocol: protocol})
}

func (u *users) close(protocol uint8, port uint16) {
	u.remove(user{port: port, protocol: protocol})
}

func (u *users) add(k user) {
	if u.changed == nil {
		return
	}
	if u.counts == nil {
		u.counts = map[user]uint32{}
	}
	n := u.counts[k] + 1
	if u.counts[k] = n; n == 1 {
		u.changed(k.protocol, k.port, k.addr(), true)
	}
}

func (u *users) remove(k user) {
	if u.changed == nil {
		return
	}
	n := u.counts[k] - 1
	if n > 0 {
		u.counts[k] = n
		return
	}
	if delete(u.counts, k); len(u.counts) == 0 {
		u.counts = nil // a map keeps its memory
	}
	u.changed(k.protocol, k.port, k.addr(), false)
}

// addr returns the remote address, the zero Addr where that is anybody's.
func (k *user) addr() netip.Addr {
	if k.remote == [16]byte{} {
		return netip.Addr{}
	}
	return netip.AddrFrom16(k.remote).Unmap()
}

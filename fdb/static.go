package fdb

import (
	"errors"
	"fmt"

	"github.com/weft/weft/dataplane/frame"
)

var (
	// ErrExists is returned by Add where the address has a static or local
	// entry that says something else.
	ErrExists = errors.New("the address has another static or local entry")

	// ErrFull is returned by Add where MaxLimit entries are there.
	ErrFull = errors.New("too many static entries")
)

// Add sets a static or local entry, which neither ages nor moves and survives a
// flush. It takes the place of a dynamic or sticky one. To add what is there already is
// no error. The table grows where it has to, which takes time.
func (t *Table) Add(vlan uint16, mac frame.MAC, p Port, k Kind) error {
	key := keyOf(vlan, mac)
	switch {
	case k != Static && k != Local:
		return fmt.Errorf("fdb entry %s vlan %d: cannot add kind %s", mac, vlan, k)
	case p >= MaxPorts:
		return fmt.Errorf("fdb entry %s vlan %d: port index %d is above %d", mac, vlan, p, MaxPorts-1)
	case !learnable(key):
		return fmt.Errorf("fdb entry %s vlan %d: not the address of one station", mac, vlan)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.add(key, pack(p, 0, k, 0)); err != nil {
		return fmt.Errorf("fdb entry %s vlan %d: %w", mac, vlan, err)
	}
	return nil
}

func (t *Table) add(key uint64, v value) error {
	t.know(v.port())
	s := t.store.Load()
	id := s.locate(key)
	if id != 0 {
		if old := value(s.at(id).value.Load()); old.kind() == Static || old.kind() == Local {
			if old != v {
				return ErrExists
			}
			return nil
		}
	}
	if t.fixed() >= MaxLimit {
		return ErrFull
	}
	if id != 0 {
		t.fix(s, id, v)
		return nil
	}
	t.addNew(key, v)
	return nil
}

// fix turns a dynamic entry, flushed or not, or a sticky one into what v says.
func (t *Table) fix(s *store, id slotID, v value) {
	if old := value(s.at(id).value.Load()); t.live(old) {
		t.delist(s, id, old)
	}
	s.at(id).value.Store(uint64(v))
	t.enlist(s, id, v)
}

// addNew adds an entry for a key that is not there, and lets the table grow
// until it fits.
func (t *Table) addNew(key uint64, v value) {
	if n := bucketsFor(t.limit, t.fixed()+1); n > len(t.store.Load().buckets) {
		t.rebuild(n)
	}
	s := t.store.Load()
	id := t.place(s, key)
	for id == 0 {
		t.rebuild(2 * len(s.buckets))
		s = t.store.Load()
		id = t.place(s, key)
	}
	s.put(id, key, v)
	t.enlist(s, id, v)
}

// Remove removes the entry of an address, of whatever kind, and reports whether
// there was one.
func (t *Table) Remove(vlan uint16, mac frame.MAC) bool {
	key := keyOf(vlan, mac)
	if !learnable(key) {
		return false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.store.Load()
	id := s.locate(key)
	if id == 0 {
		return false
	}
	v := value(s.at(id).value.Load())
	if !t.live(v) {
		return false
	}
	t.remove(s, id, v)
	return true
}

// RemovePort removes all entries of a port, static and local ones too, and what
// SetPort has set. Its
// index may be used for another port afterwards. The caller makes sure that
// nobody learns on behalf of the old one any more.
func (t *Table) RemovePort(p Port) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if int(p) >= len(t.ports) {
		return
	}
	t.flushPort(p)
	t.ports[p].PortConfig = PortConfig{}
	s, l := t.store.Load(), &t.ports[p].fixed
	for l.head != 0 {
		t.remove(s, l.head, value(s.at(l.head).value.Load()))
	}
}

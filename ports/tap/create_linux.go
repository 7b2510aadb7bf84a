package tap

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"

	"github.com/songgao/water"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// unset is the owner or group of a tap that has none, the kernel's INVALID_UID.
const unset = ^uint32(0)

// Create makes a persistent tap in the calling thread's network namespace for
// a user and a group, each a name or a number. Whoever opens it must be the
// one and in the other, where both are given; where neither is, it takes
// CAP_NET_ADMIN (drivers/net/tun.c, tun_not_capable).
//
// An existing tap is adopted, and given to them where it belongs to others;
// but one that some process holds open stays as it is, for that process is
// most likely the guest that the tap is for.
func Create(name, owner, group string) error {
	uid, gid, err := permissions(owner, group)
	if err != nil {
		return err
	}
	if err := create(name, uid, gid); err != nil && !errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("create tap %s: %w", name, err)
	}
	return nil
}

func create(name string, uid, gid uint32) error {
	if l, err := netlink.LinkByName(name); err == nil {
		t, ok := l.(*netlink.Tuntap)
		if ok && ownedBy(t, uid, gid) {
			return nil
		}
		// The kernel has no call to take an owner or a group away.
		if err := destroy(name); err != nil {
			return err
		}
	}
	cfg := water.Config{DeviceType: water.TAP}
	cfg.Name, cfg.Persist = name, true
	ifce, err := water.New(cfg)
	if err != nil {
		return err
	}
	defer ifce.Close()
	// The library sets both or neither.
	fd := int(ifce.ReadWriteCloser.(*os.File).Fd())
	if uid != unset {
		if err := unix.IoctlSetInt(fd, unix.TUNSETOWNER, int(uid)); err != nil {
			return fmt.Errorf("TUNSETOWNER: %w", err)
		}
	}
	if gid != unset {
		if err := unix.IoctlSetInt(fd, unix.TUNSETGROUP, int(gid)); err != nil {
			return fmt.Errorf("TUNSETGROUP: %w", err)
		}
	}
	return nil
}

// ownedBy reports whether a tap has that owner and group. Netlink tells of an
// unset one as of 0.
func ownedBy(t *netlink.Tuntap, uid, gid uint32) bool {
	same := func(have, want uint32) bool { return have == want || have == 0 && want == unset }
	return same(t.Owner, uid) && same(t.Group, gid)
}

// destroy removes the tap name unless somebody holds it (unix.EBUSY). The
// library would leak its descriptor then.
func destroy(name string) error {
	fd, err := openTap(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0)
}

// CheckPermissions says whether the user and the group that a tap is to be
// given to exist.
func CheckPermissions(owner, group string) error {
	_, _, err := permissions(owner, group)
	return err
}

func permissions(owner, group string) (uid, gid uint32, err error) {
	uid, gid = unset, unset
	if owner != "" {
		if uid, err = userID(owner); err != nil {
			return uid, gid, err
		}
	}
	if group != "" {
		if gid, err = groupID(group); err != nil {
			return uid, gid, err
		}
	}
	if owner == "" && group == "" {
		uid = 0 // a tap of nobody's is everybody's
	}
	return uid, gid, nil
}

func userID(name string) (uint32, error) {
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(id), nil
	}
	u, err := user.Lookup(name)
	if err != nil {
		return 0, fmt.Errorf("owner %q is not a user of this host", name)
	}
	id, err := strconv.ParseUint(u.Uid, 10, 32)
	return uint32(id), err
}

func groupID(name string) (uint32, error) {
	if id, err := strconv.ParseUint(name, 10, 32); err == nil {
		return uint32(id), nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("group %q is not a group of this host", name)
	}
	id, err := strconv.ParseUint(g.Gid, 10, 32)
	return uint32(id), err
}

#!/bin/sh
# Makes the guest that the tests and the demo boot under QEMU: a stock Debian
# kernel and an initramfs of BusyBox with the drivers of its network card.
#
#   build.sh [FOLDER]     FOLDER/vmlinuz and FOLDER/initramfs.gz
#
# FOLDER defaults to .cache/guest at the top of the repository. Nothing is
# installed: two packages are downloaded and unpacked. A second call finds its
# work done. It needs apt-get and dpkg-deb, cpio, flock, gzip, and what the
# kernel's modules are packed with (xz or zstd, where they are).
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
cache=${1:-$here/../../../.cache/guest}
mkdir -p "$cache"
cache=$(CDPATH='' cd -- "$cache" && pwd)

# In the order in which the guest inserts them, dependencies first. vmxnet3 is
# the card without virtio that Debian's cloud kernel has a driver for.
modules='virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev
	virtio_pci failover net_failover virtio_net vmxnet3'

die() {
	echo "build.sh: $*" >&2
	exit 1
}

# done_already: both files are there and younger than what they are made from.
done_already() {
	[ -s "$cache/vmlinuz" ] && [ -s "$cache/initramfs.gz" ] || return 1
	for source in "$here/build.sh" "$here/init" "$here/udhcpc.sh"; do
		[ "$cache/initramfs.gz" -nt "$source" ] || return 1
	done
}

# download PACKAGE: leaves its file in the present folder. The package lists of
# a fresh machine are empty or old, which one update cures.
download() {
	# Without the option apt warns that its own user cannot write here.
	set -- -qq -o APT::Sandbox::User=root download "$1"
	apt-get "$@" >&2 || { apt-get -qq update >&2 && apt-get "$@" >&2; }
}

# kernel_package: the package with the kernel that linux-image-cloud-amd64, a
# package without content, stands for at the moment.
kernel_package() {
	apt-cache depends linux-image-cloud-amd64 2>/dev/null |
		sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -n 1
}

# add_module NAME: unpacks it into the initramfs and onto the guest's list.
add_module() {
	lib=$(echo kernel/lib/modules/*)
	[ -d "$lib" ] || lib=$(echo kernel/usr/lib/modules/*)
	if grep -q "/$1\.ko\$" "$lib/modules.builtin"; then
		return
	fi
	file=$(find "$lib" -name "$1.ko*" | head -n 1)
	case $file in
	*.ko) cp "$file" "root/modules/$1.ko" ;;
	*.ko.xz) xz -dc "$file" >"root/modules/$1.ko" ;;
	*.ko.zst) zstd -qdc "$file" >"root/modules/$1.ko" ;;
	*) die "the kernel in $kernel has no module $1" ;;
	esac
	echo "$1" >>root/modules/order
}

# Two test packages may ask for the guest at the same moment.
exec 9>"$cache/lock"
flock 9
if done_already; then
	exit 0
fi
for tool in apt-get apt-cache dpkg-deb cpio gzip; do
	command -v "$tool" >/dev/null || die "needs $tool: apt-get install $tool"
done

work=$(mktemp -d "$cache/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
cd "$work"

kernel=$(kernel_package)
if [ -z "$kernel" ]; then
	apt-get -qq update >&2
	kernel=$(kernel_package)
fi
[ -n "$kernel" ] || die "apt knows no linux-image-cloud-amd64: this needs Debian's package sources"
echo "build.sh: downloads $kernel and busybox-static" >&2
download "$kernel"
download busybox-static
dpkg-deb -x "$kernel"_*.deb kernel
dpkg-deb -x busybox-static_*.deb busybox

mkdir -p root/bin root/dev root/etc root/modules root/proc root/srv root/sys root/tmp
cp busybox/bin/busybox root/bin/busybox 2>/dev/null || cp busybox/usr/bin/busybox root/bin/busybox
cp "$here/init" root/init
cp "$here/udhcpc.sh" root/bin/udhcpc.sh
chmod 755 root/init root/bin/udhcpc.sh root/bin/busybox
for module in $modules; do
	add_module "$module"
done

# Each file gets its name only when it is whole, the one that done_already
# looks at last.
(cd root && find . | cpio --quiet -o -H newc -R 0:0) >initramfs
gzip -1 initramfs
cp kernel/boot/vmlinuz-* vmlinuz
mv vmlinuz "$cache/vmlinuz"
mv initramfs.gz "$cache/initramfs.gz"
echo "build.sh: made $cache/vmlinuz and initramfs.gz" >&2

#!/bin/sh
# Installs the Debian packages that are missing. Some of them bring a service,
# which the tests run in namespaces of their own: on this host it stays off, now
# and at the next start.
set -eu

missing=
for package; do
	state=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) || true
	[ "$state" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

# invoke-rc.d asks this program, and 101 means no.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	trap 'rm -f $policy' EXIT
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod 755 $policy
fi
apt-get -q update
DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends $missing

[ -n "$(command -v systemctl)" ] || exit 0
for package in $missing; do
	dpkg -L "$package" | sed -n 's|.*/systemd/system/\([^/]*\.service\)$|\1|p' | while read -r service; do
		systemctl -q disable "$service" 2>/dev/null || true
	done
done

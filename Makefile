# weft — "make demo" shows it, "make test" tests it. Both set up what they need.

GO       ?= go
PREFIX   ?= /usr/local
DESTDIR  ?=

# What the demo and the tests run, as Debian packages. The build needs only Go.
PACKAGES := iproute2 iputils-ping ethtool tcpdump curl iperf3 qemu-system-x86 \
            busybox-static cpio zstd xz-utils kmod procps gcc libc6-dev \
            openvswitch-switch lldpd bind9-dnsutils dnsperf dnsmasq-base nftables \
            isc-dhcp-client dhcpcd-base wide-dhcpv6-client radvd ndisc6 \
            nmap coturn vsftpd traceroute iputils-tracepath

.PHONY: build setup demo test fuzz bench bench-quick lint generate install clean

build:
	CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=auto -ldflags '-s -w' -o bin/weft ./cmd/weft

# Installs what is missing, and makes the guest (a kernel and an initramfs).
setup:
	@sh ports/porttest/install.sh $(PACKAGES)
	@sh ports/porttest/guest/build.sh .cache/guest

demo: setup build
	@bash docs/demo.sh

# The whole suite with the race detector: real namespaces, a real guest. A test
# that cannot run for want of root fails where CI is set, and is skipped elsewhere.
# One package at a time: those with guests and streams want the machine.
test: setup build
	$(GO) test -race -p 1 -timeout 20m ./...

# Every fuzz target for FUZZTIME each.
FUZZTIME ?= 60s
fuzz:
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz'); do \
			echo "$$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) $$p || exit 1; \
		done; done

bench: build
	./bin/weft bench -o bench/results

bench-quick: build
	./bin/weft bench --quick

lint:
	@test -z "$$(gofmt -l .)" || { echo "gofmt these:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# Compiles the eBPF programs. The objects are committed, so only who changes
# the C needs clang.
generate:
	@dpkg -s clang llvm libbpf-dev linux-libc-dev >/dev/null 2>&1 || { \
		apt-get -q update && \
		DEBIAN_FRONTEND=noninteractive apt-get -q install -y --no-install-recommends clang llvm libbpf-dev linux-libc-dev; }
	$(GO) generate ./...

install: build
	install -D -m 0755 bin/weft $(DESTDIR)$(PREFIX)/bin/weft

clean:
	rm -rf bin .cache

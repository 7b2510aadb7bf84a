// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Addresses for two: the host keeps its interface (the NIC), and weft gets the
// frames of its own mappings by a tap beside it (the shadow), whose descriptor it
// holds. One address of IPv4 and one of IPv6 are shared. A frame to such a one is
// weft's by its protocol, the port that it is for and the remote address that it
// is from, unless a socket of the host wants it. Where a packet itself cannot tell
// whose it is, both get it, and each ignores what it did not ask for.
//
// A port is weft's with each remote address that somebody behind weft has a flow
// with by it, and with no other: what the host's kernel itself uses, as to
// translate for containers, has no socket that could be looked for, nor do raw
// sockets, tunnels and IPsec. Only a port that weft has opened to all is weft's
// whoever sends. Frames to the networks behind weft are weft's, whatever they
// carry.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include "packet.h"

// Also what the older clsact takes: TC_ACT_UNSPEC and TC_ACT_SHOT.
#define TCX_NEXT -1
#define TCX_DROP 2

// skb->pkt_type (include/uapi/linux/if_packet.h).
#define PACKET_HOST 0
#define PACKET_BROADCAST 1
#define PACKET_MULTICAST 2

#define PORT_WORDS (65536 / 32)

// What user space writes while frames pass: share_linux.go has the same layout.
struct family {
	__u32 address[4]; // the shared one; with a zero first word there is none, and nothing is weft's
	__u32 tcp[PORT_WORDS], udp[PORT_WORDS]; // one bit for each port that is open to all
};

struct share {
	__u32 nic, shadow; // interface indexes
	struct family v4, v6;
};

// Addresses are in network order here and in what follows. Those of IPv4 have
// the first word, and zeros behind.

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct share);
} weft_share SEC(".maps");

// Whose the addresses behind weft are: weft's, but for those that the host has
// itself, by the longest prefix. The shared ones follow their own rules before.
// The family comes first: ::/0 holds no address of IPv4.
struct prefix {
	__u32 bits; // the family's 32 among them
	__u32 version;
	__u32 address[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8192); // share_linux.go keeps to half of it
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix);
	__type(value, __u8); // 1: weft's
} weft_share_routed SEC(".maps");

// By which ports there are flows, and with whom. What finds no room here stays
// the host's, and a flow from behind weft gets no answers.
struct peer {
	__u32 remote[4];
	__u16 port; // or identifier of echo; 0 for protocols without. In the machine's order
	__u8 protocol, version;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct peer);
	__type(value, __u8);
} weft_share_peers SEC(".maps");

enum owner { HOST, WEFT, BOTH };

static __always_inline struct share *shared(void)
{
	__u32 key = 0;
	return bpf_map_lookup_elem(&weft_share, &key);
}

// Here and in what follows, port is in network order.
static __always_inline int has_flow(const struct packet *p, __u8 protocol, __u16 port, int v6)
{
	struct peer key = { .port = bpf_ntohs(port), .protocol = protocol, .version = v6 ? 6 : 4 };

	copy(key.remote, p->remote, v6);
	return bpf_map_lookup_elem(&weft_share_peers, &key) != NULL;
}

static __always_inline int open(const __u32 *bits, __u16 port)
{
	port = bpf_ntohs(port);
	return bits[port >> 5] >> (port & 31) & 1;
}

static __always_inline int routed(const __u32 *address, int v6)
{
	struct prefix key = { .bits = v6 ? 32 + 128 : 32 + 32, .version = v6 ? 6 : 4 };
	__u8 *weft;

	// What is for a neighbour on the link is no router's (RFC 4291 clause 2.5.6).
	if (v6 && (address[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000))
		return 0;
	copy(key.address, address, v6);
	weft = bpf_map_lookup_elem(&weft_share_routed, &key);
	return weft && *weft;
}

// Fills in whom to look for among the host's sockets, and returns the length.
static __always_inline __u32 fill(struct bpf_sock_tuple *tuple, const struct packet *p,
				  __u16 remote, __u16 local, int v6)
{
	if (v6) {
		copy(tuple->ipv6.saddr, p->remote, v6);
		copy(tuple->ipv6.daddr, p->local, v6);
		tuple->ipv6.sport = remote;
		tuple->ipv6.dport = local;
		return sizeof(tuple->ipv6);
	}
	tuple->ipv4.saddr = p->remote[0];
	tuple->ipv4.daddr = p->local[0];
	tuple->ipv4.sport = remote;
	tuple->ipv4.dport = local;
	return sizeof(tuple->ipv4);
}

// Whether a connection of the host's own has the tuple. A listening socket wants
// only segments that open a connection: a SYN, or, where the host answers SYNs
// with cookies and so remembers none, an ACK that returns one. Of what is quoted
// it wants nothing: this address sent that.
static __always_inline int host_has_tcp(struct __sk_buff *skb, const struct packet *p, union header *ip,
					struct tcphdr *tcp, int quoted, int v6)
{
	__u16 local = quoted ? tcp->source : tcp->dest, remote = quoted ? tcp->dest : tcp->source;
	struct bpf_sock_tuple tuple;
	__u32 len = fill(&tuple, p, remote, local, v6);
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, &tuple, len, BPF_F_CURRENT_NETNS, 0);
	int has = 1;

	if (!sk)
		return 0;
	if (sk->state == BPF_TCP_LISTEN) {
		has = !quoted && tcp->syn && !tcp->ack;
		if (!quoted && !has)
			has = bpf_tcp_check_syncookie(sk, ip, v6 ? sizeof(ip->v6) : sizeof(ip->v4),
						      tcp, sizeof(*tcp)) == 0;
	}
	bpf_sk_release(sk);
	// Else the compiler looks at sk again, instead of has. Without CAP_PERFMON the
	// verifier lets nobody look at what has been released.
	barrier_var(has);
	return has;
}

static __always_inline int host_has_udp(struct __sk_buff *skb, const struct packet *p,
					__u16 remote, __u16 local, int v6)
{
	struct bpf_sock_tuple tuple;
	__u32 len = fill(&tuple, p, remote, local, v6);
	struct bpf_sock *sk = bpf_sk_lookup_udp(skb, &tuple, len, BPF_F_CURRENT_NETNS, 0);
	int has = 1;

	if (!sk)
		return 0;
	bpf_sk_release(sk);
	barrier_var(has);
	return has;
}

// Whose a packet or a quoted one is. A quotation has at least the first eight bytes
// of the transport header (RFC 792; RFC 4443 clause 2.4 has far more).
static __always_inline enum owner tcp_owner(struct __sk_buff *skb, struct family *f, const struct packet *p,
					    union header *ip, int quoted, int v6)
{
	struct tcphdr tcp;
	__u16 local;

	if (bpf_skb_load_bytes(skb, p->l4, &tcp, quoted ? 8 : sizeof(tcp)))
		return HOST;
	local = quoted ? tcp.source : tcp.dest;
	if (!open(f->tcp, local) && !has_flow(p, IPPROTO_TCP, local, v6))
		return HOST;
	return host_has_tcp(skb, p, ip, &tcp, quoted, v6) ? HOST : WEFT;
}

static __always_inline enum owner udp_owner(struct __sk_buff *skb, struct family *f, const struct packet *p,
					    int quoted, int v6)
{
	__u16 head[4], local;

	if (bpf_skb_load_bytes(skb, p->l4, head, quoted ? 8 : 4))
		return HOST;
	local = head[!quoted];
	if (!open(f->udp, local) && !has_flow(p, IPPROTO_UDP, local, v6))
		return HOST;
	return host_has_udp(skb, p, head[quoted], local, v6) ? HOST : WEFT;
}

// An answer to an echo request, or an error about one. A process of the host may
// use the identifier too, and no helper finds its socket.
static __always_inline enum owner echo_owner(const struct packet *p, const struct icmp *icmp, int v6)
{
	return has_flow(p, ICMP_OF(v6), icmp->id, v6) ? BOTH : HOST;
}

// The packet that an ICMP error quotes was sent by whoever has its source port
// towards its destination. Of the error's own headers nothing counts from here on.
static __always_inline enum owner quote_owner(struct __sk_buff *skb, struct family *f, struct packet *p,
					      union header *ip, int v6)
{
	struct icmp icmp;

	if (!read(skb, p->l4 + ICMP_HEADER_LEN, ip, p, 1, v6) || !equal(p->local, f->address, v6) ||
	    (v6 && !walk(skb, p)) || p->fragment || bpf_skb_load_bytes(skb, p->l4, &icmp, sizeof(icmp)))
		return HOST;
	if (p->protocol == IPPROTO_TCP)
		return tcp_owner(skb, f, p, ip, 1, v6);
	if (p->protocol == IPPROTO_UDP)
		return udp_owner(skb, f, p, 1, v6);
	if (p->protocol == ICMP_OF(v6))
		return icmp.type == (v6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO_REQUEST) ? echo_owner(p, &icmp, v6) : HOST;
	return has_flow(p, p->protocol, 0, v6) ? WEFT : HOST;
}

static __always_inline enum owner icmp_owner(struct __sk_buff *skb, struct family *f, struct packet *p,
					     union header *ip, int v6)
{
	struct icmp icmp;

	if (bpf_skb_load_bytes(skb, p->l4, &icmp, sizeof(icmp)))
		return HOST;
	if (icmp.type == (v6 ? ICMPV6_ECHO_REPLY : ICMP_ECHO_REPLY))
		return echo_owner(p, &icmp, v6);
	if (is_error(icmp.type, v6))
		return quote_owner(skb, f, p, ip, v6);
	return HOST; // echo requests too: the host answers for its address, also by ND
}

// Both have neighbours to find, and whoever answers knows one address for the two.
// What a neighbour says to all is of interest to both as well. An advertisement
// behind extension headers is the host's alone: nothing sends one.
static __always_inline int is_advertisement(struct __sk_buff *skb, const struct packet *p)
{
	__u8 type;

	return p->protocol == IPPROTO_ICMPV6 && !bpf_skb_load_bytes(skb, p->l4, &type, sizeof(type)) &&
	       type == ICMPV6_ADVERTISEMENT;
}

static __always_inline enum owner packet_owner(struct __sk_buff *skb, struct family *f, int v6)
{
	struct packet p;
	union header ip;

	if (!f->address[0] || !read(skb, ETH_HLEN, &ip, &p, 0, v6))
		return HOST;
	if (v6 && is_advertisement(skb, &p))
		return BOTH;
	if (v6 && skb->pkt_type != PACKET_HOST)
		return HOST;
	if (!equal(p.local, f->address, v6))
		return routed(p.local, v6) ? WEFT : HOST;
	if (v6 && !walk(skb, &p))
		return HOST;
	if (p.protocol != IPPROTO_TCP && p.protocol != IPPROTO_UDP && p.protocol != ICMP_OF(v6) &&
	    !(p.fragment && v6 && is_extension(p.protocol)))
		return has_flow(&p, p.protocol, 0, v6) ? WEFT : HOST;
	// A later fragment has no ports. The host drops what it gets no first
	// fragment for, in silence (RFC 1122 clause 3.3.2, RFC 8200 clause 4.5), and so
	// does weft.
	if (p.fragment)
		return BOTH;
	if (p.protocol == IPPROTO_TCP)
		return tcp_owner(skb, f, &p, &ip, 0, v6);
	if (p.protocol == IPPROTO_UDP)
		return udp_owner(skb, f, &p, 0, v6);
	return icmp_owner(skb, f, &p, &ip, v6);
}

// Behind the NIC's driver. Frames with a tag are for another interface of the
// host.
SEC("tc")
int weft_share_in(struct __sk_buff *skb)
{
	struct share *s = shared();
	enum owner owner = HOST;

	if (!s || skb->vlan_present)
		return TCX_NEXT;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_ARP): // both have neighbours to find
		if (s->v4.address[0] && (skb->pkt_type == PACKET_HOST || skb->pkt_type == PACKET_BROADCAST))
			owner = BOTH;
		break;
	case bpf_htons(ETH_P_IP):
		if (skb->pkt_type == PACKET_HOST)
			owner = packet_owner(skb, &s->v4, 0);
		break;
	case bpf_htons(ETH_P_IPV6):
		if (skb->pkt_type == PACKET_HOST || skb->pkt_type == PACKET_MULTICAST)
			owner = packet_owner(skb, &s->v6, 1);
		break;
	}
	if (owner == WEFT)
		return bpf_redirect(s->shadow, 0);
	if (owner == BOTH)
		bpf_clone_redirect(skb, s->shadow, 0);
	return TCX_NEXT;
}

// Where what weft writes into the shadow comes out.
SEC("tc")
int weft_share_out(struct __sk_buff *skb)
{
	struct share *s = shared();

	return s ? bpf_redirect(s->nic, 0) : TCX_DROP;
}

// Where frames go into the shadow: only what came in by the NIC is for weft, and
// nothing that the host itself says on each of its interfaces.
SEC("tc")
int weft_share_seal(struct __sk_buff *skb)
{
	struct share *s = shared();

	return s && skb->ingress_ifindex == s->nic ? TCX_NEXT : TCX_DROP;
}

char weft_license[] SEC("license") = "Dual BSD/GPL";

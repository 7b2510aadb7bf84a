// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// One address for two: the host keeps its interface (the NIC), and weft gets
// the frames of its own mappings by a tap beside it (the shadow), whose
// descriptor it holds. A frame to the shared address is weft's by its protocol,
// the port that it is for and the remote address that it is from, unless a socket
// of the host wants it. Where a packet itself cannot tell whose it is, both get
// it, and each ignores what it did not ask for.
//
// A port is weft's with each remote address that somebody behind weft has a flow
// with by it, and with no other: what the host's kernel itself uses, as to
// translate for containers, has no socket that could be looked for, nor do raw
// sockets, tunnels and IPsec. Only a port that weft has opened to all is weft's
// whoever sends. Frames to the networks behind weft are weft's, whatever they
// carry.
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

// Also what the older clsact takes: TC_ACT_UNSPEC and TC_ACT_SHOT.
#define TCX_NEXT -1
#define TCX_DROP 2

// skb->pkt_type (include/uapi/linux/if_packet.h).
#define PACKET_HOST 0
#define PACKET_BROADCAST 1

#define IP_MF 0x2000
#define IP_OFFSET 0x1fff

// RFC 792.
#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO_REQUEST 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12
#define ICMP_HEADER_LEN 8

#define PORT_WORDS (65536 / 32)

// What user space writes while frames pass: share_linux.go has the same layout.
struct share {
	__u32 nic, shadow; // interface indexes
	__u32 address;     // the shared one, in network order; 0: nothing is weft's
	__u32 unused;
	__u32 tcp[PORT_WORDS], udp[PORT_WORDS]; // one bit for each port that is open to all
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct share);
} weft_share SEC(".maps");

// Whose the addresses behind weft are: weft's, but for those that the host has
// itself, by the longest prefix. The shared one follows its own rules before.
struct prefix {
	__u32 bits, address; // in network order
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
	__u32 remote; // in network order
	__u16 port;   // or identifier of echo; 0 for protocols without. In the machine's order
	__u8 protocol, unused;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct peer);
	__type(value, __u8);
} weft_share_peers SEC(".maps");

enum owner { HOST, WEFT, BOTH };

struct icmp {
	__u8 type, code;
	__u16 checksum, id, sequence;
};

static __always_inline struct share *shared(void)
{
	__u32 key = 0;
	return bpf_map_lookup_elem(&weft_share, &key);
}

// Here and in what follows, port is in network order.
static __always_inline int has_flow(__u8 protocol, __u16 port, __u32 remote)
{
	struct peer key = { .remote = remote, .port = bpf_ntohs(port), .protocol = protocol };

	return bpf_map_lookup_elem(&weft_share_peers, &key) != NULL;
}

static __always_inline int open(const __u32 *bits, __u16 port)
{
	port = bpf_ntohs(port);
	return bits[port >> 5] >> (port & 31) & 1;
}

static __always_inline int tcp_mapped(struct share *s, __u16 port, __u32 remote)
{
	return open(s->tcp, port) || has_flow(IPPROTO_TCP, port, remote);
}

static __always_inline int udp_mapped(struct share *s, __u16 port, __u32 remote)
{
	return open(s->udp, port) || has_flow(IPPROTO_UDP, port, remote);
}

static __always_inline int routed(__u32 address)
{
	struct prefix key = { .bits = 32, .address = address };
	__u8 *weft = bpf_map_lookup_elem(&weft_share_routed, &key);

	return weft && *weft;
}

// Whether a connection of the host's own has the tuple. A listening socket wants
// only segments that open a connection: a SYN, or, where the host answers SYNs
// with cookies and so remembers none, an ACK that returns one. Without ip there
// is no segment but the quotation of one that this address sent.
static __always_inline int host_has_tcp(struct __sk_buff *skb, struct bpf_sock_tuple *tuple,
					struct iphdr *ip, struct tcphdr *tcp)
{
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, tuple, sizeof(tuple->ipv4), BPF_F_CURRENT_NETNS, 0);
	int has = 1;

	if (!sk)
		return 0;
	if (sk->state == BPF_TCP_LISTEN) {
		has = ip && tcp->syn && !tcp->ack;
		if (ip && !has)
			has = bpf_tcp_check_syncookie(sk, ip, sizeof(*ip), tcp, sizeof(*tcp)) == 0;
	}
	bpf_sk_release(sk);
	// Else the compiler looks at sk again, instead of has. Without CAP_PERFMON the
	// verifier lets nobody look at what has been released.
	barrier_var(has);
	return has;
}

static __always_inline int host_has_udp(struct __sk_buff *skb, struct bpf_sock_tuple *tuple)
{
	struct bpf_sock *sk = bpf_sk_lookup_udp(skb, tuple, sizeof(tuple->ipv4), BPF_F_CURRENT_NETNS, 0);
	int has = 1;

	if (!sk)
		return 0;
	bpf_sk_release(sk);
	barrier_var(has);
	return has;
}

static __always_inline enum owner tcp_owner(struct __sk_buff *skb, struct share *s, struct iphdr *ip, __u32 l4)
{
	struct bpf_sock_tuple tuple = {};
	struct tcphdr tcp;

	if (bpf_skb_load_bytes(skb, l4, &tcp, sizeof(tcp)) || !tcp_mapped(s, tcp.dest, ip->saddr))
		return HOST;
	tuple.ipv4.saddr = ip->saddr;
	tuple.ipv4.daddr = ip->daddr;
	tuple.ipv4.sport = tcp.source;
	tuple.ipv4.dport = tcp.dest;
	return host_has_tcp(skb, &tuple, ip, &tcp) ? HOST : WEFT;
}

static __always_inline enum owner udp_owner(struct __sk_buff *skb, struct share *s, struct iphdr *ip, __u32 l4)
{
	struct bpf_sock_tuple tuple = {};
	__u16 ports[2];

	if (bpf_skb_load_bytes(skb, l4, ports, sizeof(ports)) || !udp_mapped(s, ports[1], ip->saddr))
		return HOST;
	tuple.ipv4.saddr = ip->saddr;
	tuple.ipv4.daddr = ip->daddr;
	tuple.ipv4.sport = ports[0];
	tuple.ipv4.dport = ports[1];
	return host_has_udp(skb, &tuple) ? HOST : WEFT;
}

// The packet that an ICMP error quotes was sent by whoever has its source port
// towards its destination.
static __always_inline enum owner quote_owner(struct __sk_buff *skb, struct share *s, __u32 l3)
{
	struct bpf_sock_tuple tuple = {};
	struct iphdr ip;
	__u16 head[4]; // RFC 792 quotes at least that of the transport header
	__u32 l4;

	if (bpf_skb_load_bytes(skb, l3, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5 ||
	    ip.saddr != s->address || ip.frag_off & bpf_htons(IP_OFFSET))
		return HOST;
	l4 = l3 + ip.ihl * 4;
	if (bpf_skb_load_bytes(skb, l4, head, sizeof(head)))
		return HOST;
	tuple.ipv4.saddr = ip.daddr;
	tuple.ipv4.daddr = ip.saddr;
	tuple.ipv4.sport = head[1];
	tuple.ipv4.dport = head[0];
	switch (ip.protocol) {
	case IPPROTO_TCP:
		return tcp_mapped(s, head[0], ip.daddr) && !host_has_tcp(skb, &tuple, NULL, NULL) ? WEFT : HOST;
	case IPPROTO_UDP:
		return udp_mapped(s, head[0], ip.daddr) && !host_has_udp(skb, &tuple) ? WEFT : HOST;
	case IPPROTO_ICMP: // as for an echo reply
		return *(__u8 *)head == ICMP_ECHO_REQUEST && has_flow(IPPROTO_ICMP, head[2], ip.daddr) ? BOTH : HOST;
	}
	return has_flow(ip.protocol, 0, ip.daddr) ? WEFT : HOST;
}

static __always_inline enum owner icmp_owner(struct __sk_buff *skb, struct share *s, struct iphdr *ip, __u32 l4)
{
	struct icmp icmp;

	if (bpf_skb_load_bytes(skb, l4, &icmp, sizeof(icmp)))
		return HOST;
	switch (icmp.type) {
	case ICMP_ECHO_REPLY:
		// A process of the host may use the identifier too, and no helper
		// finds its socket.
		return has_flow(IPPROTO_ICMP, icmp.id, ip->saddr) ? BOTH : HOST;
	case ICMP_UNREACHABLE:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER_PROBLEM:
		return quote_owner(skb, s, l4 + ICMP_HEADER_LEN);
	}
	return HOST; // echo requests too: the host answers for its address
}

static __always_inline enum owner ipv4_owner(struct __sk_buff *skb, struct share *s)
{
	struct iphdr ip;
	__u32 l4;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
		return HOST;
	if (ip.daddr != s->address)
		return routed(ip.daddr) ? WEFT : HOST;
	if (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_UDP && ip.protocol != IPPROTO_ICMP)
		return has_flow(ip.protocol, 0, ip.saddr) ? WEFT : HOST;
	// A later fragment has no ports. The host drops what it gets no first
	// fragment for, in silence (RFC 1122 clause 3.3.2), and so does weft.
	if (ip.frag_off & bpf_htons(IP_OFFSET))
		return BOTH;
	l4 = ETH_HLEN + ip.ihl * 4;
	switch (ip.protocol) {
	case IPPROTO_TCP:
		return tcp_owner(skb, s, &ip, l4);
	case IPPROTO_UDP:
		return udp_owner(skb, s, &ip, l4);
	}
	return icmp_owner(skb, s, &ip, l4);
}

// Behind the NIC's driver. Frames with a tag are for another interface of the
// host. IPv6 has its place in the switch once an address of it is shared.
SEC("tc")
int weft_share_in(struct __sk_buff *skb)
{
	struct share *s = shared();
	enum owner owner = HOST;

	if (!s || !s->address || skb->vlan_present)
		return TCX_NEXT;
	switch (skb->protocol) {
	case bpf_htons(ETH_P_ARP): // both have neighbours to find
		if (skb->pkt_type == PACKET_HOST || skb->pkt_type == PACKET_BROADCAST)
			owner = BOTH;
		break;
	case bpf_htons(ETH_P_IP):
		if (skb->pkt_type == PACKET_HOST)
			owner = ipv4_owner(skb, s);
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

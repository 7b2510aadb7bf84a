// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What is read of a packet of either family.
//
// What has a parameter v6 is compiled once for each family: it is a constant
// wherever it is used.
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IP_OFFSET 0x1fff   // RFC 791
#define IPV6_OFFSET 0xfff8 // RFC 8200 clause 4.5

// RFC 792.
#define ICMP_ECHO_REPLY 0
#define ICMP_UNREACHABLE 3
#define ICMP_ECHO_REQUEST 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER_PROBLEM 12

// RFC 4443 and 4861.
#define ICMPV6_UNREACHABLE 1
#define ICMPV6_PARAMETER_PROBLEM 4 // too big and time exceeded are between
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define ICMPV6_ADVERTISEMENT 136 // of a neighbour

#define ICMP_HEADER_LEN 8 // of an error: its quotation follows
#define ICMP_OF(v6) ((v6) ? IPPROTO_ICMPV6 : IPPROTO_ICMP)

// How many extension headers are walked over. What has more is the host's.
#define MAX_EXTENSIONS 4

struct icmp {
	__u8 type, code;
	__u16 checksum, id, sequence;
};

union header {
	struct iphdr v4;
	struct ipv6hdr v6;
};

// What tells whose a packet is. A quoted one was sent by the shared address.
struct packet {
	__u32 remote[4], local[4];
	__u32 l4; // where its transport header begins
	__u8 protocol;
	__u8 fragment; // a later one, which has no such header
};

static __always_inline void copy(__u32 *to, const __u32 *from, int v6)
{
	to[0] = from[0];
	if (v6) {
		to[1] = from[1];
		to[2] = from[2];
		to[3] = from[3];
	}
}

static __always_inline int equal(const __u32 *a, const __u32 *b, int v6)
{
	return a[0] == b[0] && (!v6 || (a[1] == b[1] && a[2] == b[2] && a[3] == b[3]));
}

// Reads the header of a packet, or of one that is quoted, up to what may be
// extension headers.
static __always_inline int read(struct __sk_buff *skb, __u32 l3, union header *ip, struct packet *p,
				int quoted, int v6)
{
	if (v6) {
		if (bpf_skb_load_bytes(skb, l3, ip, sizeof(ip->v6)) || ip->v6.version != 6)
			return 0;
		copy(quoted ? p->local : p->remote, ip->v6.saddr.in6_u.u6_addr32, v6);
		copy(quoted ? p->remote : p->local, ip->v6.daddr.in6_u.u6_addr32, v6);
		p->protocol = ip->v6.nexthdr;
		p->fragment = 0;
		p->l4 = l3 + sizeof(ip->v6);
		return 1;
	}
	if (bpf_skb_load_bytes(skb, l3, ip, sizeof(ip->v4)) || ip->v4.version != 4 || ip->v4.ihl < 5)
		return 0;
	p->remote[0] = quoted ? ip->v4.daddr : ip->v4.saddr;
	p->local[0] = quoted ? ip->v4.saddr : ip->v4.daddr;
	p->protocol = ip->v4.protocol;
	p->fragment = (ip->v4.frag_off & bpf_htons(IP_OFFSET)) != 0;
	p->l4 = l3 + ip->v4.ihl * 4;
	return 1;
}

static __always_inline int is_extension(__u8 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING ||
	       protocol == IPPROTO_FRAGMENT || protocol == IPPROTO_DSTOPTS;
}

// Walks over the extension headers, as far as the first that says that what
// follows is data. Where it cannot, it returns 0.
static __always_inline int walk(struct __sk_buff *skb, struct packet *p)
{
	__u8 head[8]; // none is shorter

#pragma unroll
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		if (p->fragment || !is_extension(p->protocol))
			return 1;
		if (bpf_skb_load_bytes(skb, p->l4, head, sizeof(head)))
			return 0;
		// With segments left, another one is whom the packet is for in the end
		// (RFC 8200 clause 4.4).
		if (p->protocol == IPPROTO_ROUTING && head[3])
			return 0;
		if (p->protocol == IPPROTO_FRAGMENT) {
			p->fragment = ((head[2] << 8 | head[3]) & IPV6_OFFSET) != 0;
			p->l4 += 8;
		} else {
			p->l4 += (head[1] + 1) * 8;
		}
		if (p->l4 > skb->len)
			return 0;
		p->protocol = head[0];
	}
	return p->fragment || !is_extension(p->protocol);
}

static __always_inline int is_error(__u8 type, int v6)
{
	if (v6)
		return type >= ICMPV6_UNREACHABLE && type <= ICMPV6_PARAMETER_PROBLEM;
	return type == ICMP_UNREACHABLE || type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETER_PROBLEM;
}

// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The guard of a port: attached where the interface hands received frames to
// the host's stack (tc ingress). A packet socket has seen the frame before; the
// host never does.
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#define TC_ACT_SHOT 2

SEC("tc")
int weft_guard(struct __sk_buff *skb)
{
	return TC_ACT_SHOT;
}

char weft_license[] SEC("license") = "Dual BSD/GPL";

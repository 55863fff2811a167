/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* <linux/bpf.h> wants <asm/types.h>, which is architecture's own; BPF has no
 * architecture, so the generic one does on every build host. */
#include <asm-generic/types.h>

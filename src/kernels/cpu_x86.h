/* cpu_x86.h - what an x86-64 CPU and its operating system support */

#ifndef CE_KERNELS_CPU_X86_H
#define CE_KERNELS_CPU_X86_H

#include <stdbool.h>

/* AVX2, FMA and F16C, with the registers saved by the operating system. */
bool ce_cpu_has_avx2(void);

#endif

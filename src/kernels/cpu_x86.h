/* cpu_x86.h - what an x86-64 CPU and its operating system support; nothing elsewhere */

#ifndef CE_KERNELS_CPU_X86_H
#define CE_KERNELS_CPU_X86_H

#include <stdbool.h>

/* AVX2, FMA and F16C, with the registers saved by the operating system. */
bool ce_cpu_has_avx2(void);

/* AVX-512 as processors have it since Skylake-X: F, CD, BW, DQ and VL. */
bool ce_cpu_has_avx512(void);

#endif

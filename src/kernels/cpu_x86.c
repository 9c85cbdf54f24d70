/* cpu_x86.c - CPU detection */

#include "kernels/cpu_x86.h"

#if defined(__x86_64__)

#include <cpuid.h>

/* Asked of the CPU: not every compiler has a name for it. */
static bool has_f16c(void)
{
    unsigned eax;
    unsigned ebx;
    unsigned ecx;
    unsigned edx;

    return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

bool ce_cpu_has_avx2(void)
{
    /* The compiler's run-time checks that the operating system saves the registers. */
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           has_f16c();
}

bool ce_cpu_has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}

#else

bool ce_cpu_has_avx2(void)
{
    return false;
}

bool ce_cpu_has_avx512(void)
{
    return false;
}

#endif

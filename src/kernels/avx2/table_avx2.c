/* table_avx2.c - the members that this set overrides */

#include "kernels/avx2/avx2.h"

void ce_kernels_fill_avx2(struct ce_kernels *kernels)
{
    kernels->name = "avx2";
    kernels->matmul = ce_matmul_avx2;
    kernels->quantise_rows = ce_quantise_rows_avx2;
    kernels->matmul_quantised = ce_matmul_quantised_avx2;
    kernels->rms_norm = ce_rms_norm_avx2;
    kernels->softmax = ce_softmax_avx2;
    kernels->silu_multiply = ce_silu_multiply_avx2;
    kernels->multiply = ce_multiply_avx2;
    kernels->add_scaled = ce_add_scaled_avx2;
    kernels->add_combined = ce_add_combined_avx2;
    kernels->rotate = ce_rotate_avx2;
    kernels->attend = ce_attend_avx2;
    kernels->all_finite = ce_all_finite_avx2;
    kernels->checksum = ce_checksum_avx2;
    kernels->xor_words = ce_xor_words_avx2;
}

/* table_ref.c - the members of the reference set: all of them */

#include "kernels/ref/ref.h"

void ce_kernels_fill_ref(struct ce_kernels *kernels)
{
    *kernels = (struct ce_kernels){
        .name = "ref",
        .matmul = ce_matmul_ref,
        .quantise_rows = ce_quantise_rows_ref,
        .matmul_quantised = ce_matmul_quantised_ref,
        .rms_norm = ce_rms_norm_ref,
        .softmax = ce_softmax_ref,
        .silu_multiply = ce_silu_multiply_ref,
        .multiply = ce_multiply_ref,
        .add_scaled = ce_add_scaled_ref,
        .add_combined = ce_add_combined_ref,
        .rotate = ce_rotate_ref,
        .attend = ce_attend_ref,
        .all_finite = ce_all_finite_ref,
        .checksum = ce_checksum_ref,
        .xor_words = ce_xor_words_ref,
    };
}

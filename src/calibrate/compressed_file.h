/* compressed_file.h - compressed.safetensors of the affine kind from fits
 *
 * Tensors, BF16, N a layer, E an expert: `model.layers.N.mlp.affine.E.b` [d]; with a
 * rank r > 0 also `.u` [d, r] and `.v` [r, d]; with s > 0 kept neurons `.gate` [s, d],
 * `.up` [s, d] and `.down` [d, s]. Experts are added in any order; what is added is
 * copied in the form of the file, so that fits can be thrown away.
 */

#ifndef CE_CALIBRATE_COMPRESSED_FILE_H
#define CE_CALIBRATE_COMPRESSED_FILE_H

#include "base/status.h"
#include "calibrate/fit.h"
#include "model/compressed_experts.h"
#include "model/safetensors.h"

#include <stddef.h>
#include <stdint.h>

struct ce_compressed_file; /* what is to be written */

/* Of the file's metadata. */
struct ce_compressed_file_facts {
    size_t n_ce;
    uint64_t model; /* identity of the one it was made for (engine/engine.h) */
    const struct ce_safetensors_text
        *provenance; /* where it comes from, in any words */
    size_t provenance_count;
};

CE_MUST_CHECK enum ce_status ce_compressed_file_create(struct ce_compressed_file **file,
                                                       size_t hidden,
                                                       struct ce_error *err);
void ce_compressed_file_destroy(struct ce_compressed_file *file); /* accepts NULL */

/* The rows of the kept neurons: gate and up [count][hidden], down [count][hidden], row
 * i the column of neuron i. */
struct ce_compressed_file_neurons {
    size_t count;
    const float *gate;
    const float *up;
    const float *down;
};

/* Rounds U and V of rank `rank` <= fit->rank to BF16 and forms b with the rounded ones.
 * `neurons` may be NULL. CE_ERR_NUMERIC when something rounds to infinity, naming layer
 * and expert. An expert that is added twice makes the writing fail. */
CE_MUST_CHECK enum ce_status
ce_compressed_file_add(struct ce_compressed_file *file,
                       size_t layer,
                       size_t expert,
                       const struct ce_fit *fit,
                       size_t rank,
                       const struct ce_compressed_file_neurons *neurons,
                       struct ce_error *err);

/* Writes all of it so that a reader sees the old file or the whole new one. */
CE_MUST_CHECK enum ce_status
ce_compressed_file_write(const struct ce_compressed_file *file,
                         const char *path,
                         const struct ce_compressed_file_facts *facts,
                         struct ce_error *err);

/* The same of tensors of either kind. */
CE_MUST_CHECK enum ce_status
ce_compressed_file_write_entries(const char *path,
                                 enum ce_compressed_kind kind,
                                 const struct ce_safetensors_entry *entries,
                                 size_t entry_count,
                                 const struct ce_compressed_file_facts *facts,
                                 struct ce_error *err);

#endif

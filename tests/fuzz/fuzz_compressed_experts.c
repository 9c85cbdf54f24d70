/* fuzz_compressed_experts.c - no file makes the reader of compressed experts misbehave
 *
 * What is accepted is loaded and every value read.
 */

#include "model/compressed_experts.h"
#include "safetensors_image.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

static const struct ce_config config = {
    .hidden_size = 2, .intermediate_size = 3, .layers = 1, .experts = 2, .top_k = 2};

static void read_matrix(const struct ce_matrix *matrix)
{
    const uint16_t *bits = matrix->data;

    require(matrix->inputs == config.hidden_size);
    for (size_t i = 0; i < matrix->outputs * matrix->inputs; i++) {
        require(isfinite(ce_f32_from_bf16(bits[i])));
    }
}

static void read_values(const struct ce_compressed_experts *experts)
{
    const size_t values = config.experts * 3 * config.intermediate_size;

    for (size_t i = 0; experts->affine != NULL && i < config.experts; i++) {
        const struct ce_affine_expert *expert = &experts->affine[i];

        require(expert->inputs.outputs == expert->rank + 2 * expert->neurons);
        require(expert->inputs.outputs <= experts->most_inputs);
        require(expert->outputs.outputs == 1 + expert->rank + expert->neurons);
        read_matrix(&expert->inputs);
        read_matrix(&expert->outputs);
    }
    for (size_t i = 0; experts->table[0] != NULL && i < values; i++) {
        require(isfinite(experts->table[0][i]));
    }
}

static void try_file(const struct ce_safetensors *file)
{
    struct ce_compressed_experts plan;
    struct ce_compressed_experts experts;
    struct ce_error err = {.text = ""};
    const enum ce_status planned =
        ce_compressed_experts_plan(&plan, file, &config, &err);
    const enum ce_status loaded =
        ce_compressed_experts_load(&experts, file, &config, &err);

    require(planned == CE_OK || loaded != CE_OK);
    if (loaded == CE_OK) {
        require(experts.bytes == plan.bytes);
        require(experts.arena.used == plan.arena.used);
        require(experts.n_ce < config.top_k);
        read_values(&experts);
    } else {
        require(strncmp(err.text, "image: ", 7) == 0);
    }
    ce_compressed_experts_destroy(&plan);
    ce_compressed_experts_destroy(&experts);
}

static void try_image(const uint8_t *image, size_t size)
{
    struct ce_safetensors file;
    struct ce_error err = {.text = ""};

    if (ce_safetensors_parse(&file, image, size, "image", &err) == CE_OK) {
        try_file(&file);
    }
    ce_safetensors_close(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    try_as_is_and_repaired(data, size, try_image);
    return 0;
}

/* packed_model.h - a directory with one packed file in place of a checkpoint's weights
 */

#ifndef CE_MODEL_PACKED_MODEL_H
#define CE_MODEL_PACKED_MODEL_H

#include "model/config.h"
#include "model/packed_file.h"
#include "model/weights.h"

#define CE_PACKED_MODEL_NAME "model.cemoe"

/* ce_config_hash without what may change and leave the weights what they are: n_ce,
 * use_ce and the stop tokens. */
uint64_t ce_packed_config_hash(const struct ce_config *config);

/* Opens DIR/model.cemoe, which must be of this configuration, and says its formats.
 * Where there is none that is no failure: file->path is NULL, formats are unchanged. */
CE_MUST_CHECK enum ce_status ce_packed_model_open(struct ce_packed_file *file,
                                                  struct ce_weight_formats *formats,
                                                  const char *dir,
                                                  const struct ce_config *config,
                                                  const struct ce_kernels *kernels,
                                                  struct ce_error *err);

#endif

/* engine_identity.h - private to engine*.c: do all ranks have one model, and which? */

#ifndef CE_ENGINE_ENGINE_IDENTITY_H
#define CE_ENGINE_ENGINE_IDENTITY_H

#include "engine/engine.h"
#include "model/identity.h"

/* "name=hash" lines of the small files of a model directory, by their bytes: what every
 * rank reads itself and must have alike. malloc'ed. Errors: CE_ERR_IO, CE_ERR_NOMEM. */
CE_MUST_CHECK enum ce_status ce_engine_describe_files(char **lines,
                                                      const struct ce_kernels *kernels,
                                                      const char *dir,
                                                      struct ce_error *err);

/* Remembers the files of the options as they are now, to find later that they were
 * changed; to be called before they are read. */
CE_MUST_CHECK enum ce_status
ce_engine_watch_files(struct ce_engine *engine,
                      const struct ce_engine_options *options,
                      struct ce_error *err);
/* Those with the weights, as they were when they were opened. */
CE_MUST_CHECK enum ce_status
ce_engine_watch_weights(struct ce_engine *engine,
                        const struct ce_weights_request *request,
                        struct ce_error *err);

/* Before anything is loaded: ranks that see other files compare samples of all tensors,
 * or all their bytes where ranks split them.
 * CE_ERR_MISMATCH names two ranks, their hosts, file and tensor. Collective. */
CE_MUST_CHECK enum ce_status
ce_engine_compare_files(struct ce_engine *engine,
                        const char *dir,
                        const struct ce_weights_request *request,
                        struct ce_error *err);

/* After loading: compares what several ranks have read, and from what all have read
 * together makes engine->identity; `identity` has this rank's part. Errors as above.
 * Collective. */
CE_MUST_CHECK enum ce_status
ce_engine_identify(struct ce_engine *engine,
                   struct ce_identity *identity,
                   const struct ce_weights_request *request,
                   struct ce_error *err);
/* That of random weights. */
void ce_engine_identify_dummy(struct ce_engine *engine, uint64_t seed);

#endif

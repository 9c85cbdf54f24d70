/* held_out.h - a text to be scored in windows, on all ranks */

#ifndef CE_TOOLS_HELD_OUT_H
#define CE_TOOLS_HELD_OUT_H

#include "model/tokenizer/tokenizer.h"
#include "tools/session.h"

/* Rank 0 reads the file, or standard input for "-", all ranks encode it: at least two
 * tokens. The caller frees *ids, which is zeroed before. Collective. */
CE_MUST_CHECK enum ce_status ce_held_out_read(struct ce_session *session,
                                              const struct ce_tokenizer *tokenizer,
                                              const char *path,
                                              struct ce_ids *ids,
                                              struct ce_error *err);

/* Where the user has not said it, a cache for two windows, or for what a step takes
 * when that is more. */
void ce_held_out_choose_cache(struct ce_engine_options *options, size_t window);

#endif

/* held_out.c - a text to be scored in windows, on all ranks */

#include "tools/held_out.h"

#include "base/text_file.h"
#include "comm/collective.h"
#include "eval/data_file.h"

#include <stdlib.h>

#define TEXT_LIMIT ((size_t)1 << 30)

static enum ce_status
read_text(const void *path, char **text, size_t *bytes, struct ce_error *err)
{
    return ce_text_file_read(path, TEXT_LIMIT, text, bytes, err);
}

enum ce_status ce_held_out_read(struct ce_session *session,
                                const struct ce_tokenizer *tokenizer,
                                const char *path,
                                struct ce_ids *ids,
                                struct ce_error *err)
{
    char *text = NULL;
    size_t bytes = 0;
    enum ce_status status =
        ce_session_share(session, read_text, path, &text, &bytes, err);

    if (status != CE_OK) {
        return status;
    }
    ce_data_file_warn_of_json(path, text, bytes);
    status = ce_tokenizer_encode(tokenizer, text, bytes, false, ids, err);
    if (status != CE_OK) {
        ce_error_prefix(err, "%s", path);
    } else if (ids->count < 2) {
        status = ce_fail(err,
                         CE_ERR_ARG,
                         "%s: %zu tokens; at least 2 are needed to score one",
                         path,
                         ids->count);
    }
    free(text);
    return ce_agree(session->transport, status, err);
}

void ce_held_out_choose_cache(struct ce_engine_options *options, size_t window)
{
    if (options->cache_tokens == 0) {
        options->cache_tokens =
            (window + CE_PAGE_TOKENS) * (options->step_tokens / window + 1);
    }
}

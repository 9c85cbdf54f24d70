/* post_processor.h - the ids that are put around those of a text
 *
 * From the file's TemplateProcessing, of which the template for one sequence is
 * read; add_bos_token and add_eos_token of tokenizer_config.json overrule it.
 */

#ifndef CE_MODEL_TOKENIZER_POST_PROCESSOR_H
#define CE_MODEL_TOKENIZER_POST_PROCESSOR_H

#include "model/tokenizer/component.h"

struct ce_post_processor {
    struct ce_ids before;
    struct ce_ids after;
};

/* The field `post_processor` of the document `root`. `post` is zeroed before;
 * fini also after a failure. */
CE_MUST_CHECK enum ce_status ce_post_processor_read(struct ce_post_processor *post,
                                                    const json_t *root,
                                                    const char *file,
                                                    struct ce_error *err);
void ce_post_processor_fini(struct ce_post_processor *post);

#endif

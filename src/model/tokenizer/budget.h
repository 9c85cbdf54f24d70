/* budget.h - what the encoding of one text, or the reading of one file, may cost
 *
 * A few normalizers of a file that each make a thousand characters of one make
 * gigabytes of a word, a few patterns take minutes for it. Known models make three
 * bytes of one and take a few steps per byte.
 */

#ifndef CE_MODEL_TOKENIZER_BUDGET_H
#define CE_MODEL_TOKENIZER_BUDGET_H

#include "base/steps.h"

struct ce_budget {
    struct ce_steps steps; /* of patterns, and of the search for added tokens */
    size_t text_bytes;
    size_t output;      /* bytes that normalizers or decoders may make of it */
    size_t output_left; /* of these */
};

static inline void ce_budget_begin(struct ce_budget *budget, size_t text_bytes)
{
    enum { TIMES = 16, AT_LEAST = 64 * 1024 };

    ce_steps_begin(&budget->steps, text_bytes);
    budget->text_bytes = text_bytes;
    budget->output = AT_LEAST + TIMES * text_bytes;
    budget->output_left = budget->output;
}

#endif

/* split.h - what becomes of the matches of a pattern and of the gaps between them
 *
 * A matcher reports the stretches of a text from left to right, each a match or
 * a gap; the parts come out through `emit`. On "the-final--countdown" with "-":
 *   Isolated            the - final - - countdown
 *   Removed             the final countdown
 *   MergedWithPrevious  the- final- - countdown
 *   MergedWithNext      the -final - -countdown
 *   Contiguous          the - final -- countdown
 */

#ifndef CE_MODEL_TOKENIZER_SPLIT_H
#define CE_MODEL_TOKENIZER_SPLIT_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum ce_split_behavior {
    CE_SPLIT_ISOLATED,
    CE_SPLIT_REMOVED,
    CE_SPLIT_MERGED_WITH_PREVIOUS,
    CE_SPLIT_MERGED_WITH_NEXT,
    CE_SPLIT_CONTIGUOUS,
};

/* False when the name is not one of the above. */
bool ce_split_behavior_parse(const char *name, enum ce_split_behavior *behavior);

struct ce_stretch {
    size_t start;
    size_t end;
    bool match;
};

typedef enum ce_status
ce_split_emit(void *user, size_t start, size_t end, struct ce_error *err);

/* Set behavior, emit and user; zero the rest. */
struct ce_splitter {
    enum ce_split_behavior behavior;
    ce_split_emit *emit;
    void *user;
    bool pending; /* `held` waits for what follows it */
    struct ce_stretch held;
    bool previous_match; /* the last stretch was a match */
};

CE_MUST_CHECK enum ce_status ce_splitter_add(struct ce_splitter *splitter,
                                             struct ce_stretch stretch,
                                             struct ce_error *err);
CE_MUST_CHECK enum ce_status ce_splitter_finish(struct ce_splitter *splitter,
                                                struct ce_error *err);

#endif

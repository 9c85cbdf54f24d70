/* split.c - what becomes of the matches of a pattern and of the gaps between them */

#include "model/tokenizer/split.h"

#include <string.h>

bool ce_split_behavior_parse(const char *name, enum ce_split_behavior *behavior)
{
    static const char *const names[] = {
        [CE_SPLIT_ISOLATED] = "Isolated",
        [CE_SPLIT_REMOVED] = "Removed",
        [CE_SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
        [CE_SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
        [CE_SPLIT_CONTIGUOUS] = "Contiguous",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(name, names[i]) == 0) {
            *behavior = (enum ce_split_behavior)i;
            return true;
        }
    }
    return false;
}

/* Whether `stretch` continues the part that is held. */
static bool joins(const struct ce_splitter *splitter, bool match)
{
    switch (splitter->behavior) {
    case CE_SPLIT_MERGED_WITH_PREVIOUS:
        return match && !splitter->previous_match;
    case CE_SPLIT_MERGED_WITH_NEXT:
        return !match && splitter->held.match;
    case CE_SPLIT_CONTIGUOUS:
        return match == splitter->previous_match;
    case CE_SPLIT_ISOLATED:
    case CE_SPLIT_REMOVED:
        break;
    }
    return false;
}

enum ce_status ce_splitter_add(struct ce_splitter *splitter,
                               struct ce_stretch stretch,
                               struct ce_error *err)
{
    enum ce_status status = CE_OK;

    if (splitter->behavior == CE_SPLIT_REMOVED && stretch.match) {
        return CE_OK;
    }
    if (splitter->pending && joins(splitter, stretch.match)) {
        splitter->held.end = stretch.end;
        splitter->held.match = stretch.match;
    } else {
        status = ce_splitter_finish(splitter, err);
        splitter->held = stretch;
        splitter->pending = true;
    }
    splitter->previous_match = stretch.match;
    return status;
}

enum ce_status ce_splitter_finish(struct ce_splitter *splitter, struct ce_error *err)
{
    if (!splitter->pending) {
        return CE_OK;
    }
    splitter->pending = false;
    return splitter->emit(
        splitter->user, splitter->held.start, splitter->held.end, err);
}

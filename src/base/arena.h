/* arena.h - memory with one lifetime
 *
 *   memory: [ aaaa | bb.. | cccccc ..........untouched.......... ]
 *                                   ^ used              capacity ^
 *
 * One mapping, handed out front to back in 64-byte aligned pieces and given
 * back all at once. The engine has one for each lifetime: model, engine, step.
 * A measuring arena (ce_arena_measure) has no memory: the same code that takes
 * pieces from it computes how much a real one needs.
 */

#ifndef CE_BASE_ARENA_H
#define CE_BASE_ARENA_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

struct ce_arena {
    unsigned char *memory; /* NULL when measuring or empty */
    size_t capacity;
    size_t used;
    bool measuring;
};

CE_MUST_CHECK enum ce_status
ce_arena_create(struct ce_arena *arena, size_t capacity, struct ce_error *err);
void ce_arena_destroy(struct ce_arena *arena); /* accepts a zeroed arena */
void ce_arena_measure(struct ce_arena *arena); /* starts measuring */
void ce_arena_reset(struct ce_arena *arena);

/* count * size bytes, 64-byte aligned, not cleared after a reset. NULL when it
 * does not fit (or when measuring: then only `used` grows). */
void *ce_arena_take(struct ce_arena *arena, size_t count, size_t size);

#endif

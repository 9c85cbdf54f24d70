/* arena.c - one mapping, handed out front to back */

#include "base/arena.h"

#include "base/memory.h"

#include <stdint.h>

#define ALIGNMENT ((size_t)64)

/* SIZE_MAX when the sum does not exist: then nothing can be that large. */
static size_t piece_bytes(size_t count, size_t size)
{
    size_t bytes = 0;

    if (ce_size_mul(count, size, &bytes) != CE_OK ||
        ce_size_add(bytes, ALIGNMENT - 1, &bytes) != CE_OK) {
        return SIZE_MAX;
    }
    return bytes & ~(ALIGNMENT - 1);
}

enum ce_status
ce_arena_create(struct ce_arena *arena, size_t capacity, struct ce_error *err)
{
    size_t bytes = piece_bytes(capacity, 1);

    *arena = (struct ce_arena){.memory = ce_memory_map(bytes), .capacity = bytes};
    if (arena->memory == NULL) {
        arena->capacity = 0;
        return ce_fail(
            err, CE_ERR_NOMEM, "no address space for an arena of %zu bytes", capacity);
    }
    return CE_OK;
}

void ce_arena_destroy(struct ce_arena *arena)
{
    ce_memory_unmap(arena->memory, arena->capacity);
    *arena = (struct ce_arena){.memory = NULL};
}

void ce_arena_measure(struct ce_arena *arena)
{
    *arena = (struct ce_arena){.measuring = true};
}

void ce_arena_reset(struct ce_arena *arena)
{
    arena->used = 0;
}

void *ce_arena_take(struct ce_arena *arena, size_t count, size_t size)
{
    size_t bytes = piece_bytes(count, size);

    if (arena->measuring) {
        if (ce_size_add(arena->used, bytes, &arena->used) != CE_OK) {
            arena->used = SIZE_MAX;
        }
        return NULL;
    }
    if (arena->memory == NULL || bytes > arena->capacity - arena->used) {
        return NULL;
    }
    void *piece = arena->memory + arena->used;

    arena->used += bytes;
    return piece;
}

/* landing.c - memory that received messages land in: grows, never shrinks */

#include "comm/backend.h"

#include <stdlib.h>

#define ALIGNMENT 64

bool ce_landing_prepare(struct ce_landing *landing, size_t bytes)
{
    if (bytes <= landing->capacity) {
        return true;
    }
    if (bytes > SIZE_MAX / 2) {
        return false;
    }
    size_t capacity = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;

    free(landing->memory);
    landing->memory = aligned_alloc(ALIGNMENT, capacity);
    landing->capacity = landing->memory != NULL ? capacity : 0;
    return landing->memory != NULL;
}

/* Half as much again, so that slowly growing messages seldom allocate. */
bool ce_landing_reserve(struct ce_landing *landing, size_t bytes)
{
    return bytes <= landing->capacity ||
           ce_landing_prepare(landing, bytes + bytes / 2 + ALIGNMENT);
}

/* allocations.h - counts the allocations of a process, of our code and of the libraries
 * alike
 *
 * The sanitizers have an allocator of their own, which cannot be replaced. To be
 * included once in a program.
 */

#ifndef CE_TESTS_UNIT_ALLOCATIONS_H
#define CE_TESTS_UNIT_ALLOCATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

static size_t allocations;

#if defined(__has_feature)
#define HAS_FEATURE(name) __has_feature(name)
#else
#define HAS_FEATURE(name) 0
#endif

#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__) &&                            \
    !defined(__SANITIZE_THREAD__) && !HAS_FEATURE(address_sanitizer) &&                \
    !HAS_FEATURE(thread_sanitizer) && !HAS_FEATURE(memory_sanitizer)

static const bool allocations_are_counted = true;

/* What glibc calls its own; its manual: "Replacing malloc". */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static void count_allocation(void)
{
    (void)__atomic_add_fetch(&allocations, 1, __ATOMIC_RELAXED);
}

void *malloc(size_t size)
{
    count_allocation();
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    count_allocation();
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    count_allocation();
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count_allocation();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    count_allocation();
    *out = __libc_memalign(alignment, size);
    return *out == NULL;
}

#else

static const bool allocations_are_counted = false;

#endif

#endif

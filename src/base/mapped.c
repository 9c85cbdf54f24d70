/* mapped.c - a table of mapped files that is read without a lock */

#include "base/mapped.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { MOST_FILES = 1024, PATH_BYTES = 200 };

static struct mapped {
    _Atomic uintptr_t begin; /* 0: free; written last */
    _Atomic size_t bytes;
    char path[PATH_BYTES];
} table[MOST_FILES];

static pthread_mutex_t writers = PTHREAD_MUTEX_INITIALIZER;

void ce_mapped_add(const void *data, size_t bytes, const char *path)
{
    const size_t length = strlen(path);
    const size_t left_out = length < PATH_BYTES ? 0 : length - (PATH_BYTES - 1);

    (void)pthread_mutex_lock(&writers);
    for (size_t i = 0; i < MOST_FILES; i++) {
        struct mapped *file = &table[i];

        if (atomic_load(&file->begin) == 0) {
            (void)snprintf(file->path, PATH_BYTES, "%s", path + left_out);
            atomic_store(&file->bytes, bytes);
            atomic_store(&file->begin, (uintptr_t)data);
            break;
        }
    }
    (void)pthread_mutex_unlock(&writers);
}

void ce_mapped_remove(const void *data)
{
    (void)pthread_mutex_lock(&writers);
    for (size_t i = 0; i < MOST_FILES; i++) {
        if (atomic_load(&table[i].begin) == (uintptr_t)data) {
            atomic_store(&table[i].begin, 0);
            break;
        }
    }
    (void)pthread_mutex_unlock(&writers);
}

const char *ce_mapped_find(const void *address)
{
    const uintptr_t at = (uintptr_t)address;

    for (size_t i = 0; i < MOST_FILES; i++) {
        const uintptr_t begin = atomic_load(&table[i].begin);

        if (begin != 0 && at >= begin && at - begin < atomic_load(&table[i].bytes)) {
            return table[i].path;
        }
    }
    return NULL;
}

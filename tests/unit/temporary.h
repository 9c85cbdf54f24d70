/* temporary.h - a directory of its own for each test, removed afterwards
 *
 * Use temporary_setup and temporary_teardown with cmocka_unit_test_setup_teardown
 * and take paths from the state: `temporary_path(state, "a.json")`.
 */

#ifndef CE_TESTS_UNIT_TEMPORARY_H
#define CE_TESTS_UNIT_TEMPORARY_H

#include "test.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define TEMPORARY_PATHS 256

struct temporary {
    char dir[64];
    char *path[TEMPORARY_PATHS]; /* every answer of temporary_path */
    size_t paths;
};

static inline int temporary_setup(void **state)
{
    struct temporary *temporary = calloc(1, sizeof(*temporary));

    *state = temporary;
    if (temporary == NULL) {
        return -1;
    }
    (void)snprintf(temporary->dir, sizeof(temporary->dir), "/tmp/cemoe-test-XXXXXX");
    return mkdtemp(temporary->dir) == NULL ? -1 : 0;
}

static inline int temporary_remove_one(const char *path,
                                       const struct stat *info,
                                       int type,
                                       struct FTW *place)
{
    (void)info;
    (void)type;
    (void)place;
    return remove(path);
}

static inline int temporary_teardown(void **state)
{
    struct temporary *temporary = *state;
    int failed = nftw(temporary->dir, temporary_remove_one, 16, FTW_DEPTH | FTW_PHYS);

    for (size_t i = 0; i < temporary->paths; i++) {
        free(temporary->path[i]);
    }
    free(temporary);
    return failed;
}

/* DIR/NAME, valid until the test ends; DIR itself for "". */
static inline const char *temporary_path(void **state, const char *name)
{
    struct temporary *temporary = *state;
    const char *separator = *name == '\0' ? "" : "/";
    char **path = &temporary->path[temporary->paths];

    assert_true(temporary->paths < TEMPORARY_PATHS);
    assert_true(asprintf(path, "%s%s%s", temporary->dir, separator, name) >= 0);
    temporary->paths++;
    return *path;
}

static inline void
temporary_write(void **state, const char *name, const void *data, size_t bytes)
{
    FILE *file = fopen(temporary_path(state, name), "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
}

static inline void temporary_mkdir(void **state, const char *name)
{
    assert_int_equal(mkdir(temporary_path(state, name), 0755), 0);
}

#endif

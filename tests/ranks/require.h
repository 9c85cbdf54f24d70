/* require.h - what must hold on every rank, or the program ends with a line that says
 * why
 *
 * For code that runs on ranks of MPI and on ranks that are threads alike: an assertion
 * of CMocka would end the test of one rank only, and leave the others waiting.
 */

#ifndef CE_TESTS_RANKS_REQUIRE_H
#define CE_TESTS_RANKS_REQUIRE_H

#include <stdio.h>
#include <stdlib.h>

/* The setting that this rank runs. */
static _Thread_local const char *require_doing = "";

#define REQUIRE(condition, ...)                                                        \
    do {                                                                               \
        if (!(condition)) {                                                            \
            (void)fprintf(stderr, "%s: '%s': ", __FILE__, require_doing);              \
            (void)fprintf(stderr, __VA_ARGS__);                                        \
            (void)fputc('\n', stderr);                                                 \
            exit(1);                                                                   \
        }                                                                              \
    } while (0)

#endif

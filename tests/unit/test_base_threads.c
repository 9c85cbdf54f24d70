/* Threads that the system gives, and does not give: pthread_create is replaced. */

#include "base/threads.h"
#include "test.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

static int allowed; /* how many more are started */

/* In front of the system's. */
int pthread_create(pthread_t *thread,
                   const pthread_attr_t *attributes,
                   void *(*function)(void *),
                   void *argument)
{
    typedef int create(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    union {
        void *symbol;
        create *call;
    } system = {.symbol = dlsym(RTLD_NEXT, "pthread_create")};

    return allowed-- > 0 ? system.call(thread, attributes, function, argument) : EAGAIN;
}

static void all_threads_are_there(void **state)
{
    (void)state;
    struct ce_error err = {.text = ""};

    allowed = 5;
    assert_int_equal(ce_threads_check(6, &err), CE_OK);
    assert_int_equal(allowed, 0);
}

static void one_thread_needs_no_other(void **state)
{
    (void)state;
    struct ce_error err = {.text = ""};

    allowed = 0;
    assert_int_equal(ce_threads_check(1, &err), CE_OK);
}

static void missing_threads_are_counted(void **state)
{
    (void)state;
    struct ce_error err = {.text = ""};

    allowed = 2;
    assert_int_equal(ce_threads_check(6, &err), CE_ERR_NOMEM);
    assert_non_null(strstr(err.text, "the system gives 3 of 6 threads: "));
    assert_non_null(strstr(err.text, "OMP_NUM_THREADS"));
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_threads_are_there),
        cmocka_unit_test(one_thread_needs_no_other),
        cmocka_unit_test(missing_threads_are_counted),
    };

    return cmocka_run_group_tests_name("base.threads", tests, NULL, NULL);
}

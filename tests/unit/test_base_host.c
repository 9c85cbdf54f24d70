#include "base/host.h"
#include "test.h"

#include <string.h>

static struct ce_host host_of(const char *name, uint64_t machine, uint64_t id)
{
    struct ce_host host = {.machine = machine, .id = id};

    (void)strcpy(host.name, name);
    return host;
}

static void a_process_is_on_its_own_host(void **state)
{
    (void)state;
    struct ce_host first;
    struct ce_host second;
    char boot[65];

    ce_host_self(&first);
    ce_host_self(&second);
    assert_true(ce_host_is_same(&first, &second));
    assert_true(first.machine == second.machine);
    assert_string_equal(first.name, second.name);
    assert_int_not_equal(first.name[0], '\0');
    ce_host_read_boot(boot, sizeof(boot));
    assert_int_equal(strlen(boot), 36); /* a UUID */
}

/* Two machines that are both called localhost, and containers beside one of them. */
static void hosts_with_one_name_are_numbered(void **state)
{
    (void)state;
    struct rank {
        int number;
        struct ce_host host;
    } rank[] = {{0, host_of("localhost", 1, 11)},
                {1, host_of("localhost", 1, 11)},
                {2, host_of("localhost", 2, 22)},
                {3, host_of("localhosts", 2, 23)},
                {4, host_of("localhost", 2, 24)},
                {5, host_of("localhost", 2, 22)},
                {6, host_of("localhost", 1, 11)}};
    static const char *const wanted[] = {"localhost",
                                         "localhost",
                                         "localhost#2",
                                         "localhosts",
                                         "localhost#3",
                                         "localhost#2",
                                         "localhost"};

    ce_host_number(&rank[0].host, sizeof(rank[0]), 7);
    for (size_t i = 0; i < 7; i++) {
        assert_string_equal(rank[i].host.name, wanted[i]);
        assert_int_equal(rank[i].number, i);
    }
}

static void a_long_name_keeps_its_number(void **state)
{
    (void)state;
    struct ce_host host[2] = {
        host_of(
            "n123456789012345678901234567890123456789012345678901234567890123456789",
            1,
            1),
        host_of(
            "n123456789012345678901234567890123456789012345678901234567890123456789",
            2,
            2)};

    ce_host_number(host, sizeof(host[0]), 2);
    assert_string_equal(host[1].name + strlen(host[1].name) - 2, "#2");
}

static void other_hosts_of_a_machine_leave_less_memory(void **state)
{
    (void)state;
    assert_int_equal(ce_host_memory_left(100, 1000, 50, 50), 100);
    assert_int_equal(ce_host_memory_left(1000, 1000, 700, 200), 500);
    assert_int_equal(ce_host_memory_left(100, 1000, 950, 0), 50);
    assert_int_equal(ce_host_memory_left(100, 1000, 5000, 10), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_process_is_on_its_own_host),
        cmocka_unit_test(hosts_with_one_name_are_numbered),
        cmocka_unit_test(a_long_name_keeps_its_number),
        cmocka_unit_test(other_hosts_of_a_machine_leave_less_memory),
    };

    return cmocka_run_group_tests_name("base.host", tests, NULL, NULL);
}

/* UCX_TLS and UCX_NET_DEVICES against made-up hosts; and the ways of this one. */

#include "doctor/facts.h"
#include "temporary.h"

#include <string.h>

static const struct ce_way ethernet[] = {{"self", "memory", false},
                                         {"posix", "memory", false},
                                         {"cma", "memory", false},
                                         {"tcp", "lo", true},
                                         {"tcp", "eth0", true}};
static const struct ce_way infiniband[] = {{"self", "memory", false},
                                           {"sysv", "memory", false},
                                           {"tcp", "eth0", true},
                                           {"rc_mlx5", "mlx5_0:1", true},
                                           {"ud_verbs", "mlx5_0:1", true}};

static struct ce_ucx_settings
judge(const struct ce_way *ways, const char *tls, const char *devices)
{
    struct ce_ucx_settings settings;

    ce_ucx_settings_judge(&settings, tls, devices, ways, 5, "/nowhere");
    return settings;
}

static void nothing_set(void **state)
{
    struct ce_ucx_settings settings = judge(ethernet, NULL, "");

    (void)state;
    assert_true(settings.known && settings.has_device);
    assert_true(settings.reaches_hosts && settings.reaches_ranks);
    assert_string_equal(settings.devices, "lo, eth0");
    assert_string_equal(settings.no_device, "");
    assert_string_equal(settings.no_transport, "");
}

static void each_device_is_listed_once(void **state)
{
    (void)state;
    assert_string_equal(judge(infiniband, NULL, NULL).devices, "eth0, mlx5_0:1");
}

static void devices(void **state)
{
    struct ce_ucx_settings settings = judge(ethernet, NULL, "mlx5_0:1,eth0");

    (void)state;
    assert_string_equal(settings.no_device, "mlx5_0:1");
    assert_true(settings.has_device && settings.reaches_hosts);
    settings = judge(ethernet, NULL, "mlx5_0:1");
    assert_false(settings.has_device || settings.reaches_hosts);
    assert_true(settings.reaches_ranks);
    assert_string_equal(judge(ethernet, NULL, "memory").no_device, "memory");
    assert_string_equal(judge(infiniband, NULL, "mlx5_0").no_device, "mlx5_0");
    assert_string_equal(judge(infiniband, NULL, "all").no_device, "");
    settings = judge(ethernet, NULL, "^eth0");
    assert_true(settings.reaches_hosts);
    settings = judge(ethernet, NULL, "^eth0,lo");
    assert_false(settings.reaches_hosts);
}

static void transports(void **state)
{
    struct ce_ucx_settings settings = judge(ethernet, "self,sm", NULL);

    (void)state;
    assert_string_equal(settings.no_transport, "");
    assert_true(settings.reaches_ranks && !settings.reaches_hosts);
    settings = judge(ethernet, "self", NULL);
    assert_false(settings.reaches_ranks);
    settings = judge(ethernet, "rc_x,tcp", NULL);
    assert_string_equal(settings.no_transport, "rc_x");
    assert_true(settings.reaches_hosts);
    settings = judge(infiniband, "rc_x,ud,shm", NULL);
    assert_string_equal(settings.no_transport, "");
    assert_true(settings.reaches_hosts);
    assert_string_equal(judge(infiniband, "dc", NULL).no_transport, "dc");
    settings = judge(ethernet, "^tcp", NULL);
    assert_true(settings.reaches_ranks && !settings.reaches_hosts);
    assert_string_equal(judge(ethernet, "^rc", NULL).no_transport, "");
    settings = judge(ethernet, "ud:aux,tcp", NULL);
    assert_string_equal(settings.no_transport, "");
}

static void both_together(void **state)
{
    struct ce_ucx_settings settings = judge(infiniband, "tcp,sm", "mlx5_0:1");

    (void)state;
    assert_true(settings.has_device);
    assert_false(settings.reaches_hosts);
}

static void a_fabric_that_ucx_has_nothing_for(void **state)
{
    struct ce_ucx_settings settings;

    assert_int_equal(mkdir(temporary_path(state, "mlx5_2"), 0700), 0);
    ce_ucx_settings_judge(
        &settings, NULL, NULL, ethernet, 5, temporary_path(state, ""));
    assert_string_equal(settings.unused_fabric, "mlx5_2");
    ce_ucx_settings_judge(
        &settings, NULL, NULL, infiniband, 5, temporary_path(state, ""));
    assert_string_equal(settings.unused_fabric, "");
}

static void many_long_names_are_cut(void **state)
{
    struct ce_way ways[40];
    struct ce_ucx_settings settings;

    (void)state;
    for (int i = 0; i < 40; i++) {
        ways[i] = (struct ce_way){.transport = "tcp", .network = true};
        (void)snprintf(ways[i].device, sizeof(ways[i].device), "interface-%028d", i);
    }
    ce_ucx_settings_judge(&settings, NULL, "interface", ways, 40, "/nowhere");
    assert_int_equal(strlen(settings.devices), sizeof(settings.devices) - 1);
    assert_string_equal(settings.no_device, "interface");
}

static void this_process(void **state)
{
    struct ce_rank_facts facts;
    struct ce_way *ways = NULL;
    size_t count = 0;
    struct ce_error err = {.text = ""};

    (void)state;
    assert_int_equal(ce_ways_find(&ways, &count, &err), CE_OK);
    assert_true(count > 0);
    free(ways);
    ce_rank_facts_observe(&facts);
    assert_true(facts.ucx.known && facts.threads > 0 && facts.available > 0);
    assert_true(CPU_COUNT(&facts.allowed) > 0 &&
                CPU_COUNT(&facts.allowed) <= facts.online);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_set),
        cmocka_unit_test(each_device_is_listed_once),
        cmocka_unit_test(devices),
        cmocka_unit_test(transports),
        cmocka_unit_test(both_together),
        cmocka_unit_test_setup_teardown(
            a_fabric_that_ucx_has_nothing_for, temporary_setup, temporary_teardown),
        cmocka_unit_test(many_long_names_are_cut),
        cmocka_unit_test(this_process),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

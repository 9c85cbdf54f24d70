/* The account of a job: both ends of a pair compared, totals and baselines by hand. */

#include "moe/account.h"
#include "moe/message.h"
#include "moe/traffic.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define ROW_BYTES 512
#define LAYERS    3
#define EXPERTS   8
#define MESSAGES  5

struct scene {
    struct ce_placement placement;
    struct ce_account account;
};

static void
create(struct scene *scene, enum ce_placement_kind kind, int ranks, size_t replicas)
{
    struct ce_placement_recipe recipe = {.kind = kind, .replicas = replicas, .seed = 3};

    assert_int_equal(
        ce_placement_make(&scene->placement, &recipe, LAYERS, EXPERTS, ranks, NULL),
        CE_OK);
    assert_int_equal(ce_account_create(&scene->account, &scene->placement, NULL),
                     CE_OK);
    scene->account.top_k = 4;
    scene->account.mains = 2;
    scene->account.row_bytes = ROW_BYTES;
}

static void destroy(struct scene *scene)
{
    ce_account_destroy(&scene->account);
    ce_placement_destroy(&scene->placement);
}

/* Both ends of one phase of a pair. */
static void exchange(const struct ce_account *account,
                     size_t source,
                     size_t destination,
                     int phase,
                     uint64_t rows,
                     uint64_t metadata)
{
    struct ce_account_pair *pair = ce_account_pair(account, source, destination);

    pair->sent[phase] =
        (struct ce_account_count){MESSAGES, rows, rows * ROW_BYTES + metadata};
    pair->received[phase] = pair->sent[phase];
}

/* Every pair has numbers of its own; those of a rank with itself are large, so that
 * a total that counts them is wrong. */
static void fill(const struct ce_account *account)
{
    for (size_t s = 0; s < account->ranks; s++) {
        account->rank[s].token_layers = LAYERS * (10 + s);
        for (size_t d = 0; d < account->ranks; d++) {
            uint64_t rows = s == d ? 100000 : 10 + 3 * s + d;
            struct ce_account_pair *pair = ce_account_pair(account, s, d);

            exchange(account, s, d, CE_ACCOUNT_DISPATCH, rows, 640 + s);
            exchange(account, d, s, CE_ACCOUNT_COMBINE, 2 * rows, 64 * MESSAGES);
            pair->full_rows = rows + 1;
            pair->full_assignments = 3 * rows;
            pair->full_metadata_bytes = 1000;
            pair->assignment_metadata_bytes = 2000;
        }
    }
}

static void equal_ends_pass(void **state)
{
    (void)state;
    struct scene scene;

    create(&scene, CE_PLACEMENT_CONTIGUOUS, 3, 1);
    fill(&scene.account);
    assert_int_equal(ce_account_check(&scene.account, NULL), CE_OK);
    destroy(&scene);
}

/* A difference of one in any counter of any pair is found and named. */
static void any_difference_is_named(void **state)
{
    (void)state;
    struct scene scene;

    create(&scene, CE_PLACEMENT_CONTIGUOUS, 3, 1);
    fill(&scene.account);
    for (size_t i = 0; i < 3 * 3 * CE_ACCOUNT_PHASES * 6; i++) {
        size_t source = i % 3;
        size_t destination = i / 3 % 3;
        int phase = (int)(i / 9 % 2);
        size_t counter = i / 18;
        struct ce_account_pair *pair =
            ce_account_pair(&scene.account, source, destination);
        struct ce_account_count *count =
            counter < 3 ? &pair->sent[phase] : &pair->received[phase];
        uint64_t *changed[] = {&count->messages, &count->rows, &count->bytes};
        struct ce_error err = {.text = ""};
        char wanted[64];

        (*changed[counter % 3])++;
        assert_int_equal(ce_account_check(&scene.account, &err), CE_ERR_MISMATCH);
        (void)snprintf(wanted,
                       sizeof(wanted),
                       "%s from rank %zu to rank %zu: sent 5",
                       phase == 0 ? "dispatch" : "combine",
                       source,
                       destination);
        if (counter != 0) { /* the number of messages sent is in the text */
            assert_memory_equal(err.text, wanted, strlen(wanted));
        }
        (*changed[counter % 3])--;
    }
    assert_int_equal(ce_account_check(&scene.account, NULL), CE_OK);
    destroy(&scene);
}

static void rows_must_fit_their_bytes(void **state)
{
    (void)state;
    struct scene scene;
    struct ce_error err = {.text = ""};

    create(&scene, CE_PLACEMENT_CONTIGUOUS, 2, 1);
    fill(&scene.account);
    for (int end = 0; end < 2; end++) {
        struct ce_account_pair *pair = ce_account_pair(&scene.account, 1, 0);

        (end == 0 ? pair->sent : pair->received)[CE_ACCOUNT_DISPATCH].bytes = 13;
    }
    assert_int_equal(ce_account_check(&scene.account, &err), CE_ERR_MISMATCH);
    fill(&scene.account);
    for (int end = 0; end < 2; end++) { /* own rows may stay where they are */
        struct ce_account_pair *pair = ce_account_pair(&scene.account, 1, 1);

        (end == 0 ? pair->sent : pair->received)[CE_ACCOUNT_DISPATCH].bytes = 13;
    }
    assert_int_equal(ce_account_check(&scene.account, NULL), CE_OK);
    assert_string_equal(err.text,
                        "dispatch from rank 1 to rank 0: 13 rows of 512 bytes in 13 "
                        "bytes");
    destroy(&scene);
}

/* Rows there: from 0 to 1 11, from 1 to 0 13; tokens times layers: 30 and 33. */
static void totals_by_hand(void **state)
{
    (void)state;
    const uint64_t headers = 2 * MESSAGES * ce_message_combine_bytes(0, 0);
    struct scene scene;
    struct ce_account_total total;

    create(&scene, CE_PLACEMENT_CONTIGUOUS, 2, 1);
    fill(&scene.account);
    assert_int_equal(ce_account_token_layers(&scene.account), 63);

    total = ce_account_total(&scene.account, CE_ACCOUNT_RUN);
    assert_int_equal(total.rows, 24);
    assert_int_equal(total.results, 48);
    assert_int_equal(total.payload_bytes, 72 * ROW_BYTES);
    assert_int_equal(total.metadata_bytes, 640 + 641 + headers);
    assert_int_equal(ce_account_bytes(&total), 72 * ROW_BYTES + 1281 + headers);
    assert_true(fabs(total.copies - 24.0 / 63.0) < 1e-12);

    total = ce_account_total(&scene.account, CE_ACCOUNT_FULL_PER_RANK);
    assert_int_equal(total.rows, 26);
    assert_int_equal(total.results, 72);
    assert_int_equal(total.metadata_bytes, 2000 + headers);

    total = ce_account_total(&scene.account, CE_ACCOUNT_FULL_PER_EXPERT);
    assert_int_equal(total.rows, 72);
    assert_int_equal(total.results, 72);
    assert_int_equal(total.payload_bytes, 144 * ROW_BYTES);
    assert_int_equal(total.metadata_bytes, 4000 + headers);

    scene.account.combine = CE_COMBINE_PARTIAL;
    total = ce_account_total(&scene.account, CE_ACCOUNT_FULL_PER_RANK);
    assert_int_equal(total.results, 26);
    total = ce_account_total(&scene.account, CE_ACCOUNT_FULL_PER_EXPERT);
    assert_int_equal(total.results, 72); /* a row of its own for each */
    destroy(&scene);
}

/* With as many tokens on every rank it is the mean of traffic.h, and else that of the
 * ranks that have them; shards that differ by layer are averaged. */
static void uniform_follows_tokens_and_layers(void **state)
{
    (void)state;
    size_t shard[3];
    struct ce_traffic_model model = {
        .experts = EXPERTS, .ranks = 3, .shard = shard, .mains = 2};
    double wanted[CE_ACCOUNT_SCHEMES] = {0};
    struct scene scene;

    create(&scene, CE_PLACEMENT_RANDOM, 3, 1);
    scene.account.rank[2].token_layers = 2 * LAYERS;
    scene.account.rank[1].token_layers = LAYERS;
    for (size_t layer = 0; layer < LAYERS; layer++) {
        for (size_t r = 0; r < 3; r++) {
            shard[r] = ce_placement_shard(&scene.placement, layer, r);
        }
        for (int s = 0; s < CE_ACCOUNT_SCHEMES; s++) {
            enum ce_traffic_scheme way = s == CE_ACCOUNT_FULL_PER_EXPERT
                                             ? CE_TRAFFIC_PER_ASSIGNMENT
                                             : CE_TRAFFIC_ORDERED;

            model.mains = s == CE_ACCOUNT_RUN ? 2 : 4;
            wanted[s] += (2 * ce_traffic_of_sender(&model, way, 2).rows +
                          ce_traffic_of_sender(&model, way, 1).rows) /
                         3 / LAYERS;
        }
    }
    for (int s = 0; s < CE_ACCOUNT_SCHEMES; s++) {
        struct ce_account_total total =
            ce_account_total(&scene.account, (enum ce_account_scheme)s);

        assert_true(fabs(total.uniform - wanted[s]) < 1e-12);
    }
    destroy(&scene);
}

static void replicas_have_no_closed_form(void **state)
{
    (void)state;
    struct scene scene;

    create(&scene, CE_PLACEMENT_STRIDED, 3, 2);
    fill(&scene.account);
    assert_true(isnan(ce_account_total(&scene.account, CE_ACCOUNT_RUN).uniform));
    destroy(&scene);
}

static void hidden_is_never_negative(void **state)
{
    (void)state;
    struct ce_account_rank rank = {.exposed_seconds = {1.0, 3.0},
                                   .span_seconds = {1.5, 2.0}};

    assert_true(ce_account_hidden_seconds(&rank, CE_ACCOUNT_DISPATCH) == 0.5);
    assert_true(ce_account_hidden_seconds(&rank, CE_ACCOUNT_COMBINE) == 0.0);
}

static void nothing_was_sent(void **state)
{
    (void)state;
    struct scene scene;
    struct ce_account_total total;

    create(&scene, CE_PLACEMENT_CONTIGUOUS, 2, 1);
    assert_int_equal(ce_account_check(&scene.account, NULL), CE_OK);
    total = ce_account_total(&scene.account, CE_ACCOUNT_RUN);
    assert_true(total.copies == 0.0 && total.uniform == 0.0);
    assert_int_equal(ce_account_bytes(&total), 0);
    destroy(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_ends_pass),
        cmocka_unit_test(any_difference_is_named),
        cmocka_unit_test(rows_must_fit_their_bytes),
        cmocka_unit_test(totals_by_hand),
        cmocka_unit_test(uniform_follows_tokens_and_layers),
        cmocka_unit_test(replicas_have_no_closed_form),
        cmocka_unit_test(hidden_is_never_negative),
        cmocka_unit_test(nothing_was_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Pages are found by all tokens before their end, shared while anybody has them, and
 * lent anew only when no blank ones are left. */

#include "base/hash.h"
#include "engine_fixture.h"

enum { TEXT = 4 * CE_PAGE_TOKENS };

/* Reserves and announces a text as the scheduler does, beginning with what is known. */
static struct ce_sequence *
begin(struct fixture *fixture, const int32_t *text, size_t count)
{
    struct ce_sequence *sequence = fixture_sequence(fixture);
    struct ce_kv_cache *cache = &fixture->engine->cache;
    struct ce_error err = {.text = ""};

    ce_sequence_share(cache, sequence, text, count - 1);
    assert_ok(ce_sequence_reserve(cache, sequence, count - sequence->length, &err),
              &err);
    ce_sequence_announce(cache, sequence, text, count);
    return sequence;
}

static void feed_rest(struct fixture *fixture,
                      struct ce_sequence *sequence,
                      const int32_t *text,
                      size_t count)
{
    (void)fixture_feed(
        fixture, sequence, text + sequence->length, count - sequence->length);
}

static void
assert_match(const struct fixture *fixture, const int32_t *text, size_t n, size_t pages)
{
    const struct ce_kv_match match = ce_kv_cache_find(&fixture->engine->cache, text, n);

    assert_int_equal(match.pages, pages);
    assert_int_equal(match.pending, CE_NO_PAGE);
}

/* Pending before it is computed, page by page known after. */
static void pages_are_known_once_computed(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_sequence *a = NULL;
    struct ce_kv_match match;
    int32_t text[TEXT];

    fixture_open(&fixture, (struct fixture_size){0});
    fixture_text(text, TEXT, 1);
    assert_match(&fixture, text, TEXT, 0);
    a = begin(&fixture, text, TEXT - 1); /* three pages are full, the last is not */
    match = ce_kv_cache_find(&fixture.engine->cache, text, TEXT);
    assert_int_equal(match.pages, 0);
    assert_int_equal(match.pending, a->page[0]);
    assert_true(ce_kv_cache_is_pending(&fixture.engine->cache, &match));

    feed_rest(&fixture, a, text, CE_PAGE_TOKENS + 1);
    assert_false(ce_kv_cache_is_pending(&fixture.engine->cache, &match));
    match = ce_kv_cache_find(&fixture.engine->cache, text, TEXT);
    assert_int_equal(match.pages, 1);
    assert_int_equal(match.pending, a->page[1]);
    assert_match(&fixture, text, 2 * CE_PAGE_TOKENS - 1, 1); /* no part of a page */

    feed_rest(&fixture, a, text, TEXT - 1);
    assert_match(&fixture, text, TEXT, 3);
    ce_sequence_destroy(a);
    assert_match(&fixture, text, TEXT, 3); /* of nobody, and still found */
    fixture_close(&fixture);
}

/* What was announced and not computed is forgotten with its sequence. */
static void pending_pages_end_with_their_sequence(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_sequence *a = NULL;
    struct ce_kv_match match;
    int32_t text[TEXT];

    fixture_open(&fixture, (struct fixture_size){0});
    fixture_text(text, TEXT, 1);
    a = begin(&fixture, text, TEXT);
    feed_rest(&fixture, a, text, 2 * CE_PAGE_TOKENS);
    match = ce_kv_cache_find(&fixture.engine->cache, text, TEXT);
    assert_int_equal(match.pending, a->page[2]);
    ce_sequence_destroy(a);
    assert_false(ce_kv_cache_is_pending(&fixture.engine->cache, &match));
    assert_match(&fixture, text, TEXT, 2);
    fixture_close(&fixture);
}

/* Equal tokens after another beginning are another page. */
static void the_beginning_counts(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_sequence *a = NULL;
    int32_t text[TEXT];
    int32_t other[TEXT];

    fixture_open(&fixture, (struct fixture_size){0});
    fixture_text(text, TEXT, 1);
    a = begin(&fixture, text, TEXT);
    feed_rest(&fixture, a, text, TEXT);
    memcpy(other, text, sizeof(text));
    other[0]++;
    assert_match(&fixture, other, TEXT, 0);
    memcpy(other, text, sizeof(text));
    other[2 * CE_PAGE_TOKENS + 3]++;
    assert_match(&fixture, other, TEXT, 2);
    assert_match(&fixture, text + CE_PAGE_TOKENS, TEXT - CE_PAGE_TOKENS, 0);
    ce_sequence_destroy(a);
    fixture_close(&fixture);
}

/* Two have the same pages; these are free when both are gone, in either order. */
static void shared_pages_have_users(void **state)
{
    (void)state;
    struct fixture fixture;
    const struct ce_kv_cache *cache = NULL;
    int32_t text[TEXT];

    fixture_open(&fixture, (struct fixture_size){0});
    cache = &fixture.engine->cache;
    fixture_text(text, TEXT, 1);
    for (int first = 0; first < 2; first++) {
        struct ce_sequence *s[2] = {begin(&fixture, text, TEXT), NULL};

        feed_rest(&fixture, s[0], text, TEXT);
        s[1] = begin(&fixture, text, TEXT);
        assert_int_equal(s[1]->length, 3 * CE_PAGE_TOKENS); /* the last is computed */
        assert_memory_equal(s[0]->page, s[1]->page, 3 * sizeof(s[0]->page[0]));
        assert_int_not_equal(s[0]->page[3], s[1]->page[3]);
        assert_int_equal(cache->free_pages, cache->pages - 5);
        feed_rest(&fixture, s[1], text, TEXT);
        ce_sequence_destroy(s[first]);
        assert_int_equal(cache->free_pages, cache->pages - 4);
        assert_match(&fixture, text, TEXT - 1, 3);
        ce_sequence_destroy(s[1 - first]);
        assert_int_equal(cache->free_pages, cache->pages);
        ce_kv_cache_forget(&fixture.engine->cache);
        assert_match(&fixture, text, TEXT, 0);
        assert_int_equal(cache->blank_pages, cache->pages);
    }
    fixture_close(&fixture);
}

/* Idle pages go when room is wanted, those of the text used longest ago first, and of a
 * text from its end. */
static void the_oldest_idle_pages_go_first(void **state)
{
    (void)state;
    enum { PAGES = 10 };
    struct fixture fixture;
    struct ce_sequence *s = NULL;
    int32_t text[3][TEXT + CE_PAGE_TOKENS];

    fixture_open(&fixture,
                 (struct fixture_size){.cache_tokens = PAGES * CE_PAGE_TOKENS});
    for (uint64_t i = 0; i < 3; i++) {
        fixture_text(text[i], TEXT + CE_PAGE_TOKENS, i);
    }
    for (size_t i = 0; i < 2; i++) {
        s = begin(&fixture, text[i], TEXT);
        feed_rest(&fixture, s, text[i], TEXT);
        ce_sequence_destroy(s);
    }
    s = begin(&fixture, text[0], TEXT); /* its first three pages are used again */
    ce_sequence_destroy(s);
    s = begin(&fixture, text[2], TEXT + CE_PAGE_TOKENS); /* two blank, three idle */
    assert_match(&fixture, text[0], TEXT, 3);
    assert_match(&fixture, text[1], TEXT, 2);
    ce_sequence_destroy(s);
    s = begin(&fixture, text[1], TEXT); /* it has two, and blank pages are there */
    assert_int_equal(s->length, 2 * CE_PAGE_TOKENS);
    assert_match(&fixture, text[0], TEXT, 3);
    ce_sequence_destroy(s);
    fixture_close(&fixture);
}

/* Two announce the same; the pages of the second stay its own. */
static void one_of_two_is_found(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_sequence *a = NULL;
    struct ce_sequence *b = NULL;
    struct ce_sequence *c = NULL;
    int32_t text[TEXT];

    fixture_open(&fixture, (struct fixture_size){0});
    fixture_text(text, TEXT, 1);
    a = begin(&fixture, text, TEXT);
    b = begin(&fixture, text, TEXT);
    assert_int_equal(b->length, 0); /* nothing is computed yet */
    feed_rest(&fixture, b, text, TEXT);
    assert_int_equal(ce_kv_cache_find(&fixture.engine->cache, text, TEXT).pages, 0);
    feed_rest(&fixture, a, text, TEXT);
    c = begin(&fixture, text, TEXT);
    assert_memory_equal(c->page, a->page, 3 * sizeof(a->page[0]));
    ce_sequence_destroy(a);
    ce_sequence_destroy(b);
    assert_match(&fixture, text, TEXT, 4);
    ce_sequence_destroy(c);
    fixture_close(&fixture);
}

/* Where hashes collide, tokens and what is before them decide. */
static void hashes_are_not_trusted(void **state)
{
    (void)state;
    struct fixture fixture;
    struct ce_kv_cache *cache = NULL;
    struct ce_sequence *a = NULL;
    struct ce_sequence *b = NULL;
    int32_t text[TEXT];
    int32_t other[TEXT];
    uint64_t hash = CE_HASH_START;

    fixture_open(&fixture, (struct fixture_size){0});
    cache = &fixture.engine->cache;
    cache->buckets = 1;
    fixture_text(text, TEXT, 1);
    memcpy(other, text, sizeof(text));
    other[3]++;
    a = begin(&fixture, text, 2 * CE_PAGE_TOKENS);
    feed_rest(&fixture, a, text, 2 * CE_PAGE_TOKENS);
    hash = ce_hash_bytes(hash, other, CE_PAGE_TOKENS * sizeof(other[0]));
    cache->page[a->page[0]].hash = hash;
    assert_match(&fixture, other, TEXT, 0); /* of other tokens */

    b = begin(&fixture, other, CE_PAGE_TOKENS);
    feed_rest(&fixture, b, other, CE_PAGE_TOKENS);
    assert_match(&fixture, other, TEXT, 1);
    hash =
        ce_hash_bytes(hash, other + CE_PAGE_TOKENS, CE_PAGE_TOKENS * sizeof(other[0]));
    cache->page[a->page[1]].hash = hash;
    assert_match(&fixture, other, TEXT, 1); /* of the same tokens after others */
    ce_sequence_destroy(a);
    ce_sequence_destroy(b);
    ce_kv_cache_forget(cache);
    assert_int_equal(cache->blank_pages, cache->pages);
    fixture_close(&fixture);
}

/* Many texts, few pages: whatever is found has the keys and values of its tokens. */
static void shared_pages_change_no_bit(void **state)
{
    (void)state;
    enum { TEXTS = 6, ROUNDS = 60 };
    struct fixture fixture;
    struct fixture plain;
    int32_t text[TEXTS][TEXT];
    size_t reused = 0;

    fixture_open(&fixture, (struct fixture_size){.cache_tokens = 7 * CE_PAGE_TOKENS});
    fixture_open(&plain, (struct fixture_size){0});
    for (uint64_t i = 0; i < TEXTS; i++) { /* all begin alike */
        fixture_text(text[i], TEXT, 1);
        fixture_text(text[i] + (1 + i % 3) * CE_PAGE_TOKENS, CE_PAGE_TOKENS, 10 + i);
    }
    for (size_t i = 0; i < ROUNDS; i++) {
        const int32_t *ids = text[fixture_random(7, i, TEXTS)];
        size_t count = CE_PAGE_TOKENS + 1 + fixture_random(8, i, TEXT - CE_PAGE_TOKENS);
        struct ce_sequence *s = begin(&fixture, ids, count);
        struct ce_sequence *t = fixture_sequence(&plain);
        size_t vocab = ce_engine_vocab_size(plain.engine);
        size_t fed = count - s->length;
        const float *got = fixture_feed(&fixture, s, ids + s->length, fed);
        const float *wanted =
            fixture_feed(&plain, t, ids, count) + (count - fed) * vocab;

        reused += count - fed;
        assert_memory_equal(got, wanted, fed * vocab * sizeof(got[0]));
        ce_sequence_destroy(s);
        ce_sequence_destroy(t);
    }
    assert_true(reused > ROUNDS / 2 * CE_PAGE_TOKENS);
    fixture_close(&fixture);
    fixture_close(&plain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_known_once_computed),
        cmocka_unit_test(pending_pages_end_with_their_sequence),
        cmocka_unit_test(the_beginning_counts),
        cmocka_unit_test(shared_pages_have_users),
        cmocka_unit_test(the_oldest_idle_pages_go_first),
        cmocka_unit_test(one_of_two_is_found),
        cmocka_unit_test(hashes_are_not_trusted),
        cmocka_unit_test(shared_pages_change_no_bit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

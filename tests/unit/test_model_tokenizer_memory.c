/* Memory that runs out at any moment: an error each time, and nothing leaks.
 *
 * malloc and its relatives are replaced here; under a sanitizer, which replaces
 * them itself, the test is skipped. Only what this program itself asks for is
 * refused: Oniguruma 6.9.8 frees twice when memory runs out while it compiles.
 */

#include "tokenizer_fixture.h"

#include <dlfcn.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||             \
    __has_feature(memory_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED

int main(void)
{
    (void)puts("SKIP: a sanitizer owns malloc");
    return 77;
}

#else

/* glibc's own, which these stand in front of. */
extern void *original_malloc(size_t bytes) __asm__("__libc_malloc");
extern void *original_calloc(size_t count, size_t size) __asm__("__libc_calloc");
extern void *original_realloc(void *old, size_t bytes) __asm__("__libc_realloc");
extern void original_free(void *memory) __asm__("__libc_free");

static long allocations_left = -1; /* -1: no limit */
static long allocations_alive;

static const void *module_of(const void *code)
{
    Dl_info info = {.dli_fbase = NULL};

    return dladdr(code, &info) != 0 ? info.dli_fbase : NULL;
}

static bool is_refused(const void *caller)
{
    if (allocations_left < 0 || module_of(caller) != module_of(&allocations_left)) {
        return false;
    }
    if (allocations_left == 0) {
        return true;
    }
    allocations_left--;
    return false;
}

#define CALLER __builtin_return_address(0)

static void *count_alive(void *memory)
{
    allocations_alive += memory != NULL ? 1 : 0;
    return memory;
}

extern void *malloc(size_t) __attribute__((alias("limited_malloc")));
__attribute__((used)) static void *limited_malloc(size_t bytes)
{
    return is_refused(CALLER) ? NULL : count_alive(original_malloc(bytes));
}

extern void *calloc(size_t, size_t) __attribute__((alias("limited_calloc")));
__attribute__((used)) static void *limited_calloc(size_t count, size_t size)
{
    return is_refused(CALLER) ? NULL : count_alive(original_calloc(count, size));
}

extern void *realloc(void *, size_t) __attribute__((alias("limited_realloc")));
__attribute__((used)) static void *limited_realloc(void *old, size_t bytes)
{
    if (is_refused(CALLER)) {
        return NULL;
    }
    return old == NULL ? count_alive(original_malloc(bytes))
                       : original_realloc(old, bytes);
}

extern void free(void *) __attribute__((alias("limited_free")));
__attribute__((used)) static void limited_free(void *memory)
{
    allocations_alive -= memory != NULL ? 1 : 0;
    original_free(memory);
}

static const char byte_level[] =
    "{\"added_tokens\": [{\"id\": 20, \"content\": \"<A>\", \"normalized\": true}, "
    "{\"id\": 21, \"content\": \"<B>\", \"rstrip\": true}], "
    "\"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"Sequence\", "
    "\"pretokenizers\": [{\"type\": \"Split\", \"pattern\": {\"String\": \"-\"}, "
    "\"behavior\": \"Isolated\"}, {\"type\": \"ByteLevel\"}]}, "
    "\"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": ["
    "{\"SpecialToken\": {\"id\": \"s\"}}, {\"Sequence\": {\"id\": \"A\"}}], "
    "\"special_tokens\": {\"s\": {\"ids\": [1]}}}, "
    "\"decoder\": " FIXTURE_BYTE_LEVEL ", \"model\": " FIXTURE_MODEL "}";

static const char llama[] =
    "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": ["
    "{\"type\": \"Prepend\", \"prepend\": \"_\"}, {\"type\": \"Replace\", "
    "\"pattern\": {\"String\": \" \"}, \"content\": \"_\"}]}, "
    "\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"Replace\", "
    "\"pattern\": {\"String\": \"_\"}, \"content\": \" \"}, "
    "{\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", "
    "\"content\": \" \", \"start\": 1}]}, \"model\": {\"byte_fallback\": true, "
    "\"vocab\": {\"_\": 0, \"a\": 1, \"_a\": 2, \"<0xC3>\": 3, \"<0xA9>\": 4}, "
    "\"merges\": [\"_ a\"]}}";

static const char text[] = "a ab<A>-<B>  e\xCC\x81 \xC3\xA9 "
                           "abcabcabcabcabcabcabcabcabcabcabcabcabcabc";

static enum ce_status round_trip(const struct ce_tokenizer *tokenizer,
                                 struct ce_error *err)
{
    struct ce_ids ids = {.id = NULL};
    struct ce_text back = {.data = NULL};
    enum ce_status status =
        ce_tokenizer_encode(tokenizer, text, strlen(text), false, &ids, err);

    if (status == CE_OK) {
        status = ce_tokenizer_decode(tokenizer, ids.id, ids.count, false, &back, err);
    }
    ce_ids_free(&ids);
    ce_text_free(&back);
    return status;
}

static enum ce_status run(const char *json, struct ce_error *err)
{
    struct ce_tokenizer *tokenizer = NULL;
    enum ce_status status =
        ce_tokenizer_parse(&tokenizer, json, strlen(json), "t.json", err);

    if (status == CE_OK) {
        status = round_trip(tokenizer, err);
    }
    ce_tokenizer_close(tokenizer);
    return status;
}

static void fail_each_allocation_once(const char *json)
{
    struct ce_error err = {.text = ""};
    enum ce_status status = run(json, &err); /* what libraries keep is taken now */
    long limit = 0;

    assert_int_equal(status, CE_OK);
    for (; limit < 100000; limit++) {
        long alive = allocations_alive;

        allocations_left = limit;
        status = run(json, &err);
        allocations_left = -1;
        assert_int_equal(allocations_alive, alive);
        if (status == CE_OK) {
            break;
        }
        assert_int_equal(status, CE_ERR_NOMEM);
    }
    assert_in_range(limit, 20, 1000);
    assert_int_equal(status, CE_OK);
}

static void byte_level_survives(void **state)
{
    (void)state;
    fail_each_allocation_once(byte_level);
}

static void llama_survives(void **state)
{
    (void)state;
    fail_each_allocation_once(llama);
}

int main(int argc, char **argv)
{
    if (argc > 1) {
        cmocka_set_test_filter(argv[1]);
    }

    const struct CMUnitTest tests[] = {
        cmocka_unit_test(byte_level_survives),
        cmocka_unit_test(llama_survives),
    };

    return cmocka_run_group_tests_name("model.tokenizer_memory", tests, NULL, NULL);
}

#endif

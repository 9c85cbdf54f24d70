#include "eval/task.h"
#include "temporary.h"

#include <stdlib.h>
#include <string.h>

#define DESCRIPTION                                                                    \
    "{\"name\": \"t\", \"output_type\": \"multiple_choice\","                          \
    " \"documents\": \"d.jsonl\", \"id\": \"id\", \"prompt\": \"{{q}}\","              \
    " \"choices\": \"{{c}}\", \"gold\": \"{{g}}\","                                    \
    " \"fewshot\": {\"documents\": \"f.jsonl\", \"sampler\": \"first_n\"},"            \
    " \"metrics\": [{\"name\": \"acc\"}]}"
#define GOOD "{\"id\": 1, \"q\": \"Q\", \"c\": [\"x\", \"y\"], \"g\": 1}\n"

static void write_text(void **state, const char *name, const char *text)
{
    temporary_write(state, name, text, strlen(text));
}

static enum ce_status open_part(void **state,
                                struct ce_task *task,
                                const char *part,
                                size_t limit,
                                size_t fewshot,
                                struct ce_error *err)
{
    const struct ce_task_options options = {
        .description = temporary_path(state, "t.json"),
        .part = part,
        .limit = limit,
        .fewshot = fewshot,
    };

    return ce_task_open(task, &options, err);
}

/* The task over these documents must fail with these words. */
static void assert_refused(void **state,
                           const char *description,
                           const char *documents,
                           size_t bytes,
                           const char *words)
{
    struct ce_task task;
    struct ce_error err = {.text = ""};

    write_text(state, "t.json", description);
    temporary_write(state, "d.jsonl", documents, bytes);
    if (open_part(state, &task, NULL, 0, CE_TASK_FEWSHOT_DEFAULT, &err) == CE_OK ||
        strstr(err.text, words) == NULL) {
        fail_msg("%s: %s", words, err.text);
    }
    ce_task_close(&task);
}

struct refusal {
    const char *documents, *words;
};

static void bad_lines_are_refused(void **state)
{
    static const struct refusal cases[] = {
        {"", "d.jsonl: no documents"},
        {"\n  \n\t\r\n", "d.jsonl: no documents"},
        {GOOD "{\"id\": 2,\n", "d.jsonl: line 2: column 10: a key in double quotes"},
        {GOOD "\n[1]\n", "d.jsonl: line 3: not a JSON object"},
        {GOOD "{}\n", "d.jsonl: line 2: an empty document"},
        {GOOD "{\"id\": \"\xff\"}\n",
         "d.jsonl: line 2: column 9: the text is not UTF-8"},
        {GOOD "{\"id\": \"\\ud800\"}\n", "d.jsonl: line 2: id: is missing or not"},
        {GOOD "{\"id\": NaN}\n", "d.jsonl: line 2: id: is missing or not"},
        {GOOD GOOD, "d.jsonl: line 2: id: \"1\" is also that of line 1"},
        {"{\"id\": null}\n", "d.jsonl: line 1: id: is missing or not"},
    };
    static const char nul[] = GOOD "{\"id\": \"\0\"}";

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_refused(state,
                       DESCRIPTION,
                       cases[i].documents,
                       strlen(cases[i].documents),
                       cases[i].words);
    }
    assert_refused(state, DESCRIPTION, nul, sizeof(nul) - 1, "d.jsonl: line 2: column");
}

/* On machines made to look small: the documents, then what the prompts of them take. */
static void tasks_that_do_not_fit_into_memory_are_refused(void **state)
{
    char documents[8192] = "";
    char description[4096] = DESCRIPTION;
    char *place = strstr(description, "{{q}}");

    for (int i = 0; i < 100; i++) {
        (void)snprintf(documents + strlen(documents),
                       sizeof(documents) - strlen(documents),
                       "{\"id\": %d, \"q\": \"Q\", \"c\": [\"x\", \"y\"], \"g\": 1}\n",
                       i);
    }
    assert_int_equal(setenv("CEMOE_MEMORY_LIMIT", "20000", 1), 0);
    assert_refused(
        state,
        DESCRIPTION,
        documents,
        strlen(documents),
        "d.jsonl: line 8: up to here the documents may take more than 0.0 MiB "
        "of memory");
    assert_int_equal(setenv("CEMOE_MEMORY_LIMIT", "400000", 1), 0);
    (void)memmove(place + 2000, place, strlen(place) + 1);
    (void)memset(place, 'p', 2000);
    assert_refused(state,
                   description,
                   documents,
                   strlen(documents),
                   "the prompts of task t take more than 0.2 MiB");
    assert_int_equal(unsetenv("CEMOE_MEMORY_LIMIT"), 0);
}

static void documents_without_what_is_asked_are_refused(void **state)
{
    static const struct refusal cases[] = {
        {"{\"id\": 2, \"c\": [\"x\"], \"g\": 0}",
         "d.jsonl: line 1: prompt: q: the "
         "document has no such field"},
        {"{\"id\": 2, \"q\": 1.5, \"c\": [\"x\"], \"g\": 0}",
         "d.jsonl: line 1: prompt: q: is not a string or an integer"},
        {"{\"id\": 2, \"q\": \"\", \"c\": \"x\", \"g\": 0}",
         "d.jsonl: line 1: choices: is not a list"},
        {"{\"id\": 2, \"q\": \"\", \"c\": [], \"g\": 0}",
         "d.jsonl: line 1: choices: is not a list in the document, or empty"},
        {"{\"id\": 2, \"q\": \"\", \"c\": [\"x\", 1], \"g\": 0}",
         "choices: element 1 of the list in the document is not a string"},
        {"{\"id\": 2, \"q\": \"\", \"c\": [\"x\", \"\"], \"g\": 0}",
         "d.jsonl: line 1: choices: number 1 is empty"},
        {"{\"id\": 2, \"q\": \"\", \"c\": [\"x\"], \"g\": 1}",
         "d.jsonl: line 1: gold: is \"1\", but the document has 1 choices"},
        {"{\"id\": 2, \"q\": \"\", \"c\": [\"x\"], \"g\": -1}",
         "d.jsonl: line 1: gold: \"-1\" is not among the choices"},
        {"{\"id\": 2, \"q\": \"\", \"c\": [\"x\"], \"g\": \"\"}",
         "d.jsonl: line 1: gold: \"\" is not among the choices"},
        {"{\"id\": 2, \"q\": \"\", \"c\": [\"x\"], \"g\": 99999999999999999999}",
         "gold: is \"99999999999999999999\", but"},
        {"{\"id\": 2, \"q\": NaN, \"c\": [\"x\"], \"g\": 0}",
         "d.jsonl: line 1: prompt: q: is not text or an integer but NaN, which no"},
        {"{\"id\": 2, \"q\": \"a\\u0000b\", \"c\": [\"x\"], \"g\": 0}",
         "prompt: q: is not text or an integer but \"a\\u0000b\", which no prompt can"},
        {"{\"id\": 2, \"q\": \"\", \"c\": [\"x\", \"\\ud83d\"], \"g\": 0}",
         "choices: element 1 of the list in the document is not a string"},
        {"{\"id\": 2, \"q\": \"\", \"c\": [\"x\"], \"g\": \"99999999999999999999\"}",
         "gold: is \"99999999999999999999\", but"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_refused(state,
                       DESCRIPTION,
                       cases[i].documents,
                       strlen(cases[i].documents),
                       cases[i].words);
    }
}

static void asking_how_likely_nothing_is_is_refused(void **state)
{
    static const char description[] =
        "{\"name\": \"t\", \"output_type\": \"loglikelihood\","
        " \"documents\": \"d.jsonl\", \"prompt\": \"\", \"target\": \"{{text}}\","
        " \"metrics\": [{\"name\": \"acc\"}]}";
    static const char document[] = "{\"text\": \"x\"}\n{\"text\": \"\"}\n";

    assert_refused(state,
                   description,
                   document,
                   sizeof(document) - 1,
                   "d.jsonl: line 2: target: is empty");
}

static void hellaswag_says_what_it_lacks(void **state)
{
    static const char description[] =
        "{\"name\": \"t\", \"output_type\": \"multiple_choice\","
        " \"documents\": \"d.jsonl\", \"clean_up\": \"hellaswag\","
        " \"prompt\": \"{{query}}\", \"choices\": \"{{choices}}\","
        " \"gold\": \"{{label}}\", \"metrics\": [{\"name\": \"acc\"}]}";
#define FRONT "{\"activity_label\": \"a\", \"ctx_a\": \"b\", \"ctx_b\": \"c\", "
    static const char *const cases[][2] = {
        {"{\"ctx_a\": \"b\"}", "line 1: activity_label: is missing"},
        {"{\"activity_label\": 1}", "line 1: activity_label: is not a string"},
        {FRONT "\"endings\": 1}", "line 1: endings: is missing or not a list"},
        {FRONT "\"endings\": [\"x\", 1]}", "line 1: endings[1]: is not a string"},
        {FRONT "\"endings\": [\"x\"], \"label\": \"\"}",
         "line 1: label: is not a number"},
        {FRONT "\"endings\": [\"x\"], \"label\": \"1\"}", "but the document has 1"},
        {FRONT "\"endings\": [\"[x]\"], \"label\": 0}", "choices: number 0 is empty"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_refused(
            state, description, cases[i][0], strlen(cases[i][0]), cases[i][1]);
    }
}

static void files_that_are_not_there_are_named(void **state)
{
    struct ce_task task;
    struct ce_error err = {.text = ""};

    write_text(state, "t.json", DESCRIPTION);
    assert_int_equal(open_part(state, &task, NULL, 0, 0, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "there is no d.jsonl in"));
    ce_task_close(&task);
    write_text(state, "d.jsonl", GOOD);
    assert_int_equal(open_part(state, &task, NULL, 0, 1, &err), CE_ERR_IO);
    assert_non_null(strstr(err.text, "there is no f.jsonl in"));
    ce_task_close(&task);
    write_text(state, "f.jsonl", GOOD "{\"q\": 1}\n");
    assert_int_equal(open_part(state, &task, NULL, 0, 3, &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "3 few-shot examples are wanted, the file has 2"));
    ce_task_close(&task);
    assert_int_equal(open_part(state, &task, NULL, 0, 2, &err), CE_ERR_FORMAT);
    assert_non_null(
        strstr(err.text, "f.jsonl: line 2: choices: c: the document has no"));
    ce_task_close(&task);
    assert_int_equal(open_part(state, &task, "x", 0, 0, &err), CE_ERR_ARG);
    assert_non_null(strstr(err.text, "has no parts"));
    ce_task_close(&task);
}

static void data_is_searched_in_its_folder_first(void **state)
{
    struct ce_task_options options = {.fewshot = 0};
    struct ce_task task;
    struct ce_error err = {.text = ""};

    options.description = temporary_path(state, "t.json");
    options.data_dir = temporary_path(state, "data");
    write_text(state, "t.json", DESCRIPTION);
    write_text(state, "d.jsonl", GOOD);
    temporary_mkdir(state, "data");
    assert_int_equal(ce_task_open(&task, &options, &err), CE_OK);
    assert_string_equal(task.query[0].context, "Q");
    ce_task_close(&task);
    write_text(
        state, "data/d.jsonl", "{\"id\":1,\"q\":\"D\",\"c\":[\"x\"],\"g\":\"x\"}");
    assert_int_equal(ce_task_open(&task, &options, &err), CE_OK);
    assert_string_equal(task.query[0].context, "D");
    assert_string_equal(task.document[0].target, "x");
    ce_task_close(&task);
}

#define PARTS                                                                          \
    "{\"name\": \"t\", \"output_type\": \"generate_until\","                           \
    " \"documents\": \"d.jsonl\", \"part\": \"p\", \"prompt\": \"{{q}}\","             \
    " \"target\": \"\", \"metrics\": [{\"name\": \"exact_match\"}]}"

static void the_limit_is_for_each_part(void **state)
{
    struct ce_task task;
    struct ce_error err = {.text = ""};

    write_text(state, "t.json", PARTS);
    write_text(state,
               "d.jsonl",
               "{\"p\": \"one\", \"q\": 1}\n\n{\"p\": \"two\", \"q\": 2}\n"
               "{\"p\": \"one\", \"q\": 3}\n{\"p\": \"two\", \"q\": 4}\n"
               "{\"p\": \"two\", \"q\": 5}\n");
    assert_int_equal(open_part(state, &task, NULL, 2, 0, &err), CE_OK);
    assert_int_equal(task.documents, 4);
    assert_string_equal(task.query[3].context, "4");
    ce_task_close(&task);
    assert_int_equal(open_part(state, &task, "two", 2, 0, &err), CE_OK);
    assert_string_equal(task.name, "t_two");
    assert_int_equal(task.documents, 2);
    assert_int_equal(task.document[1].id, 1);
    assert_int_equal(task.document[1].line, 5);
    ce_task_close(&task);
    assert_int_equal(open_part(state, &task, "tow", 0, 0, &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "whose p is \"tow\"; did you mean \"two\"?"));
    ce_task_close(&task);
}

static void mutual_information_asks_without_context_too(void **state)
{
    char *name = NULL;
    char description[] = DESCRIPTION "                 ";
    struct ce_task task;
    struct ce_error err = {.text = ""};

    name = strstr(description, "\"acc\"}]}");
    assert_non_null(name);
    strcpy(name, "\"acc_mutual_info\"}]}");
    write_text(state, "t.json", description);
    write_text(state, "d.jsonl", GOOD);
    assert_int_equal(open_part(state, &task, NULL, 0, 0, &err), CE_OK);
    assert_int_equal(task.document[0].queries, 4);
    assert_string_equal(task.query[1].context, "Q");
    assert_string_equal(task.query[3].context, "");
    assert_string_equal(task.query[3].continuation, " y");
    assert_string_equal(task.document[0].choice[3], "y");
    ce_task_close(&task);
}

static uint64_t hash_of(void **state, const char *description, const char *documents)
{
    struct ce_task task;
    struct ce_error err = {.text = ""};
    uint64_t hash = 0;

    write_text(state, "t.json", description);
    write_text(state, "d.jsonl", documents);
    assert_int_equal(open_part(state, &task, NULL, 0, 0, &err), CE_OK);
    hash = task.hash;
    ce_task_close(&task);
    return hash;
}

/* Not of how the files are spelt, but of all that is asked and judged. */
static void the_hash_is_of_what_is_asked(void **state)
{
    static const char *const documents[] = {
        "{\"id\": 1, \"q\": \"R\", \"c\": [\"x\", \"y\"], \"g\": 1}",
        "{\"id\": 1, \"q\": \"Q\", \"c\": [\"x\", \"z\"], \"g\": 1}",
        "{\"id\": 1, \"q\": \"Q\", \"c\": [\"x\", \"y\"], \"g\": 0}",
        "{\"id\": 1, \"q\": \"Q\", \"c\": [\"x\", \"y\", \"z\"], \"g\": 1}",
        GOOD "{\"id\": 2, \"q\": \"Q\", \"c\": [\"x\", \"y\"], \"g\": 1}",
    };
    char *description = strdup(DESCRIPTION);
    uint64_t hash = hash_of(state, DESCRIPTION, GOOD);

    assert_non_null(description);
    assert_int_equal(
        hash,
        hash_of(state,
                DESCRIPTION,
                "\n{\"q\": \"\\u0051\", \"g\": \"1\", \"c\": [\"x\", \"y\"],"
                " \"id\": 9}"));
    for (size_t i = 0; i < sizeof(documents) / sizeof(documents[0]); i++) {
        assert_int_not_equal(hash, hash_of(state, DESCRIPTION, documents[i]));
    }
    memcpy(strstr(description, "\"t\""), "\"u\"", 3);
    assert_int_not_equal(hash, hash_of(state, description, GOOD));
    free(description);
}

int main(void)
{
#define TEST(name)                                                                     \
    cmocka_unit_test_setup_teardown(name, temporary_setup, temporary_teardown)
    const struct CMUnitTest tests[] = {
        TEST(bad_lines_are_refused),
        TEST(tasks_that_do_not_fit_into_memory_are_refused),
        TEST(documents_without_what_is_asked_are_refused),
        TEST(asking_how_likely_nothing_is_is_refused),
        TEST(hellaswag_says_what_it_lacks),
        TEST(files_that_are_not_there_are_named),
        TEST(data_is_searched_in_its_folder_first),
        TEST(the_limit_is_for_each_part),
        TEST(mutual_information_asks_without_context_too),
        TEST(the_hash_is_of_what_is_asked),
    };

    return cmocka_run_group_tests_name("eval.task", tests, NULL, NULL);
}

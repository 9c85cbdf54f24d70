#include "eval/metric.h"
#include "test.h"

#include <math.h>
#include <string.h>

#define DOCUMENTS ((size_t)2)
#define CHOICES   ((size_t)2)

/* Two documents of two choices. */
struct fixture {
    char text[6][16];
    char *choice[CHOICES];
    char *ignored[1];
    struct ce_metric metric[2];
    struct ce_filter_step step;
    struct ce_filter filter[2];
    struct ce_document document[DOCUMENTS];
    struct ce_outcome outcome[DOCUMENTS * CHOICES];
    struct ce_task task;
};

static void fixture_init(struct fixture *f)
{
    *f = (struct fixture){
        .text = {"task", "acc_norm", "acc", "none", "bb", "a"},
        .outcome = {{.done = true, .logprob = -1.0},
                    {.done = true, .logprob = -1.5, .greedy = true},
                    {.done = true, .logprob = -2.0},
                    {.done = true, .logprob = -2.0}},
        .document = {{.line = 1, .first = 0, .queries = CHOICES, .choice = f->choice},
                     {.line = 3,
                      .first = CHOICES,
                      .queries = CHOICES,
                      .gold = 1,
                      .choice = f->choice}},
    };
    f->choice[0] = f->text[4];
    f->choice[1] = f->text[5];
    f->metric[0].name = f->text[1];
    f->metric[1].name = f->text[2];
    f->metric[1].higher_is_better = true;
    f->filter[0].name = f->text[3];
    f->task = (struct ce_task){.name = f->text[0],
                               .output = CE_OUTPUT_MULTIPLE_CHOICE,
                               .metric = f->metric,
                               .metrics = 2,
                               .filter = f->filter,
                               .filters = 1,
                               .document = f->document,
                               .documents = DOCUMENTS,
                               .queries = DOCUMENTS * CHOICES};
}

static void assert_refused(const struct fixture *f, const char *why)
{
    struct ce_scores scores;
    struct ce_error err = {.text = ""};

    assert_int_not_equal(ce_scores_compute(&scores, &f->task, f->outcome, 0, &err),
                         CE_OK);
    assert_non_null(strstr(err.text, "task task"));
    if (strstr(err.text, why) == NULL) {
        fail_msg("\"%s\" does not say \"%s\"", err.text, why);
    }
    ce_scores_free(&scores);
}

/* The first choice of equals counts; acc comes first whatever the task says. */
static void choices_are_scored_in_the_order_of_the_harness(void **state)
{
    (void)state;
    struct fixture f;
    struct ce_scores scores;
    struct ce_error err;

    fixture_init(&f);
    assert_int_equal(ce_scores_compute(&scores, &f.task, f.outcome, 1000, &err), CE_OK);
    assert_int_equal(scores.count, 2);
    assert_string_equal(scores.score[0].metric, "acc");
    assert_string_equal(scores.score[1].metric, "acc_norm");
    assert_true(scores.score[0].higher_is_better);
    assert_true(scores.score[0].value[0] == 1.0 && scores.score[0].value[1] == 0.0);
    assert_true(scores.score[0].aggregate == 0.5);
    assert_true(scores.score[0].error.known && scores.score[0].error.value == 0.5);
    assert_true(scores.score[1].value[0] == 1.0 && scores.score[1].value[1] == 0.0);
    assert_null(scores.score[0].weight);
    assert_null(scores.answer);
    ce_scores_free(&scores);
}

static void a_task_without_documents_has_no_scores(void **state)
{
    (void)state;
    struct fixture f;
    struct ce_scores scores;
    struct ce_error err;

    fixture_init(&f);
    f.task.documents = 0;
    f.task.queries = 0;
    assert_int_equal(ce_scores_compute(&scores, &f.task, f.outcome, 1000, &err), CE_OK);
    assert_int_equal(scores.count, 0);
    ce_scores_free(&scores);
}

static void what_cannot_be_scored_is_refused(void **state)
{
    (void)state;
    struct fixture f;

    fixture_init(&f);
    f.outcome[3].done = false;
    assert_refused(&f, "query 3 has no outcome");
    f.outcome[3] = (struct ce_outcome){.done = true, .logprob = NAN};
    assert_refused(&f, "query 3 has a log-probability that is not finite");
    fixture_init(&f);
    f.document[1].gold = CHOICES;
    assert_refused(&f, "line 3: the right choice is not one of the 2");
    fixture_init(&f);
    f.metric[0].name = f.text[3];
    assert_refused(&f, "metric none: there is none of that name");
    fixture_init(&f);
    f.task.output = CE_OUTPUT_GENERATE;
    assert_refused(&f, "metric acc_norm: there is none of that name");
}

static void patterns_are_checked_before_the_work(void **state)
{
    (void)state;
    struct fixture f;
    char exact_match[] = "exact_match";
    char bad[] = "(";
    struct ce_error err = {.text = ""};

    fixture_init(&f);
    f.task.output = CE_OUTPUT_GENERATE;
    f.task.metrics = 1;
    f.metric[0].name = exact_match;
    assert_int_equal(ce_scores_check(&f.task, &err), CE_OK);
    f.ignored[0] = bad;
    f.metric[0].ignore = f.ignored;
    f.metric[0].ignores = 1;
    assert_int_equal(ce_scores_check(&f.task, &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "metric exact_match"));
    f.metric[0].ignores = 0;
    f.step = (struct ce_filter_step){.pattern = bad, .fallback = bad};
    f.filter[0].step = &f.step;
    f.filter[0].steps = 1;
    assert_int_equal(ce_scores_check(&f.task, &err), CE_ERR_FORMAT);
    assert_non_null(strstr(err.text, "filter none"));
}

/* Each filter has answers and scores of its own. */
static void generations_are_scored_by_filter(void **state)
{
    (void)state;
    struct fixture f;
    char exact_match[] = "exact_match";
    char second[] = "digits";
    char digits[] = "[0-9]+";
    char answers[2][8] = {"is 7", "8"};
    char target[] = "8";
    char fallback[] = "-";
    struct ce_scores scores;
    struct ce_error err;

    fixture_init(&f);
    f.task.output = CE_OUTPUT_GENERATE;
    f.task.metrics = 1;
    f.task.filters = 2;
    f.task.queries = 2;
    f.metric[0].name = exact_match;
    f.step = (struct ce_filter_step){.pattern = digits, .fallback = fallback};
    f.filter[1] = (struct ce_filter){.name = second, .step = &f.step, .steps = 1};
    for (size_t i = 0; i < DOCUMENTS; i++) {
        f.document[i].first = i;
        f.document[i].queries = 1;
        f.document[i].target = i == 0 ? answers[0] + 3 : target;
        f.outcome[i] = (struct ce_outcome){.done = true, .text = answers[i]};
    }
    assert_int_equal(ce_scores_compute(&scores, &f.task, f.outcome, 1000, &err), CE_OK);
    assert_int_equal(scores.count, 2);
    assert_string_equal(scores.answer[0], "is 7");
    assert_string_equal(scores.answer[DOCUMENTS], "7");
    assert_string_equal(scores.score[1].filter, "digits");
    assert_true(scores.score[0].aggregate == 0.5);
    assert_true(scores.score[1].aggregate == 1.0);
    ce_scores_free(&scores);
}

static void texts_without_bytes_have_no_perplexity(void **state)
{
    (void)state;
    struct fixture f;
    char byte_perplexity[] = "byte_perplexity";
    char empty[] = "";

    fixture_init(&f);
    f.task.output = CE_OUTPUT_ROLLING;
    f.task.metrics = 1;
    f.task.queries = 2;
    f.metric[0].name = byte_perplexity;
    f.document[0].measured = empty;
    f.document[1].measured = empty;
    f.document[1].first = 1;
    assert_refused(&f, "byte_perplexity: all documents are empty");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(choices_are_scored_in_the_order_of_the_harness),
        cmocka_unit_test(a_task_without_documents_has_no_scores),
        cmocka_unit_test(what_cannot_be_scored_is_refused),
        cmocka_unit_test(patterns_are_checked_before_the_work),
        cmocka_unit_test(generations_are_scored_by_filter),
        cmocka_unit_test(texts_without_bytes_have_no_perplexity),
    };

    return cmocka_run_group_tests_name("eval.metric", tests, NULL, NULL);
}

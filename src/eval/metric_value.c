/* metric_value.c - the metrics there are: what each is of one document
 *
 * Source: ConfigurableTask.process_results() of lm_eval/api/task.py, version 0.4.13.
 */

#include "eval/metric_value.h"

#include "eval/strings.h"

#include <math.h>
#include <string.h>

/* What the log-probability of a choice is divided by. */
typedef double length_function(const char *choice);

static double length_one(const char *choice)
{
    (void)choice;
    return 1.0;
}

static double length_bytes(const char *choice)
{
    return (double)strlen(choice);
}

/* Code points of valid UTF-8. */
static double length_characters(const char *choice)
{
    size_t count = 0;

    for (const char *c = choice; *c != '\0'; c++) {
        count += ((unsigned char)*c & 0xc0) != 0x80 ? 1 : 0;
    }
    return (double)count;
}

/* Whether the gold choice is the likeliest: the first of several that are. numpy's
 * argmax takes what is no number, 0 / 0 of an empty choice, for the largest. */
static double
is_gold_best(const struct ce_answer *answer, length_function *length, bool without)
{
    const struct ce_document *document = answer->document;
    size_t best = 0;
    double largest = -INFINITY;

    for (size_t i = 0; i < answer->choices; i++) {
        double base = without ? answer->outcome[answer->choices + i].logprob : 0.0;
        double value =
            (answer->outcome[i].logprob - base) / length(document->choice[i]);

        if (isnan(value)) {
            best = i;
            break;
        }
        if (value > largest) {
            largest = value;
            best = i;
        }
    }
    return best == document->gold ? 1.0 : 0.0;
}

static enum ce_status
choice_acc(const struct ce_answer *answer, struct ce_value *value, struct ce_error *err)
{
    (void)err;
    value->value = is_gold_best(answer, length_one, false);
    return CE_OK;
}

static enum ce_status choice_acc_norm(const struct ce_answer *answer,
                                      struct ce_value *value,
                                      struct ce_error *err)
{
    (void)err;
    value->value = is_gold_best(answer, length_characters, false);
    return CE_OK;
}

static enum ce_status choice_acc_bytes(const struct ce_answer *answer,
                                       struct ce_value *value,
                                       struct ce_error *err)
{
    (void)err;
    value->value = is_gold_best(answer, length_bytes, false);
    return CE_OK;
}

static enum ce_status choice_exact_match(const struct ce_answer *answer,
                                         struct ce_value *value,
                                         struct ce_error *err)
{
    (void)err;
    value->value = answer->outcome[answer->document->gold].greedy ? 1.0 : 0.0;
    return CE_OK;
}

static enum ce_status choice_acc_mutual_info(const struct ce_answer *answer,
                                             struct ce_value *value,
                                             struct ce_error *err)
{
    (void)err;
    value->value = is_gold_best(answer, length_one, true);
    return CE_OK;
}

static enum ce_status loglikelihood_acc(const struct ce_answer *answer,
                                        struct ce_value *value,
                                        struct ce_error *err)
{
    (void)err;
    value->value = answer->outcome[0].greedy ? 1.0 : 0.0;
    return CE_OK;
}

static enum ce_status
logprob(const struct ce_answer *answer, struct ce_value *value, struct ce_error *err)
{
    (void)err;
    value->value = answer->outcome[0].logprob;
    return CE_OK;
}

static enum ce_status logprob_of_words(const struct ce_answer *answer,
                                       struct ce_value *value,
                                       struct ce_error *err)
{
    (void)err;
    value->value = answer->outcome[0].logprob;
    value->weight = (double)ce_span_pieces(ce_span_of(answer->document->measured));
    return CE_OK;
}

static enum ce_status logprob_of_bytes(const struct ce_answer *answer,
                                       struct ce_value *value,
                                       struct ce_error *err)
{
    (void)err;
    value->value = answer->outcome[0].logprob;
    value->weight = (double)strlen(answer->document->measured);
    return CE_OK;
}

static enum ce_status text_exact_match(const struct ce_answer *answer,
                                       struct ce_value *value,
                                       struct ce_error *err)
{
    bool equal = false;
    enum ce_status status = ce_exact_match_test(
        answer->match, answer->text, answer->document->target, &equal, err);

    value->value = equal ? 1.0 : 0.0;
    return status;
}

/* clang-format off */
static const struct ce_metric_definition definitions[] = {
    {"acc", CE_OUTPUT_MULTIPLE_CHOICE, CE_AGGREGATE_MEAN, CE_VALUE_REAL, choice_acc},
    {"acc_norm", CE_OUTPUT_MULTIPLE_CHOICE, CE_AGGREGATE_MEAN, CE_VALUE_REAL,
     choice_acc_norm},
    {"acc_bytes", CE_OUTPUT_MULTIPLE_CHOICE, CE_AGGREGATE_MEAN, CE_VALUE_REAL,
     choice_acc_bytes},
    {"exact_match", CE_OUTPUT_MULTIPLE_CHOICE, CE_AGGREGATE_MEAN, CE_VALUE_INTEGER,
     choice_exact_match},
    {"acc_mutual_info", CE_OUTPUT_MULTIPLE_CHOICE, CE_AGGREGATE_MEAN, CE_VALUE_REAL,
     choice_acc_mutual_info},
    {"perplexity", CE_OUTPUT_LOGLIKELIHOOD, CE_AGGREGATE_PERPLEXITY, CE_VALUE_REAL,
     logprob},
    {"acc", CE_OUTPUT_LOGLIKELIHOOD, CE_AGGREGATE_MEAN, CE_VALUE_INTEGER,
     loglikelihood_acc},
    {"word_perplexity", CE_OUTPUT_ROLLING, CE_AGGREGATE_WEIGHTED_PERPLEXITY,
     CE_VALUE_WEIGHTED, logprob_of_words},
    {"byte_perplexity", CE_OUTPUT_ROLLING, CE_AGGREGATE_WEIGHTED_PERPLEXITY,
     CE_VALUE_WEIGHTED, logprob_of_bytes},
    {"bits_per_byte", CE_OUTPUT_ROLLING, CE_AGGREGATE_BITS_PER_BYTE,
     CE_VALUE_WEIGHTED, logprob_of_bytes},
    {"exact_match", CE_OUTPUT_GENERATE, CE_AGGREGATE_MEAN, CE_VALUE_REAL,
     text_exact_match},
};
/* clang-format on */

const struct ce_metric_definition *ce_metric_definitions(size_t *count)
{
    *count = sizeof(definitions) / sizeof(definitions[0]);
    return definitions;
}

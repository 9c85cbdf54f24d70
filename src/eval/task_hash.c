/* task_hash.c - tells whether two jobs ask and judge the same
 *
 * Every string goes in with its length, every list with its count, so that nothing can
 * move from one field to the next unnoticed.
 */

#include "base/hash.h"
#include "eval/task_parts.h"

#include <string.h>

static uint64_t add_string(uint64_t hash, const char *string)
{
    size_t length = string == NULL ? 0 : strlen(string);

    hash = ce_hash_u64(hash, string == NULL ? UINT64_MAX : length);
    return ce_hash_bytes(hash, string, length);
}

static uint64_t add_list(uint64_t hash, char *const *list, size_t count)
{
    hash = ce_hash_u64(hash, count);
    for (size_t i = 0; i < count; i++) {
        hash = add_string(hash, list[i]);
    }
    return hash;
}

static uint64_t add_double(uint64_t hash, double value)
{
    uint64_t bits = 0;

    memcpy(&bits, &value, sizeof(bits));
    return ce_hash_u64(hash, bits);
}

static uint64_t add_generation(uint64_t hash,
                               const struct ce_generate_settings *generate)
{
    hash = add_list(hash, generate->until, generate->untils);
    hash = ce_hash_u64(hash, generate->max_new_tokens);
    hash = add_double(hash, generate->temperature);
    hash = add_double(hash, generate->top_p);
    return ce_hash_u64(hash, generate->seed);
}

static uint64_t add_metric(uint64_t hash, const struct ce_metric *metric)
{
    hash = add_string(hash, metric->name);
    hash = ce_hash_u64(hash, metric->higher_is_better);
    hash = add_list(hash, metric->ignore, metric->ignores);
    hash = ce_hash_u64(hash, metric->ignore_case);
    hash = ce_hash_u64(hash, metric->ignore_punctuation);
    return ce_hash_u64(hash, metric->ignore_numbers);
}

static uint64_t add_filter(uint64_t hash, const struct ce_filter *filter)
{
    hash = add_string(hash, filter->name);
    hash = ce_hash_u64(hash, filter->steps);
    for (size_t i = 0; i < filter->steps; i++) {
        hash = ce_hash_u64(hash, filter->step[i].kind);
        hash = add_string(hash, filter->step[i].pattern);
        hash = add_string(hash, filter->step[i].fallback);
        hash = ce_hash_u64(hash, (uint64_t)(int64_t)filter->step[i].select);
    }
    return hash;
}

static uint64_t add_document(uint64_t hash,
                             const struct ce_task *task,
                             const struct ce_document *document)
{
    hash = ce_hash_u64(hash, document->queries);
    for (size_t i = 0; i < document->queries; i++) {
        const struct ce_query *query = &task->query[document->first + i];

        hash = ce_hash_u64(hash, query->kind);
        hash = add_string(hash, query->context);
        hash = add_string(hash, query->continuation);
    }
    hash = ce_hash_u64(hash, document->gold);
    hash = add_list(
        hash, document->choice, document->choice == NULL ? 0 : document->queries);
    hash = add_string(hash, document->target);
    return add_string(hash, document->measured);
}

uint64_t ce_task_hash(const struct ce_task *task)
{
    uint64_t hash = add_string(CE_HASH_START, task->name);

    hash = add_string(hash, task->version);
    hash = ce_hash_u64(hash, task->output);
    hash = add_generation(hash, &task->generate);
    hash = ce_hash_u64(hash, task->metrics);
    for (size_t i = 0; i < task->metrics; i++) {
        hash = add_metric(hash, &task->metric[i]);
    }
    hash = ce_hash_u64(hash, task->filters);
    for (size_t i = 0; i < task->filters; i++) {
        hash = add_filter(hash, &task->filter[i]);
    }
    hash = ce_hash_u64(hash, task->documents);
    for (size_t i = 0; i < task->documents; i++) {
        hash = add_document(hash, task, &task->document[i]);
    }
    return hash;
}

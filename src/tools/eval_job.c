/* eval_job.c - rank 0 reads inputs and journal, all ranks get what is left to do */

#include "tools/eval_job.h"

#include "base/directory.h"
#include "base/log.h"
#include "comm/collective.h"
#include "eval/task.h"
#include "tools/eval_signals.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- what every rank finds out ---- */

static enum ce_status choose_max_length(struct ce_eval_job *job, struct ce_error *err)
{
    size_t asked = job->values->max_length;

    job->max_length = asked > 0 ? asked : job->config.max_positions;
    if (job->max_length > job->config.max_positions) {
        return ce_fail(err,
                       CE_ERR_ARG,
                       "--max-length %zu is more than the model's context of %zu "
                       "(max_position_embeddings)",
                       asked,
                       job->config.max_positions);
    }
    return CE_OK;
}

static enum ce_status read_model(struct ce_eval_job *job, struct ce_error *err)
{
    const struct ce_eval_values *values = job->values;
    enum ce_status status = ce_session_watch_files(
        &job->session, values->model.model, values->model.compressed_experts, err);

    if (status == CE_OK) {
        status = ce_config_load(&job->config, values->model.model, err);
    }
    if (status == CE_OK) {
        status = choose_max_length(job, err);
    }
    if (status == CE_OK) {
        status = ce_eval_choose_variants(&job->variants, values, &job->config, err);
    }
    if (status == CE_OK) {
        status = ce_tokenizer_open(&job->tokenizer, values->model.model, err);
    }
    return status == CE_OK ? ce_isa_choose(&job->isa, err) : status;
}

/* The engine will take the set that all ranks can run; the journal has to know before.
 */
static enum ce_status agree_on_kernels(struct ce_eval_job *job, struct ce_error *err)
{
    struct ce_transport *transport = job->session.transport;
    const struct ce_bytes *all = NULL;
    enum ce_isa mine = job->isa;
    enum ce_status status =
        ce_allgather(transport, (struct ce_bytes){&mine, sizeof(mine)}, &all, err);

    for (int r = 0; status == CE_OK && r < transport->ranks; r++) {
        enum ce_isa isa = mine;

        if (all[r].bytes == sizeof(isa)) {
            memcpy(&isa, all[r].data, sizeof(isa));
        }
        job->isa = isa < job->isa ? isa : job->isa;
    }
    return status;
}

/* ---- what rank 0 reads ---- */

static enum ce_status open_inputs(struct ce_eval_job *job, struct ce_error *err)
{
    const struct ce_eval_values *values = job->values;
    const struct ce_inputs_options options = {
        .tasks = {values->tasks.item, values->tasks.count},
        .requests = {values->requests.item, values->requests.count},
        .batches = {values->batches.item, values->batches.count},
        .data_dir = values->data,
        .limit = values->limit,
        .fewshot =
            values->fewshot < 0 ? CE_TASK_FEWSHOT_DEFAULT : (size_t)values->fewshot};
    enum ce_status status = ce_encoder_open(
        &job->encoder, job->tokenizer, values->model.model, job->max_length, err);

    return status == CE_OK ? ce_inputs_open(&job->inputs, &options, &job->encoder, err)
                           : status;
}

static void print_notices(const struct ce_journal *journal)
{
    size_t count = 0;
    const struct ce_journal_notice *notice = ce_journal_notices(journal, &count);
    char text[512];

    for (size_t i = 0; i < count; i++) {
        ce_journal_notice_print(journal, &notice[i], text, sizeof(text));
        ce_log(CE_LOG_WARN, "%s", text);
    }
}

static enum ce_status open_journal(struct ce_eval_job *job, struct ce_error *err)
{
    const struct ce_eval_facts facts = {.inputs = &job->inputs,
                                        .variants = &job->variants,
                                        .isa = job->isa,
                                        .ranks = job->session.transport->ranks,
                                        .max_length = job->max_length,
                                        .prefix = job->encoder.prefix,
                                        .now_ns = job->began_ns};
    enum ce_status status = ce_eval_identify(&job->identity, job->values, &facts, err);

    if (status == CE_OK) {
        status = ce_directory_make(job->values->out, err);
        if (status != CE_OK) {
            ce_error_prefix(err, "--out");
        }
    }
    if (status == CE_OK) {
        status =
            ce_journal_open(&job->journal,
                            job->values->out,
                            &job->identity.header,
                            job->values->resume ? CE_JOURNAL_RESUME : CE_JOURNAL_FRESH,
                            err);
    }
    if (status == CE_OK) {
        ce_eval_signals_set_journal(job->journal);
        print_notices(job->journal);
        status = ce_final_check(
            &job->inputs, ce_journal_header(job->journal), job->values->out, err);
    }
    if (status == CE_OK) {
        status = ce_sheet_fill(&job->sheet, &job->inputs, job->journal, err);
    }
    return status;
}

static void say_what_is_left(const struct ce_eval_job *job)
{
    size_t all = job->sheet.variants * job->sheet.queries;

    if (job->sheet.done > 0) {
        ce_log(CE_LOG_INFO,
               "%zu of %zu answers are in %s/%s already",
               job->sheet.done,
               all,
               job->values->out,
               CE_JOURNAL_NAME);
    } else {
        ce_log(CE_LOG_INFO,
               "%zu task(s), %zu documents, %zu queries, %zu variant(s)",
               job->inputs.count,
               job->inputs.documents,
               job->inputs.queries,
               job->sheet.variants);
    }
}

/* What ce_session_share calls on rank 0, on a thread of its own: the others wait. */
static enum ce_status
read_on_rank_0(const void *values, char **text, size_t *bytes, struct ce_error *err)
{
    struct ce_eval_job *job = *(struct ce_eval_job *const *)values;
    struct ce_request_list list = {.count = 0};
    void *data = NULL;
    enum ce_status status = open_inputs(job, err);

    if (status == CE_OK) {
        status = open_journal(job, err);
    }
    if (status == CE_OK) {
        say_what_is_left(job);
        status = ce_sheet_encode(&job->sheet, &job->inputs, &job->encoder, &list, err);
    }
    if (status == CE_OK) {
        status =
            ce_sheet_record_empty(&job->sheet, &job->inputs, &list, job->journal, err);
    }
    if (status == CE_OK) {
        status = ce_request_table_build(&list, &data, bytes, err);
    }
    *text = data;
    ce_request_list_free(&list);
    return status;
}

static enum ce_status view_table(struct ce_eval_job *job, struct ce_error *err)
{
    const struct ce_request_limits limits = {.vocab = job->config.vocab_size,
                                             .positions = job->max_length};
    enum ce_status status =
        ce_request_table_view(&job->table, job->bytes, job->byte_count, &limits, err);

    if (status == CE_OK && job->table.dropping > 0 && ce_log_is_speaker()) {
        ce_log(CE_LOG_WARN,
               "%zu of %zu requests do not fit into %zu tokens and lose %" PRIu64
               " tokens at their left end",
               job->table.dropping,
               job->table.count,
               job->max_length,
               job->table.dropped);
    }
    return status;
}

enum ce_status ce_eval_job_open(struct ce_eval_job *job, struct ce_error *err)
{
    struct ce_transport *transport = job->session.transport;
    enum ce_status status = ce_agree(transport, read_model(job, err), err);

    job->began_ns = ce_eval_time_ns();
    if (status == CE_OK) {
        status = agree_on_kernels(job, err);
    }
    if (status == CE_OK) {
        status = ce_session_share(
            &job->session, read_on_rank_0, &job, &job->bytes, &job->byte_count, err);
    }
    if (status == CE_OK) {
        status = ce_agree(transport, view_table(job, err), err);
    }
    return status;
}

void ce_eval_job_close(struct ce_eval_job *job)
{
    ce_eval_signals_set_journal(NULL);
    ce_sheet_free(&job->sheet);
    ce_journal_close(job->journal);
    ce_eval_identity_free(&job->identity);
    ce_inputs_close(&job->inputs);
    ce_encoder_close(&job->encoder);
    ce_request_table_free(&job->table);
    ce_tokenizer_close(job->tokenizer);
    free(job->bytes);
}

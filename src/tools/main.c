/* main.c - from the command line to one command, and the only exit */

#include "base/log.h"
#include "base/options.h"
#include "base/streams.h"
#include "base/version.h"
#include "comm/transport.h"
#include "kernels/blas/core.h"
#include "tools/bus_error.h"
#include "tools/commands.h"
#include "tools/common.h"
#include "tools/session.h"
#include "tools/test_fault.h"

#include <errno.h>
#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int run_man(const void *values)
{
    (void)values;
    ce_program_print_man(ce_results(), &ce_program_cemoe);
    return CE_EXIT_DONE;
}

static int run_completion(const void *values)
{
    (void)values;
    ce_program_print_completion(ce_results(), &ce_program_cemoe);
    return CE_EXIT_DONE;
}

static const char *const no_arguments[] = {"", NULL};

static const struct ce_command command_man = {.name = "man",
                                              .summary =
                                                  "Print the manual page as roff",
                                              .usage = no_arguments,
                                              .hidden = true,
                                              .run = run_man};
static const struct ce_command command_completion = {
    .name = "completion",
    .summary = "Print a completion script for bash",
    .usage = no_arguments,
    .hidden = true,
    .run = run_completion};

static const struct ce_command *const commands[] = {&ce_command_generate,
                                                    &ce_command_score,
                                                    &ce_command_logits,
                                                    &ce_command_eval,
                                                    &ce_command_calibrate,
                                                    &ce_command_compare,
                                                    &ce_command_inspect,
                                                    &ce_command_plan,
                                                    &ce_command_doctor,
                                                    &ce_command_pack,
                                                    &ce_command_tokenize,
                                                    &ce_command_bench_step,
                                                    &ce_command_bench_schedule,
                                                    &ce_command_bench_kernels,
                                                    &command_man,
                                                    &command_completion,
                                                    NULL};

static const struct ce_manual_section sections[] = {
    {"EXIT STATUS",
     "  0  done\n"
     "  1  failed: one line on standard error says what and where (when a deadline "
     "passes, one of each waiting rank)\n"
     "  2  wrong usage\n"
     "  3  ran, but a check did not hold\n"
     "  4  stopped early, can be resumed"},
    {"TEXT FILES",
     "Texts, lists of prompts and JSON Lines are UTF-8 and read as Python reads them "
     "in "
     "text mode: lines end in LF, CR LF or CR, which becomes LF in a text, and a byte "
     "order mark at the beginning is left out. Archives, tables and UTF-16 are refused "
     "by name. JSON may have NaN, integers of any size, \\u0000 and half surrogates in "
     "fields that are not used."},
    {"ENVIRONMENT",
     "OMP_NUM_THREADS sets the threads of each rank. mpirun binds a rank to one core "
     "unless told otherwise: with several threads per rank use --map-by slot:PE=T or "
     "--bind-to none. On a machine that is shared with other jobs "
     "OMP_WAIT_POLICY=passive "
     "keeps threads that wait from spinning on processors others need.\n\n"
     "CEMOE_ISA forces a kernel set (ref, avx2). CEMOE_MEMORY_LIMIT (bytes) makes the "
     "machine look smaller. CEMOE_LATENCY_US holds every message from another rank "
     "back for so many microseconds, as a slower network would. CEMOE_MODEL, "
     "CEMOE_TRANSPORT and CEMOE_DEADLINE_MS are defaults of the options of these "
     "names. "
     "CEMOE_TEST_FAULT makes a rank fail, for tests.\n\n"
     "OPENBLAS_CORETYPE names the processor whose kernels OpenBLAS takes. Where it is "
     "not set and OpenBLAS does not know the processor, commands that need it to be "
     "fast start again with SkylakeX or Haswell, whichever the processor can run."},
    {0}};

const struct ce_program ce_program_cemoe = {
    .name = "cemoe",
    .version = CE_VERSION,
    .summary = "expert-parallel inference for Mixture-of-Experts language models",
    .description =
        "cemoe runs Mixture-of-Experts models from Hugging Face checkpoints on CPU "
        "nodes, alone or under mpirun: every rank owns a shard of the experts, and "
        "tokens travel to the ranks that own theirs. With compressed experts (arXiv "
        "2503.00634) only a token's main experts run in full, and only they cost "
        "communication.\n\n"
        "Results go to standard output and are the same bits for any number of ranks; "
        "the log, progress and everything that depends on the run go to standard error "
        "or --stats FILE.",
    .commands = commands,
    .sections = sections};

/* Called before any library is initialised: these may open files, and print. */
__attribute__((section(".preinit_array"),
               used)) static void (*const before_libraries)(void) = ce_streams_open;

/* Every rank of a launched job parses the same line: one of them speaks. */
static void init_log(void)
{
    int rank = 0;
    int ranks = 1;

    ce_transport_launcher(&rank, &ranks);
    ce_log_init(CE_LOG_INFO, rank);
    ce_bus_error_install(rank);
}

static int usage_error(const struct ce_error *err)
{
    if (ce_log_is_speaker()) {
        (void)fprintf(stderr, "%s\n", err->text);
    }
    return CE_EXIT_USAGE;
}

/* A usage that is wrong on all ranks is said by the first, and ends them all. One that
 * is still here after a moment was given options of its own. */
static void speak_late(const struct ce_error *err)
{
    const struct timespec moment = {.tv_sec = 3};

    if (!ce_log_is_speaker()) {
        (void)nanosleep(&moment, NULL);
        ce_log(CE_LOG_ERROR,
               "%s",
               err->text[0] != '\0' ? err->text
                                    : "wrong usage: were all ranks given the same?");
    }
}

static int print_request(const struct ce_command_line *line)
{
    if (ce_log_is_speaker() && line->request == CE_REQUEST_VERSION) {
        ce_program_print_version(ce_results(), &ce_program_cemoe);
    } else if (ce_log_is_speaker()) {
        ce_program_print_help(ce_results(), &ce_program_cemoe, line->command);
    }
    return CE_EXIT_DONE;
}

/* OpenBLAS has chosen its kernels before main; a better choice takes another start.
 * Without one the command only is slow. */
static void start_with_better_blas(char **argv)
{
    const char *core = ce_blas_better_core();

    if (core != NULL && setenv(CE_BLAS_CORE_VARIABLE, core, 1) == 0) {
        ce_streams_restore();
        (void)execv("/proc/self/exe", argv);
        ce_streams_hide();
    }
}

/* What a file system says only when a file is closed counts, too. */
static int close_results(int code)
{
    if (code == CE_EXIT_DONE) {
        code = ce_finish_output();
    }
    if (fclose(ce_results()) != 0 && code == CE_EXIT_DONE) {
        ce_log(CE_LOG_ERROR, "standard output cannot be written: %s", strerror(errno));
        code = CE_EXIT_FAILED;
    }
    return code;
}

/* OpenBLAS waits without end where it gets fewer threads than OpenMP says there are:
 * where OMP_THREAD_LIMIT is below OMP_NUM_THREADS, or OMP_DYNAMIC gives some at times.
 */
static void settle_threads(void)
{
    const int most = omp_get_thread_limit();

    omp_set_dynamic(0);
    if (omp_get_max_threads() > most) {
        omp_set_num_threads(most);
    }
}

int main(int argc, char **argv)
{
    struct ce_command_line line = {0};
    struct ce_error err = {.text = ""};
    int code = CE_EXIT_DONE;

    init_log();
    settle_threads();
    /* Who reads our output may leave; that shall not end a job which has files to
     * write. */
    (void)signal(SIGPIPE, SIG_IGN);
    /* A write beyond the limit of file sizes shall fail and be reported. */
    (void)signal(SIGXFSZ, SIG_IGN);
    if (ce_command_line_parse(&line, &ce_program_cemoe, argc, argv, &err) != CE_OK ||
        ce_test_fault_read(&err) != CE_OK) {
        code = usage_error(&err);
    } else if (line.request != CE_REQUEST_RUN) {
        code = print_request(&line);
    } else {
        if (line.command->uses_blas) {
            start_with_better_blas(argv);
        }
        ce_session_compare_options(line.command, line.values);
        code = line.command->run(line.values);
    }
    if (code == CE_EXIT_USAGE) {
        speak_late(&err);
    }
    ce_command_line_free(&line);
    return close_results(code);
}

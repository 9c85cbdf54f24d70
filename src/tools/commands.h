/* commands.h - the commands of the program, one file each */

#ifndef CE_TOOLS_COMMANDS_H
#define CE_TOOLS_COMMANDS_H

#include "base/options.h"

extern const struct ce_command ce_command_generate;
extern const struct ce_command ce_command_score;
extern const struct ce_command ce_command_logits;
extern const struct ce_command ce_command_eval;
extern const struct ce_command ce_command_calibrate;
extern const struct ce_command ce_command_compare;
extern const struct ce_command ce_command_inspect;
extern const struct ce_command ce_command_plan;
extern const struct ce_command ce_command_doctor;
extern const struct ce_command ce_command_pack;
extern const struct ce_command ce_command_tokenize;
extern const struct ce_command ce_command_bench_step;
extern const struct ce_command ce_command_bench_schedule;
extern const struct ce_command ce_command_bench_kernels;

/* The program all of them belong to; for help, man page and completion. */
extern const struct ce_program ce_program_cemoe;

#endif

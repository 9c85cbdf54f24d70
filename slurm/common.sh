# shellcheck shell=bash
# common.sh - what the batch scripts of this folder share; they source it
#
#     launch     mpirun or srun, alike
#     run        the same with signals passed on
#     evaluate   cemoe eval once, and what became of it
#     chain      cemoe eval until it is complete, over as many jobs as that takes
#
# The parameters, all from the environment of sbatch; README.md explains them.

CEMOE=${CEMOE:-cemoe}                       # the program
CEMOE_LAUNCH=${CEMOE_LAUNCH:-mpirun}        # or srun, which needs Slurm built with PMIx
CEMOE_MODEL=${CEMOE_MODEL:-}                # the model's directory
CEMOE_TASKS=${CEMOE_TASKS:-}                # names or files, with spaces between
CEMOE_OUT=${CEMOE_OUT:-}                    # the directory of journal and results
CEMOE_OPTIONS=${CEMOE_OPTIONS:-}            # of model and run: "--compressed 4 --kv bf16"
CEMOE_EVAL_OPTIONS=${CEMOE_EVAL_OPTIONS:-}  # of cemoe eval alone: "--data DIR --compare"
CEMOE_DOCTOR=${CEMOE_DOCTOR:-yes}           # cemoe doctor before cemoe eval; or no
CEMOE_MAX_STARTS=${CEMOE_MAX_STARTS:-20}    # of a chain, the first among them
CEMOE_MAX_FAILURES=${CEMOE_MAX_FAILURES:-3} # of one start, in its own nodes
CEMOE_RETRY_SECONDS=${CEMOE_RETRY_SECONDS:-60} # before it tries again, times its failures

# Exit codes of cemoe, here also those of the scripts.
DONE=0 FAILED=1 USAGE=2 CHECK=3 STOPPED=4

nodes=$SLURM_JOB_NUM_NODES
ranks_per_node=${SLURM_NTASKS_PER_NODE:-1}
cpus=${SLURM_CPUS_PER_TASK:-1}
# Other than mpirun and srun, cemoe starts as many threads as it sees processors.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$cpus}
# mpirun binds a rank to one core unless told how many it has. Replace where cores are not
# Slurm's CPUs or ranks shall not be bound: CEMOE_MPIRUN_OPTIONS="--bind-to none".
CEMOE_MPIRUN_OPTIONS=${CEMOE_MPIRUN_OPTIONS:---map-by slot:PE=$cpus --bind-to core}

say() {
    echo "$(date '+%F %T') job ${SLURM_JOB_ID}: $*"
}

give_up() {
    say "$1" >&2
    exit "${2:-$FAILED}"
}

case $CEMOE_LAUNCH in
mpirun | srun) ;;
*) give_up "CEMOE_LAUNCH is mpirun or srun, not \"$CEMOE_LAUNCH\"" "$USAGE" ;;
esac

# need NAME...: ends where a parameter is missing.
need() {
    local name
    for name in "$@"; do
        [ -n "${!name}" ] || give_up "$name is not set: see slurm/README.md" "$USAGE"
    done
}

# Slurm warns the batch script alone (--signal=B:USR1@120). The launcher passes USR1 on to
# all ranks; TERM comes when the job is cancelled or has used up its time.
warned=
ended=
child=
interrupted=
# shellcheck disable=SC2317 # called by the traps
pass_on() {
    interrupted=yes
    [ -z "$child" ] || kill -s "$1" "$child" 2>/dev/null
}
trap 'warned=yes; say "warned by USR1"; pass_on USR1' USR1
trap 'ended=yes; say "ended by TERM"; pass_on TERM' TERM

# launch NODES COMMAND...: replaces this (sub)shell by a launcher that runs the command with
# all ranks of NODES of the job's nodes.
launch() {
    local ranks=$(($1 * ranks_per_node)) some=$1
    shift
    case $CEMOE_LAUNCH in
    mpirun)
        # shellcheck disable=SC2086 # options are words
        exec mpirun -n "$ranks" $CEMOE_MPIRUN_OPTIONS -x OMP_NUM_THREADS "$@"
        ;;
    srun)
        # Without --mpi=pmix each rank would be a job of its own; since Slurm 22.05 srun does
        # not take --cpus-per-task over from sbatch; and a lost rank has to end the others.
        exec srun --mpi=pmix --nodes="$some" --ntasks="$ranks" \
            --ntasks-per-node="$ranks_per_node" --cpus-per-task="$cpus" --kill-on-bad-exit=1 "$@"
        ;;
    esac
}

# remind PID: a warning that comes while the launcher or its ranks are starting is lost.
remind() {
    while sleep 5 && kill -s USR1 "$1" 2>/dev/null; do :; done
}

# run NODES COMMAND...: launches, waits, and returns the launcher's exit code. Bash runs traps
# only between commands: of all it waits for, `wait` alone is interrupted.
run() {
    local code='' reminder=''
    launch "$@" &
    child=$!
    while [ -z "$code" ]; do
        if [ -n "$warned" ] && [ -z "$reminder" ]; then
            remind "$child" &
            reminder=$!
        fi
        interrupted=
        wait "$child"
        code=$?
        [ -z "$interrupted" ] || code=
    done
    child=
    [ -z "$reminder" ] || kill "$reminder" 2>/dev/null
    return "$code"
}

# Looks before anything is loaded; 0 or the exit code to leave with.
preflight() {
    [ "$CEMOE_DOCTOR" = yes ] || return "$DONE"
    # shellcheck disable=SC2086
    run "$nodes" "$CEMOE" doctor --model "$CEMOE_MODEL" --out "$CEMOE_OUT" $CEMOE_OPTIONS
}

# What the journal says: 0 complete, 4 can be resumed, 1 there is none. Launchers have exit
# codes of their own, so that a failure is judged by it. Whose journal it is only eval knows:
# complete is what both say.
journal() {
    "$CEMOE" eval --status --out "$CEMOE_OUT" >/dev/null 2>&1
}

# cemoe eval, once; returns the launcher's exit code.
evaluate() {
    say "eval on $nodes node(s), $((nodes * ranks_per_node)) rank(s), $cpus CPU(s) each, by" \
        "$CEMOE_LAUNCH: $SLURM_JOB_NODELIST"
    # shellcheck disable=SC2086
    run "$nodes" "$CEMOE" eval --model "$CEMOE_MODEL" --tasks $CEMOE_TASKS \
        --out "$CEMOE_OUT" $CEMOE_OPTIONS $CEMOE_EVAL_OPTIONS
}

# check_first: preflight, and the end of the job where it found a problem. Not where a signal
# ended it.
check_first() {
    need CEMOE_MODEL CEMOE_TASKS CEMOE_OUT
    preflight && return
    local code=$?
    [ -n "$warned$ended" ] || give_up "cemoe doctor: exit code $code, see above; not started" "$code"
}

# once: one job, and what to do about what it left.
once() {
    check_first
    local code=$STOPPED state
    if [ -z "$warned$ended" ]; then
        evaluate
        code=$?
    fi
    journal
    state=$?
    if [ "$state" = "$DONE" ] && [ "$code" != "$DONE" ] && [ -z "$warned$ended" ]; then
        evaluate # what a launcher made of the end of a job is no verdict
        code=$?
    fi
    case $state in
    "$DONE")
        [ "$code" = "$DONE" ] || give_up "$CEMOE_OUT has a complete journal, but exit code $code: see above" "$code"
        say "complete: $CEMOE_OUT" && exit "$DONE"
        ;;
    "$STOPPED") give_up "not complete (exit code $code): submit again to go on" "$STOPPED" ;;
    esac
    give_up "nothing was recorded (exit code $code)" "$((code == DONE ? FAILED : code))"
}

# requeue REASON: puts this job back into the queue; it starts again, as a whole, where the
# journal ends.
requeue() {
    local starts=$((${SLURM_RESTART_COUNT:-0} + 1))
    # Of an array, one task has the number of the whole for its own.
    local id=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}}
    [ -z "$ended" ] || give_up "cancelled, or out of time: submit again to go on" "$STOPPED"
    [ "$starts" -lt "$CEMOE_MAX_STARTS" ] ||
        give_up "$1, and this was start $starts of at most $CEMOE_MAX_STARTS" "$STOPPED"
    say "$1: requeued after start $starts"
    trap '' TERM # the requeue ends this script
    scontrol requeue "${id:-$SLURM_JOB_ID}" ||
        give_up "cannot be requeued here: submit again to go on" "$STOPPED"
    exit "$STOPPED"
}

# pause SECONDS: or until a signal comes. The lock of a job that died on another host is taken
# after two minutes.
pause() {
    sleep "$1" &
    wait "$!"
}

# chain: until the journal is complete. A job that was warned is requeued; one that failed
# tries again in the nodes it has; Slurm itself requeues one that lost a node. What would fail
# again, wrong usage or a failed check, ends the chain.
chain() {
    local code state failures=0
    check_first
    while [ -z "$warned$ended" ]; do
        evaluate
        code=$?
        journal
        state=$?
        case $state in
        "$DONE") [ "$code" != "$DONE" ] || { say "complete: $CEMOE_OUT" && exit "$DONE"; } ;;
        "$STOPPED") ;;
        *) [ -n "$warned$ended" ] || give_up "nothing was recorded (exit code $code)" "$((code == DONE ? FAILED : code))" ;;
        esac
        case $code in
        "$STOPPED") requeue "stopped early" ;;
        "$USAGE" | "$CHECK") give_up "would fail again (exit code $code)" "$code" ;;
        esac
        [ -z "$warned$ended" ] || break
        failures=$((failures + 1))
        say "failed (exit code $code), $failures of at most $CEMOE_MAX_FAILURES times in this start"
        [ "$failures" -lt "$CEMOE_MAX_FAILURES" ] || give_up "failed too often" "$FAILED"
        pause "$((failures * CEMOE_RETRY_SECONDS))"
    done
    requeue "warned"
}

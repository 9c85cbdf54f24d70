#!/usr/bin/env python3
"""check_install.py BUILD_DIR COMPILER [SANITIZERS]: what `cmake --install` gives can be used.

Installs into a temporary prefix, runs the installed program, and builds and runs a program that
knows only the public headers and what pkg-config says.
"""

import os
import pathlib
import subprocess
import sys
import tempfile

CONSUMER = r"""
#include <cemoe/cemoe.h>
#include <stdio.h>

int main(void)
{
    struct ce_engine_options options;

    ce_engine_options_init(&options);
    return puts(ce_status_name(CE_OK)) < 0 || options.cache_tokens == 0;
}
"""


def run(*command, **environment):
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def one(prefix, pattern):
    found = list(prefix.glob(pattern))
    if len(found) != 1:
        sys.exit(f"{pattern}: {len(found)} files installed, not 1")
    return found[0]


def main(build, compiler, sanitizers=""):
    with tempfile.TemporaryDirectory() as folder:
        prefix = pathlib.Path(folder, "prefix")
        run("cmake", "--install", build, "--prefix", prefix)
        version = run(one(prefix, "bin/cemoe"), "--version").split()
        manual = one(prefix, "share/man/man1/cemoe.1").read_text()
        if version[1] not in manual or ".SH COMMANDS" not in manual:
            sys.exit("the manual is not that of the program")
        run("bash", "-n", one(prefix, "share/bash-completion/completions/cemoe"))
        one(prefix, "share/doc/cemoe/LICENSE")
        one(prefix, "share/doc/cemoe/docs/commands.md")
        one(prefix, "share/cemoe/tasks/mmlu.json")
        one(prefix, "share/cemoe/tasks/sample/mmlu_dev.jsonl")

        pc = one(prefix, "lib*/**/cemoe.pc")
        flags = run("pkg-config", "--static", "--cflags", "--libs", "cemoe",
                    PKG_CONFIG_PATH=str(pc.parent)).split()
        source = pathlib.Path(folder, "consumer.c")
        source.write_text(CONSUMER)
        sanitize = [f"-fsanitize={sanitizers}"] if sanitizers else []
        program = pathlib.Path(folder, "consumer")
        run(compiler, "-std=c17", "-Wall", "-Werror", *sanitize, source, "-o", program, *flags)
        if run(program).strip() != "ok":
            sys.exit("the consumer did not print ok")
    print("install: ok")


if __name__ == "__main__":
    main(*sys.argv[1:])

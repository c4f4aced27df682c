/*
 * Runs a program and waits for it: posix_spawn, no shell.
 *
 * Standard input is /dev/null, standard output goes to a file or is collected, standard error is collected (its last
 * 64 KB). Nothing secret may be in argv or in the environment; programs of PostgreSQL get passwords by a password file.
 * Killed (SIGTERM, after 5 s SIGKILL) with all that it started when `stop` is requested; then ERROR_CANCELLED.
 *
 * It runs in a session of its own: no terminal to ask for a password on, no Ctrl-C of its own, no descriptor of ours but
 * these three. No signal handler is used and other children of the process are left alone, so several threads may run
 * children at the same time. Needs pidfd_open (Linux 5.3). A child outlives us when we are killed.
 */
#pragma once

#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "sys/stop.h"

struct child_options {
    const char *const *argv;        /* NULL-terminated; argv[0] is a path or is looked up in PATH */
    const char *const *environment; /* "NAME=value", NULL-terminated, added to ours; NULL for none */
    const char *stdout_path;        /* made 0600 or cut to nothing; NULL: collected */
    size_t output_max;              /* more collected output is ERROR_CONFIG and ends it; 0: 256 MiB */
    const struct stop *stop;        /* NULL: cannot be stopped */
};

struct child_result {
    int exit_status; /* 0 to 255; 128 + signal when a signal ended it */
    char *output;    /* "" when it went to a file; in `a` */
    size_t output_length;
    char *errors; /* standard error, its last 64 KB; in `a` */
};

/* An error only when it could not be run or was stopped; a failing program is a result. */
MUST_USE struct error *child_run(struct arena *a, struct child_options options, struct child_result *out_result);

/* The path of a program in PATH (its empty entries, the working folder, are passed over), or NULL. In `a`. */
char *child_find(struct arena *a, const char *program);

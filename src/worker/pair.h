/*
 * A pair seen from outside: for commands that talk to its sync or look for themselves. No lock is taken, nothing is made.
 *
 * Belongs to one thread; everything lives in the arena given to pair_open.
 */
#pragma once

#include <jansson.h>

#include "model/options.h"
#include "pg/endpoint.h"
#include "sys/stop.h"
#include "worker/task_folder.h"

struct pair {
    struct arena *arena;
    const struct sync_options *options;
    struct stop *stop;
    struct pg_endpoint *source;
    struct pg_endpoint *target;
    const char *name; /* "a:1/x to b:2/y" */
    const char *folder;
    struct task_record *record; /* NULL: nothing is known of this pair */
};

MUST_USE struct error *pair_open(struct arena *a, const struct sync_options *options, struct stop *stop,
                                 struct pair *out);

/* *out_reply is NULL when no sync of the pair runs; else a new reference. `arguments` may be NULL and stays the caller's. */
MUST_USE struct error *pair_ask(const struct pair *p, const char *command, json_t *arguments, json_t **out_reply);

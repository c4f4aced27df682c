/*
 * What a comparison is about: the rules given to it, else the selection of the pair's task (also of one that was stopped), else
 * everything.
 *
 * Both sides count: what rules choose on either one is looked for on both. One thread; lives in the arena.
 */
#pragma once

#include "worker/compare_sides.h"
#include "worker/selecting.h"

struct compare_scope {
    struct name_set *names;   /* NULL: everything */
    struct name_set *partial; /* partitioned tables of which a part is left out */
    bool is_of_task;
    bool with_publications; /* the options say so, or the task carries them */
};

/* ERROR_CONFIG for a rule that matches nothing on either side. */
MUST_USE struct error *compare_scope_find(struct compare_sides *sides, const struct sync_options *options,
                                          struct pg_conn *source, struct pg_conn *target, struct compare_scope *out);

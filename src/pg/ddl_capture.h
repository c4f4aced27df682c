/*
 * What tells of DDL on the source: event triggers `!pgtide_<task>_…`, which write into the table `pgtide.ddl_<task>`
 * (sql/ddl_install.sql has them and why they are as they are).
 *
 * The caller has recorded the intent (R1). Needs a superuser, as event triggers do. Installed before the slot is made, so that a
 * transaction that the slot will send has been seen by them: the slot waits for all that run when it is made.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "pg/chosen.h"
#include "pg/conn.h"

struct ddl_choice {
    const struct chosen *chosen;
    const struct selection *rules; /* what is made later is chosen by them */
    bool with_publications;
};

/*
 * Table level, before ddl_capture_install: only DDL that concerns the chosen relations, what belongs to them, and what they need is told; and
 * that which makes tables and sequences that the rules choose: these are chosen from then on, and published. May be repeated.
 */
MUST_USE struct error *ddl_capture_select(struct pg_conn *source, const char *task, const struct ddl_choice *choice);

/*
 * `with_publications`: statements about them are told, too. What is there already is brought to this version, and left alone when it is of it.
 * *out_was_whole is false when something of it was missing or disabled.
 */
MUST_USE struct error *ddl_capture_install(struct pg_conn *source, const char *task, bool with_publications,
                                           bool *out_was_whole);

/* Missing things are fine; the schema goes when nothing else is in it. The error says what stays behind. */
MUST_USE struct error *ddl_capture_remove(struct pg_conn *source, const char *task);

/* The table's name, in `a`. */
char *ddl_capture_table(struct arena *a, const char *task);

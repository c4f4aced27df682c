/*
 * The parts of a comparison that are no table: definitions, values of sequences, the database's properties, accounts, large objects.
 *
 * An error in one of them is its own: it counts as not compared, and why, and the others go on under the same snapshots. On the
 * caller's thread and sessions.
 */
#pragma once

#include "base/error.h"
#include "model/compare.h"
#include "worker/compare_sides.h"
#include "worker/selecting.h"

struct compare_whole_work {
    struct compare_sessions *sessions;
    const bool *kinds;            /* of enum compare_kind: what was asked for */
    const struct name_set *names; /* NULL: the whole database */
    bool with_publications;
    bool has_sync;   /* one runs: it sets the values of sequences now and then */
    bool is_settled; /* no sync that has yet to set the database's properties is known of */
    struct compare_collector *collector;
    struct compare_progress *progress;
};

/* Of how many entries_done grows. */
unsigned compare_wholes_count(const struct compare_whole_work *w);

/* ERROR_CANCELLED, or what broke a session; everything else is told to the collector. */
MUST_USE struct error *compare_wholes_run(const struct compare_whole_work *w);

/* On both sides. An error in a part of a comparison is that part's; the snapshots live on. */
/*
 * What follows "SAVEPOINT pgtide" and a look at a table, well or badly ended. The snapshot stays, the locks go: a session that kept those of thousands
 * of tables would leave the server's applications without any, and the table's owner waiting.
 */
#define COMPARE_GIVE_BACK "ROLLBACK TO pgtide; RELEASE pgtide"

MUST_USE struct error *compare_sessions_savepoint(struct compare_sessions *s, const char *statement);

/* The error with its hint, as a reason why something was not compared. */
const char *compare_reason(struct arena *a, const struct error *err);

/*
 * (P6) Which history a position belongs to: system identifier, timeline, database, slot. Recorded when the slot is made, compared at
 * every start and before each new replication session; any difference is ERROR_HISTORY, never a silent going on.
 */
#pragma once

#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "model/lsn.h"
#include "pg/catalog.h"
#include "pg/conn.h"
#include "pg/slot.h"

struct history {
    const char *system; /* identifier, from pg_control_system() */
    uint32_t timeline;
    uint32_t database_oid; /* of the source database */
};

struct history history_of(const struct server_facts *facts);
MUST_USE struct error *history_read(struct pg_conn *source, struct arena *a, struct history *out);

/* ERROR_HISTORY naming what differs and what it means. */
MUST_USE struct error *history_compare(const struct history *recorded, const struct history *now);

/*
 * Is the slot still the one that we read? It must exist, be logical, belong to the database, have its WAL, and not be confirmed
 * beyond `ours`, the end of what the spool has durably: whatever lies between was taken by somebody else, or the slot was made anew.
 * And the server's WAL must reach as far as `ours`.
 */
MUST_USE struct error *history_check_slot(struct pg_conn *source, const char *slot, struct lsn ours);

/* The same of what was read just now; `facts` is NULL when there is no slot of that name. */
MUST_USE struct error *history_judge_slot(struct pg_conn *source, const char *slot, const struct pg_slot_facts *facts,
                                          struct lsn ours);

/* What a server tells of the indexes and statistics that its sessions are at: from 12 on, statistics from 13 on. */
#pragma once

#include "base/arena.h"
#include "pg/conn.h"

struct build_progress {
    int pid;              /* of the session's process */
    unsigned thousandths; /* of what it takes; of phases without counts, as a sort, those before */
};

/* Of this database, and of sessions that the user may see: its own. In `a`. */
MUST_USE struct error *build_progress_read(struct pg_conn *c, struct arena *a, struct build_progress **out,
                                           unsigned *out_n);

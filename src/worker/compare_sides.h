/*
 * Both sides of a comparison: where they are, whether a sync of the pair runs, and sessions that see one snapshot each.
 *
 * One thread; the sessions may then be given to others, one pair to a thread.
 */
#pragma once

#include "base/arena.h"
#include "base/error.h"
#include "model/compare.h"
#include "model/options.h"
#include "pg/conn.h"
#include "pg/endpoint.h"
#include "sys/stop.h"

struct control_client;

/* Tells whether a server has moved. On a standby a snapshot alone does not: a commit of one of several that run may change nothing in it. */
struct compare_moment {
    const char *snapshot; /* pg_current_snapshot() */
    const char
        *replayed; /* a standby on which transactions were running: its position before the snapshot; else NULL */
};

struct compare_sides {
    struct arena *arena;
    struct stop *stop;
    struct pg_endpoint *source, *target;
    const char *folder;
    struct control_client *sync;                /* NULL: none runs */
    bool is_alone;                              /* asked for by who synchronizes */
    struct compare_moment at_source, at_target; /* not aligned: of each snapshot */
    bool is_held;                               /* the sync's apply waits for compare_sides_release */
};

/* A pair of sessions in read-only transactions. */
struct compare_sessions {
    struct pg_conn *source;
    struct pg_conn *target;
};

/* Without a running sync when `is_alone`: it is the one that asks. */
MUST_USE struct error *compare_sides_open(struct arena *a, const struct sync_options *options, bool is_alone,
                                          struct stop *stop, struct compare_sides *out);
void compare_sides_close(struct compare_sides *s);

/*
 * `n` pairs of sessions that see the same: one position of the source when a sync runs, else two snapshots. With `hold` the sync
 * applies nothing until compare_sides_release. Those made before an error are left in `sessions` to be closed.
 */
MUST_USE struct error *compare_sides_look(struct compare_sides *s, bool hold, struct compare_sessions *sessions,
                                          unsigned n, struct compare_alignment *out);

/* A session on the target that writes. */
MUST_USE struct error *compare_sides_connect_writer(struct compare_sides *s, struct pg_conn **out_conn);

/* The running sync goes on; says for how long apply stood still. */
MUST_USE struct error *compare_sides_release(struct compare_sides *s, int64_t *out_pause_us);

/* While it is held: to be called every few seconds, or the sync goes on by itself. ERROR_TRANSIENT when it did. */
MUST_USE struct error *compare_sides_keep(struct compare_sides *s);

/* Not aligned: whether transactions were written on the servers, in whatever database, since compare_sides_look. */
MUST_USE struct error *compare_sides_have_moved(struct compare_sides *s, struct compare_alignment *out);

void compare_sessions_close(struct compare_sessions *sessions, unsigned n);

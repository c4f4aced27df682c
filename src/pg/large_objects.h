/*
 * Large objects, which logical decoding does not carry: copied at full, and what differs once more at the end.
 *
 * A page of objects is one target transaction: their contents stream in slices of 256 KiB through COPY into a temporary table and are put in
 * place there, so that neither many objects cost round trips nor a large one memory. May be repeated after anything: what is there and equal
 * is left alone. One thread; the sessions are the caller's. Manual: "Large Objects", server-side functions.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pg/conn.h"
#include "pg/copy.h"
#include "pg/left_out.h"

struct large_object_counts {
    uint64_t seen;
    uint64_t copied;
    uint64_t removed;
};

/* How many there are, and about how large they are together. */
MUST_USE struct error *large_objects_measure(struct pg_conn *source, uint64_t *out_n, uint64_t *out_bytes);

/* Told of what passes, slices as rows of statement 0, and of each page of objects that is done. Zero: nobody is. */
struct large_object_watch {
    struct copy_watch copy;
    void (*page_done)(void *self, uint64_t objects); /* self: copy.self; NULL for none */
};

/*
 * Makes the target's large objects like those of the source, with owner, comment and grants where the roles exist. `source` may be in a
 * transaction with a snapshot. `may_remove`: what the source has not is removed from the target. Objects of more than the rights of the
 * user are an error of the source that names them.
 */
MUST_USE struct error *large_objects_sync(struct pg_conn *source, struct pg_conn *target, bool may_remove,
                                          struct left_out *left_out, struct large_object_watch watch,
                                          struct large_object_counts *out);

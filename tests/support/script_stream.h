/*
 * A change stream written down by a test, and its decoder: what spool and output plugin are in production.
 *
 * Positions are given out by the script: a transaction's commit record begins 16 after the last one's end and is 8 long. The reader
 * starts at the beginning every time, as a spool may. Rows are written as in support/rows.h. Everything lives in the arena.
 *
 *     script_begin(s, 7);
 *     script_insert(s, &orders, "1|new");
 *     script_update(s, &orders, OLD_ABSENT, NULL, "1|paid");
 *     end = script_commit(s);
 */
#pragma once

#include "model/relation.h"
#include "ports/stream.h"
#include "support/fault.h"
#include "sync/feeder.h"

struct script;

struct script *script_new(struct arena *a);

/* A relation of text columns named a, b, c …; the first `n_identity` are the identity. Its version is the script's next. */
const struct stream_relation *script_relation(struct script *s, uint32_t oid, const char *name, unsigned n_columns,
                                              enum replica_identity identity, unsigned n_identity);

void script_begin(struct script *s, uint32_t xid);
void script_insert(struct script *s, const struct stream_relation *r, const char *row);
void script_update(struct script *s, const struct stream_relation *r, enum old_row kind, const char *old_row,
                   const char *new_row);
void script_delete(struct script *s, const struct stream_relation *r, enum old_row kind, const char *old_row);
void script_truncate(struct script *s, const struct stream_relation *const *relations, unsigned n);
void script_message(struct script *s, bool is_transactional, const char *prefix, const char *content);

/*
 * Several changes in one line, parted by spaces: "I1|a U1|b K1>2|b D2 T".
 *
 *     I row     INSERT                        K key>row   UPDATE that sends the old key
 *     U row     UPDATE that sends no old row  F old>row   UPDATE that sends the whole old row
 *     D key     DELETE that sends the key     E row       DELETE that sends the whole old row
 *     T         TRUNCATE
 */
void script_changes(struct script *s, const struct stream_relation *r, const char *changes);

/* Returns COMMIT's end. */
struct lsn script_commit(struct script *s);

/* A keepalive at the position that has been reached; returns it. */
struct lsn script_keepalive(struct script *s);

/* Where the source's log has got to. */
struct lsn script_lsn(const struct script *s);

/* An event as it is, for streams that are wrong. */
void script_raw(struct script *s, struct event event);

size_t script_n_records(const struct script *s);

/* A reader at the beginning; sees the first `visible` records (SIZE_MAX: all), which may be moved. */
struct script_reader {
    const struct script *script;
    size_t cursor;
    size_t visible;
    struct fault *fault;
};

struct record_source script_source(struct script_reader *r);
struct decoder script_decoder(struct script *s);

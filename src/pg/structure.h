/*
 * The structure of a database as model/structure compares it, and a number that tells whether it changed.
 *
 * One thread, the connection's.
 */
#pragma once

#include "base/error.h"
#include "model/structure.h"
#include "pg/conn.h"

/* All of it, in `a`. */
MUST_USE struct error *structure_read(struct pg_conn *conn, struct arena *a, struct structure *out);

/* Another one for another structure. The server computes it, in memory that does not grow with the number of tables. */
MUST_USE struct error *structure_fingerprint(struct pg_conn *conn, struct arena *a, char **out_text);

/* Whether the table of that key is sent by the publication itself or by all of its partitions; NULL: a plugin that sends everything. */
MUST_USE struct error *structure_is_published(struct pg_conn *conn, struct arena *a, const char *publication,
                                              const char *key, bool *out_is_published);

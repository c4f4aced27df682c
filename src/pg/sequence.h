/*
 * The values of sequences: logical decoding does not carry them, so they are read and set at the end and now and then.
 *
 * What is read is the value on disk, ahead of what a session with CACHE has handed out: never too low.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pg/chosen.h"
#include "pg/conn.h"

struct sequence {
    const char *schema;
    const char *name;
    int64_t last_value;
    bool is_called;
};

/*
 * All permanent sequences of the database that the filter takes, not those of extensions and of pgtide, by schema and name. 500 a
 * statement.
 */
MUST_USE struct error *sequence_read(struct pg_conn *c, struct arena *a, struct relation_filter filter,
                                     struct sequence **out, unsigned *out_n);

/*
 * Sets them on the target in one transaction, reads them back and compares. ERROR_CONFIG names the first that is
 * missing; ERROR_DATA one that reads back otherwise.
 */
MUST_USE struct error *sequence_write(struct pg_conn *target, struct arena *a, const struct sequence *sequences,
                                      unsigned n);

/*
 * Which tables can travel in binary between two servers, and why the others cannot.
 *
 * A binary value is the send function's output of one server read by the receive function of the other. It goes wrong
 * (PEERS 5.4) for reg* types (they send raw oids), types without send or receive, xml (encoding declaration), arrays
 * and composites of types whose oids differ when the target is older than 14 (array_recv and record_recv compare
 * oids), types of extensions with different versions, and whenever source and target column are of different types.
 *
 * binary_read_types asks a server; binary_choose is pure. Values live in the arena given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "pg/catalog.h"

struct type_facts {
    uint32_t oid;
    const char *schema;
    const char *name;
    char kind; /* pg_type.typtype: b, c, d, e, r, m, p */
    bool has_send;
    bool has_receive;
    uint32_t element;      /* of an array, else 0 */
    uint32_t base;         /* of a domain, subtype of a range or multirange, else 0 */
    const char *extension; /* NULL when it belongs to none */
    const char *extension_version;
    unsigned n_fields; /* of a composite */
    const uint32_t *fields;
};

/* Sorted by oid. */
struct type_list {
    unsigned n;
    struct type_facts *types;
};

/* The types of all columns of user tables, and what those are made of. */
MUST_USE struct error *binary_read_types(struct pg_conn *c, struct arena *a, struct type_list *out);

struct binary_side {
    int version_number;
    const struct catalog *catalog;
    const struct type_list *types;
};

/*
 * out_reasons[i] is NULL when all columns of source->catalog->tables[i] can go in binary, else why not, for the log.
 * A table that the target does not have has a reason. `out_reasons` has room for every table.
 */
void binary_choose(struct arena *a, const struct binary_side *source, const struct binary_side *target,
                   const char **out_reasons);

/*
 * The stream has one format for all tables. NULL when its values may be binary, else why they must be text: for the log. In `a`.
 */
const char *binary_stream_reason(struct arena *a, const struct type_list *types, int target_version);

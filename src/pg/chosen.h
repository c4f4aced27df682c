/*
 * A selection's rules (model/selection.h) become the relations of the source that a task is about, and what these need.
 *
 * A rule that matches a partitioned table matches its partitions, too; sequences that belong to a chosen table come along. Types,
 * functions, schemas and extensions are nobody's choice: whatever chosen relations need of them comes along (pg/schema_select.h). Other
 * relations that are needed (parents of foreign keys and of partitions, what views read, sequences of defaults, …) are named, or
 * chosen as well.
 *
 * Set queries over the whole catalog, so that 100,000 tables work. Everything lives in the arena given and is immutable.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "model/selection.h"
#include "pg/catalog.h"
#include "pg/conn.h"

struct chosen_relation {
    uint32_t oid;
    const char *schema;
    const char *name;
    char kind;           /* pg_class.relkind: r, p, v, m, S, f */
    uint32_t parent;     /* of a partition; 0 */
    uint32_t owner;      /* the table that a sequence belongs to; 0 */
    bool is_of_identity; /* the sequence of an identity column */
    bool has_primary_key;
    bool is_chosen;
    bool was_added; /* it is needed, and --with-dependencies asked for what is needed */
    enum selection_verdict verdict;
    int place; /* of the rule that decided, -1: none */
};

/* A relation that a chosen one needs and that is not chosen. */
struct chosen_lack {
    const struct chosen_relation *by;
    const struct chosen_relation *needed;
    const char *what; /* "foreign key lines_order_fkey" */
    bool is_foreign_key;
};

struct chosen {
    unsigned n_relations;
    struct chosen_relation *relations; /* all that could be chosen, by oid */
    unsigned n_chosen;
    const uint32_t *oids; /* of all that are chosen, ascending; also of those that are gone since */
    unsigned n_added;
    unsigned n_lacks;
    struct chosen_lack *lacks;
    unsigned n_extensions; /* that chosen relations need */
    const char **extensions;
    unsigned n_complaints; /* rules that did nothing */
    struct selection_complaint *complaints;
};

MUST_USE struct error *chosen_resolve(struct pg_conn *source, struct arena *a, struct selection *selection,
                                      bool with_dependencies, struct chosen **out);

/* What was chosen before. */
struct chosen_before {
    unsigned n;
    const uint32_t *oids; /* ascending */
    const char
        *task; /* whose capture of DDL (ddl_capture.h) has chosen by rules what was made since; NULL: none does */
};

/*
 * That, what the capture has added, and what belongs to it since: partitions and sequences of chosen tables. Nothing is said about lacks.
 * Who may not read what the capture has written does without.
 */
MUST_USE struct error *chosen_restore(struct pg_conn *source, struct arena *a, const struct chosen_before *before,
                                      struct chosen **out);

/* Some of all relations. Without `takes` all of them. */
struct relation_filter {
    bool (*takes)(const void *self, uint32_t oid, const char *schema, const char *name);
    const void *self;
};

static inline bool filter_takes(struct relation_filter f, uint32_t oid, const char *schema, const char *name)
{
    return f.takes == NULL || f.takes(f.self, oid, schema, name);
}

/* Those that are chosen; NULL takes all. */
struct relation_filter chosen_filter(const struct chosen *c);

/* Leaves the rows in whose column an oid is that is chosen. NULL leaves all. */
void chosen_filter_rows(const struct chosen *c, struct pg_rows *rows, unsigned oid_column);

/* The chosen ones as an array for a statement's parameter; NULL for NULL. */
const char *chosen_oids(struct arena *a, const struct chosen *c);

/* NULL when there is none of that oid, chosen or not. */
const struct chosen_relation *chosen_find(const struct chosen *c, uint32_t oid);
bool chosen_has(const struct chosen *c, uint32_t oid);

/* Whether a relation that is not chosen is a partition, at any level, of one that is: asks the source. */
MUST_USE struct error *chosen_has_above(struct pg_conn *source, const struct chosen *c, uint32_t oid, bool *out_has);

/* The table that a partition is a part of in the end; itself for what is no partition. */
const struct chosen_relation *chosen_top(const struct chosen *c, const struct chosen_relation *r);

/* Leaves the chosen tables in the catalog. NULL leaves all. */
void chosen_filter_catalog(const struct chosen *c, struct catalog *catalog);

/* Which name among all relations is nearest to what a rule says, as a rule; NULL: none is near. */
char *chosen_nearest(struct arena *a, const struct chosen *c, const struct selection_rule *rule);

#include "pg/target_table.h"

#include <stdatomic.h>

#include "pg/conn.h"
#include "pg/sql.h"

struct pg_table_resolver {
    struct pg_table_resolver_options options;
    struct pg_conn *conn; /* NULL: none yet, or broken */
};

enum {
    FIRST_USER_OID = 16384, /* below it a type's oid means the same type on every server */
    OID_CHAR = 18,
};

/* ---- what the catalog says ---- */

/* sql/target_relation.sql */
enum relation_column {
    RELATION_OID,
    RELATION_KIND,
    RELATION_IS_SIMPLE,
    RELATION_MAY_DEFER,
};

/* sql/target_columns.sql */
enum column_column {
    COLUMN_NAME,
    COLUMN_CAST,
    COLUMN_TYPE,
    COLUMN_ARRAY,
    COLUMN_DELIMITER,
    COLUMN_TYPTYPE,
    COLUMN_IS_ARRAY,
    COLUMN_GENERATED,
    COLUMN_IDENTITY,
    COLUMN_NOT_NULL,
    COLUMN_USUAL_COLLATION,
    COLUMN_EQUALS,
};

/* sql/target_indexes.sql */
enum index_column {
    INDEX_OID,
    INDEX_IS_PLAIN,
    INDEX_COLUMN,
    INDEX_EQUALS,
    INDEX_IS_EXCLUSION,
};

static uint32_t oid_of(const char *text)
{
    return text == NULL ? 0 : (uint32_t)strtoul(text, NULL, 10);
}

static bool is_true(const char *text)
{
    return text != NULL && (strcmp(text, "t") == 0 || strcmp(text, "true") == 0);
}

static bool is_one_of(const char *text, const char *set)
{
    return text != NULL && text[0] != '\0' && strchr(set, text[0]) != NULL;
}

/* ---- columns ---- */

/* Types whose equality holds for identical values only; text where the collation is the type's own. */
static bool type_is_exact(uint32_t type, bool usual_collation)
{
    static const uint32_t exact[] = {
        /* bool, bytea, "char", name, int8, int2, int4, text, oid, xid, inet, cidr, macaddr, money, varchar, date, time,
         * timestamp, timestamptz, uuid, pg_lsn */
        16, 17, OID_CHAR, 19, 20, 21, 23, 25, 26, 28, 869, 650, 829, 790, 1043, 1082, 1083, 1114, 1184, 2950, 3220};

    for (size_t i = 0; i < COUNT_OF(exact); i++)
        if (exact[i] == type)
            return usual_collation;
    return false;
}

static struct column_plan column_from_row(struct arena *a, char *const *row, uint32_t source_type)
{
    uint32_t type = oid_of(row[COLUMN_TYPE]);
    bool is_foreign = source_type < FIRST_USER_OID && source_type != type;
    bool is_enum = is_one_of(row[COLUMN_TYPTYPE], "e");

    return (struct column_plan){
        .name = pg_quote_identifier(a, row[COLUMN_NAME]),
        .cast = row[COLUMN_CAST],
        .type = type,
        .array_type = oid_of(row[COLUMN_ARRAY]),
        .delimiter = row[COLUMN_DELIMITER][0],
        .foreign_type = is_foreign ? source_type : 0,
        .equals = row[COLUMN_EQUALS],
        .is_exact = is_enum || type_is_exact(type, is_true(row[COLUMN_USUAL_COLLATION])),
        .is_unnestable = is_one_of(row[COLUMN_TYPTYPE], "berm") && !is_true(row[COLUMN_IS_ARRAY]),
        .is_written = !is_true(row[COLUMN_GENERATED]),
        .is_always_identity = is_one_of(row[COLUMN_IDENTITY], "a"),
    };
}

static char **find_row(const struct pg_rows *rows, unsigned column, const char *text)
{
    for (unsigned i = 0; i < rows->n_rows; i++)
        if (rows->rows[i][column] != NULL && strcmp(rows->rows[i][column], text) == 0)
            return rows->rows[i];
    return NULL;
}

static bool relation_has(const struct stream_relation *relation, const char *column, unsigned *out_at)
{
    for (unsigned i = 0; i < relation->n_columns; i++) {
        if (strcmp(relation->columns[i].name, column) == 0) {
            *out_at = i;
            return true;
        }
    }
    return false;
}

/* A plan in the making: what the catalog said, and what becomes of it. */
struct draft {
    struct arena *arena;
    const struct stream_relation *relation;
    struct pg_rows columns_read;
    struct pg_rows indexes_read;
    struct table_plan *plan;
    struct column_plan *columns; /* plan->columns, while they may be changed */
    struct target_table *table;
    bool is_simple; /* nothing but indexes makes rows depend on each other */
    bool may_defer; /* has deferrable keys, or partitions that may have some */
};

MUST_USE static struct error *plan_columns(struct draft *d)
{
    const struct stream_relation *relation = d->relation;

    d->columns = arena_alloc(d->arena, (relation->n_columns + 1UL) * sizeof *d->columns);
    d->plan->columns = d->columns;
    d->plan->n_columns = relation->n_columns;
    for (unsigned i = 0; i < relation->n_columns; i++) {
        char *const *row = find_row(&d->columns_read, COLUMN_NAME, relation->columns[i].name);

        if (row == NULL)
            return error_hint(error_new(ERROR_CONFIG, "the target's table \"%s\" has no column \"%s\"", d->plan->label,
                                        relation->columns[i].name),
                              "The source's table was changed, or the target's is another one. Change the target's "
                              "table in the same way, then start pgtide again: nothing is lost.");
        d->columns[i] = column_from_row(d->arena, row, relation->columns[i].type);
        d->plan->has_always_identity |= d->columns[i].is_always_identity;
    }
    return NULL;
}

/* Columns that the target has beyond the source's; what the target computes is not among them. */
static void plan_extra(struct draft *d)
{
    const char **extra = arena_alloc(d->arena, (d->columns_read.n_rows + 1UL) * sizeof *extra);
    unsigned at;

    for (unsigned i = 0; i < d->columns_read.n_rows; i++) {
        char *const *row = d->columns_read.rows[i];

        if (!relation_has(d->relation, row[COLUMN_NAME], &at) && !is_true(row[COLUMN_GENERATED]))
            extra[d->plan->n_extra++] = pg_quote_identifier(d->arena, row[COLUMN_NAME]);
    }
    d->plan->extra = extra;
}

static void plan_written(struct draft *d)
{
    bool *is_written = arena_alloc(d->arena, d->plan->n_columns + 1UL);

    for (unsigned i = 0; i < d->plan->n_columns; i++)
        is_written[i] = d->columns[i].is_written;
    d->table->is_written = is_written;
}

/* ---- the key ---- */

struct index {
    unsigned first; /* its rows in the answer */
    unsigned n;
};

static struct index index_at(const struct pg_rows *rows, unsigned first)
{
    struct index x = {.first = first, .n = 1};

    while (first + x.n < rows->n_rows && strcmp(rows->rows[first][INDEX_OID], rows->rows[first + x.n][INDEX_OID]) == 0)
        x.n++;
    return x;
}

static unsigned count_indexes(const struct pg_rows *rows)
{
    unsigned n = 0;

    for (unsigned at = 0; at < rows->n_rows; at += index_at(rows, at).n)
        n++;
    return n;
}

/* A column whose value the stream tells for every old row, and that is never NULL. */
static bool may_be_in_key(const struct draft *d, const char *name)
{
    unsigned at;

    if (name == NULL || !relation_has(d->relation, name, &at))
        return false;
    char *const *row = find_row(&d->columns_read, COLUMN_NAME, name);
    /* An identity by index has no NULLs on the source. */
    bool never_null = d->relation->identity != IDENTITY_FULL || is_true(row[COLUMN_NOT_NULL]);
    return d->relation->columns[at].in_identity && !is_true(row[COLUMN_GENERATED]) && never_null;
}

static bool index_is_key(const struct draft *d, struct index x)
{
    const struct pg_rows *rows = &d->indexes_read;

    if (!is_true(rows->rows[x.first][INDEX_IS_PLAIN]))
        return false;
    for (unsigned i = 0; i < x.n; i++)
        if (!may_be_in_key(d, rows->rows[x.first + i][INDEX_COLUMN]))
            return false;
    return true;
}

static unsigned identity_size(const struct stream_relation *relation)
{
    unsigned n = 0;

    for (unsigned i = 0; i < relation->n_columns; i++)
        n += relation->columns[i].in_identity;
    return n;
}

/* The whole identity before a part of it, else the first: the primary key comes first. */
static bool choose_index(const struct draft *d, struct index *out)
{
    unsigned whole = identity_size(d->relation);
    bool found = false;
    struct index x;

    for (unsigned at = 0; at < d->indexes_read.n_rows; at += x.n) {
        x = index_at(&d->indexes_read, at);
        if (!index_is_key(d, x) || (found && x.n != whole))
            continue;
        *out = x;
        found = true;
        if (x.n == whole)
            return true;
    }
    return found;
}

static bool has_identity(const struct stream_relation *relation)
{
    return relation->identity != IDENTITY_NOTHING && identity_size(relation) > 0;
}

/* The index's own equality, so that it can be used. */
static void set_key(struct draft *d, struct index x)
{
    uint16_t *key = arena_alloc(d->arena, x.n * sizeof *key);

    for (unsigned i = 0; i < x.n; i++) {
        char *const *row = d->indexes_read.rows[x.first + i];
        unsigned at = 0;

        relation_has(d->relation, row[INDEX_COLUMN], &at);
        key[i] = (uint16_t)at;
        if (row[INDEX_EQUALS] != NULL)
            d->columns[at].equals = row[INDEX_EQUALS];
    }
    d->table->mode = TABLE_KEYED;
    d->table->key = key;
    d->table->n_key = x.n;
}

static const char *identity_columns(struct arena *a, const struct stream_relation *relation)
{
    char *list = arena_strdup(a, "");

    for (unsigned i = 0; i < relation->n_columns; i++)
        if (relation->columns[i].in_identity)
            list = arena_printf(a, "%s%s%s", list, *list == '\0' ? "" : ", ", relation->columns[i].name);
    return list;
}

MUST_USE static struct error *choose_mode(struct draft *d)
{
    unsigned n_indexes = count_indexes(&d->indexes_read);
    struct index x;

    d->table->has_other_unique = n_indexes > 0;
    d->table->mode = TABLE_INSERTS;
    if (!has_identity(d->relation))
        return NULL;
    if (choose_index(d, &x)) {
        set_key(d, x);
        /* Rows with different keys WITHOUT OVERLAPS may exclude each other. */
        d->table->has_other_unique = n_indexes > 1 || is_true(d->indexes_read.rows[x.first][INDEX_IS_EXCLUSION]);
        d->table->lane_rule = d->is_simple && !d->table->has_other_unique ? LANE_BY_KEY : LANE_BY_TABLE;
        return NULL;
    }
    d->table->mode = TABLE_UNKEYED;
    if (d->relation->identity == IDENTITY_FULL)
        return NULL;
    return error_hint(error_new(ERROR_CONFIG,
                                "the target's table \"%s\" has no unique index on the columns (%s) that identify rows "
                                "of the source",
                                d->plan->label, identity_columns(d->arena, d->relation)),
                      "Create the primary key or unique index of the source's table on the target too, then start "
                      "pgtide again.");
}

/* ---- asking ---- */

MUST_USE static struct error *connected(struct pg_table_resolver *r)
{
    if (r->conn != NULL && !pg_conn_is_broken(r->conn))
        return NULL;
    pg_conn_close(TAKE(r->conn));
    return pg_connect(r->options.endpoint,
                      (struct pg_connect_options){.application_name = r->options.application_name,
                                                  .encoding = r->options.encoding,
                                                  .stop = r->options.stop},
                      &r->conn);
}

/* Array types of the built-in types that a binary value may come in although the target's column has another. */
MUST_USE static struct error *find_foreign_arrays(struct pg_conn *conn, struct draft *d)
{
    for (unsigned i = 0; i < d->plan->n_columns; i++) {
        const char *type[] = {arena_printf(d->arena, "%u", d->columns[i].foreign_type)};
        struct pg_rows rows;

        if (d->columns[i].foreign_type == 0)
            continue;
        TRY(pg_query(conn, d->arena, "reading a type of the source's",
                     "SELECT typarray::text FROM pg_type WHERE oid = $1::oid AND typelem = 0", type, 1, &rows));
        if (rows.n_rows == 1)
            d->columns[i].foreign_array_type = oid_of(rows.rows[0][0]);
    }
    return NULL;
}

MUST_USE static struct error *find_relation(struct pg_conn *conn, struct draft *d)
{
    struct pg_rows rows;

    TRY(pg_query(conn, d->arena, "looking for the table", sql_target_relation,
                 (const char *const[]){d->relation->schema, d->relation->name}, 2, &rows));
    if (rows.n_rows == 0)
        return error_hint(error_new(ERROR_CONFIG, "the target has no table \"%s\"", d->plan->label),
                          "It was created on the source after the structure was copied, or dropped on the target. "
                          "Create it on the target as it is on the source, then start pgtide again: nothing is lost.");
    if (!is_one_of(rows.rows[0][RELATION_KIND], "rp"))
        return error_hint(error_new(ERROR_CONFIG, "\"%s\" is not a table on the target", d->plan->label),
                          "Rename what has this name there, and create the table as it is on the source.");
    d->plan->oid = oid_of(rows.rows[0][RELATION_OID]);
    d->is_simple = is_true(rows.rows[0][RELATION_IS_SIMPLE]);
    d->plan->is_simple = d->is_simple;
    d->may_defer = is_true(rows.rows[0][RELATION_MAY_DEFER]);
    d->plan->only = is_one_of(rows.rows[0][RELATION_KIND], "p") ? "" : "ONLY ";
    return NULL;
}

MUST_USE static struct error *resolve(struct pg_conn *conn, struct draft *d)
{
    TRY(find_relation(conn, d));
    const char *oid[] = {arena_printf(d->arena, "%u", d->plan->oid)};
    TRY(pg_query(conn, d->arena, "reading columns", sql_target_columns, oid, 1, &d->columns_read));
    TRY(pg_query(conn, d->arena, "reading unique indexes", sql_target_indexes, oid, 1, &d->indexes_read));
    TRY(plan_columns(d));
    TRY(find_foreign_arrays(conn, d));
    plan_extra(d);
    plan_written(d);
    if (d->may_defer)
        TRY(deferred_keys_read(conn, d->arena, d->plan->oid, &d->plan->deferred));
    d->table->has_deferred = d->plan->deferred.n > 0;
    return choose_mode(d);
}

/* ---- public ---- */

struct pg_table_resolver *pg_table_resolver_new(struct arena *a, struct pg_table_resolver_options options)
{
    struct pg_table_resolver *r = ARENA_NEW(a, struct pg_table_resolver);

    r->options = options;
    return r;
}

void pg_table_resolver_close(struct pg_table_resolver *r)
{
    if (r != NULL)
        pg_conn_close(TAKE(r->conn));
}

struct error *pg_table_resolve_on(struct pg_conn *conn, struct arena *a, const struct stream_relation *relation,
                                  struct target_table **out)
{
    static _Atomic uint64_t plans;
    struct table_plan *plan = ARENA_NEW(a, struct table_plan);
    struct target_table *table = ARENA_NEW(a, struct target_table);
    struct draft draft = {.arena = a, .relation = relation, .plan = plan, .table = table};

    plan->id = atomic_fetch_add(&plans, 1) + 1;
    plan->label = arena_printf(a, "%s.%s", relation->schema, relation->name);
    plan->name = pg_quote_name(a, relation->schema, relation->name);
    *table = (struct target_table){.relation = relation, .handle = plan};

    struct error *err = resolve(conn, &draft);
    if (err != NULL)
        return error_wrap(err, "looking up how to write table \"%s\"", plan->label);
    *out = table;
    return NULL;
}

struct error *pg_table_resolve(struct pg_table_resolver *r, struct arena *a, const struct stream_relation *relation,
                               struct target_table **out)
{
    struct error *err = connected(r);

    if (err != NULL)
        return error_wrap(err, "looking up how to write table \"%s.%s\"", relation->schema, relation->name);
    return pg_table_resolve_on(r->conn, a, relation, out);
}

#include "pg/compare_plan.h"

#include "base/buffer.h"
#include "pg/cells.h"
#include "pg/compare_hash.h"
#include "pg/sql.h"

enum { FLOATS_SHORTEST_SINCE = 120000, EXTENDED_HASH_SINCE = 110000 };

/* ---- catalogs ---- */

static const int16_t *parse_key(struct arena *a, const char *text, unsigned *out_n)
{
    unsigned n = 0;

    if (text == NULL)
        return NULL;
    int16_t *key = arena_alloc(a, (strlen(text) + 1) * sizeof *key);
    for (char *at = arena_strdup(a, text); *at != '\0';) {
        key[n++] = (int16_t)strtol(at, &at, 10);
        at += *at == ' ';
    }
    *out_n = n;
    return key;
}

static struct compare_table table_of(struct arena *a, char **cell)
{
    struct compare_table t = {
        .oid = cell_u32(cell[0]),
        .schema = cell[1],
        .name = cell[2],
        .is_partitioned = cell_char(cell[3]) == 'p',
        .bytes = cell_u64(cell[4]),
        .rows_estimated = strtod(cell[5], NULL),
        .pages = cell_u64(cell[6]),
    };

    t.key = parse_key(a, cell[7], &t.n_key);
    return t;
}

static struct compare_column column_of(char **cell)
{
    return (struct compare_column){
        .name = cell[1],
        .attnum = (int16_t)cell_int(cell[2]),
        .type = cell_u32(cell[3]),
        .type_text = cell[4],
        .is_generated = cell_bool(cell[5]),
        .is_identity = cell_bool(cell[6]),
        .has_floats = cell_bool(cell[7]),
        .send = cell[8],
        .is_not_null = cell_bool(cell[9]),
    };
}

static int by_oid(const void *left, const void *right)
{
    const struct compare_table *const *l = left, *const *r = right;

    return ((*l)->oid > (*r)->oid) - ((*l)->oid < (*r)->oid);
}

/* Columns come by oid of their table. */
static void give_columns(struct arena *a, struct compare_table *tables, unsigned n_tables, const struct pg_rows *rows)
{
    struct compare_table **sorted = arena_alloc(a, (n_tables + 1U) * sizeof(struct compare_table *));
    struct compare_column *all = arena_alloc(a, (rows->n_rows + 1U) * sizeof *all);
    unsigned at = 0;

    for (unsigned i = 0; i < n_tables; i++)
        sorted[i] = &tables[i];
    qsort((void *)sorted, n_tables, sizeof *sorted, by_oid);
    for (unsigned r = 0; r < rows->n_rows; r++) {
        uint32_t oid = cell_u32(rows->rows[r][0]);

        while (at < n_tables && sorted[at]->oid < oid)
            at++;
        if (at == n_tables || sorted[at]->oid != oid)
            continue;
        if (sorted[at]->n_columns++ == 0)
            sorted[at]->columns = &all[r];
        all[r] = column_of(rows->rows[r]);
    }
}

/* A server sorts the bytes of its own encoding; the other side may have another one. */
static int by_name(const void *left, const void *right)
{
    const struct compare_table *l = left, *r = right;
    int order = strcmp(l->schema, r->schema);

    return order != 0 ? order : strcmp(l->name, r->name);
}

struct error *compare_catalog_read(struct pg_conn *c, struct arena *a, struct compare_catalog *out)
{
    struct pg_rows tables, columns;
    char *encoding = NULL;

    TRY(pg_query(c, a, "reading the list of tables", sql_compare_tables, NULL, 0, &tables));
    TRY(pg_query(c, a, "reading the columns of tables", sql_compare_columns, NULL, 0, &columns));
    TRY(pg_query_text(c, a, "reading the server's encoding", "SELECT current_setting('server_encoding')", NULL, 0,
                      &encoding));
    struct compare_table *all = arena_alloc(a, (tables.n_rows + 1U) * sizeof *all);
    for (unsigned i = 0; i < tables.n_rows; i++)
        all[i] = table_of(a, tables.rows[i]);
    give_columns(a, all, tables.n_rows, &columns);
    if (tables.n_rows > 1)
        qsort(all, tables.n_rows, sizeof *all, by_name);
    *out = (struct compare_catalog){
        .version = pg_conn_version(c), .encoding = encoding, .n_tables = tables.n_rows, .tables = all};
    return NULL;
}

/* ---- dialect ---- */

MUST_USE static struct error *probe(struct pg_conn *c, struct arena *a, char **out)
{
    return pg_query_text(c, a, "trying the server's hash functions", compare_hash_probe, NULL, 0, out);
}

struct error *compare_dialect_find(struct pg_conn *source, struct pg_conn *target, struct arena *a,
                                   const struct compare_catalog *s, const struct compare_catalog *t,
                                   struct compare_dialect *out)
{
    struct compare_dialect d = {
        .encodings_differ = strcmp(s->encoding, t->encoding) != 0,
        .floats_differ = (s->version < FLOATS_SHORTEST_SINCE) != (t->version < FLOATS_SHORTEST_SINCE),
    };

    if (s->version >= EXTENDED_HASH_SINCE && t->version >= EXTENDED_HASH_SINCE) {
        char *source_says = NULL, *target_says = NULL;

        TRY(probe(source, a, &source_says));
        TRY(probe(target, a, &target_says));
        d.has_fast_hash = strcmp(source_says, target_says) == 0;
    }
    *out = d;
    return NULL;
}

/* ---- plans ---- */

static const struct compare_column *find_column(const struct compare_table *t, const char *name)
{
    for (unsigned i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

static bool is_in_key(const struct compare_table *t, int16_t attnum)
{
    for (unsigned i = 0; i < t->n_key; i++)
        if (t->key[i] == attnum)
            return true;
    return false;
}

/* int2, int4, int8 */
static bool is_integer(const struct compare_column *c)
{
    return c->type == 21 || c->type == 23 || c->type == 20;
}

/* The form of a column that is the same on both servers; NULL when there is none. */
static const char *canonical(struct arena *a, const struct compare_dialect *d, const struct compare_column *s,
                             const struct compare_column *t)
{
    const char *name = pg_quote_identifier(a, s->name);

    if (!d->floats_differ || !(s->has_floats || t->has_floats))
        return name;
    if (s->send == NULL || t->send == NULL || strcmp(s->type_text, t->type_text) != 0)
        return NULL;
    return arena_printf(a, "%s(%s)", s->send, name);
}

static const char *listed(struct arena *a, const char *list, const char *item)
{
    return list == NULL ? item : arena_printf(a, "%s, %s", list, item);
}

static const char *missing_columns(struct arena *a, const struct compare_table *has, const struct compare_table *lacks,
                                   const char *side, const char *so_far)
{
    for (unsigned i = 0; i < has->n_columns; i++)
        if (find_column(lacks, has->columns[i].name) == NULL)
            so_far =
                listed(a, so_far, arena_printf(a, "column \"%s\" is missing on the %s", has->columns[i].name, side));
    return so_far;
}

/* The columns that both sides have. */
struct column_lists {
    struct hash_column *all, *key;
    unsigned n_all, n_key;
};

static void take_columns(struct arena *a, const struct compare_dialect *d, struct compare_plan *p,
                         struct column_lists *lists)
{
    struct plan_column *columns = arena_alloc(a, (p->source->n_columns + 1U) * sizeof *columns);

    p->columns = columns;
    lists->all = arena_alloc(a, (p->source->n_columns + 1U) * sizeof *lists->all);
    lists->key = arena_alloc(a, (p->source->n_columns + 1U) * sizeof *lists->key);
    for (unsigned i = 0; i < p->source->n_columns; i++) {
        const struct compare_column *s = &p->source->columns[i], *t = find_column(p->target, s->name);

        if (t == NULL) {
            p->has_key = p->has_key && !is_in_key(p->source, s->attnum);
            continue;
        }
        const char *form = canonical(a, d, s, t);
        if (form == NULL) {
            p->refusal =
                arena_printf(a,
                             "column \"%s\" of type %s holds floating point numbers, which the servers' versions "
                             "print differently",
                             s->name, s->type_text);
            return;
        }
        struct plan_column *c = &columns[p->n_columns++];
        *c = (struct plan_column){.name = s->name,
                                  .is_key = is_in_key(p->source, s->attnum),
                                  .is_written = !t->is_generated,
                                  .canon = d->floats_differ && (s->has_floats || t->has_floats) ? form : NULL};
        p->needs_overriding = p->needs_overriding || t->is_identity;
        const struct hash_column hashed = {.source = s, .target = t, .form = form};
        lists->all[lists->n_all++] = hashed;
        if (c->is_key)
            lists->key[lists->n_key++] = hashed;
    }
}

static const char *row_of(struct arena *a, const struct hash_column *columns, unsigned n)
{
    CLEANUP(buffer_free) struct buffer *list = buffer_new();

    for (unsigned i = 0; i < n; i++)
        buffer_printf(list, "%s%s", i == 0 ? "" : ", ", columns[i].form);
    return arena_printf(a, "ROW(%s)::text", buffer_text(list));
}

static const char *from(struct arena *a, const struct compare_table *t)
{
    return arena_printf(a, "%s%s", t->is_partitioned ? "" : "ONLY ", pg_quote_name(a, t->schema, t->name));
}

void compare_plan_make(struct arena *a, const struct compare_dialect *d, const struct compare_table *source,
                       const struct compare_table *target, struct compare_plan *out)
{
    struct column_lists lists = {0};
    struct compare_plan p = {
        .source = source,
        .target = target,
        .title = arena_printf(a, "%s.%s", source->schema, source->name),
        .has_key = source->n_key > 0,
        .from_source = from(a, source),
        .from_target = from(a, target),
    };

    p.missing = missing_columns(a, source, target, "target", NULL);
    p.missing = missing_columns(a, target, source, "source", p.missing);
    take_columns(a, d, &p, &lists);
    p.row = row_of(a, lists.all, lists.n_all);
    p.hash = compare_hash_columns(a, d, lists.all, lists.n_all);
    if (!p.has_key) {
        p.key_hash = p.order = p.hash;
        p.key_text = p.row;
    } else {
        p.key_text = row_of(a, lists.key, lists.n_key);
        bool is_number = source->n_key == 1 && is_integer(lists.key->source) && is_integer(lists.key->target);
        p.key_hash = p.order = is_number ? arena_printf(a, "%s::bigint", lists.key->form)
                                         : compare_hash_columns(a, d, lists.key, lists.n_key);
    }
    *out = p;
}

static const char *bucket_of(struct arena *a, const struct compare_plan *p, unsigned n_buckets)
{
    return arena_printf(a, "(%s & %u)::int", p->key_hash, n_buckets - 1);
}

char *compare_plan_sums(struct arena *a, const struct compare_plan *p, const char *table, unsigned n_buckets,
                        const char *where)
{
    const char *condition = *where == '\0' ? "" : arena_printf(a, " WHERE %s", where);

    if (n_buckets == 1)
        return arena_printf(a, "SELECT 0, count(*), sum(%s) FROM %s%s", p->hash, table, condition);
    return arena_printf(a, "SELECT %s, count(*), sum(%s) FROM %s%s GROUP BY 1", bucket_of(a, p, n_buckets), p->hash,
                        table, condition);
}

/* Most buckets differ: to look each row's up in the list would only cost time. */
static bool is_most(unsigned n, unsigned n_buckets)
{
    return n > n_buckets / 2;
}

static void append_columns(struct arena *a, struct buffer *sql, const struct compare_plan *p)
{
    for (unsigned i = 0; i < p->n_columns; i++)
        buffer_printf(sql, ", %s::text", pg_quote_identifier(a, p->columns[i].name));
    for (unsigned i = 0; i < p->n_columns; i++)
        if (p->columns[i].canon != NULL)
            buffer_printf(sql, ", %s::text", p->columns[i].canon);
}

char *compare_plan_rows(struct arena *a, const struct compare_plan *p, const char *table, unsigned n_buckets,
                        const unsigned *buckets, unsigned n)
{
    CLEANUP(buffer_free) struct buffer *sql = buffer_new();

    buffer_printf(sql, "SELECT %s, %s COLLATE \"C\", %s", p->order, p->key_text, p->hash);
    append_columns(a, sql, p);
    buffer_printf(sql, " FROM %s", table);
    if (!is_most(n, n_buckets)) {
        buffer_printf(sql, " WHERE %s = ANY ('{", bucket_of(a, p, n_buckets));
        for (unsigned i = 0; i < n; i++)
            buffer_printf(sql, "%s%u", i == 0 ? "" : ",", buckets[i]);
        buffer_append_text(sql, "}'::int[])");
    }
    buffer_append_text(sql, " ORDER BY 1, 2");
    return arena_strdup(a, buffer_text(sql));
}

/* ---- statements about one row ---- */

const char *compare_plan_literal(struct arena *a, const char *text)
{
    return text == NULL ? "NULL" : pg_quote_literal(a, text);
}

static char *whole_row(struct arena *a, const struct compare_plan *p, char *const *cells)
{
    return arena_printf(a, "%s = %s", p->row, pg_quote_literal(a, cells[PLAN_KEY]));
}

char *compare_plan_where(struct arena *a, const struct compare_plan *p, char *const *cells)
{
    CLEANUP(buffer_free) struct buffer *where = buffer_new();

    if (!p->has_key)
        return whole_row(a, p, cells);
    for (unsigned i = 0; i < p->n_columns; i++)
        if (p->columns[i].is_key)
            buffer_printf(where, "%s%s = %s", where->length == 0 ? "" : " AND ",
                          pg_quote_identifier(a, p->columns[i].name),
                          compare_plan_literal(a, cells[PLAN_FIRST_COLUMN + i]));
    return arena_strdup(a, buffer_text(where));
}

/* (F13) One row, also where duplicates stand or the target's key is not unique. */
static char *one_row(struct arena *a, const struct compare_plan *p, char *const *cells)
{
    return arena_printf(a, "(tableoid, ctid) = (SELECT tableoid, ctid FROM %s WHERE %s LIMIT 1)", p->from_target,
                        compare_plan_where(a, p, cells));
}

char *compare_plan_delete(struct arena *a, const struct compare_plan *p, char *const *cells)
{
    return arena_printf(a, "DELETE FROM %s WHERE %s", p->from_target, one_row(a, p, cells));
}

char *compare_plan_insert(struct arena *a, const struct compare_plan *p, char *const *cells)
{
    CLEANUP(buffer_free) struct buffer *names = buffer_new();
    CLEANUP(buffer_free) struct buffer *values = buffer_new();

    for (unsigned i = 0; i < p->n_columns; i++) {
        if (!p->columns[i].is_written)
            continue;
        const char *comma = names->length == 0 ? "" : ", ";
        buffer_printf(names, "%s%s", comma, pg_quote_identifier(a, p->columns[i].name));
        buffer_printf(values, "%s%s", comma, compare_plan_literal(a, cells[PLAN_FIRST_COLUMN + i]));
    }
    const char *table = pg_quote_name(a, p->target->schema, p->target->name);
    if (names->length == 0)
        return arena_printf(a, "INSERT INTO %s DEFAULT VALUES", table);
    return arena_printf(a, "INSERT INTO %s (%s)%s VALUES (%s)", table, buffer_text(names),
                        p->needs_overriding ? " OVERRIDING SYSTEM VALUE" : "", buffer_text(values));
}

/*
 * Generated columns follow the others; when nothing else differs, writing a column as it is makes them be computed again.
 */
char *compare_plan_update(struct arena *a, const struct compare_plan *p, char *const *source_cells,
                          char *const *target_cells)
{
    CLEANUP(buffer_free) struct buffer *set = buffer_new();
    const char *any = NULL;

    for (unsigned i = 0; i < p->n_columns; i++) {
        const char *name = pg_quote_identifier(a, p->columns[i].name);

        if (!p->columns[i].is_written)
            continue;
        any = any == NULL ? name : any;
        if (compare_plan_column_differs(p, i, source_cells, target_cells))
            buffer_printf(set, "%s%s = %s", set->length == 0 ? "" : ", ", name,
                          compare_plan_literal(a, source_cells[PLAN_FIRST_COLUMN + i]));
    }
    if (set->length == 0 && any != NULL)
        buffer_printf(set, "%s = %s", any, any);
    return arena_printf(a, "UPDATE %s SET %s WHERE %s", p->from_target, buffer_text(set), one_row(a, p, target_cells));
}

static bool differs(const char *a, const char *b)
{
    return (a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0);
}

bool compare_plan_column_differs(const struct compare_plan *p, unsigned i, char *const *source_cells,
                                 char *const *target_cells)
{
    unsigned at = PLAN_FIRST_COLUMN + i;

    if (p->columns[i].canon != NULL) {
        at = PLAN_FIRST_COLUMN + p->n_columns;
        for (unsigned k = 0; k < i; k++)
            at += p->columns[k].canon != NULL;
    }
    return differs(source_cells[at], target_cells[at]);
}

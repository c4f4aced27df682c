#include "pg/catalog.h"

#include "base/buffer.h"
#include "pg/cells.h"
#include "pg/sql.h"

/* ---- the server ---- */

struct error *catalog_server(struct pg_conn *c, struct arena *a, struct server_facts *out)
{
    struct pg_rows answer;
    struct error *err = pg_query(c, a, "reading the facts about the server", sql_server_facts, NULL, 0, &answer);

    if (err != NULL)
        return error_hint(err, "Where the rights were taken away: GRANT EXECUTE ON FUNCTION pg_control_system(), "
                               "pg_control_checkpoint() TO this user.");
    if (answer.n_rows != 1)
        return error_new(ERROR_BUG, "reading the facts about the server: got %u rows", answer.n_rows);

    char **cell = answer.rows[0];
    *out = (struct server_facts){
        .version_number = cell_int(cell[0]),
        .version = cell[1],
        .system_identifier = cell[2],
        .timeline = cell_u32(cell[3]),
        .database_oid = cell_u32(cell[4]),
        .database = cell[5],
        .encoding = cell[6],
        .collate = cell[7],
        .ctype = cell[8],
        .is_in_recovery = cell_bool(cell[9]),
        .wal_level = cell[10],
        .max_replication_slots = cell_u32(cell[11]),
        .replication_slots_used = cell_u32(cell[12]),
        .max_wal_senders = cell_u32(cell[13]),
        .wal_senders_used = cell_u32(cell[14]),
        .max_connections = cell_u32(cell[15]),
        .max_locks_per_transaction = cell_u32(cell[16]),
        .user = cell[17],
        .user_is_superuser = cell_bool(cell[18]),
        .user_may_replicate = cell_bool(cell[19]),
        .locale_provider = cell[20],
        .provider_locale = cell[21],
        .is_local = pg_conn_is_local(c),
    };
    return NULL;
}

/* ---- tables ---- */

static enum column_generated generated_of(char attgenerated)
{
    if (attgenerated == 's')
        return GENERATED_STORED;
    return attgenerated == 'v' ? GENERATED_VIRTUAL : GENERATED_NOT;
}

/* Of 100,000 tables most have the schema and the columns of the one before. */
static const char *shared(struct arena *a, const char *before, const char *text)
{
    return before != NULL && strcmp(before, text) == 0 ? before : arena_strdup(a, text);
}

static struct catalog_table table_of(struct arena *a, const struct catalog_table *before, const char *const *cell)
{
    return (struct catalog_table){
        .oid = cell_u32(cell[0]),
        .schema = shared(a, before == NULL ? NULL : before->schema, cell[1]),
        .name = arena_strdup(a, cell[2]),
        .persistence = cell_char(cell[3]),
        .is_partition = cell_bool(cell[4]),
        .is_heap = cell_bool(cell[5]),
        .relfilenode = cell_u32(cell[6]),
        .heap_bytes = cell_u64(cell[7]),
        .toast_bytes = cell_u64(cell[8]),
        .rows_estimated = strtod(cell[9], NULL),
        .identity = cell_identity(cell[10]),
        .has_usable_identity = cell_bool(cell[11]),
    };
}

static struct catalog_column column_of(struct arena *a, const struct catalog_column *before, const char *const *cell)
{
    return (struct catalog_column){
        .name = shared(a, before == NULL ? NULL : before->name, cell[1]),
        .attnum = (int16_t)cell_int(cell[2]),
        .type = cell_u32(cell[3]),
        .type_text = shared(a, before == NULL ? NULL : before->type_text, cell[4]),
        .generated = generated_of(cell_char(cell[5])),
        .is_identity = cell_bool(cell[6]),
        .is_not_null = cell_bool(cell[7]),
        .in_identity = cell_bool(cell[8]),
    };
}

static int by_oid(const void *left, const void *right)
{
    const struct catalog_table *const *l = left, *const *r = right;

    return ((*l)->oid > (*r)->oid) - ((*l)->oid < (*r)->oid);
}

/* Rows are taken as they come: an answer about 100,000 tables is larger than all that is kept of it. */
struct reading {
    struct arena *arena;
    struct buffer *rows;     /* structs, on their way to the arena: tables, then the columns of one table */
    struct catalog *catalog; /* while columns come */
    struct catalog_table **by_oid;
    unsigned at; /* of by_oid */
};

static struct error *take_table(void *self, const char *const *cell)
{
    struct reading *r = self;
    struct catalog_table before, t;
    bool is_first = r->rows->length == 0;

    if (!is_first)
        memcpy(&before, r->rows->bytes + r->rows->length - sizeof before, sizeof before);
    t = table_of(r->arena, is_first ? NULL : &before, cell);
    buffer_append(r->rows, &t, sizeof t);
    return NULL;
}

static bool is_same_column(const struct catalog_column *a, const struct catalog_column *b)
{
    /* Texts are shared, so that equal ones of neighbours are the same. */
    return a->name == b->name && a->attnum == b->attnum && a->type == b->type && a->type_text == b->type_text &&
           a->generated == b->generated && a->is_identity == b->is_identity && a->is_not_null == b->is_not_null &&
           a->in_identity == b->in_identity;
}

static bool are_same_columns(const struct catalog_table *a, const struct catalog_column *columns, unsigned n)
{
    bool same = a->n_columns == n;

    for (unsigned i = 0; i < n && same; i++)
        same = is_same_column(&a->columns[i], &columns[i]);
    return same;
}

static const struct catalog_table *table_before(const struct reading *r)
{
    return r->at == 0 ? NULL : r->by_oid[r->at - 1];
}

/* What has come belongs to the table at hand; many a table has those of the one before. */
static void next_table(struct reading *r)
{
    struct catalog_table *t = r->by_oid[r->at];
    const struct catalog_table *before = table_before(r);
    const struct catalog_column *columns = (const void *)r->rows->bytes;

    t->n_columns = (unsigned)(r->rows->length / sizeof *columns);
    if (before != NULL && are_same_columns(before, columns, t->n_columns)) {
        t->columns = before->columns;
    } else if (t->n_columns > 0) {
        t->columns = arena_alloc(r->arena, r->rows->length);
        memcpy(t->columns, columns, r->rows->length);
    }
    buffer_clear(r->rows);
    r->at++;
}

/* Columns come by oid of their table; without a snapshot the two queries may have seen different tables. */
static struct error *take_column(void *self, const char *const *cell)
{
    struct reading *r = self;
    uint32_t oid = cell_u32(cell[0]);

    while (r->at < r->catalog->n_tables && r->by_oid[r->at]->oid < oid)
        next_table(r);
    if (r->at == r->catalog->n_tables || r->by_oid[r->at]->oid != oid)
        return NULL;
    const struct catalog_table *before = table_before(r);
    size_t place = r->rows->length / sizeof(struct catalog_column);
    const struct catalog_column c =
        column_of(r->arena, before != NULL && place < before->n_columns ? &before->columns[place] : NULL, cell);
    buffer_append(r->rows, &c, sizeof c);
    return NULL;
}

MUST_USE static struct error *read_tables(struct pg_conn *c, struct arena *a, struct catalog *out)
{
    CLEANUP(buffer_free) struct buffer *rows = buffer_new();
    struct reading r = {.arena = a, .rows = rows};

    TRY(pg_query_each(c, "reading the list of tables", sql_tables, NULL, 0, (struct pg_row_taker){take_table, &r}));
    out->n_tables = (unsigned)(rows->length / sizeof *out->tables);
    out->tables = arena_alloc(a, rows->length + sizeof *out->tables);
    if (rows->length > 0)
        memcpy(out->tables, rows->bytes, rows->length);
    return NULL;
}

MUST_USE static struct error *read_columns(struct pg_conn *c, struct arena *a, struct catalog *catalog)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "tables by oid");
    CLEANUP(buffer_free) struct buffer *columns = buffer_new();
    struct reading r = {.arena = a,
                        .rows = columns,
                        .catalog = catalog,
                        .by_oid = arena_alloc(scratch, (catalog->n_tables + 1UL) * sizeof(struct catalog_table *))};

    for (unsigned i = 0; i < catalog->n_tables; i++)
        r.by_oid[i] = &catalog->tables[i];
    qsort(r.by_oid, catalog->n_tables, sizeof(struct catalog_table *), by_oid);
    TRY(pg_query_each(c, "reading the columns of tables", sql_columns, NULL, 0,
                      (struct pg_row_taker){take_column, &r}));
    while (r.at < catalog->n_tables)
        next_table(&r);
    return NULL;
}

struct error *catalog_read(struct pg_conn *c, struct arena *a, struct catalog *out)
{
    struct catalog catalog = {.n_tables = 0};

    TRY(read_tables(c, a, &catalog));
    TRY(read_columns(c, a, &catalog));
    *out = catalog;
    return NULL;
}

const struct catalog_table *catalog_find(const struct catalog *c, const char *schema, const char *name)
{
    unsigned low = 0, high = c->n_tables;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;
        const struct catalog_table *t = &c->tables[middle];
        int order = strcmp(t->schema, schema);

        if (order == 0)
            order = strcmp(t->name, name);
        if (order == 0)
            return t;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

const struct catalog_column *catalog_column_find(const struct catalog_table *t, const char *name)
{
    for (unsigned i = 0; i < t->n_columns; i++)
        if (strcmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

/* ---- the target's database ---- */

/* The locale clauses for the provider, as far as the creating server knows it. */
static const char *locale_clauses(struct arena *a, const struct server_facts *source, int version)
{
    const char *libc = arena_printf(a, "LC_COLLATE %s LC_CTYPE %s", pg_quote_literal(a, source->collate),
                                    pg_quote_literal(a, source->ctype));
    char provider = cell_char(source->locale_provider);

    if (source->provider_locale == NULL || provider == 'c')
        return libc;
    const char *locale = pg_quote_literal(a, source->provider_locale);
    if (provider == 'i' && version >= 150000)
        return arena_printf(a, "%s LOCALE_PROVIDER icu ICU_LOCALE %s", libc, locale);
    if (provider == 'b' && version >= 170000)
        return arena_printf(a, "%s LOCALE_PROVIDER builtin BUILTIN_LOCALE %s", libc, locale);
    return libc;
}

struct error *catalog_create_database(struct pg_conn *maintenance, struct arena *a, const char *database,
                                      const struct server_facts *source)
{
    const char *what = arena_printf(a, "creating database \"%s\"", database);
    struct error *err = pg_execute_format(maintenance, what, "CREATE DATABASE %s TEMPLATE template0 ENCODING %s %s",
                                          pg_quote_identifier(a, database), pg_quote_literal(a, source->encoding),
                                          locale_clauses(a, source, pg_conn_version(maintenance)));

    if (err != NULL && error_kind(err) == ERROR_CONFIG)
        return error_hint(err, "Create the database yourself, with a locale that this server has, or give the user "
                               "CREATEDB: pgtide uses an existing database as it is.");
    return err;
}

#include "pg/catalog.h"

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
    };
    return NULL;
}

/* ---- tables ---- */

static enum replica_identity identity_of(char relreplident)
{
    static const struct {
        char letter;
        enum replica_identity identity;
    } identities[] = {{'n', IDENTITY_NOTHING}, {'f', IDENTITY_FULL}, {'i', IDENTITY_INDEX}};

    for (size_t i = 0; i < COUNT_OF(identities); i++)
        if (identities[i].letter == relreplident)
            return identities[i].identity;
    return IDENTITY_DEFAULT;
}

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

static struct catalog_table table_of(struct arena *a, const struct catalog_table *before, char **cell)
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
        .identity = identity_of(cell_char(cell[10])),
        .has_usable_identity = cell_bool(cell[11]),
    };
}

static struct catalog_column column_of(struct arena *a, const struct catalog_column *before, char **cell)
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

/* NULL when it has less. */
static const struct catalog_column *column_at(const struct catalog_table *t, unsigned place)
{
    return place < t->n_columns ? &t->columns[place] : NULL;
}

/* Columns come by oid of their table; without a snapshot the two queries may have seen different tables. */
static void give_columns(struct arena *a, struct arena *scratch, struct catalog *catalog, const struct pg_rows *columns)
{
    struct catalog_table **tables = arena_alloc(scratch, (catalog->n_tables + 1U) * sizeof(struct catalog_table *));
    struct catalog_column *all = arena_alloc(a, (columns->n_rows + 1U) * sizeof *all);
    unsigned at = 0;

    for (unsigned i = 0; i < catalog->n_tables; i++)
        tables[i] = &catalog->tables[i];
    qsort(tables, catalog->n_tables, sizeof(struct catalog_table *), by_oid);

    for (unsigned r = 0; r < columns->n_rows; r++) {
        uint32_t oid = cell_u32(columns->rows[r][0]);

        while (at < catalog->n_tables && tables[at]->oid < oid)
            at++;
        if (at == catalog->n_tables || tables[at]->oid != oid)
            continue;
        struct catalog_table *t = tables[at];
        if (t->n_columns++ == 0)
            t->columns = &all[r];
        all[r] = column_of(a, at == 0 ? NULL : column_at(tables[at - 1], t->n_columns - 1), columns->rows[r]);
    }
}

struct error *catalog_read(struct pg_conn *c, struct arena *a, struct catalog *out)
{
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "catalog rows"); /* three times what is kept of them */
    struct pg_rows tables, columns;

    TRY(pg_query(c, scratch, "reading the list of tables", sql_tables, NULL, 0, &tables));
    TRY(pg_query(c, scratch, "reading the columns of tables", sql_columns, NULL, 0, &columns));

    struct catalog catalog = {.n_tables = tables.n_rows};
    catalog.tables = arena_alloc(a, (tables.n_rows + 1U) * sizeof *catalog.tables);
    for (unsigned i = 0; i < tables.n_rows; i++)
        catalog.tables[i] = table_of(a, i == 0 ? NULL : &catalog.tables[i - 1], tables.rows[i]);
    give_columns(a, scratch, &catalog, &columns);
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

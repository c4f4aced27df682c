#include "pg/test_decoding.h"

#include <assert.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "pg/test_decoding_text.h"

enum { FIRST_TABLES = 64, OUR_PREFIX_BYTES = 12 };

static const char our_prefix[] = "pgtide, sz: "; /* FEEDER_MESSAGE_PREFIX and what follows it */

struct column {
    struct slice name; /* as test_decoding writes it */
    struct slice type; /* likewise; length 0: not seen yet */
    const char *plain_name;
    uint32_t type_oid;
    int32_t typmod;
    bool in_identity;
    bool is_generated;
};

/* A relation as it was described last. */
struct version {
    uint32_t oid;
    enum replica_identity identity;
    unsigned n_columns;
    struct column *columns;
};

struct table {
    struct slice key; /* "schema.name" as test_decoding writes it; NULL: free */
    struct version *version;
    bool is_left_out;
};

struct test_decoding {
    struct arena *arena;
    struct arena *scratch; /* one message */
    struct relation_book book;
    struct table *tables; /* hash table */
    size_t n_tables;
    size_t n_slots; /* a power of two */
    struct buffer out;
};

/* The message being read. */
struct reading {
    struct text text;
    struct test_decoding *decoder;
    struct translation_sink sink;
    struct lsn where;
};

/* ---- tables ---- */

static struct table *slot_of(struct table *tables, size_t n_slots, struct slice key)
{
    size_t at = hash_bytes(key.at, key.length, 0) & (n_slots - 1);

    while (tables[at].key.at != NULL && !slice_equal(tables[at].key, key))
        at = (at + 1) & (n_slots - 1);
    return &tables[at];
}

static void grow(struct test_decoding *t)
{
    size_t n_slots = t->n_slots == 0 ? FIRST_TABLES : t->n_slots * 2;
    struct table *tables = arena_alloc(t->arena, n_slots * sizeof *tables);

    for (size_t i = 0; i < t->n_slots; i++)
        if (t->tables[i].key.at != NULL)
            *slot_of(tables, n_slots, t->tables[i].key) = t->tables[i];
    t->tables = tables;
    t->n_slots = n_slots;
}

static struct slice keep(struct arena *a, struct slice s)
{
    return (struct slice){slice_text(a, s), s.length};
}

static struct table *find_table(struct test_decoding *t, struct slice key)
{
    if ((t->n_tables + 1) * 2 > t->n_slots)
        grow(t);
    struct table *table = slot_of(t->tables, t->n_slots, key);
    if (table->key.at == NULL) {
        table->key = keep(t->arena, key);
        t->n_tables++;
    }
    return table;
}

static const struct described_column *described(const struct described_relation *d, const char *name)
{
    for (unsigned i = 0; d != NULL && i < d->n_columns; i++)
        if (strcmp(d->columns[i].name, name) == 0)
            return &d->columns[i];
    return NULL;
}

static struct column described_as(const char *name, const struct described_column *d)
{
    struct column column = {.plain_name = name};

    if (d != NULL) { /* NULL: dropped since; nobody asks for the type of a value in text */
        column.type_oid = d->type;
        column.typmod = d->typmod;
        column.in_identity = d->in_identity;
        column.is_generated = d->is_generated;
    }
    return column;
}

/* The columns that a whole row showed. */
static void columns_from_cells(struct arena *a, struct version *v, const struct described_relation *d,
                               const struct cells *cells)
{
    v->n_columns = cells->n;
    v->columns = arena_alloc(a, (cells->n + 1UL) * sizeof *v->columns);
    for (unsigned i = 0; i < cells->n; i++) {
        const char *name = slice_text(a, slice_plain(a, cells->items[i].name));

        v->columns[i] = described_as(name, described(d, name));
        v->columns[i].name = keep(a, cells->items[i].name);
        v->columns[i].type = keep(a, cells->items[i].type);
    }
}

/* The columns of the catalog: only a key was seen so far. */
static void columns_from_book(struct arena *a, struct version *v, const struct described_relation *d)
{
    v->n_columns = d->n_columns;
    v->columns = arena_alloc(a, (d->n_columns + 1UL) * sizeof *v->columns);
    for (unsigned i = 0; i < d->n_columns; i++)
        v->columns[i] = described_as(arena_strdup(a, d->columns[i].name), &d->columns[i]);
}

static char identity_letter(enum replica_identity identity)
{
    static const char letters[] = {
        [IDENTITY_DEFAULT] = 'd',
        [IDENTITY_NOTHING] = 'n',
        [IDENTITY_FULL] = 'f',
        [IDENTITY_INDEX] = 'i',
    };

    return letters[identity];
}

static unsigned carried_columns(const struct version *v)
{
    unsigned n = 0;

    for (unsigned i = 0; i < v->n_columns; i++)
        n += !v->columns[i].is_generated;
    return n;
}

static void append_name(struct buffer *b, const char *name)
{
    buffer_append(b, name, strlen(name) + 1);
}

MUST_USE static struct error *emit(struct reading *r)
{
    return r->sink.take(r->sink.self, r->decoder->out.bytes, r->decoder->out.length);
}

static struct buffer *begin_message(struct reading *r, char letter)
{
    struct buffer *b = &r->decoder->out;

    buffer_clear(b);
    buffer_append_char(b, letter);
    return b;
}

/* 'R', for the changes that follow. */
MUST_USE static struct error *emit_relation(struct reading *r, const struct version *v, struct slice schema,
                                            struct slice name)
{
    struct buffer *b = begin_message(r, 'R');

    buffer_append_u32(b, v->oid);
    buffer_append(b, schema.at, schema.length);
    buffer_append_char(b, '\0');
    buffer_append(b, name.at, name.length);
    buffer_append_char(b, '\0');
    buffer_append_char(b, identity_letter(v->identity));
    buffer_append_u16(b, (uint16_t)carried_columns(v));
    for (unsigned i = 0; i < v->n_columns; i++) {
        const struct column *c = &v->columns[i];

        if (c->is_generated)
            continue;
        buffer_append_char(b, c->in_identity);
        append_name(b, c->plain_name);
        buffer_append_u32(b, c->type_oid);
        buffer_append_u32(b, (uint32_t)c->typmod);
    }
    return emit(r);
}

/* Splits "schema.name" as it was read. */
static bool split_key(struct arena *a, struct slice key, struct slice *out_schema, struct slice *out_name)
{
    struct text text = {.bytes = key.at, .length = key.length, .at = key.at, .end = key.at + key.length};

    if (!text_take_identifier(&text, out_schema) || !text_takes(&text, ".") || !text_take_identifier(&text, out_name) ||
        text_left(&text) > 0)
        return false;
    *out_schema = slice_plain(a, *out_schema);
    *out_name = slice_plain(a, *out_name);
    return true;
}

static bool column_is(struct arena *a, const struct column *column, struct slice name)
{
    if (column->name.length > 0)
        return slice_equal(column->name, name);
    return slice_is(slice_plain(a, name), column->plain_name);
}

static struct column *find_column(struct arena *a, const struct version *v, struct slice name)
{
    for (unsigned i = 0; i < v->n_columns; i++)
        if (column_is(a, &v->columns[i], name))
            return &v->columns[i];
    return NULL;
}

/* All columns that an old row names are known and in the identity. */
static bool fits_key(struct arena *a, const struct version *v, const struct cells *key)
{
    for (unsigned i = 0; v != NULL && i < key->n; i++) {
        const struct column *column = find_column(a, v, key->items[i].name);

        if (column == NULL || !column->in_identity)
            return false;
    }
    return v != NULL;
}

/* The catalog has gone on since: the identity was what the message names. */
static void identify_by(struct arena *scratch, struct version *v, const struct cells *key)
{
    for (unsigned i = 0; i < v->n_columns; i++)
        v->columns[i].in_identity = false;
    for (unsigned i = 0; i < key->n; i++) {
        struct column *column = find_column(scratch, v, key->items[i].name);

        if (column != NULL)
            column->in_identity = true;
    }
    if (v->identity == IDENTITY_FULL || v->identity == IDENTITY_NOTHING)
        v->identity = IDENTITY_DEFAULT;
}

/* What the source says now of the columns that were seen: of a whole row, or of a key alone. */
static struct version *new_version(struct test_decoding *t, const struct described_relation *d, const struct cells *row,
                                   const struct cells *key)
{
    struct version *v = ARENA_NEW(t->arena, struct version);

    v->oid = d->oid;
    v->identity = d->identity;
    if (row != NULL)
        columns_from_cells(t->arena, v, d, row);
    else
        columns_from_book(t->arena, v, d);
    if (key == NULL || fits_key(t->scratch, v, key))
        return v;
    for (unsigned i = 0; row == NULL && i < key->n; i++)
        if (find_column(t->scratch, v, key->items[i].name) == NULL)
            columns_from_cells(t->arena, v, d, key); /* a column of the key is gone: what is named is the row */
    identify_by(t->scratch, v, key);
    return v;
}

/* Asks the book. `row` is a whole row of the table and `key` the row as it was; NULL for what is not at hand. */
MUST_USE static struct error *describe(struct reading *r, struct table *table, const struct cells *row,
                                       const struct cells *key)
{
    struct test_decoding *t = r->decoder;
    struct described_relation d = {0};
    struct slice schema, name;
    bool exists = false;

    if (!split_key(t->scratch, table->key, &schema, &name))
        return text_malformed(&r->text);
    TRY(t->book.describe(t->book.self, t->scratch, slice_text(t->scratch, schema), slice_text(t->scratch, name),
                         &exists, &d));
    if (!exists)
        log_warn("changes of table %.*s are left out: the source has no table of that name any more",
                 (int)table->key.length, table->key.at);
    table->is_left_out = !exists || !d.is_carried;
    if (table->is_left_out)
        return NULL;
    if (d.oid == 0 || d.n_columns > UINT16_MAX || (row != NULL && row->n > UINT16_MAX) ||
        (key != NULL && key->n > UINT16_MAX))
        return text_malformed(&r->text);
    table->version = new_version(t, &d, row, key);
    return emit_relation(r, table->version, schema, name);
}

static bool shows(const struct version *v, const struct cells *row)
{
    if (v == NULL || v->n_columns != row->n)
        return false;
    for (unsigned i = 0; i < row->n; i++)
        if (!slice_equal(v->columns[i].name, row->items[i].name) ||
            !slice_equal(v->columns[i].type, row->items[i].type))
            return false;
    return true;
}

/* The version that a change belongs to is in force after that. */
MUST_USE static struct error *find_version(struct reading *r, struct table *table, const struct cells *row,
                                           const struct cells *key)
{
    if (table->is_left_out)
        return NULL;
    if ((row == NULL || shows(table->version, row)) &&
        (key == NULL || fits_key(r->decoder->scratch, table->version, key)))
        return NULL;
    return describe(r, table, row, key);
}

static bool has_identity(const struct version *v)
{
    for (unsigned i = 0; i < v->n_columns; i++)
        if (v->columns[i].in_identity)
            return true;
    return v->identity == IDENTITY_FULL;
}

/* ---- changes ---- */

static void append_value(struct buffer *b, const struct value *v)
{
    static const char letters[VALUE_STATE_COUNT] = {
        [VALUE_NULL] = 'n', [VALUE_TEXT] = 't', [VALUE_BINARY] = 'b', [VALUE_UNCHANGED] = 'u'};

    assert(v != NULL);
    buffer_append_char(b, letters[v->state]);
    if (!value_has_bytes(v))
        return;
    buffer_append_u32(b, v->length);
    buffer_append(b, v->bytes, v->length);
}

static void append_row(struct buffer *b, const struct version *v, const struct cells *row)
{
    buffer_append_u16(b, (uint16_t)carried_columns(v));
    for (unsigned i = 0; i < v->n_columns; i++)
        if (!v->columns[i].is_generated)
            append_value(b, &row->items[i].value);
}

/* The row as it was: NULLs are not named. */
static void append_old_row(struct reading *r, const struct version *v, const struct cells *key)
{
    static const struct value null = {.state = VALUE_NULL};
    struct buffer *b = &r->decoder->out;
    unsigned next = 0;

    buffer_append_char(b, v->identity == IDENTITY_FULL ? 'O' : 'K');
    buffer_append_u16(b, (uint16_t)carried_columns(v));
    for (unsigned i = 0; i < v->n_columns; i++) {
        bool is_named = next < key->n && column_is(r->decoder->scratch, &v->columns[i], key->items[next].name);
        const struct value *value = is_named ? &key->items[next].value : &null;

        next += is_named;
        if (!v->columns[i].is_generated)
            append_value(b, value);
    }
}

MUST_USE static struct error *translate_insert(struct reading *r, struct table *table)
{
    struct cells row = {0};

    if (text_takes(&r->text, " (no-tuple-data)"))
        return NULL;
    TRY(text_take_cells(&r->text, &row));
    if (text_left(&r->text) > 0)
        return text_malformed(&r->text);
    TRY(find_version(r, table, &row, NULL));
    if (table->is_left_out)
        return NULL;
    struct buffer *b = begin_message(r, 'I');
    buffer_append_u32(b, table->version->oid);
    buffer_append_char(b, 'N');
    append_row(b, table->version, &row);
    return emit(r);
}

MUST_USE static struct error *translate_update(struct reading *r, struct table *table)
{
    struct cells key = {0}, row = {0};
    bool has_key = text_takes(&r->text, " old-key:");

    if (has_key)
        TRY(text_take_cells(&r->text, &key));
    if (has_key && !text_takes(&r->text, " new-tuple:"))
        return text_malformed(&r->text);
    if (text_takes(&r->text, " (no-tuple-data)"))
        return NULL;
    TRY(text_take_cells(&r->text, &row));
    if (text_left(&r->text) > 0)
        return text_malformed(&r->text);
    TRY(find_version(r, table, &row, has_key ? &key : NULL));
    if (table->is_left_out || (!has_key && !has_identity(table->version)))
        return NULL;
    struct buffer *b = begin_message(r, 'U');
    buffer_append_u32(b, table->version->oid);
    if (has_key)
        append_old_row(r, table->version, &key);
    buffer_append_char(b, 'N');
    append_row(b, table->version, &row);
    return emit(r);
}

MUST_USE static struct error *translate_delete(struct reading *r, struct table *table)
{
    struct cells key = {0};

    if (text_takes(&r->text, " (no-tuple-data)"))
        return NULL;
    TRY(text_take_cells(&r->text, &key));
    if (text_left(&r->text) > 0)
        return text_malformed(&r->text);
    TRY(find_version(r, table, NULL, &key));
    if (table->is_left_out)
        return NULL;
    struct buffer *b = begin_message(r, 'D');
    buffer_append_u32(b, table->version->oid);
    append_old_row(r, table->version, &key);
    return emit(r);
}

/* The tables of the list that are carried; partitioned ones are not, and their leaves are in the list. */
MUST_USE static struct error *collect_truncated(struct reading *r, const struct slice *keys, unsigned n,
                                                struct buffer *out_oids)
{
    for (unsigned i = 0; i < n; i++) {
        struct table *table = find_table(r->decoder, keys[i]);

        if (table->version == NULL && !table->is_left_out)
            TRY(describe(r, table, NULL, NULL));
        if (table->version != NULL && !table->is_left_out)
            buffer_append_u32(out_oids, table->version->oid);
    }
    return NULL;
}

MUST_USE static struct error *translate_truncate(struct reading *r, const struct slice *keys, unsigned n)
{
    enum { CASCADE = 1, RESTART_IDENTITY = 2 };
    CLEANUP(buffer_free) struct buffer *oids = buffer_new();
    char flags = text_takes(&r->text, " restart_seqs") ? RESTART_IDENTITY : 0;

    if (text_takes(&r->text, " cascade"))
        flags |= CASCADE;
    if (!text_takes(&r->text, " (no-flags)") && flags == 0)
        return text_malformed(&r->text);
    if (text_left(&r->text) > 0)
        return text_malformed(&r->text);
    TRY(collect_truncated(r, keys, n, oids));
    if (oids->length == 0)
        return NULL;
    struct buffer *b = begin_message(r, 'T');
    buffer_append_u32(b, (uint32_t)(oids->length / sizeof(uint32_t)));
    buffer_append_char(b, flags);
    buffer_append(b, oids->bytes, oids->length);
    return emit(r);
}

/* "schema.name, schema.name:"; keys in the scratch arena. */
MUST_USE static struct error *take_tables(struct reading *r, struct slice **out_keys, unsigned *out_n)
{
    struct slice *keys = NULL;
    unsigned n = 0, room = 0;

    do {
        struct slice schema, name;

        if (!text_take_identifier(&r->text, &schema) || !text_takes(&r->text, ".") ||
            !text_take_identifier(&r->text, &name))
            return text_malformed(&r->text);
        if (n == room) {
            room = room == 0 ? 1 : room * 2;
            struct slice *wider = arena_alloc(r->decoder->scratch, room * sizeof *wider);
            if (n > 0)
                memcpy(wider, keys, n * sizeof *wider);
            keys = wider;
        }
        keys[n++] = (struct slice){schema.at, (size_t)(r->text.at - schema.at)};
    } while (text_takes(&r->text, ", "));
    *out_keys = keys;
    *out_n = n;
    return text_takes(&r->text, ":") ? NULL : text_malformed(&r->text);
}

MUST_USE static struct error *translate_change(struct reading *r)
{
    static const struct {
        const char *word;
        struct error *(*translate)(struct reading *r, struct table *table);
    } kinds[] = {
        {" INSERT:", translate_insert},
        {" UPDATE:", translate_update},
        {" DELETE:", translate_delete},
    };
    struct slice *keys = NULL;
    unsigned n = 0;

    TRY(take_tables(r, &keys, &n));
    if (text_takes(&r->text, " TRUNCATE:"))
        return translate_truncate(r, keys, n);
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (n == 1 && text_takes(&r->text, kinds[i].word))
            return kinds[i].translate(r, find_table(r->decoder, keys[0]));
    return text_malformed(&r->text);
}

/* ---- everything else ---- */

/* Messages of others are dropped: their prefix may hold anything, so it is not read. */
MUST_USE static struct error *translate_message(struct reading *r, struct translated *out)
{
    bool is_transactional = text_takes(&r->text, "1");
    uint64_t length = 0;

    if (!is_transactional && !text_takes(&r->text, "0"))
        return text_malformed(&r->text);
    out->kind = is_transactional ? TRANSLATED_CHANGE : TRANSLATED_OUTSIDE;
    if (!text_takes(&r->text, " prefix: ") || !text_takes(&r->text, our_prefix) ||
        !text_take_number(&r->text, &length) || !text_takes(&r->text, " content:") || text_left(&r->text) != length)
        return NULL;
    struct buffer *b = begin_message(r, 'M');
    buffer_append_char(b, is_transactional);
    buffer_append_u64(b, r->where.value);
    append_name(b, "pgtide");
    buffer_append_u32(b, (uint32_t)length);
    buffer_append(b, r->text.at, length);
    return emit(r);
}

MUST_USE static struct error *read_xid(struct reading *r, struct translated *out)
{
    uint64_t xid = 0;

    if (!text_take_number(&r->text, &xid) || xid > UINT32_MAX)
        return text_malformed(&r->text);
    out->xid = (uint32_t)xid;
    return NULL;
}

MUST_USE static struct error *translate_commit(struct reading *r, struct translated *out)
{
    out->kind = TRANSLATED_COMMIT;
    TRY(read_xid(r, out));
    return text_takes(&r->text, " (at ") && text_take_time(&r->text, &out->committed_us) ? NULL
                                                                                         : text_malformed(&r->text);
}

static void drop_out(struct test_decoding *t)
{
    if (t->out.capacity > 1024UL * 1024)
        buffer_drop(&t->out); /* one huge row must not stay */
}

struct test_decoding *test_decoding_new(struct arena *a, struct relation_book book)
{
    struct test_decoding *t = ARENA_NEW(a, struct test_decoding);

    t->arena = a;
    t->scratch = arena_new(a, "message of test_decoding");
    t->book = book;
    return t;
}

void test_decoding_end(struct test_decoding *t)
{
    if (t != NULL)
        buffer_drop(&t->out);
}

struct error *test_decoding_translate(struct test_decoding *t, const char *bytes, size_t length, struct lsn at,
                                      struct translation_sink sink, struct translated *out)
{
    struct reading r = {
        .text = {.bytes = bytes, .length = length, .at = bytes, .end = bytes + length, .scratch = t->scratch},
        .decoder = t,
        .sink = sink,
        .where = at,
    };

    arena_reset(t->scratch);
    drop_out(t);
    *out = (struct translated){.kind = TRANSLATED_CHANGE};
    if (text_takes(&r.text, "table "))
        return translate_change(&r);
    if (text_takes(&r.text, "BEGIN ")) {
        out->kind = TRANSLATED_BEGIN;
        TRY(read_xid(&r, out));
        return text_left(&r.text) == 0 ? NULL : text_malformed(&r.text);
    }
    if (text_takes(&r.text, "COMMIT "))
        return translate_commit(&r, out);
    if (text_takes(&r.text, "message: transactional: "))
        return translate_message(&r, out);
    return text_malformed(&r.text);
}

/* ---- BEGIN and COMMIT ---- */

static char *put_u32(char *at, uint32_t n)
{
    n = __builtin_bswap32(n);
    return (char *)memcpy(at, &n, sizeof n) + sizeof n;
}

static char *put_u64(char *at, uint64_t n)
{
    n = __builtin_bswap64(n);
    return (char *)memcpy(at, &n, sizeof n) + sizeof n;
}

size_t test_decoding_begin(const struct translated *commit, struct lsn end, char out[TRANSLATED_FRAME_BYTES])
{
    char *at = out;

    *at++ = 'B';
    at = put_u64(at, end.value - 1);
    at = put_u64(at, (uint64_t)(commit->committed_us - CLOCK_PG_EPOCH_US));
    return (size_t)(put_u32(at, commit->xid) - out);
}

size_t test_decoding_commit(const struct translated *commit, struct lsn end, char out[TRANSLATED_FRAME_BYTES])
{
    char *at = out;

    *at++ = 'C';
    *at++ = 0; /* flags */
    at = put_u64(at, end.value - 1);
    at = put_u64(at, end.value);
    return (size_t)(put_u64(at, (uint64_t)(commit->committed_us - CLOCK_PG_EPOCH_US)) - out);
}

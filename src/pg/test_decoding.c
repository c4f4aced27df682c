#include "pg/test_decoding.h"

#include <assert.h>
#include <string.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "model/row.h"

enum { FIRST_TABLES = 64, FIRST_CELLS = 32, OUR_PREFIX_BYTES = 12 };

static const char our_prefix[] = "pgtide, sz: "; /* FEEDER_MESSAGE_PREFIX and what follows it */

/* Bytes of the message. */
struct slice {
    const char *at;
    size_t length;
};

/* " name[type]:value" */
struct cell {
    struct slice name; /* as it stands, quoted or not */
    struct slice type;
    struct value value;
};

struct cells {
    struct cell *items;
    unsigned n;
    unsigned room;
};

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
    struct test_decoding *decoder;
    struct translation_sink sink;
    struct lsn where;
    const char *bytes;
    size_t length;
    const char *at;
    const char *end;
};

/* ---- reading text ---- */

MUST_USE static struct error *malformed(const struct reading *r)
{
    size_t shown = r->length < 60 ? r->length : 60;

    return error_new(ERROR_DATA, "test_decoding sent a message that was not understood, at byte %zu of %zu: \"%.*s\"",
                     (size_t)(r->at - r->bytes), r->length, (int)shown, r->bytes);
}

static size_t left(const struct reading *r)
{
    return (size_t)(r->end - r->at);
}

static bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && memcmp(a.at, b.at, a.length) == 0;
}

static bool slice_is(struct slice s, const char *text)
{
    return slice_equal(s, (struct slice){text, strlen(text)});
}

/* Takes `text` when it comes next. */
static bool takes(struct reading *r, const char *text)
{
    size_t length = strlen(text);

    if (left(r) < length || memcmp(r->at, text, length) != 0)
        return false;
    r->at += length;
    return true;
}

static bool take_number(struct reading *r, uint64_t *out)
{
    const char *from = r->at;
    uint64_t n = 0;

    while (r->at < r->end && *r->at >= '0' && *r->at <= '9' && n < UINT64_MAX / 100)
        n = n * 10 + (uint64_t)(*r->at++ - '0');
    *out = n;
    return r->at > from;
}

/* Past a run in quotes whose first one comes next; a quote inside is doubled. */
static bool skip_quoted(struct reading *r, char quote)
{
    for (r->at++; r->at < r->end;) {
        const char *next = memchr(r->at, quote, left(r));

        if (next == NULL)
            break;
        r->at = next + 1;
        if (r->at == r->end || *r->at != quote)
            return true;
        r->at++;
    }
    return false;
}

/* An identifier as quote_identifier writes it. */
static bool take_identifier(struct reading *r, struct slice *out)
{
    out->at = r->at;
    if (r->at < r->end && *r->at == '"') {
        if (!skip_quoted(r, '"'))
            return false;
    } else {
        while (r->at < r->end && strchr(".,:[ ", *r->at) == NULL)
            r->at++;
    }
    out->length = (size_t)(r->at - out->at);
    return out->length > 0 && memchr(out->at, '\0', out->length) == NULL; /* names in pgoutput end there */
}

/* "[type]": the type's name may hold quoted identifiers and, of arrays, brackets. */
static bool take_type(struct reading *r, struct slice *out)
{
    unsigned depth = 1;

    if (!takes(r, "["))
        return false;
    out->at = r->at;
    while (r->at < r->end && depth > 0) {
        if (*r->at == '"') {
            if (!skip_quoted(r, '"'))
                return false;
            continue;
        }
        depth += *r->at == '[';
        depth -= *r->at == ']';
        r->at++;
    }
    out->length = (size_t)(r->at - out->at) - (depth == 0);
    return depth == 0 && takes(r, ":");
}

/* The text between quotes; copied only where a quote was doubled. */
static struct slice unquoted(struct arena *a, struct slice quoted)
{
    char quote = *quoted.at;
    struct slice inner = {quoted.at + 1, quoted.length - 2};

    if (memchr(inner.at, quote, inner.length) == NULL)
        return inner;
    char *copy = arena_bytes(a, inner.length);
    size_t n = 0;
    for (size_t i = 0; i < inner.length; i++) {
        copy[n++] = inner.at[i];
        i += inner.at[i] == quote;
    }
    return (struct slice){copy, n};
}

static struct slice plain_identifier(struct arena *a, struct slice name)
{
    return *name.at == '"' ? unquoted(a, name) : name;
}

static const char *slice_text(struct arena *a, struct slice s)
{
    char *text = arena_bytes(a, s.length + 1);

    memcpy(text, s.at, s.length);
    text[s.length] = '\0';
    return text;
}

static struct value text_value(struct slice s)
{
    return (struct value){.state = VALUE_TEXT, .bytes = s.at, .length = (uint32_t)s.length};
}

/* What stands without quotes: numbers and words. */
static struct value bare_value(struct slice s)
{
    static const struct {
        const char *word;
        struct value value;
    } words[] = {
        {"null", {.state = VALUE_NULL}},
        {"unchanged-toast-datum", {.state = VALUE_UNCHANGED}},
        {"true", {.state = VALUE_TEXT, .bytes = "t", .length = 1}}, /* as the type's output function has it */
        {"false", {.state = VALUE_TEXT, .bytes = "f", .length = 1}},
    };

    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (slice_is(s, words[i].word))
            return words[i].value;
    return text_value(s);
}

static bool take_value(struct reading *r, struct value *out)
{
    bool is_bits = left(r) > 1 && r->at[0] == 'B' && r->at[1] == '\'';
    struct slice s = {.at = r->at};

    if (is_bits)
        s.at = ++r->at;
    if (left(r) > 0 && *r->at == '\'') {
        if (!skip_quoted(r, '\''))
            return false;
        s.length = (size_t)(r->at - s.at);
        *out = text_value(unquoted(r->decoder->scratch, s));
        return true;
    }
    while (r->at < r->end && *r->at != ' ')
        r->at++;
    s.length = (size_t)(r->at - s.at);
    *out = bare_value(s);
    return s.length > 0;
}

static struct cell *new_cell(struct arena *a, struct cells *cells)
{
    if (cells->n == cells->room) {
        unsigned room = cells->room == 0 ? FIRST_CELLS : cells->room * 2;
        struct cell *items = arena_alloc(a, room * sizeof *items);

        if (cells->n > 0)
            memcpy(items, cells->items, cells->n * sizeof *items);
        cells->items = items;
        cells->room = room;
    }
    return &cells->items[cells->n++];
}

/* Up to the end of the message or " new-tuple:". */
MUST_USE static struct error *take_cells(struct reading *r, struct cells *out)
{
    static const char next_row[] = " new-tuple:";

    while (left(r) > 0) {
        if (left(r) >= strlen(next_row) && memcmp(r->at, next_row, strlen(next_row)) == 0)
            return NULL;
        struct cell *cell = new_cell(r->decoder->scratch, out);

        if (!takes(r, " ") || !take_identifier(r, &cell->name) || !take_type(r, &cell->type) ||
            !take_value(r, &cell->value))
            return malformed(r);
    }
    return NULL;
}

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
        const char *name = slice_text(a, plain_identifier(a, cells->items[i].name));

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
    struct reading r = {.bytes = key.at, .length = key.length, .at = key.at, .end = key.at + key.length};

    if (!take_identifier(&r, out_schema) || !takes(&r, ".") || !take_identifier(&r, out_name) || left(&r) > 0)
        return false;
    *out_schema = plain_identifier(a, *out_schema);
    *out_name = plain_identifier(a, *out_name);
    return true;
}

static bool column_is(struct arena *a, const struct column *column, struct slice name)
{
    if (column->name.length > 0)
        return slice_equal(column->name, name);
    return slice_is(plain_identifier(a, name), column->plain_name);
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
        return malformed(r);
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
        return malformed(r);
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

    if (takes(r, " (no-tuple-data)"))
        return NULL;
    TRY(take_cells(r, &row));
    if (left(r) > 0)
        return malformed(r);
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
    bool has_key = takes(r, " old-key:");

    if (has_key)
        TRY(take_cells(r, &key));
    if (has_key && !takes(r, " new-tuple:"))
        return malformed(r);
    if (takes(r, " (no-tuple-data)"))
        return NULL;
    TRY(take_cells(r, &row));
    if (left(r) > 0)
        return malformed(r);
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

    if (takes(r, " (no-tuple-data)"))
        return NULL;
    TRY(take_cells(r, &key));
    if (left(r) > 0)
        return malformed(r);
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
    char flags = takes(r, " restart_seqs") ? RESTART_IDENTITY : 0;

    if (takes(r, " cascade"))
        flags |= CASCADE;
    if (!takes(r, " (no-flags)") && flags == 0)
        return malformed(r);
    if (left(r) > 0)
        return malformed(r);
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

        if (!take_identifier(r, &schema) || !takes(r, ".") || !take_identifier(r, &name))
            return malformed(r);
        if (n == room) {
            room = room == 0 ? 1 : room * 2;
            struct slice *wider = arena_alloc(r->decoder->scratch, room * sizeof *wider);
            if (n > 0)
                memcpy(wider, keys, n * sizeof *wider);
            keys = wider;
        }
        keys[n++] = (struct slice){schema.at, (size_t)(r->at - schema.at)};
    } while (takes(r, ", "));
    *out_keys = keys;
    *out_n = n;
    return takes(r, ":") ? NULL : malformed(r);
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
    if (takes(r, " TRUNCATE:"))
        return translate_truncate(r, keys, n);
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (n == 1 && takes(r, kinds[i].word))
            return kinds[i].translate(r, find_table(r->decoder, keys[0]));
    return malformed(r);
}

/* ---- everything else ---- */

/* Messages of others are dropped: their prefix may hold anything, so it is not read. */
MUST_USE static struct error *translate_message(struct reading *r, struct translated *out)
{
    bool is_transactional = takes(r, "1");
    uint64_t length = 0;

    if (!is_transactional && !takes(r, "0"))
        return malformed(r);
    out->kind = is_transactional ? TRANSLATED_CHANGE : TRANSLATED_OUTSIDE;
    if (!takes(r, " prefix: ") || !takes(r, our_prefix) || !take_number(r, &length) || !takes(r, " content:") ||
        left(r) != length)
        return NULL;
    struct buffer *b = begin_message(r, 'M');
    buffer_append_char(b, is_transactional);
    buffer_append_u64(b, r->where.value);
    append_name(b, "pgtide");
    buffer_append_u32(b, (uint32_t)length);
    buffer_append(b, r->at, length);
    return emit(r);
}

/* Days from 1970-01-01 in the Gregorian calendar. */
static int64_t days_of(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month > 2 ? year : year - 1; /* years begin in March */
    int64_t days_of_month = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5;

    return 365 * y + y / 4 - y / 100 + y / 400 + days_of_month + day - 1 - 719468;
}

/* Three numbers with one byte between them, none above its limit; a position after them. */
static bool take_numbers(struct reading *r, char separator, const uint64_t limits[3], int64_t out[3])
{
    for (size_t i = 0; i < 3; i++) {
        uint64_t number = 0;

        if ((i > 0 && (left(r) == 0 || *r->at++ != separator)) || !take_number(r, &number) || number > limits[i])
            return false;
        out[i] = (int64_t)number;
    }
    return true;
}

static int64_t take_fraction_us(struct reading *r)
{
    int64_t us = 0;

    if (!takes(r, "."))
        return 0;
    for (unsigned i = 0; i < 6; i++) {
        bool has_digit = left(r) > 0 && *r->at >= '0' && *r->at <= '9';

        us = us * 10 + (has_digit ? *r->at++ - '0' : 0);
    }
    return us;
}

/* "2026-11-23 09:18:50.12345+00": our sessions have TimeZone UTC. */
static bool take_time(struct reading *r, int64_t *out_us)
{
    static const uint64_t date_limits[] = {294276, 12, 31}, time_limits[] = {24, 59, 60}; /* of a timestamp */
    int64_t date[3], time[3];

    if (!take_numbers(r, '-', date_limits, date) || !takes(r, " ") || !take_numbers(r, ':', time_limits, time))
        return false;
    int64_t seconds = ((days_of(date[0], date[1], date[2]) * 24 + time[0]) * 60 + time[1]) * 60 + time[2];
    *out_us = seconds * 1000000 + take_fraction_us(r);
    return takes(r, "+00)") && left(r) == 0;
}

MUST_USE static struct error *read_xid(struct reading *r, struct translated *out)
{
    uint64_t xid = 0;

    if (!take_number(r, &xid) || xid > UINT32_MAX)
        return malformed(r);
    out->xid = (uint32_t)xid;
    return NULL;
}

MUST_USE static struct error *translate_commit(struct reading *r, struct translated *out)
{
    out->kind = TRANSLATED_COMMIT;
    TRY(read_xid(r, out));
    return takes(r, " (at ") && take_time(r, &out->committed_us) ? NULL : malformed(r);
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
        .decoder = t, .sink = sink, .where = at, .bytes = bytes, .length = length, .at = bytes, .end = bytes + length};

    arena_reset(t->scratch);
    drop_out(t);
    *out = (struct translated){.kind = TRANSLATED_CHANGE};
    if (takes(&r, "table "))
        return translate_change(&r);
    if (takes(&r, "BEGIN ")) {
        out->kind = TRANSLATED_BEGIN;
        TRY(read_xid(&r, out));
        return left(&r) == 0 ? NULL : malformed(&r);
    }
    if (takes(&r, "COMMIT "))
        return translate_commit(&r, out);
    if (takes(&r, "message: transactional: "))
        return translate_message(&r, out);
    return malformed(&r);
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

#include "pg/compare_hash.h"

#include "base/buffer.h"
#include "pg/sql.h"

enum {
    MASK_BITS = 31,
    TYPED_MAX = 100, /* calls are nested in each other, and a server's stack is limited */
};

const char compare_hash_probe[] =
    /* texts of every length modulo the hash's block; numbers and times of both signs */
    "SELECT string_agg(concat_ws(',', hashtextextended(repeat(chr(97 + i % 26), i) || i::text COLLATE \"C\", i * "
    "4294967297),"
    " hashbpcharextended(repeat('x', i)::bpchar COLLATE \"C\", i), hashint4extended(((i - 50) * 42949672)::int4, i),"
    " hashint8extended((i - 50) * 92233720368547758, i), hashfloat8extended((i - 50) * 123456789.25::float8, i),"
    " timestamp_hash_extended('2000-01-01'::timestamp + (i - 50) * '1000000.000001s'::interval, i),"
    " uuid_hash_extended(lpad(i::text, 32, '7')::uuid, i)), ' ' ORDER BY i) FROM generate_series(0, 99) i";

/* How a type is hashed without being printed. */
enum hash_class {
    HASH_PRINTED,
    HASH_INT4, /* also int2 */
    HASH_INT8, /* also int4 against int8 */
    HASH_BOOL,
    HASH_TEXT,
    HASH_BPCHAR,
    HASH_DATE,
    HASH_TIMESTAMP,
    HASH_TIMESTAMPTZ,
    HASH_UUID,
    HASH_CLASS_COUNT,
};

static const struct {
    uint32_t oid; /* built-in types keep theirs for ever (catalog pg_type.dat) */
    enum hash_class class;
} types[] = {
    {16, HASH_BOOL},        {20, HASH_INT8},          {21, HASH_INT4},   {23, HASH_INT4},
    {25, HASH_TEXT},        {1042, HASH_BPCHAR},      {1043, HASH_TEXT}, {1082, HASH_DATE},
    {1114, HASH_TIMESTAMP}, {1184, HASH_TIMESTAMPTZ}, {2950, HASH_UUID},
};

static enum hash_class class_of_type(const struct compare_column *c)
{
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (types[i].oid == c->type)
            return types[i].class;
    return HASH_PRINTED;
}

/* bpchar of no length keeps trailing blanks, which its hash ignores. */
static bool is_padded_alike(const struct compare_column *s, const struct compare_column *t)
{
    return strncmp(s->type_text, "character(", strlen("character(")) == 0 && strcmp(s->type_text, t->type_text) == 0;
}

static enum hash_class class_of(const struct compare_dialect *d, const struct hash_column *c)
{
    enum hash_class source = class_of_type(c->source), target = class_of_type(c->target);
    bool are_integers = (source == HASH_INT4 || source == HASH_INT8) && (target == HASH_INT4 || target == HASH_INT8);

    if (!d->has_fast_hash || d->encodings_differ)
        return HASH_PRINTED;
    if (source != target)
        return are_integers ? HASH_INT8 : HASH_PRINTED;
    return source == HASH_BPCHAR && !is_padded_alike(c->source, c->target) ? HASH_PRINTED : source;
}

static bool may_be_null(const struct hash_column *c)
{
    return !c->source->is_not_null || !c->target->is_not_null;
}

/* The column, or what stands for NULL: its bit in the mask says that it is one. */
static const char *value_of(struct arena *a, const struct hash_column *c, const char *type, const char *instead)
{
    const char *name = pg_quote_identifier(a, c->source->name);

    return may_be_null(c) ? arena_printf(a, "coalesce(%s, %s)::%s", name, instead, type)
                          : arena_printf(a, "%s::%s", name, type);
}

static const char *hash_int8(struct arena *a, const char *value, const char *seed)
{
    return arena_printf(a, "hashint8extended(%s, hashint4extended((%s >> 32)::int4, %s))", value, value, seed);
}

/* An infinite date has no difference to another. */
static const char *hash_date(struct arena *a, const char *value, const char *seed)
{
    return arena_printf(a,
                        "hashint4extended(CASE WHEN isfinite(%s) THEN %s - '2000-01-01'::date "
                        "WHEN %s > '2000-01-01'::date THEN 2147483647 ELSE -2147483648 END, %s)",
                        value, value, value, seed);
}

/* Seconds are exact to the microsecond for two centuries around 2000, and folded microseconds tell the others apart. */
static const char *hash_timestamp(struct arena *a, const char *value, const char *seed)
{
    return arena_printf(a, "timestamp_hash_extended(%s::timestamp, hashfloat8extended(date_part('epoch', %s), %s))",
                        value, value, seed);
}

static const char *hash_column(struct arena *a, enum hash_class class, const struct hash_column *c, const char *seed)
{
    switch (class) {
    case HASH_INT4:
        return arena_printf(a, "hashint4extended(%s, %s)", value_of(a, c, "int4", "0"), seed);
    case HASH_INT8:
        return hash_int8(a, value_of(a, c, "int8", "0"), seed);
    case HASH_BOOL:
        return arena_printf(a, "hashint4extended(%s::int4, %s)", value_of(a, c, "bool", "false"), seed);
    case HASH_TEXT:
        return arena_printf(a, "hashtextextended(%s COLLATE \"C\", %s)", value_of(a, c, "text", "''"), seed);
    case HASH_BPCHAR:
        return arena_printf(a, "hashbpcharextended(%s COLLATE \"C\", %s)", value_of(a, c, "bpchar", "''"), seed);
    case HASH_DATE:
        return hash_date(a, value_of(a, c, "date", "'epoch'"), seed);
    case HASH_TIMESTAMP:
        return hash_timestamp(a, value_of(a, c, "timestamp", "'epoch'"), seed);
    case HASH_TIMESTAMPTZ:
        return hash_timestamp(a, value_of(a, c, "timestamptz", "'epoch'"), seed);
    case HASH_UUID:
        return arena_printf(a, "uuid_hash_extended(%s, %s)",
                            value_of(a, c, "uuid", "'00000000-0000-0000-0000-000000000000'"), seed);
    case HASH_PRINTED:
    case HASH_CLASS_COUNT:
        break;
    }
    return seed;
}

static const char *hash_text(struct arena *a, const struct compare_dialect *d, const char *text, const char *seed)
{
    const char *neutral = d->encodings_differ ? arena_printf(a, "encode(convert_to(%s, 'UTF8'), 'hex')", text) : text;

    return d->has_fast_hash ? arena_printf(a, "hashtextextended(%s COLLATE \"C\", %s)", neutral, seed)
                            : arena_printf(a, "(('x' || substr(md5(%s), 1, 16))::bit(64)::bigint)", neutral);
}

const char *compare_hash_text(struct arena *a, const struct compare_dialect *d, const char *text)
{
    return hash_text(a, d, text, "0");
}

/* Which of the columns that are not printed are NULL, in as many masks as are needed. */
static const char *hash_nulls(struct arena *a, const enum hash_class *classes, const struct hash_column *columns,
                              unsigned n, const char *seed)
{
    const char *mask = NULL;
    unsigned bits = 0;

    for (unsigned i = 0; i < n; i++) {
        if (classes[i] == HASH_PRINTED || !may_be_null(&columns[i]))
            continue;
        const char *bit =
            arena_printf(a, "((%s IS NULL)::int4 << %u)", pg_quote_identifier(a, columns[i].source->name), bits);
        mask = mask == NULL ? bit : arena_printf(a, "%s | %s", mask, bit);
        if (++bits < MASK_BITS)
            continue;
        seed = arena_printf(a, "hashint4extended(%s, %s)", mask, seed);
        mask = NULL;
        bits = 0;
    }
    return mask == NULL ? seed : arena_printf(a, "hashint4extended(%s, %s)", mask, seed);
}

static enum hash_class *classes_of(struct arena *a, const struct compare_dialect *d, const struct hash_column *columns,
                                   unsigned n)
{
    enum hash_class *classes = arena_alloc(a, (n + 1U) * sizeof *classes);
    unsigned n_typed = 0;

    for (unsigned i = 0; i < n; i++) {
        classes[i] = n_typed < TYPED_MAX ? class_of(d, &columns[i]) : HASH_PRINTED;
        n_typed += classes[i] != HASH_PRINTED;
    }
    return classes;
}

const char *compare_hash_columns(struct arena *a, const struct compare_dialect *d, const struct hash_column *columns,
                                 unsigned n)
{
    CLEANUP(buffer_free) struct buffer *printed = buffer_new();
    const enum hash_class *classes = classes_of(a, d, columns, n);
    const char *hash = "0";

    for (unsigned i = 0; i < n; i++) {
        if (classes[i] == HASH_PRINTED)
            buffer_printf(printed, "%s%s", printed->length == 0 ? "" : ", ", columns[i].form);
        else
            hash = hash_column(a, classes[i], &columns[i], hash);
    }
    hash = hash_nulls(a, classes, columns, n, hash);
    if (printed->length == 0 && n > 0)
        return hash;
    return hash_text(a, d, arena_printf(a, "ROW(%s)::text", buffer_text(printed)), hash);
}

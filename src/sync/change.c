#include "sync/change.h"

#include <inttypes.h>

#include "base/buffer.h"

enum { SHOWN_BYTES_MAX = 64 };

static bool key_stands_together(const struct target_table *table)
{
    for (unsigned i = 1; i < table->n_key; i++)
        if (table->key[i] != table->key[0] + i)
            return false;
    return true;
}

const struct value *change_key_of(struct arena *a, const struct target_table *table, const struct value *row)
{
    if (key_stands_together(table))
        return &row[table->key[0]];

    struct value *key = arena_alloc(a, table->n_key * sizeof *key);
    for (unsigned i = 0; i < table->n_key; i++)
        key[i] = row[table->key[i]];
    return key;
}

/* Key columns may come UNCHANGED when they are TOASTed; then the old key was sent and has them. */
static const struct value *with_key_filled(struct arena *a, const struct target_table *table, const struct event *event)
{
    struct value *filled = NULL;
    size_t size = table->relation->n_columns * sizeof *filled;

    for (unsigned i = 0; i < table->n_key; i++) {
        unsigned column = table->key[i];

        if (event->new_row[column].state != VALUE_UNCHANGED)
            continue;
        if (filled == NULL)
            filled = memcpy(arena_bytes(a, size), event->new_row, size);
        filled[column] = event->old_row[column];
    }
    return filled == NULL ? event->new_row : filled;
}

static bool key_is_known(const struct target_table *table, const struct value *row)
{
    for (unsigned i = 0; i < table->n_key; i++)
        if (row[table->key[i]].state == VALUE_UNCHANGED)
            return false;
    return true;
}

static bool key_is_same(const struct target_table *table, const struct value *old_row, const struct value *new_row)
{
    for (unsigned i = 0; i < table->n_key; i++)
        if (!value_equal(&old_row[table->key[i]], &new_row[table->key[i]]))
            return false;
    return true;
}

static void fill_keyed_update(struct arena *a, const struct event *event, struct change *c)
{
    const struct value *old_row = event->old_kind == OLD_ABSENT ? event->new_row : event->old_row;

    c->op = BATCH_UPDATE;
    if (event->old_kind != OLD_ABSENT) {
        c->new_row = with_key_filled(a, c->table, event);
        if (!key_is_same(c->table, old_row, c->new_row))
            c->op = BATCH_REKEY;
    }
    c->key = change_key_of(a, c->table, old_row);
    if (!key_is_known(c->table, old_row))
        c->refusal = "the source did not send the key of the row";
}

static void fill_keyed_delete(struct arena *a, const struct event *event, struct change *c)
{
    c->op = BATCH_DELETE;
    if (event->old_kind == OLD_ABSENT || !key_is_known(c->table, event->old_row))
        c->refusal = "the source did not send the key of the row";
    else
        c->key = change_key_of(a, c->table, event->old_row);
}

static void fill_unkeyed(const struct event *event, struct change *c)
{
    c->op = event->kind == EVENT_UPDATE ? BATCH_UPDATE : BATCH_DELETE;
    c->key = c->old_row;
    if (c->old_row == NULL)
        c->refusal = "the table has no key on the target and the source did not send the whole old row";
}

static void fill_insert(struct arena *a, const struct event *event, struct change *c)
{
    c->op = BATCH_INSERT;
    if (c->table->mode == TABLE_KEYED)
        c->key = change_key_of(a, c->table, event->new_row);
}

static void fill_without_identity(const struct event *event, struct change *c)
{
    c->op = event->kind == EVENT_UPDATE ? BATCH_UPDATE : BATCH_DELETE;
    c->refusal = "the table has no replica identity, so its row cannot be found";
}

struct change change_from_event(struct arena *a, const struct target_table *table, const struct event *event)
{
    struct change c = {
        .table = table,
        .new_row = event->kind == EVENT_DELETE ? NULL : event->new_row,
        .old_row = event->kind != EVENT_INSERT && event->old_kind == OLD_FULL ? event->old_row : NULL,
    };

    if (event->kind == EVENT_INSERT)
        fill_insert(a, event, &c);
    else if (table->mode == TABLE_INSERTS)
        fill_without_identity(event, &c);
    else if (table->mode == TABLE_UNKEYED)
        fill_unkeyed(event, &c);
    else if (event->kind == EVENT_UPDATE)
        fill_keyed_update(a, event, &c);
    else
        fill_keyed_delete(a, event, &c);
    return c;
}

struct row_change change_as_row(const struct change *c)
{
    return (struct row_change){
        .table = c->table,
        .op = c->op,
        .row = {.key = c->op == BATCH_INSERT ? NULL : c->key, .row = c->new_row},
    };
}

const struct value *change_whole_row(struct arena *a, const struct change *c)
{
    unsigned n = c->table->relation->n_columns;
    struct value *whole = NULL;

    for (unsigned i = 0; i < n; i++) {
        if (c->new_row[i].state != VALUE_UNCHANGED || !c->table->is_written[i])
            continue;
        if (c->old_row == NULL || c->old_row[i].state == VALUE_UNCHANGED)
            return NULL;
        if (whole == NULL)
            whole = memcpy(arena_bytes(a, n * sizeof *whole), c->new_row, n * sizeof *whole);
        whole[i] = c->old_row[i];
    }
    return whole == NULL ? c->new_row : whole;
}

const char *batch_op_name(enum batch_op op)
{
    static const char *const names[BATCH_OP_COUNT] = {
        [BATCH_INSERT] = "INSERT",
        [BATCH_UPDATE] = "UPDATE",
        [BATCH_REKEY] = "UPDATE",
        [BATCH_DELETE] = "DELETE",
    };

    return names[op];
}

enum type_oid {
    BOOL = 16,
    NAME = 19,
    INT8 = 20,
    INT2 = 21,
    INT4 = 23,
    TEXT = 25,
    BPCHAR = 1042,
    VARCHAR = 1043,
    UUID = 2950
};

bool change_is_integer(uint32_t type)
{
    return type == INT2 || type == INT4 || type == INT8;
}

int64_t change_integer(const struct value *v)
{
    uint64_t n = v->length > 0 && (unsigned char)v->bytes[0] >= 0x80 ? UINT64_MAX : 0;

    for (unsigned i = 0; i < v->length; i++)
        n = n << 8 | (unsigned char)v->bytes[i];
    return (int64_t)n;
}

static void show_text(struct buffer *b, const struct value *v)
{
    for (unsigned i = 0; i < v->length && i < SHOWN_BYTES_MAX; i++)
        buffer_append_char(b, (char)((unsigned char)v->bytes[i] < ' ' ? ' ' : v->bytes[i]));
}

static void show_hexadecimal(struct buffer *b, const struct value *v, const char *dashes)
{
    for (unsigned i = 0; i < v->length && i < SHOWN_BYTES_MAX; i++)
        buffer_printf(b, "%s%02x", strchr(dashes, (int)('A' + i)) != NULL ? "-" : "",
                      (unsigned)(unsigned char)v->bytes[i]);
}

static void show_binary(struct buffer *b, const struct value *v, uint32_t type)
{
    switch ((enum type_oid)type) {
    case BOOL:
        buffer_append_text(b, v->length == 1 && v->bytes[0] != 0 ? "true" : "false");
        return;
    case INT2:
    case INT4:
    case INT8:
        if (v->length <= sizeof(uint64_t)) {
            buffer_printf(b, "%" PRId64, change_integer(v));
            return;
        }
        break;
    case NAME:
    case TEXT:
    case BPCHAR:
    case VARCHAR:
        show_text(b, v);
        return;
    case UUID: /* dashes before bytes 4, 6, 8 and 10 */
        show_hexadecimal(b, v, "EGIK");
        return;
    }
    buffer_append_text(b, "\\x");
    show_hexadecimal(b, v, "");
}

/* Text as it is, but one line; binary as text where that is simple, else in hexadecimal, as bytea is shown. */
static void show_value(struct buffer *b, const struct value *v, uint32_t type)
{
    switch (v->state) {
    case VALUE_NULL:
        buffer_append_text(b, "NULL");
        return;
    case VALUE_UNCHANGED:
        buffer_append_text(b, "(not sent)");
        return;
    case VALUE_TEXT:
        show_text(b, v);
        break;
    case VALUE_BINARY:
        show_binary(b, v, type);
        break;
    case VALUE_STATE_COUNT:
        break;
    }
    if (v->length > SHOWN_BYTES_MAX)
        buffer_printf(b, "... (%" PRIu32 " bytes)", v->length);
}

/* The columns of the key by name, then their values. Without a key those of the whole row. */
static void show_key(struct buffer *b, const struct target_table *table, const struct value *values)
{
    const struct stream_relation *r = table->relation;
    bool keyed = table->mode == TABLE_KEYED;
    unsigned n = keyed ? table->n_key : r->n_columns;

    buffer_append_text(b, keyed ? ", key (" : ", row (");
    for (unsigned i = 0; i < n; i++)
        buffer_printf(b, "%s%s", i == 0 ? "" : ", ", r->columns[keyed ? table->key[i] : i].name);
    buffer_append_text(b, ") = (");
    for (unsigned i = 0; i < n; i++) {
        buffer_append_text(b, i == 0 ? "" : ", ");
        show_value(b, &values[i], r->columns[keyed ? table->key[i] : i].type);
    }
    buffer_append_char(b, ')');
}

static void show_new_row(struct buffer *b, const struct change *c)
{
    const struct stream_relation *r = c->table->relation;

    buffer_append_text(b, ", new row (");
    for (unsigned i = 0; i < r->n_columns; i++)
        buffer_printf(b, "%s%s", i == 0 ? "" : ", ", r->columns[i].name);
    buffer_append_text(b, ") = (");
    for (unsigned i = 0; i < r->n_columns; i++) {
        buffer_append_text(b, i == 0 ? "" : ", ");
        show_value(b, &c->new_row[i], r->columns[i].type);
    }
    buffer_append_char(b, ')');
}

static void show_tables(struct buffer *b, const struct change_truncate *t)
{
    for (unsigned i = 0; i < t->n_tables; i++) {
        const struct stream_relation *r = t->tables[i]->relation;

        buffer_printf(b, "%s\"%s.%s\"", i == 0 ? "" : ", ", r->schema, r->name);
    }
}

/* `DDL of the source: ALTER TABLE t ADD b int`: what was said, of a row of a TABLE_DDL table. */
static const char *describe_statement(struct arena *a, const struct change *c)
{
    const struct stream_relation *r = c->table->relation;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_append_text(b, "DDL of the source: ");
    for (unsigned i = 0; i < r->n_columns; i++)
        if (strcmp(r->columns[i].name, "statement") == 0 && value_has_bytes(&c->new_row[i]))
            buffer_append(b, c->new_row[i].bytes, c->new_row[i].length);
    return arena_strdup(a, buffer_text(b));
}

const char *change_describe(struct arena *a, const struct change *c)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    if (c->table == NULL) {
        buffer_append_text(b, "TRUNCATE of table ");
        show_tables(b, c->truncate);
        return arena_strdup(a, buffer_text(b));
    }
    if (c->table->mode == TABLE_DDL)
        return describe_statement(a, c);

    const struct value *shown = c->key != NULL ? c->key : c->new_row;
    buffer_printf(b, "%s of table \"%s.%s\"", batch_op_name(c->op), c->table->relation->schema,
                  c->table->relation->name);
    if (shown != NULL && (c->table->mode != TABLE_KEYED || c->key != NULL))
        show_key(b, c->table, shown);
    return arena_strdup(a, buffer_text(b));
}

const char *change_describe_whole(struct arena *a, const struct change *c)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_append_text(b, change_describe(a, c));
    if (c->table != NULL && c->table->mode != TABLE_DDL && c->new_row != NULL)
        show_new_row(b, c);
    return arena_strdup(a, buffer_text(b));
}

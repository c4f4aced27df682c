#include "pg/pgoutput.h"

#include <inttypes.h>

#include "base/clock.h"
#include "base/cursor.h"
#include "base/hash.h"

/* One version of a relation and the message that described it. */
struct version {
    struct stream_relation relation;
    const char *bytes; /* the message */
    size_t length;
    struct version *older; /* of the same oid */
};

struct known {
    uint32_t oid; /* 0: free; no relation has it */
    struct version *in_force;
    struct version *newest;
};

struct pgoutput {
    struct arena *arena;
    struct known *known; /* hash table by oid, in `arena` */
    size_t n_known;
    size_t n_slots; /* a power of two */
    uint32_t n_versions;
};

enum { FIRST_SLOTS = 256 };

/* ---- relations ---- */

/* Where the oid is, or the free slot where it belongs. */
static struct known *slot_of(struct known *known, size_t n_slots, uint32_t oid)
{
    size_t at = hash_bytes(&oid, sizeof oid, 0) & (n_slots - 1);

    while (known[at].oid != 0 && known[at].oid != oid)
        at = (at + 1) & (n_slots - 1);
    return &known[at];
}

static const struct stream_relation *find_relation(const struct pgoutput *p, uint32_t oid)
{
    const struct known *k = p->n_slots == 0 ? NULL : slot_of(p->known, p->n_slots, oid);

    return k == NULL || k->oid == 0 || oid == 0 ? NULL : &k->in_force->relation;
}

/* Tables that became too small stay in the arena: together they are smaller than the one that replaced them. */
static void grow(struct pgoutput *p)
{
    size_t n_slots = p->n_slots == 0 ? FIRST_SLOTS : p->n_slots * 2;
    struct known *known = arena_alloc(p->arena, n_slots * sizeof *known);

    for (size_t i = 0; i < p->n_slots; i++)
        if (p->known[i].oid != 0)
            *slot_of(known, n_slots, p->known[i].oid) = p->known[i];
    p->known = known;
    p->n_slots = n_slots;
}

static struct known *slot_to_fill(struct pgoutput *p, uint32_t oid)
{
    if ((p->n_known + 1) * 2 > p->n_slots)
        grow(p);

    struct known *k = slot_of(p->known, p->n_slots, oid);
    if (k->oid == 0) {
        k->oid = oid;
        p->n_known++;
    }
    return k;
}

static struct version *version_that_says(const struct known *k, const char *bytes, size_t length)
{
    for (struct version *v = k->newest; v != NULL; v = v->older)
        if (v->length == length && memcmp(v->bytes, bytes, length) == 0)
            return v;
    return NULL;
}

static bool identity_of(uint8_t letter, enum replica_identity *out)
{
    static const struct {
        char letter;
        enum replica_identity identity;
    } letters[] = {
        {'d', IDENTITY_DEFAULT},
        {'n', IDENTITY_NOTHING},
        {'f', IDENTITY_FULL},
        {'i', IDENTITY_INDEX},
    };

    for (size_t i = 0; i < COUNT_OF(letters); i++)
        if (letters[i].letter == (char)letter) {
            *out = letters[i].identity;
            return true;
        }
    return false;
}

static struct stream_column *read_columns(struct arena *a, struct cursor *c, unsigned n, bool all_in_identity)
{
    struct stream_column *columns = arena_alloc(a, n * sizeof *columns);

    for (unsigned i = 0; i < n; i++) {
        bool is_key = (cursor_u8(c) & 1) != 0;

        columns[i] = (struct stream_column){
            .in_identity = is_key || all_in_identity,
            .name = cursor_text(c),
            .type = cursor_u32(c),
            .typmod = (int32_t)cursor_u32(c),
        };
    }
    return columns;
}

/*
 * 'R' oid schema name identity n { flags name type typmod }: over bytes that live as long as `a`. False when
 * malformed.
 */
static bool read_relation(struct arena *a, const char *bytes, size_t length, struct stream_relation *out)
{
    struct cursor c = cursor_over(bytes + 1, length - 1);
    struct stream_relation r = {.oid = cursor_u32(&c)};

    r.schema = cursor_text(&c);
    if (r.schema[0] == '\0')
        r.schema = "pg_catalog";
    r.name = cursor_text(&c);
    if (!identity_of(cursor_u8(&c), &r.identity))
        return false;
    r.n_columns = cursor_u16(&c);
    if (c.failed || r.oid == 0)
        return false;
    r.columns = read_columns(a, &c, r.n_columns, r.identity == IDENTITY_FULL);
    *out = r;
    return !c.failed && cursor_left(&c) == 0;
}

/* ---- messages ---- */

/* The message being decoded. */
struct message {
    struct pgoutput *decoder;
    struct arena *arena;
    const char *bytes;
    size_t length;
    struct cursor c; /* after the letter */
};

typedef struct error *read_message(struct message *m, struct event *out);

MUST_USE static struct error *malformed(const struct message *m)
{
    return error_new(ERROR_DATA, "the source sent a malformed message '%c' of %zu bytes", m->bytes[0], m->length);
}

MUST_USE static struct error *whole(const struct message *m)
{
    return m->c.failed || cursor_left(&m->c) > 0 ? malformed(m) : NULL;
}

static int64_t read_time_us(struct cursor *c)
{
    /* Any bits may come; wrapping is as good as anything for a time that cannot be. */
    return (int64_t)(cursor_u64(c) + (uint64_t)CLOCK_PG_EPOCH_US);
}

static struct lsn read_lsn(struct cursor *c)
{
    return (struct lsn){cursor_u64(c)};
}

MUST_USE static struct error *read_begin(struct message *m, struct event *out)
{
    out->commit = read_lsn(&m->c);
    out->committed_us = read_time_us(&m->c);
    out->xid = cursor_u32(&m->c);
    return whole(m);
}

MUST_USE static struct error *read_commit(struct message *m, struct event *out)
{
    cursor_u8(&m->c); /* flags: none are defined */
    out->commit = read_lsn(&m->c);
    out->end = read_lsn(&m->c);
    out->committed_us = read_time_us(&m->c);
    return whole(m);
}

/* Where a replicated transaction first came from: nobody here asks. */
MUST_USE static struct error *read_origin(struct message *m, struct event *out)
{
    (void)out;
    read_lsn(&m->c);
    cursor_text(&m->c);
    return whole(m);
}

MUST_USE static struct error *read_type(struct message *m, struct event *out)
{
    (void)out;
    cursor_u32(&m->c);
    cursor_text(&m->c);
    cursor_text(&m->c);
    return whole(m);
}

/* Parsed twice: what is malformed must not stay in the decoder's arena. */
MUST_USE static struct error *read_relation_message(struct message *m, struct event *out)
{
    struct pgoutput *p = m->decoder;
    struct stream_relation relation;

    if (!read_relation(m->arena, m->bytes, m->length, &relation))
        return malformed(m);

    struct known *k = slot_to_fill(p, relation.oid);
    struct version *v = version_that_says(k, m->bytes, m->length);
    if (v == NULL) {
        v = ARENA_NEW(p->arena, struct version);
        v->bytes = memcpy(arena_bytes(p->arena, m->length), m->bytes, m->length);
        v->length = m->length;
        if (!read_relation(p->arena, v->bytes, v->length, &v->relation))
            return malformed(m);
        v->relation.version = ++p->n_versions;
        v->older = k->newest;
        k->newest = v;
    }
    k->in_force = v;
    out->relation = &v->relation;
    return NULL;
}

MUST_USE static struct error *relation_by_oid(const struct message *m, uint32_t oid, const struct stream_relation **out)
{
    *out = find_relation(m->decoder, oid);
    return *out != NULL
               ? NULL
               : error_new(ERROR_DATA,
                           "the source sent a change ('%c') of relation %" PRIu32 ", which it did not describe",
                           m->bytes[0], oid);
}

MUST_USE static struct error *read_change_relation(struct message *m, struct event *out)
{
    uint32_t oid = cursor_u32(&m->c);

    return m->c.failed ? malformed(m) : relation_by_oid(m, oid, &out->relation);
}

/* False for a letter that no value has. */
static bool read_value(struct cursor *c, struct value *v)
{
    uint8_t state = cursor_u8(c);

    switch (state) {
    case 'n':
        v->state = VALUE_NULL;
        return true;
    case 'u':
        v->state = VALUE_UNCHANGED;
        return true;
    case 't':
    case 'b':
        v->state = state == 't' ? VALUE_TEXT : VALUE_BINARY;
        v->length = cursor_u32(c);
        v->bytes = cursor_bytes(c, v->length);
        return true;
    default: /* any byte may come */
        return false;
    }
}

/* n { state [length bytes] }: as many values as the relation has columns. */
MUST_USE static struct error *read_tuple(struct message *m, const struct stream_relation *relation,
                                         const struct value **out)
{
    unsigned n = cursor_u16(&m->c);

    if (m->c.failed)
        return malformed(m);
    if (n != relation->n_columns)
        return error_new(ERROR_DATA, "the source sent a row of %u columns of relation \"%s.%s\", which has %u", n,
                         relation->schema, relation->name, relation->n_columns);

    struct value *values = arena_alloc(m->arena, n * sizeof *values);
    for (unsigned i = 0; i < n; i++)
        if (!read_value(&m->c, &values[i]))
            return malformed(m);
    *out = values;
    return NULL;
}

/* 'K' and 'O' begin an old row; any other letter is left for the caller. */
MUST_USE static struct error *read_old_row(struct message *m, struct event *out)
{
    char letter = cursor_left(&m->c) > 0 ? *m->c.at : '\0';

    out->old_kind = letter == 'K' ? OLD_KEY : letter == 'O' ? OLD_FULL : OLD_ABSENT;
    if (out->old_kind == OLD_ABSENT)
        return NULL;
    cursor_u8(&m->c);
    return read_tuple(m, out->relation, &out->old_row);
}

MUST_USE static struct error *read_new_row(struct message *m, struct event *out)
{
    if (cursor_u8(&m->c) != 'N')
        return malformed(m);
    TRY(read_tuple(m, out->relation, &out->new_row));
    return whole(m);
}

MUST_USE static struct error *read_insert(struct message *m, struct event *out)
{
    TRY(read_change_relation(m, out));
    return read_new_row(m, out);
}

MUST_USE static struct error *read_update(struct message *m, struct event *out)
{
    TRY(read_change_relation(m, out));
    TRY(read_old_row(m, out));
    return read_new_row(m, out);
}

MUST_USE static struct error *read_delete(struct message *m, struct event *out)
{
    TRY(read_change_relation(m, out));
    TRY(read_old_row(m, out));
    return out->old_kind == OLD_ABSENT ? malformed(m) : whole(m);
}

MUST_USE static struct error *read_truncate(struct message *m, struct event *out)
{
    enum { CASCADE = 1, RESTART_IDENTITY = 2, OID_BYTES = 4 };
    uint32_t n = cursor_u32(&m->c);
    uint8_t flags = cursor_u8(&m->c);

    if (m->c.failed || cursor_left(&m->c) != (size_t)n * OID_BYTES)
        return malformed(m);

    const struct stream_relation **relations = arena_alloc(m->arena, n * sizeof *relations);
    for (uint32_t i = 0; i < n; i++)
        TRY(relation_by_oid(m, cursor_u32(&m->c), &relations[i]));
    out->truncated = relations;
    out->n_truncated = n;
    out->cascade = (flags & CASCADE) != 0;
    out->restart_identity = (flags & RESTART_IDENTITY) != 0;
    return NULL;
}

MUST_USE static struct error *read_logical_message(struct message *m, struct event *out)
{
    out->is_transactional = (cursor_u8(&m->c) & 1) != 0;
    out->message_at = read_lsn(&m->c);
    out->prefix = cursor_text(&m->c);
    out->content_length = cursor_u32(&m->c);
    out->content = cursor_bytes(&m->c, out->content_length);
    return whole(m);
}

/* What each first byte means. Without `read`: a message that only comes when asked for, and we do not ask. */
static const struct message_kind {
    const char *name;
    read_message *read;
    enum event_kind event;
    enum boundary_kind boundary;
} kinds[UINT8_MAX + 1] = {
    /* clang-format off */
    ['B'] = {"begin",            read_begin,            EVENT_BEGIN,    BOUNDARY_BEGIN},
    ['C'] = {"commit",           read_commit,           EVENT_COMMIT,   BOUNDARY_COMMIT},
    ['O'] = {"origin",           read_origin,           EVENT_ORIGIN,   BOUNDARY_NONE},
    ['R'] = {"relation",         read_relation_message, EVENT_RELATION, BOUNDARY_RELATION},
    ['Y'] = {"type",             read_type,             EVENT_TYPE,     BOUNDARY_RELATION},
    ['I'] = {"insert",           read_insert,           EVENT_INSERT,   BOUNDARY_NONE},
    ['U'] = {"update",           read_update,           EVENT_UPDATE,   BOUNDARY_NONE},
    ['D'] = {"delete",           read_delete,           EVENT_DELETE,   BOUNDARY_NONE},
    ['T'] = {"truncate",         read_truncate,         EVENT_TRUNCATE, BOUNDARY_NONE},
    ['M'] = {"logical message",  read_logical_message,  EVENT_MESSAGE,  BOUNDARY_NONE},
    ['S'] = {"stream start",     NULL, 0, 0},
    ['E'] = {"stream stop",      NULL, 0, 0},
    ['c'] = {"stream commit",    NULL, 0, 0},
    ['A'] = {"stream abort",     NULL, 0, 0},
    ['p'] = {"stream prepare",   NULL, 0, 0},
    ['b'] = {"begin prepare",    NULL, 0, 0},
    ['P'] = {"prepare",          NULL, 0, 0},
    ['K'] = {"commit prepared",  NULL, 0, 0},
    ['r'] = {"rollback prepared", NULL, 0, 0},
    /* clang-format on */
};

MUST_USE static struct error *kind_of(const char *bytes, size_t length, const struct message_kind **out)
{
    if (length == 0)
        return error_new(ERROR_DATA, "the source sent an empty message");

    uint8_t letter = (uint8_t)bytes[0];
    const struct message_kind *kind = &kinds[letter];
    if (kind->name == NULL)
        return error_new(ERROR_DATA, "the source sent a message of an unknown kind (byte 0x%02x, %zu bytes)", letter,
                         length);
    if (kind->read == NULL)
        return error_new(ERROR_DATA, "the source sent a message that was not requested: %s ('%c')", kind->name, letter);
    *out = kind;
    return NULL;
}

MUST_USE static struct error *pgoutput_boundary(void *self, const char *bytes, size_t length, struct boundary *out)
{
    const struct message_kind *kind = NULL;

    TRY(kind_of(bytes, length, &kind));

    struct message m = {.decoder = self, .bytes = bytes, .length = length, .c = cursor_over(bytes + 1, length - 1)};
    struct event event = {0};
    *out = (struct boundary){.kind = kind->boundary};
    switch (kind->boundary) {
    case BOUNDARY_NONE:
        break;
    case BOUNDARY_BEGIN:
        TRY(read_begin(&m, &event));
        out->xid = event.xid;
        break;
    case BOUNDARY_COMMIT:
        TRY(read_commit(&m, &event));
        out->end = event.end;
        out->committed_us = event.committed_us;
        break;
    case BOUNDARY_RELATION:
        out->oid = cursor_u32(&m.c);
        out->is_type = kind->event == EVENT_TYPE;
        return m.c.failed ? malformed(&m) : NULL;
    }
    return NULL;
}

MUST_USE static struct error *pgoutput_decode(void *self, struct arena *a, const char *bytes, size_t length,
                                              struct event *out)
{
    const struct message_kind *kind = NULL;

    TRY(kind_of(bytes, length, &kind));

    struct message m = {
        .decoder = self, .arena = a, .bytes = bytes, .length = length, .c = cursor_over(bytes + 1, length - 1)};
    struct event event = {.kind = kind->event};
    TRY(kind->read(&m, &event));
    *out = event;
    return NULL;
}

static const struct decoder_ops ops = {
    .boundary = pgoutput_boundary,
    .decode = pgoutput_decode,
};

struct decoder pgoutput_decoder(struct arena *a)
{
    struct pgoutput *p = ARENA_NEW(a, struct pgoutput);

    p->arena = arena_new(a, "relations of pgoutput");
    return (struct decoder){.ops = &ops, .self = p};
}

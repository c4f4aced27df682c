/* pg/pgoutput: every message of the manual's "Logical Replication Message Formats", and everything that is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "base/clock.h"
#include "pg/pgoutput.h"
#include "support/expect.h"

enum { ORDERS = 16384, XID = 4711 };

static const uint64_t commit_lsn = 0x1947770;
static const uint64_t end_lsn = 0x19477A0;
static const uint64_t pg_time_us = 700000000000000;

struct fixture {
    struct arena *arena;
    struct decoder decoder;
    struct buffer message;
    struct event event;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    f->arena = arena_new(NULL, "test");
    f->decoder = pgoutput_decoder(f->arena);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_free(f->arena);
    buffer_drop(&f->message);
    free(f);
    return 0;
}

/* ---- composing messages ---- */

static struct buffer *start(struct fixture *f, char letter)
{
    buffer_clear(&f->message);
    buffer_append_char(&f->message, letter);
    return &f->message;
}

static void put_text(struct buffer *b, const char *text)
{
    buffer_append(b, text, strlen(text) + 1);
}

static void put_begin(struct fixture *f)
{
    struct buffer *b = start(f, 'B');

    buffer_append_u64(b, commit_lsn);
    buffer_append_u64(b, pg_time_us);
    buffer_append_u32(b, XID);
}

static void put_commit(struct fixture *f)
{
    struct buffer *b = start(f, 'C');

    buffer_append_char(b, '\0');
    buffer_append_u64(b, commit_lsn);
    buffer_append_u64(b, end_lsn);
    buffer_append_u64(b, pg_time_us);
}

static void put_origin(struct fixture *f)
{
    struct buffer *b = start(f, 'O');

    buffer_append_u64(b, commit_lsn);
    put_text(b, "elsewhere");
}

static void put_column(struct buffer *b, bool is_key, const char *name, uint32_t type, uint32_t typmod)
{
    buffer_append_char(b, (char)is_key);
    put_text(b, name);
    buffer_append_u32(b, type);
    buffer_append_u32(b, typmod);
}

static void put_relation_named(struct fixture *f, uint32_t oid, char identity, const char *last_column)
{
    struct buffer *b = start(f, 'R');

    buffer_append_u32(b, oid);
    put_text(b, "public");
    put_text(b, "orders");
    buffer_append_char(b, identity);
    buffer_append_u16(b, 3);
    put_column(b, true, "id", 20, UINT32_MAX);
    put_column(b, false, "note", 1043, 54);
    put_column(b, false, last_column, 25, UINT32_MAX);
}

static void put_relation(struct fixture *f)
{
    put_relation_named(f, ORDERS, 'd', "body");
}

static void put_type(struct fixture *f)
{
    struct buffer *b = start(f, 'Y');

    buffer_append_u32(b, 16390);
    put_text(b, "public");
    put_text(b, "mood");
}

static void put_value(struct buffer *b, char state, const char *bytes)
{
    buffer_append_char(b, state);
    if (state == 'n' || state == 'u')
        return;
    buffer_append_u32(b, (uint32_t)strlen(bytes));
    buffer_append_text(b, bytes);
}

static void put_row(struct buffer *b, char letter)
{
    buffer_append_char(b, letter);
    buffer_append_u16(b, 3);
    put_value(b, 'b', "\1\2\3\4\5\6\7\7");
    put_value(b, 't', "a note");
    put_value(b, 'u', "");
}

static void put_key(struct buffer *b)
{
    buffer_append_char(b, 'K');
    buffer_append_u16(b, 3);
    put_value(b, 't', "7");
    put_value(b, 'n', "");
    put_value(b, 'n', "");
}

static struct buffer *start_change(struct fixture *f, char letter)
{
    struct buffer *b = start(f, letter);

    buffer_append_u32(b, ORDERS);
    return b;
}

static void put_insert(struct fixture *f)
{
    put_row(start_change(f, 'I'), 'N');
}

static void put_update(struct fixture *f)
{
    put_row(start_change(f, 'U'), 'N');
}

static void put_update_of_key(struct fixture *f)
{
    struct buffer *b = start_change(f, 'U');

    put_key(b);
    put_row(b, 'N');
}

static void put_update_with_old_row(struct fixture *f)
{
    struct buffer *b = start_change(f, 'U');

    put_row(b, 'O');
    put_row(b, 'N');
}

static void put_delete_by_key(struct fixture *f)
{
    put_key(start_change(f, 'D'));
}

static void put_delete_with_old_row(struct fixture *f)
{
    put_row(start_change(f, 'D'), 'O');
}

static void put_truncate(struct fixture *f)
{
    struct buffer *b = start(f, 'T');

    buffer_append_u32(b, 2);
    buffer_append_char(b, 3);
    buffer_append_u32(b, ORDERS);
    buffer_append_u32(b, ORDERS);
}

static void put_message(struct fixture *f)
{
    struct buffer *b = start(f, 'M');

    buffer_append_char(b, 1);
    buffer_append_u64(b, commit_lsn);
    put_text(b, "pgtide");
    buffer_append_u32(b, 4);
    buffer_append(b, "mark", 4);
}

/* ---- decoding them ---- */

MUST_USE static struct error *try_decode(struct fixture *f)
{
    return f->decoder.ops->decode(f->decoder.self, f->arena, f->message.bytes, f->message.length, &f->event);
}

static const struct event *decode(struct fixture *f)
{
    expect_ok(try_decode(f));
    return &f->event;
}

MUST_USE static struct error *try_boundary(struct fixture *f, struct boundary *out)
{
    return f->decoder.ops->boundary(f->decoder.self, f->message.bytes, f->message.length, out);
}

static struct boundary boundary(struct fixture *f)
{
    struct boundary b;

    expect_ok(try_boundary(f, &b));
    return b;
}

static void know_orders(struct fixture *f)
{
    put_relation(f);
    decode(f);
}

static void assert_value(const struct value *v, enum value_state state, const char *bytes)
{
    assert_int_equal(v->state, state);
    if (!value_has_bytes(v)) {
        assert_null(v->bytes);
        return;
    }
    assert_int_equal(v->length, strlen(bytes));
    assert_memory_equal(v->bytes, bytes, v->length);
}

static void assert_row(const struct value *values)
{
    assert_value(&values[0], VALUE_BINARY, "\1\2\3\4\5\6\7\7");
    assert_value(&values[1], VALUE_TEXT, "a note");
    assert_value(&values[2], VALUE_UNCHANGED, "");
}

static void assert_key(const struct value *values)
{
    assert_value(&values[0], VALUE_TEXT, "7");
    assert_value(&values[1], VALUE_NULL, "");
    assert_value(&values[2], VALUE_NULL, "");
}

static void begin_tells_the_commit_and_the_xid(void **state)
{
    struct fixture *f = *state;

    put_begin(f);
    const struct event *e = decode(f);
    assert_int_equal(e->kind, EVENT_BEGIN);
    assert_int_equal(e->xid, XID);
    assert_int_equal(e->commit.value, commit_lsn);
    assert_true(lsn_is_none(e->end)); /* P2 */
    assert_int_equal(e->committed_us, (int64_t)pg_time_us + CLOCK_PG_EPOCH_US);
}

static void commit_tells_its_end(void **state)
{
    struct fixture *f = *state;

    put_commit(f);
    const struct event *e = decode(f);
    assert_int_equal(e->kind, EVENT_COMMIT);
    assert_int_equal(e->commit.value, commit_lsn);
    assert_int_equal(e->end.value, end_lsn);
    assert_int_equal(e->committed_us, (int64_t)pg_time_us + CLOCK_PG_EPOCH_US);
}

static void relation_describes_columns_and_identity(void **state)
{
    struct fixture *f = *state;

    put_relation(f);
    const struct event *e = decode(f);
    assert_int_equal(e->kind, EVENT_RELATION);
    const struct stream_relation *r = e->relation;
    assert_int_equal(r->oid, ORDERS);
    assert_int_equal(r->version, 1);
    assert_string_equal(r->schema, "public");
    assert_string_equal(r->name, "orders");
    assert_int_equal(r->identity, IDENTITY_DEFAULT);
    assert_int_equal(r->n_columns, 3);
    assert_string_equal(r->columns[0].name, "id");
    assert_true(r->columns[0].in_identity);
    assert_int_equal(r->columns[0].typmod, -1);
    assert_string_equal(r->columns[1].name, "note");
    assert_int_equal(r->columns[1].type, 1043);
    assert_int_equal(r->columns[1].typmod, 54);
    assert_false(r->columns[1].in_identity);
}

static void with_identity_full_every_column_identifies(void **state)
{
    struct fixture *f = *state;

    put_relation_named(f, ORDERS, 'f', "body");
    const struct event *e = decode(f);
    assert_int_equal(e->relation->identity, IDENTITY_FULL);
    for (unsigned i = 0; i < 3; i++)
        assert_true(e->relation->columns[i].in_identity);
}

static void an_empty_schema_is_pg_catalog(void **state)
{
    struct fixture *f = *state;
    struct buffer *b = start(f, 'R');

    buffer_append_u32(b, 1255);
    put_text(b, "");
    put_text(b, "pg_proc");
    buffer_append_char(b, 'n');
    buffer_append_u16(b, 0);
    const struct event *e = decode(f);
    assert_string_equal(e->relation->schema, "pg_catalog");
    assert_int_equal(e->relation->identity, IDENTITY_NOTHING);
}

static void a_new_description_is_a_new_version(void **state)
{
    struct fixture *f = *state;

    know_orders(f);
    const struct stream_relation *first = f->event.relation;
    put_relation_named(f, ORDERS, 'd', "text");
    const struct stream_relation *second = decode(f)->relation;
    assert_int_equal(second->version, 2);
    assert_string_equal(first->columns[2].name, "body"); /* the old one stays as it was */
    put_insert(f);
    assert_ptr_equal(decode(f)->relation, second);
    know_orders(f); /* as a reader that begins again sees it */
    put_insert(f);
    assert_ptr_equal(decode(f)->relation, first);
}

static void the_same_description_again_takes_no_memory(void **state)
{
    struct fixture *f = *state;
    CLEANUP(arena_free) struct arena *scratch = arena_new(NULL, "scratch");

    know_orders(f);
    const struct stream_relation *first = f->event.relation;
    size_t before = arena_used(f->arena);
    for (int i = 0; i < 1000; i++) {
        put_relation(f);
        expect_ok(f->decoder.ops->decode(f->decoder.self, scratch, f->message.bytes, f->message.length, &f->event));
        assert_ptr_equal(f->event.relation, first);
        arena_reset(scratch);
    }
    assert_int_equal(arena_used(f->arena), before);
}

static void many_relations_are_told_apart(void **state)
{
    struct fixture *f = *state;

    for (uint32_t oid = 1; oid <= 3000; oid++) {
        put_relation_named(f, oid, 'd', "body");
        decode(f);
    }
    for (uint32_t oid = 1; oid <= 3000; oid++) {
        struct buffer *b = start(f, 'I');

        buffer_append_u32(b, oid);
        put_row(b, 'N');
        assert_int_equal(decode(f)->relation->oid, oid);
    }
}

static void insert_has_a_new_row(void **state)
{
    struct fixture *f = *state;

    know_orders(f);
    put_insert(f);
    const struct event *e = decode(f);
    assert_int_equal(e->kind, EVENT_INSERT);
    assert_int_equal(e->relation->oid, ORDERS);
    assert_int_equal(e->old_kind, OLD_ABSENT);
    assert_null(e->old_row);
    assert_row(e->new_row);
}

static void values_point_into_the_message(void **state)
{
    struct fixture *f = *state;

    know_orders(f);
    put_insert(f);
    const struct event *e = decode(f);
    assert_true(e->new_row[1].bytes > f->message.bytes);
    assert_true(e->new_row[1].bytes < f->message.bytes + f->message.length);
}

static void update_has_a_new_row_and_perhaps_an_old_one(void **state)
{
    struct fixture *f = *state;

    know_orders(f);
    put_update(f);
    assert_int_equal(decode(f)->old_kind, OLD_ABSENT);
    assert_null(f->event.old_row);
    assert_row(f->event.new_row);
    put_update_of_key(f);
    assert_int_equal(decode(f)->old_kind, OLD_KEY);
    assert_key(f->event.old_row);
    assert_row(f->event.new_row);
    put_update_with_old_row(f);
    assert_int_equal(decode(f)->old_kind, OLD_FULL);
    assert_row(f->event.old_row);
    assert_row(f->event.new_row);
    assert_int_equal(f->event.kind, EVENT_UPDATE);
}

static void delete_has_an_old_row(void **state)
{
    struct fixture *f = *state;

    know_orders(f);
    put_delete_by_key(f);
    assert_int_equal(decode(f)->old_kind, OLD_KEY);
    assert_key(f->event.old_row);
    put_delete_with_old_row(f);
    assert_int_equal(decode(f)->old_kind, OLD_FULL);
    assert_row(f->event.old_row);
    assert_null(f->event.new_row);
    assert_int_equal(f->event.kind, EVENT_DELETE);
}

static void truncate_names_its_relations(void **state)
{
    struct fixture *f = *state;

    know_orders(f);
    put_truncate(f);
    const struct event *e = decode(f);
    assert_int_equal(e->kind, EVENT_TRUNCATE);
    assert_int_equal(e->n_truncated, 2);
    assert_int_equal(e->truncated[1]->oid, ORDERS);
    assert_true(e->cascade);
    assert_true(e->restart_identity);
}

static void a_message_has_prefix_and_content(void **state)
{
    struct fixture *f = *state;

    put_message(f);
    const struct event *e = decode(f);
    assert_int_equal(e->kind, EVENT_MESSAGE);
    assert_true(e->is_transactional);
    assert_int_equal(e->message_at.value, commit_lsn);
    assert_string_equal(e->prefix, "pgtide");
    assert_int_equal(e->content_length, 4);
    assert_memory_equal(e->content, "mark", 4);
}

static void origin_and_type_are_only_passed_on(void **state)
{
    struct fixture *f = *state;

    put_origin(f);
    assert_int_equal(decode(f)->kind, EVENT_ORIGIN);
    put_type(f);
    assert_int_equal(decode(f)->kind, EVENT_TYPE);
}

static void boundaries_say_what_the_spool_must_know(void **state)
{
    struct fixture *f = *state;

    put_begin(f);
    assert_int_equal(boundary(f).kind, BOUNDARY_BEGIN);
    assert_int_equal(boundary(f).xid, XID);
    put_commit(f);
    assert_int_equal(boundary(f).kind, BOUNDARY_COMMIT);
    assert_int_equal(boundary(f).end.value, end_lsn);
    put_relation(f);
    assert_int_equal(boundary(f).kind, BOUNDARY_RELATION);
    assert_int_equal(boundary(f).oid, ORDERS);
    assert_false(boundary(f).is_type);
    put_type(f);
    assert_int_equal(boundary(f).oid, 16390);
    assert_true(boundary(f).is_type);
    put_insert(f); /* of a relation that this instance was not told about: none of its business */
    assert_int_equal(boundary(f).kind, BOUNDARY_NONE);
}

/* ---- what is refused ---- */

static void a_change_of_an_unknown_relation_is_refused(void **state)
{
    struct fixture *f = *state;

    put_insert(f);
    expect_error(try_decode(f), ERROR_DATA, "of relation 16384, which it did not describe");
    put_truncate(f);
    expect_error(try_decode(f), ERROR_DATA, "of relation 16384");
    know_orders(f);

    struct buffer *b = start(f, 'I');
    buffer_append_u32(b, 0);
    put_row(b, 'N');
    expect_error(try_decode(f), ERROR_DATA, "of relation 0");
}

static void a_row_of_another_width_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buffer *b = NULL;

    know_orders(f);
    b = start_change(f, 'I');
    buffer_append_char(b, 'N');
    buffer_append_u16(b, 2);
    put_value(b, 'n', "");
    put_value(b, 'n', "");
    expect_error(try_decode(f), ERROR_DATA, "a row of 2 columns of relation \"public.orders\", which has 3");
}

static void messages_that_were_not_requested_are_named(void **state)
{
    struct fixture *f = *state;
    struct boundary b;

    for (const char *letter = "SEcApbPKr"; *letter != '\0'; letter++) {
        put_begin(f);
        f->message.bytes[0] = *letter;
        expect_error(try_decode(f), ERROR_DATA, "not requested");
        expect_error(try_boundary(f, &b), ERROR_DATA, "not requested");
    }
}

static void an_unknown_kind_is_refused(void **state)
{
    struct fixture *f = *state;
    struct boundary b;

    start(f, 'x');
    expect_error(try_decode(f), ERROR_DATA, "unknown kind (byte 0x78, 1 bytes)");
    expect_error(try_boundary(f, &b), ERROR_DATA, "unknown kind");
    buffer_clear(&f->message);
    expect_error(try_decode(f), ERROR_DATA, "empty message");
    expect_error(try_boundary(f, &b), ERROR_DATA, "empty message");
}

static void unknown_letters_inside_are_refused(void **state)
{
    struct fixture *f = *state;
    struct buffer *b = NULL;

    know_orders(f);
    put_relation_named(f, ORDERS, 'x', "body");
    expect_error(try_decode(f), ERROR_DATA, "malformed message 'R'");
    put_row(start_change(f, 'I'), 'X');
    expect_error(try_decode(f), ERROR_DATA, "malformed message 'I'");
    put_row(start_change(f, 'D'), 'N');
    expect_error(try_decode(f), ERROR_DATA, "malformed message 'D'");
    b = start_change(f, 'I');
    buffer_append_char(b, 'N');
    buffer_append_u16(b, 3);
    put_value(b, 'z', "");
    expect_error(try_decode(f), ERROR_DATA, "malformed message 'I'");
}

static void (*const all_messages[])(struct fixture *) = {
    put_begin,         put_commit,
    put_origin,        put_relation,
    put_type,          put_insert,
    put_update,        put_truncate,
    put_update_of_key, put_update_with_old_row,
    put_delete_by_key, put_delete_with_old_row,
    put_message,
};

static void every_cut_message_is_refused(void **state)
{
    struct fixture *f = *state;

    know_orders(f);
    const struct stream_relation *known = f->event.relation;
    for (size_t i = 0; i < COUNT_OF(all_messages); i++) {
        all_messages[i](f);
        for (size_t length = f->message.length - 1; length > 0; length--) {
            char *exact = memcpy(malloc(length), f->message.bytes, length); /* so that ASan sees a read beyond */

            expect_error(f->decoder.ops->decode(f->decoder.self, f->arena, exact, length, &f->event), ERROR_DATA,
                         "malformed message");
            free(exact);
        }
    }
    put_insert(f);
    assert_ptr_equal(decode(f)->relation, known); /* a malformed RELATION changes nothing */
}

static void every_message_with_more_after_it_is_refused(void **state)
{
    struct fixture *f = *state;

    know_orders(f);
    for (size_t i = 0; i < COUNT_OF(all_messages); i++) {
        all_messages[i](f);
        buffer_append_char(&f->message, '\0');
        expect_error(try_decode(f), ERROR_DATA, "malformed message");
    }
}

static void cut_boundaries_are_refused(void **state)
{
    struct fixture *f = *state;
    struct boundary b;

    put_commit(f);
    while (--f->message.length > 0)
        expect_error(try_boundary(f, &b), ERROR_DATA, "malformed message 'C'");
    put_begin(f);
    while (--f->message.length > 0)
        expect_error(try_boundary(f, &b), ERROR_DATA, "malformed message 'B'");
    put_relation(f);
    f->message.length = 4;
    expect_error(try_boundary(f, &b), ERROR_DATA, "malformed message 'R'");
}

static void a_length_beyond_the_message_is_refused(void **state)
{
    struct fixture *f = *state;
    struct buffer *b = NULL;

    know_orders(f);
    b = start_change(f, 'I');
    buffer_append_char(b, 'N');
    buffer_append_u16(b, 3);
    buffer_append_char(b, 't');
    buffer_append_u32(b, UINT32_MAX);
    buffer_append_text(b, "short");
    expect_error(try_decode(f), ERROR_DATA, "malformed message 'I'");
    b = start(f, 'T');
    buffer_append_u32(b, UINT32_MAX);
    buffer_append_char(b, 0);
    buffer_append_u32(b, ORDERS);
    expect_error(try_decode(f), ERROR_DATA, "malformed message 'T'");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(begin_tells_the_commit_and_the_xid),
        TEST(commit_tells_its_end),
        TEST(relation_describes_columns_and_identity),
        TEST(with_identity_full_every_column_identifies),
        TEST(an_empty_schema_is_pg_catalog),
        TEST(a_new_description_is_a_new_version),
        TEST(the_same_description_again_takes_no_memory),
        TEST(many_relations_are_told_apart),
        TEST(insert_has_a_new_row),
        TEST(values_point_into_the_message),
        TEST(update_has_a_new_row_and_perhaps_an_old_one),
        TEST(delete_has_an_old_row),
        TEST(truncate_names_its_relations),
        TEST(a_message_has_prefix_and_content),
        TEST(origin_and_type_are_only_passed_on),
        TEST(boundaries_say_what_the_spool_must_know),
        TEST(a_change_of_an_unknown_relation_is_refused),
        TEST(a_row_of_another_width_is_refused),
        TEST(messages_that_were_not_requested_are_named),
        TEST(an_unknown_kind_is_refused),
        TEST(unknown_letters_inside_are_refused),
        TEST(every_cut_message_is_refused),
        TEST(every_message_with_more_after_it_is_refused),
        TEST(cut_boundaries_are_refused),
        TEST(a_length_beyond_the_message_is_refused),
    };

    return cmocka_run_group_tests_name("pg/pgoutput", tests, NULL, NULL);
}

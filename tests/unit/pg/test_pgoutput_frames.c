/* pg/pgoutput_frames: who a message of a transaction in progress belongs to, and what cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "pg/pgoutput.h"
#include "pg/pgoutput_frames.h"
#include "support/expect.h"

struct fixture {
    struct arena *arena;
    struct frames frames;
    struct frame out;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    f->arena = arena_new(NULL, "test");
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    arena_free(f->arena);
    free(f);
    return 0;
}

/* A letter, then numbers of four bytes. */
static const char *message(struct fixture *f, char letter, unsigned n, const uint32_t *numbers, size_t *out_length)
{
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_append_char(b, letter);
    for (unsigned i = 0; i < n; i++) {
        char bytes[4] = {(char)(numbers[i] >> 24), (char)(numbers[i] >> 16), (char)(numbers[i] >> 8), (char)numbers[i]};

        buffer_append(b, bytes, sizeof bytes);
    }
    *out_length = b->length;
    return memcpy(arena_bytes(f->arena, b->length), b->bytes, b->length);
}

static struct error *take(struct fixture *f, const char *bytes, size_t length)
{
    return pgoutput_frame(&f->frames, f->arena, bytes, length, &f->out);
}

static void start(struct fixture *f, uint32_t xid)
{
    char bytes[6] = {'S', (char)(xid >> 24), (char)(xid >> 16), (char)(xid >> 8), (char)xid, 1};

    expect_ok(take(f, bytes, sizeof bytes));
    assert_int_equal(f->out.kind, FRAME_START);
    assert_int_equal(f->out.xid, xid);
}

static void what_comes_whole_stays_as_it_is(void **state)
{
    struct fixture *f = *state;

    expect_ok(take(f, "Ixxxxxx", 7));
    assert_int_equal(f->out.kind, FRAME_WHOLE);
    assert_int_equal(f->out.length, 7);
    assert_memory_equal(f->out.bytes, "Ixxxxxx", 7);
}

static void pieces_lose_their_xid_and_nothing_else(void **state)
{
    struct fixture *f = *state;

    for (const char *letter = "RYIUDTM"; *letter != '\0'; letter++) {
        char bytes[] = {*letter, 0, 0, 0, 9, 'b', 'o', 'd', 'y'};
        char whole[] = {*letter, 'b', 'o', 'd', 'y'};

        start(f, 7);
        expect_ok(take(f, bytes, sizeof bytes));
        assert_int_equal(f->out.kind, FRAME_PIECE);
        assert_int_equal(f->out.xid, 7);
        assert_int_equal(f->out.subxid, 9);
        assert_int_equal(f->out.length, sizeof whole);
        assert_memory_equal(f->out.bytes, whole, sizeof whole);
        expect_ok(take(f, "E", 1));
        assert_int_equal(f->out.kind, FRAME_STOP);
    }
}

static void an_abort_names_what_is_void(void **state)
{
    struct fixture *f = *state;
    size_t length = 0;
    const char *bytes = message(f, 'A', 2, (const uint32_t[]){7, 9}, &length);

    expect_ok(take(f, bytes, length));
    assert_int_equal(f->out.kind, FRAME_ABORT);
    assert_int_equal(f->out.xid, 7);
    assert_int_equal(f->out.subxid, 9);
}

/* The decoder takes what we make of a STREAM COMMIT, and reads the same in it. */
static void a_commit_becomes_begin_and_commit(void **state)
{
    struct fixture *f = *state;
    char bytes[30] = {'c', 0, 0, 0, 7, 0};
    char begin[FRAME_BEGIN_BYTES];
    char commit[FRAME_COMMIT_BYTES];
    struct decoder d = pgoutput_decoder(f->arena);
    struct event e;

    bytes[13] = 0x50; /* commit */
    bytes[21] = 0x60; /* end */
    bytes[29] = 0x01; /* time */
    expect_ok(take(f, bytes, sizeof bytes));
    assert_int_equal(f->out.kind, FRAME_COMMIT);
    pgoutput_frame_begin(&f->out, begin);
    pgoutput_frame_commit(&f->out, commit);
    expect_ok(d.ops->decode(d.self, f->arena, begin, sizeof begin, &e));
    assert_int_equal(e.kind, EVENT_BEGIN);
    assert_int_equal(e.xid, 7);
    assert_int_equal(e.commit.value, 0x50);
    int64_t begun_us = e.committed_us;
    expect_ok(d.ops->decode(d.self, f->arena, commit, sizeof commit, &e));
    assert_int_equal(e.kind, EVENT_COMMIT);
    assert_int_equal(e.commit.value, 0x50);
    assert_int_equal(e.end.value, 0x60);
    assert_int_equal(e.committed_us, begun_us);
}

static void refused(struct fixture *f, const char *bytes, size_t length)
{
    struct error *err = take(f, bytes, length);

    assert_non_null(err);
    assert_int_equal(error_kind(err), ERROR_DATA);
    error_free(err);
}

static void what_cannot_be_is_refused(void **state)
{
    struct fixture *f = *state;

    refused(f, "", 0);
    refused(f, "E", 1);     /* nothing is open */
    refused(f, "S\0\0", 3); /* torn */
    f->frames = (struct frames){.is_open = false};
    refused(f, "A\0\0\0\7\0\0\0\11more", 13);
    start(f, 7);
    refused(f, "S\0\0\0\7\0", 6); /* one in the other */
    refused(f, "I\0\0", 3);
    refused(f, "B\0\0\0\7\0", 6); /* a whole transaction within */
    refused(f, "\0", 1);
    refused(f, "A\0\0\0\7\0\0\0\11", 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_comes_whole_stays_as_it_is, setup, teardown),
        cmocka_unit_test_setup_teardown(pieces_lose_their_xid_and_nothing_else, setup, teardown),
        cmocka_unit_test_setup_teardown(an_abort_names_what_is_void, setup, teardown),
        cmocka_unit_test_setup_teardown(a_commit_becomes_begin_and_commit, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_is_refused, setup, teardown),
    };

    return cmocka_run_group_tests_name("pg/pgoutput_frames", tests, NULL, NULL);
}

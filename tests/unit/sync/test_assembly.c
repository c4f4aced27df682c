/* sync/assembly: transactions wait apart from each other, in order, and leave nothing behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "support/expect.h"
#include "support/memory_store.h"
#include "sync/assembly.h"

struct fixture {
    struct memory_store store;
    struct assembly *assembly;
    struct buffer seen;
    unsigned left; /* messages that the sink takes before it fails */
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    memory_store_init(&f->store);
    memory_store_put(&f->store, 9, "old", 3);
    f->left = UINT32_MAX;
    struct error *err = assembly_open(memory_store(&f->store), &f->assembly);
    *state = f;
    error_free(err);
    return err == NULL ? 0 : -1;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    assembly_close(f->assembly);
    memory_store_drop(&f->store);
    buffer_drop(&f->seen);
    free(f);
    return 0;
}

static struct error *see(void *self, const char *bytes, size_t length)
{
    struct fixture *f = self;

    if (f->left-- == 0)
        return error_new(ERROR_TRANSIENT, "no space left");
    buffer_printf(&f->seen, "%.*s,", (int)(length < 8 ? length : 8), bytes);
    return NULL;
}

static void add(struct fixture *f, uint32_t xid, uint32_t subxid, const char *text)
{
    expect_ok(assembly_add(f->assembly, xid, subxid, text, strlen(text)));
}

static void expect_commit(struct fixture *f, uint32_t xid, const char *messages)
{
    buffer_clear(&f->seen);
    expect_ok(assembly_commit(f->assembly, xid, (struct assembly_sink){.take = see, .self = f}));
    assert_string_equal(buffer_text(&f->seen), messages);
}

static void transactions_interleave_and_come_out_whole(void **state)
{
    struct fixture *f = *state;

    add(f, 1, 1, "a");
    add(f, 2, 2, "x");
    add(f, 1, 1, "b");
    add(f, 2, 2, "");
    expect_commit(f, 2, "x,,");
    expect_commit(f, 1, "a,b,");
    expect_commit(f, 1, "");
}

static void aborted_subtransactions_are_left_out(void **state)
{
    struct fixture *f = *state;

    add(f, 1, 1, "a");
    add(f, 1, 5, "gone");
    add(f, 1, 6, "kept");
    expect_ok(assembly_abort(f->assembly, 1, 5));
    add(f, 1, 1, "b");
    expect_commit(f, 1, "a,kept,b,");
    add(f, 3, 3, "gone");
    expect_ok(assembly_abort(f->assembly, 3, 3));
    expect_commit(f, 3, "");
}

static void a_large_one_lies_in_the_store_until_it_is_given(void **state)
{
    enum { MESSAGES = 40, BYTES = 64 * 1024 };
    struct fixture *f = *state;
    CLEANUP(buffer_free) struct buffer *expected = buffer_new();
    char message[BYTES];

    memset(message, '.', sizeof message);
    for (unsigned i = 0; i < MESSAGES; i++) {
        int n = snprintf(message, 9, "%08u", i);

        message[n] = '.';
        buffer_printf(expected, "%08u,", i);
        expect_ok(assembly_add(f->assembly, 7, 7, message, sizeof message));
    }
    assert_true(assembly_stored_bytes(f->assembly) > (uint64_t)(MESSAGES - 5) * BYTES);
    expect_commit(f, 7, buffer_text(expected));
    assert_int_equal(assembly_stored_bytes(f->assembly), 0);
    assert_int_equal(f->store.seen.n, 0);
}

static void after_a_broken_connection_nothing_is_left(void **state) /* P3 */
{
    enum { BYTES = ASSEMBLY_BLOCK_BYTES };
    struct fixture *f = *state;
    static char message[BYTES];

    assert_int_equal(f->store.seen.n, 0); /* of a dead process */
    expect_ok(assembly_add(f->assembly, 7, 7, message, sizeof message));
    add(f, 8, 8, "a");
    assert_int_equal(f->store.seen.n, 1);
    expect_ok(assembly_reset(f->assembly));
    assert_int_equal(f->store.seen.n, 0);
    expect_commit(f, 7, "");
    expect_commit(f, 8, "");
}

static void an_error_of_the_taker_is_passed_on(void **state)
{
    struct fixture *f = *state;

    add(f, 1, 1, "a");
    add(f, 1, 1, "b");
    f->left = 1;
    expect_error(assembly_commit(f->assembly, 1, (struct assembly_sink){.take = see, .self = f}), ERROR_TRANSIENT,
                 "no space");
    expect_ok(assembly_reset(f->assembly));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(transactions_interleave_and_come_out_whole),
        TEST(aborted_subtransactions_are_left_out),
        TEST(a_large_one_lies_in_the_store_until_it_is_given),
        TEST(after_a_broken_connection_nothing_is_left),
        TEST(an_error_of_the_taker_is_passed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

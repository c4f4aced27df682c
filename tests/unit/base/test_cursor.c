/* base/cursor: reads what came from outside and never past its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/cursor.h"

static void reads_what_a_buffer_wrote(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_append_char(b, 'I');
    buffer_append_u16(b, 0xFFFE);
    buffer_append_u32(b, 0xFFFFFFFD);
    buffer_append_u64(b, UINT64_MAX - 3);
    buffer_append(b, "public", sizeof "public");
    buffer_append_text(b, "rest");

    struct cursor c = cursor_over(b->bytes, b->length);
    assert_int_equal(cursor_u8(&c), 'I');
    assert_int_equal(cursor_u16(&c), 0xFFFE);
    assert_int_equal(cursor_u32(&c), 0xFFFFFFFD);
    assert_true(cursor_u64(&c) == UINT64_MAX - 3);
    assert_string_equal(cursor_text(&c), "public");
    assert_int_equal(cursor_left(&c), 4);
    assert_memory_equal(cursor_bytes(&c, 4), "rest", 4);
    assert_int_equal(cursor_left(&c), 0);
    assert_false(c.failed);
}

/* Reads of each kind from a message that is one byte too short: zero, nothing left, failed for good. */
static void a_read_past_the_end_gives_zero_and_fails_for_good(void **state)
{
    (void)state;
    static const char ones[8] = {1, 1, 1, 1, 1, 1, 1, 1};

    for (size_t size = 1; size <= 8; size *= 2) {
        char *exact = malloc(size); /* ASan would see a read behind it */
        assert_non_null(exact);
        memcpy(exact, ones, size);
        struct cursor c = cursor_over(exact + 1, size - 1);
        uint64_t n = size == 1   ? cursor_u8(&c)
                     : size == 2 ? cursor_u16(&c)
                     : size == 4 ? cursor_u32(&c)
                                 : cursor_u64(&c);

        assert_true(n == 0);
        assert_true(c.failed);
        assert_int_equal(cursor_u8(&c), 0);
        assert_int_equal(cursor_left(&c), 0);
        free(exact);
    }
}

static void a_failed_read_takes_the_rest_with_it(void **state)
{
    (void)state;
    struct cursor c = cursor_over("abc", 3);

    assert_null(cursor_bytes(&c, 4));
    assert_null(cursor_bytes(&c, 1));
    assert_null(cursor_bytes(&c, 0));
    assert_string_equal(cursor_text(&c), "");
    assert_true(c.failed);
}

static void a_length_near_the_largest_does_not_wrap_around(void **state)
{
    (void)state;
    struct cursor c = cursor_over("abc", 3);

    assert_null(cursor_bytes(&c, SIZE_MAX));
    assert_true(c.failed);
}

static void a_text_without_its_nul_fails(void **state)
{
    (void)state;
    struct cursor c = cursor_over("abc", 3);

    assert_string_equal(cursor_text(&c), "");
    assert_true(c.failed);
}

static void an_empty_text_is_a_text(void **state)
{
    (void)state;
    struct cursor c = cursor_over("\0x", 3);

    assert_string_equal(cursor_text(&c), "");
    assert_string_equal(cursor_text(&c), "x");
    assert_false(c.failed);
}

static void nothing_at_all_can_be_read(void **state)
{
    (void)state;
    struct cursor c = cursor_over(NULL, 0);

    assert_int_equal(cursor_left(&c), 0);
    assert_non_null(cursor_bytes(&c, 0)); /* no bytes are there */
    assert_false(c.failed);
    assert_string_equal(cursor_text(&c), "");
    assert_true(c.failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_a_buffer_wrote),
        cmocka_unit_test(a_read_past_the_end_gives_zero_and_fails_for_good),
        cmocka_unit_test(a_failed_read_takes_the_rest_with_it),
        cmocka_unit_test(a_length_near_the_largest_does_not_wrap_around),
        cmocka_unit_test(a_text_without_its_nul_fails),
        cmocka_unit_test(an_empty_text_is_a_text),
        cmocka_unit_test(nothing_at_all_can_be_read),
    };

    return cmocka_run_group_tests_name("base/cursor", tests, NULL, NULL);
}

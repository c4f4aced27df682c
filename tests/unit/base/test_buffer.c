/* base/buffer: a growing run of bytes, always text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"

static void a_new_buffer_is_an_empty_text(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    assert_string_equal(buffer_text(b), "");
    buffer_clear(b);
    buffer_append(b, NULL, 0);
    assert_int_equal(b->length, 0);
    assert_string_equal(b->bytes, "");
    buffer_free(NULL);
}

static void every_append_ends_in_a_nul_that_does_not_count(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_append_text(b, "select ");
    buffer_append_char(b, '*');
    buffer_printf(b, " from %s limit %d", "orders", 7);
    assert_string_equal(b->bytes, "select * from orders limit 7");
    assert_int_equal(b->length, strlen(b->bytes));
}

static void growing_keeps_what_is_there(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    for (unsigned i = 0; i < 100000; i++)
        buffer_append_char(b, (char)(i % 251));
    assert_int_equal(b->length, 100000);
    for (unsigned i = 0; i < 100000; i++)
        assert_int_equal(b->bytes[i], (char)(i % 251));
}

static void a_print_longer_than_the_room_left_is_whole(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_printf(b, "%0500d", 1);
    buffer_printf(b, "%s", "");
    assert_int_equal(b->length, 500);
    assert_int_equal(b->bytes[499], '1');
}

static void clear_keeps_the_capacity(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_printf(b, "%01000d", 1);
    size_t capacity = b->capacity;
    buffer_clear(b);
    assert_string_equal(buffer_text(b), "");
    assert_int_equal(b->capacity, capacity);
}

static void bytes_written_into_reserved_room_are_text_once_added(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_append_text(b, "ab");
    memcpy(buffer_reserve(b, 1000), "cdX", 3);
    assert_int_equal(b->length, 2);
    buffer_added(b, 2);
    assert_string_equal(buffer_text(b), "abcd");
}

static void reserved_but_unused_room_is_no_text(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();

    buffer_reserve(b, 10);
    assert_string_equal(buffer_text(b), "");
}

static void numbers_are_big_endian(void **state)
{
    (void)state;
    CLEANUP(buffer_free) struct buffer *b = buffer_new();
    static const unsigned char expected[] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14};

    buffer_append_u16(b, 0x0102);
    buffer_append_u32(b, 0x03040506);
    buffer_append_u64(b, UINT64_C(0x0708090A0B0C0D0E));
    assert_int_equal(b->length, sizeof expected);
    assert_memory_equal(b->bytes, expected, sizeof expected);
}

static void one_on_the_stack_drops_its_bytes_and_begins_anew(void **state)
{
    (void)state;
    struct buffer b = {0};

    buffer_append_text(&b, "x");
    buffer_drop(&b);
    buffer_append_text(&b, "y");
    assert_string_equal(b.bytes, "y");
    buffer_drop(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_buffer_is_an_empty_text),
        cmocka_unit_test(every_append_ends_in_a_nul_that_does_not_count),
        cmocka_unit_test(growing_keeps_what_is_there),
        cmocka_unit_test(a_print_longer_than_the_room_left_is_whole),
        cmocka_unit_test(clear_keeps_the_capacity),
        cmocka_unit_test(bytes_written_into_reserved_room_are_text_once_added),
        cmocka_unit_test(reserved_but_unused_room_is_no_text),
        cmocka_unit_test(numbers_are_big_endian),
        cmocka_unit_test(one_on_the_stack_drops_its_bytes_and_begins_anew),
    };

    return cmocka_run_group_tests_name("base/buffer", tests, NULL, NULL);
}

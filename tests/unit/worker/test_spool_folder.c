/* worker/spool_folder: segments as files. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/arena.h"
#include "support/expect.h"
#include "support/folder.h"
#include "sys/file.h"
#include "worker/spool_folder.h"

struct opened {
    struct arena *arena;
    struct segment_store store;
};

static struct opened open_store(void **state)
{
    struct opened o = {.arena = arena_new(NULL, "test")};

    expect_ok(spool_folder_open(o.arena, arena_printf(o.arena, "%s/spool", (char *)*state), &o.store));
    return o;
}

static void close_store(struct opened *o)
{
    spool_folder_close(o->store);
    arena_free(TAKE(o->arena));
}

static void append(struct opened *o, uint64_t number, const char *text)
{
    expect_ok(o->store.ops->append(o->store.self, number, text, strlen(text)));
}

static const char *read_back(struct opened *o, uint64_t number, uint64_t offset, size_t length)
{
    char *bytes = arena_alloc(o->arena, length + 1);
    size_t got = 0;

    expect_ok(o->store.ops->read(o->store.self, number, offset, bytes, length, &got));
    assert_true(got <= length);
    return bytes;
}

static size_t count(struct opened *o, uint64_t **numbers)
{
    size_t n = 0;

    expect_ok(o->store.ops->list(o->store.self, o->arena, numbers, &n));
    return n;
}

static void what_was_appended_is_read_also_by_the_next_process(void **state)
{
    struct opened o = open_store(state);
    uint64_t size = 0;

    append(&o, 1, "one ");
    append(&o, 1, "two");
    expect_ok(o.store.ops->sync(o.store.self));
    assert_string_equal(read_back(&o, 1, 4, 100), "two"); /* fewer only at the end */
    close_store(&o);
    o = open_store(state);
    assert_string_equal(read_back(&o, 1, 0, 5), "one t");
    expect_ok(o.store.ops->size(o.store.self, 1, &size));
    assert_int_equal(size, 7);
    expect_ok(o.store.ops->sync(o.store.self));
    close_store(&o);
}

static void segments_are_listed_in_order_and_other_files_are_not(void **state)
{
    struct opened o = open_store(state);
    uint64_t *numbers = NULL;

    append(&o, 100, "x");
    append(&o, 9, "x");
    append(&o, 10, "x");
    close(open(arena_printf(o.arena, "%s/spool/README", (char *)*state), O_CREAT | O_WRONLY, 0600));
    close(open(arena_printf(o.arena, "%s/spool/12.spool", (char *)*state), O_CREAT | O_WRONLY, 0600));
    assert_int_equal(count(&o, &numbers), 3);
    assert_int_equal(numbers[0], 9);
    assert_int_equal(numbers[1], 10);
    assert_int_equal(numbers[2], 100);
    close_store(&o);
}

static void files_are_for_us_only(void **state)
{
    struct opened o = open_store(state);
    struct stat st;

    append(&o, 1, "rows");
    assert_int_equal(stat(arena_printf(o.arena, "%s/spool/000000000001.spool", (char *)*state), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    close_store(&o);
}

static void a_segment_is_cut_and_written_on(void **state)
{
    struct opened o = open_store(state);

    append(&o, 1, "complete, torn");
    expect_ok(o.store.ops->truncate(o.store.self, 1, 8));
    append(&o, 1, "!");
    assert_string_equal(read_back(&o, 1, 0, 100), "complete!");
    close_store(&o);
}

static void a_number_that_comes_again_is_another_segment(void **state)
{
    struct opened o = open_store(state);

    append(&o, 2, "old");
    assert_string_equal(read_back(&o, 2, 0, 100), "old");
    expect_ok(o.store.ops->remove(o.store.self, 2));
    append(&o, 2, "new");
    assert_string_equal(read_back(&o, 2, 0, 100), "new");
    close_store(&o);
}

static void removing_what_is_not_there_is_fine(void **state)
{
    struct opened o = open_store(state);
    uint64_t *numbers = NULL;

    expect_ok(o.store.ops->remove(o.store.self, 77));
    append(&o, 1, "x");
    expect_ok(o.store.ops->remove(o.store.self, 1));
    assert_int_equal(count(&o, &numbers), 0);
    expect_ok(o.store.ops->sync(o.store.self));
    close_store(&o);
}

static void errors_name_the_file(void **state)
{
    struct opened o = open_store(state);
    char byte = 0;
    size_t got = 0;
    uint64_t size = 0;

    expect_error(o.store.ops->read(o.store.self, 5, 0, &byte, 1, &got), ERROR_CONFIG,
                 "/spool/000000000005.spool\": No such file or directory");
    expect_error(o.store.ops->size(o.store.self, 5, &size), ERROR_CONFIG, "000000000005.spool");
    assert_int_equal(mkdir(arena_printf(o.arena, "%s/spool/000000000006.spool", (char *)*state), 0700), 0);
    expect_error(o.store.ops->append(o.store.self, 6, "x", 1), ERROR_CONFIG, "could not open");
    close_store(&o);
}

static void a_full_disk_may_pass(void **state)
{
    struct opened o = open_store(state);

    /* A symbolic link is not followed, so a device stands in for the segment by its own name. */
    if (mknod(arena_printf(o.arena, "%s/spool/000000000003.spool", (char *)*state), S_IFCHR | 0600, (1 << 8) | 7) !=
        0) {
        close_store(&o);
        skip();
    }
    expect_error(o.store.ops->append(o.store.self, 3, "x", 1), ERROR_TRANSIENT, "No space left on device");
    close_store(&o);
}

enum { SEGMENTS = 9, PACKED = 3, SEGMENT_BYTES = 700 * 1000, READ_BYTES = 262144 };

static char letter_at(uint64_t number, size_t offset)
{
    return (char)('a' + (number * 7 + offset / 1000) % 26);
}

static void fill_segments(struct opened *o)
{
    char *bytes = arena_alloc(o->arena, SEGMENT_BYTES);

    for (uint64_t number = 1; number <= SEGMENTS; number++) {
        for (size_t i = 0; i < SEGMENT_BYTES; i++)
            bytes[i] = letter_at(number, i);
        expect_ok(o->store.ops->append(o->store.self, number, bytes, SEGMENT_BYTES));
    }
    expect_ok(o->store.ops->sync(o->store.self));
}

static unsigned pack_all(struct opened *o)
{
    bool is_packed = true;
    unsigned n = 0;

    for (;; n++) {
        expect_ok(spool_folder_pack(o->store, &is_packed));
        if (!is_packed)
            return n;
    }
}

static bool is_there(struct opened *o, void **state, const char *name)
{
    return access(arena_printf(o->arena, "%s/spool/%s", (char *)*state, name), F_OK) == 0;
}

/* Over the borders of blocks, and over the end. */
static void expect_filled(struct opened *o, uint64_t number, uint64_t bytes)
{
    static const size_t offsets[] = {0, 1, READ_BYTES - 1, READ_BYTES, 300000, SEGMENT_BYTES - 5};
    uint64_t size = 0;

    expect_ok(o->store.ops->size(o->store.self, number, &size));
    assert_int_equal(size, bytes);
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        char *out = arena_alloc(o->arena, READ_BYTES);
        size_t got = 0;
        uint64_t left = offsets[i] > bytes ? 0 : bytes - offsets[i];

        expect_ok(o->store.ops->read(o->store.self, number, offsets[i], out, READ_BYTES, &got));
        assert_int_equal(got, left < READ_BYTES ? left : READ_BYTES);
        for (size_t at = 0; at < got; at += 997)
            assert_int_equal(out[at], letter_at(number, offsets[i] + at));
    }
}

static void a_packed_segment_is_the_same_segment(void **state)
{
    struct opened o = open_store(state);
    uint64_t *numbers = NULL;

    fill_segments(&o);
    assert_int_equal(pack_all(&o), PACKED);
    assert_true(is_there(&o, state, "000000000005.spool.zst"));
    assert_false(is_there(&o, state, "000000000005.spool"));
    assert_true(is_there(&o, state, "000000000004.spool")); /* soon to be read */
    assert_true(is_there(&o, state, "000000000008.spool"));
    for (unsigned again = 0; again < 2; again++) {
        assert_int_equal(count(&o, &numbers), SEGMENTS);
        for (uint64_t number = 1; number <= SEGMENTS; number++)
            expect_filled(&o, number, SEGMENT_BYTES);
        close_store(&o);
        o = open_store(state);
    }
    expect_ok(o.store.ops->sync(o.store.self));
    close_store(&o);
}

static void a_packed_segment_is_cut_and_removed(void **state)
{
    struct opened o = open_store(state);
    uint64_t *numbers = NULL;

    fill_segments(&o);
    assert_int_equal(pack_all(&o), PACKED);
    expect_filled(&o, 5, SEGMENT_BYTES);
    expect_ok(o.store.ops->truncate(o.store.self, 5, 400000));
    expect_filled(&o, 5, 400000);
    assert_false(is_there(&o, state, "000000000005.spool.zst"));
    append(&o, 5, "more");
    assert_string_equal(read_back(&o, 5, 400000, 100), "more");
    expect_ok(o.store.ops->remove(o.store.self, 6));
    assert_int_equal(count(&o, &numbers), SEGMENTS - 1);
    assert_false(is_there(&o, state, "000000000006.spool.zst"));
    close_store(&o);
}

static void put_file(struct opened *o, void **state, const char *name, const char *text)
{
    const char *path = arena_printf(o->arena, "%s/spool/%s", (char *)*state, name);
    CLEANUP(fd_close) int fd = open(path, O_CREAT | O_WRONLY, 0600);

    assert_true(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void what_a_crash_left_half_packed_is_removed_or_ignored(void **state)
{
    struct opened o = open_store(state);
    uint64_t *numbers = NULL;
    size_t got = 0;
    char byte;

    append(&o, 1, "whole");
    put_file(&o, state, "000000000001.spool.made", "pgtidez1");
    put_file(&o, state, "000000000001.spool.zst", "pgtidez1"); /* both: the plain one counts */
    put_file(&o, state, "000000000002.spool.zst", "pgtidez1 torn");
    close_store(&o);
    o = open_store(state);
    assert_false(is_there(&o, state, "000000000001.spool.made"));
    assert_int_equal(count(&o, &numbers), 2);
    assert_string_equal(read_back(&o, 1, 0, 100), "whole");
    expect_error(o.store.ops->read(o.store.self, 2, 0, &byte, 1, &got), ERROR_DATA, "damaged");
    close_store(&o);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, folder_teardown)
    const struct CMUnitTest tests[] = {
        TEST(what_was_appended_is_read_also_by_the_next_process),
        TEST(segments_are_listed_in_order_and_other_files_are_not),
        TEST(files_are_for_us_only),
        TEST(a_segment_is_cut_and_written_on),
        TEST(a_number_that_comes_again_is_another_segment),
        TEST(removing_what_is_not_there_is_fine),
        TEST(errors_name_the_file),
        TEST(a_full_disk_may_pass),
        TEST(a_packed_segment_is_the_same_segment),
        TEST(a_packed_segment_is_cut_and_removed),
        TEST(what_a_crash_left_half_packed_is_removed_or_ignored),
    };

    return cmocka_run_group_tests_name("worker/spool_folder", tests, NULL, NULL);
}

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
    };

    return cmocka_run_group_tests_name("worker/spool_folder", tests, NULL, NULL);
}

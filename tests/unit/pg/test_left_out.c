/* pg/left_out: the file of statements that the target could not take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/log.h"
#include "pg/left_out.h"
#include "support/expect.h"
#include "support/folder.h"
#include "sys/file.h"

static struct arena *a;

static int setup(void **state)
{
    a = arena_new(NULL, "test");
    log_set_stderr_level(LOG_LEVEL_COUNT);
    return folder_setup(state);
}

static int teardown(void **state)
{
    arena_free(a);
    return folder_teardown(state);
}

static const char *path_in(void **state)
{
    return arena_printf(a, "%s/left-out.sql", (const char *)*state);
}

static const char *content(const char *path)
{
    char *text = NULL;
    size_t length;

    expect_ok(file_read(a, path, &text, &length));
    return text;
}

/* Without what the file says about itself. */
static const char *told(const char *path)
{
    return strstr(content(path), "\n-- left out: ");
}

static void nothing_is_written_before_the_first(void **state)
{
    CLEANUP(left_out_close) struct left_out *l = NULL;
    _Atomic uint64_t n = 7;

    expect_ok(left_out_open(path_in(state), &n, &l));
    assert_int_equal(n, 0);
    assert_null(content(path_in(state)));
    left_out_tell(NULL, "SELECT 1", "told elsewhere");
    assert_null(content(path_in(state)));
}

static void each_is_told_whole_and_once(void **state)
{
    CLEANUP(left_out_close) struct left_out *l = NULL;
    _Atomic uint64_t n;
    struct stat file;

    expect_ok(left_out_open(path_in(state), &n, &l));
    left_out_tell(l, "CREATE POLICY p\n  ON t;", "first line\nsecond");
    left_out_tell(l, "ALTER DATABASE d SET a = 'b'\n", "no");
    left_out_note(l, "CREATE POLICY p\n  ON t;", "first line\nsecond");
    left_out_tell(l, "CREATE POLICY p\n  ON t;", "another reason");
    assert_int_equal(n, 3);
    assert_string_equal(told(path_in(state)), "\n-- left out: first line\n--     second\nCREATE POLICY p\n  ON t;\n"
                                              "\n-- left out: no\nALTER DATABASE d SET a = 'b';\n"
                                              "\n-- left out: another reason\nCREATE POLICY p\n  ON t;\n");
    assert_int_equal(stat(path_in(state), &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
}

static void a_resume_goes_on_with_it(void **state)
{
    _Atomic uint64_t n;

    for (unsigned start = 0; start < 3; start++) {
        CLEANUP(left_out_close) struct left_out *l = NULL;

        expect_ok(left_out_open(path_in(state), &n, &l));
        assert_int_equal(n, start == 0 ? 0 : 1000);
        for (unsigned i = 0; i < 1000; i++)
            left_out_tell(l, arena_printf(a, "ALTER TABLE t%u OWNER TO bob;", i), "he is not there");
        assert_int_equal(n, 1000);
    }
}

/* What was being written when the process died is told again. */
static void half_a_statement_costs_nothing(void **state)
{
    CLEANUP(left_out_close) struct left_out *l = NULL;
    _Atomic uint64_t n;

    expect_ok(left_out_open(path_in(state), &n, &l));
    left_out_tell(l, "SELECT 1;", "one");
    left_out_tell(l, "SELECT 2;", "two");
    left_out_close(TAKE(l));
    assert_int_equal(truncate(path_in(state), (off_t)strlen(content(path_in(state))) - 6), 0);
    expect_ok(left_out_open(path_in(state), &n, &l));
    left_out_tell(l, "SELECT 1;", "one");
    left_out_tell(l, "SELECT 2;", "two");
    assert_string_equal(told(path_in(state)),
                        "\n-- left out: one\nSELECT 1;\n\n-- left out: two\nSELE\n-- left out: two\nSELECT 2;\n");
}

static void a_file_that_cannot_be_written_stops_nothing(void **state)
{
    CLEANUP(left_out_close) struct left_out *l = NULL;
    _Atomic uint64_t n;

    expect_ok(left_out_open(arena_printf(a, "%s/no folder/left-out.sql", (const char *)*state), &n, &l));
    left_out_tell(l, "SELECT 1;", "one");
    assert_int_equal(n, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_written_before_the_first, setup, teardown),
        cmocka_unit_test_setup_teardown(each_is_told_whole_and_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_resume_goes_on_with_it, setup, teardown),
        cmocka_unit_test_setup_teardown(half_a_statement_costs_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_cannot_be_written_stops_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

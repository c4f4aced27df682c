/* sys/file: files and folders on a real file system. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/expect.h"
#include "support/folder.h"
#include "sys/thread.h"

static struct arena *a;

static int setup(void **state)
{
    a = arena_new(NULL, "test");
    return folder_setup(state);
}

static int teardown(void **state)
{
    arena_free(a);
    return folder_teardown(state);
}

static char *in(void **state, const char *name)
{
    return arena_printf(a, "%s/%s", (const char *)*state, name);
}

static void write_file(const char *path, const char *text)
{
    expect_ok(file_replace(path, text, strlen(text)));
}

static void expect_content(const char *path, const char *expected)
{
    char *text = NULL;
    size_t length = 0;

    expect_ok(file_read(a, path, &text, &length));
    assert_non_null(text);
    assert_string_equal(text, expected);
    assert_int_equal(length, strlen(expected));
}

static mode_t mode_of(const char *path)
{
    struct stat st;

    assert_int_equal(lstat(path, &st), 0);
    return st.st_mode;
}

static bool exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

static void a_folder_is_made_with_its_parents_for_us_alone(void **state)
{
    expect_ok(folder_make(in(state, "one/two/three")));
    expect_ok(folder_make(in(state, "one/two/three")));
    expect_ok(folder_make(in(state, "one/two/four/")));
    assert_int_equal(mode_of(in(state, "one")), S_IFDIR | 0700);
    assert_int_equal(mode_of(in(state, "one/two/three")), S_IFDIR | 0700);
    assert_int_equal(mode_of(in(state, "one/two/four")), S_IFDIR | 0700);
}

static void a_folder_is_made_relative_to_the_working_folder(void **state)
{
    CLEANUP(fd_close) int before = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    assert_int_equal(chdir(*state), 0);
    expect_ok(folder_make("here/below"));
    write_file("plain", "x");
    assert_int_equal(fchdir(before), 0);
    assert_true(exists(in(state, "here/below")));
    expect_content(in(state, "plain"), "x");
}

static void a_file_in_the_way_of_a_folder_is_named(void **state)
{
    write_file(in(state, "file"), "");
    expect_error(folder_make(in(state, "file")), ERROR_CONFIG, "/file\": Not a directory");
    expect_error(folder_make(in(state, "file/below")), ERROR_CONFIG, "could not make folder");
}

static void a_folder_is_removed_with_everything_in_it(void **state)
{
    expect_ok(folder_make(in(state, "top/inner/deep")));
    write_file(in(state, "top/a"), "a");
    write_file(in(state, "top/inner/deep/b"), "b");
    expect_ok(folder_remove(in(state, "top")));
    assert_false(exists(in(state, "top")));
    expect_ok(folder_remove(in(state, "top")));
}

static void removing_follows_no_symbolic_link(void **state)
{
    expect_ok(folder_make(in(state, "precious")));
    write_file(in(state, "precious/data"), "keep");
    expect_ok(folder_make(in(state, "top")));
    assert_int_equal(symlink("../precious", in(state, "top/link")), 0);
    expect_ok(folder_remove(in(state, "top")));
    expect_content(in(state, "precious/data"), "keep");

    assert_int_equal(symlink("precious", in(state, "link")), 0);
    expect_error(folder_remove(in(state, "link")), ERROR_CONFIG, "could not open folder");
    expect_content(in(state, "precious/data"), "keep");
}

static void only_plain_files_are_listed_and_in_order(void **state)
{
    char **names = NULL;
    size_t n = 0;

    expect_ok(folder_list(a, *state, &names, &n));
    assert_int_equal(n, 0);
    write_file(in(state, "b"), "");
    write_file(in(state, "c"), "");
    write_file(in(state, "a"), "");
    expect_ok(folder_make(in(state, "folder")));
    assert_int_equal(symlink("a", in(state, "link")), 0);
    expect_ok(folder_list(a, *state, &names, &n));
    assert_int_equal(n, 3);
    assert_string_equal(names[0], "a");
    assert_string_equal(names[1], "b");
    assert_string_equal(names[2], "c");
    expect_error(folder_list(a, in(state, "missing"), &names, &n), ERROR_CONFIG, "/missing\": No such file");
}

static void a_missing_file_is_a_result(void **state)
{
    char *text = (char[]){"untouched"};
    size_t length = 9;

    expect_ok(file_read(a, in(state, "missing"), &text, &length));
    assert_null(text);
    assert_int_equal(length, 0);
    expect_ok(file_remove(in(state, "missing")));
}

static void a_file_reads_back_byte_by_byte(void **state)
{
    static char bytes[200001]; /* more than one read; with NULs */
    char *text = NULL;
    size_t length = 0;

    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i % 251);
    expect_ok(file_replace(in(state, "f"), bytes, sizeof bytes));
    expect_ok(file_read(a, in(state, "f"), &text, &length));
    assert_int_equal(length, sizeof bytes);
    assert_memory_equal(text, bytes, sizeof bytes);
    assert_int_equal(text[length], '\0');
    write_file(in(state, "empty"), "");
    expect_content(in(state, "empty"), "");
    expect_error(file_read(a, *state, &text, &length), ERROR_CONFIG, "could not read file");
}

static void replacing_leaves_the_new_content_and_nothing_else(void **state)
{
    char **names = NULL;
    size_t n = 0;

    write_file(in(state, "task"), "a long first version");
    write_file(in(state, "task"), "second");
    expect_content(in(state, "task"), "second");
    assert_int_equal(mode_of(in(state, "task")), S_IFREG | 0600);
    expect_ok(folder_list(a, *state, &names, &n));
    assert_int_equal(n, 1);
}

static void what_a_crash_left_of_a_replacement_is_no_obstacle(void **state)
{
    write_file(in(state, "task"), "old");
    write_file(in(state, "task.new"), "half of a version that was never finished");
    expect_content(in(state, "task"), "old");
    write_file(in(state, "task"), "new");
    expect_content(in(state, "task"), "new");
    assert_false(exists(in(state, "task.new")));
}

static void a_replacement_that_fails_leaves_the_old_content(void **state)
{
    write_file(in(state, "task"), "old");
    assert_int_equal(symlink("elsewhere", in(state, "task.new")), 0); /* never written through */
    expect_error(file_replace(in(state, "task"), "new", 3), ERROR_CONFIG, "could not make file");
    expect_content(in(state, "task"), "old");
    assert_false(exists(in(state, "elsewhere")));
    expect_error(file_replace(in(state, "no/such/folder"), "x", 1), ERROR_CONFIG, "/no/such/folder.new\": No such");
}

static void a_full_disk_passes_and_a_missing_right_does_not(void **state)
{
    (void)state;
    expect_error(file_error(ENOSPC, "could not write file \"%s\"", "f"), ERROR_TRANSIENT,
                 "could not write file \"f\": No space left on device");
    expect_error(file_error(EMFILE, "x"), ERROR_TRANSIENT, "x: Too many open files");
    expect_error(file_error(EACCES, "x"), ERROR_CONFIG, "x: Permission denied");
}

static void a_lock_excludes_the_second_and_says_who_holds_it(void **state)
{
    CLEANUP(file_lock_release) struct file_lock *first = NULL;
    CLEANUP(file_lock_release) struct file_lock *second = NULL;
    char *holder = (char[]){"untouched"};

    write_file(in(state, "lock"), "what somebody longer ago has written there");
    expect_ok(file_lock_take(a, in(state, "lock"), "pid 4711", &first, &holder));
    assert_non_null(first);
    assert_null(holder);
    expect_ok(file_lock_take(a, in(state, "lock"), "pid 4712", &second, &holder));
    assert_null(second);
    assert_string_equal(holder, "pid 4711");

    file_lock_release(TAKE(first));
    expect_ok(file_lock_take(a, in(state, "lock"), "pid 4713", &second, &holder));
    assert_non_null(second);
    expect_content(in(state, "lock"), "pid 4713");
    file_lock_release(NULL);
}

static void reading_the_lock_file_does_not_give_the_lock_away(void **state)
{
    CLEANUP(file_lock_release) struct file_lock *first = NULL;
    CLEANUP(file_lock_release) struct file_lock *second = NULL;
    char *holder = NULL;

    expect_ok(file_lock_take(a, in(state, "lock"), "us", &first, &holder));
    expect_content(in(state, "lock"), "us"); /* closing any descriptor of the file would end a lock of fcntl */
    expect_ok(file_lock_take(a, in(state, "lock"), "others", &second, &holder));
    assert_null(second);
}

static void a_lock_ends_with_its_process(void **state)
{
    CLEANUP(file_lock_release) struct file_lock *ours = NULL;
    char *holder = NULL;
    int ready[2];
    char c = 0;

    assert_int_equal(pipe(ready), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct file_lock *theirs = NULL;

        expect_ok(file_lock_take(a, in(state, "lock"), "child", &theirs, &holder));
        (void)!write(ready[1], "r", 1);
        pause();
        _exit(0);
    }
    assert_int_equal(read(ready[0], &c, 1), 1);
    expect_ok(file_lock_take(a, in(state, "lock"), "us", &ours, &holder));
    assert_null(ours);
    assert_string_equal(holder, "child");

    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    expect_ok(file_lock_take(a, in(state, "lock"), "us", &ours, &holder));
    assert_non_null(ours);
    close(ready[0]);
    close(ready[1]);
}

static void a_lock_file_that_was_removed_is_made_anew(void **state)
{
    CLEANUP(file_lock_release) struct file_lock *first = NULL;
    CLEANUP(file_lock_release) struct file_lock *second = NULL;
    char *holder = NULL;

    expect_ok(file_lock_take(a, in(state, "lock"), "first", &first, &holder));
    expect_ok(file_remove(in(state, "lock")));
    expect_ok(file_lock_take(a, in(state, "lock"), "second", &second, &holder));
    assert_non_null(second);
    expect_content(in(state, "lock"), "second");
}

struct rivals {
    const char *path;
    atomic_int inside;
    atomic_bool met; /* two held it at the same time */
};

static struct error *hold_and_remove(void *self)
{
    struct rivals *r = self;
    CLEANUP(arena_free) struct arena *own = arena_new(NULL, "rival");

    for (int i = 0; i < 3000; i++) {
        CLEANUP(file_lock_release) struct file_lock *lock = NULL;
        char *holder = NULL;

        arena_reset(own);
        TRY(file_lock_take(own, r->path, "rival", &lock, &holder));
        if (lock == NULL)
            continue;
        if (atomic_fetch_add(&r->inside, 1) != 0)
            atomic_store(&r->met, true);
        sched_yield();
        atomic_fetch_sub(&r->inside, 1);
        TRY(file_remove(r->path)); /* from here on others may have it */
    }
    return NULL;
}

/* A lock on a file that was removed between open and lock would exclude nobody. */
static void removing_the_file_before_release_lets_no_two_in(void **state)
{
    struct rivals r = {.path = in(state, "lock")};
    struct thread *threads[4];

    for (size_t i = 0; i < COUNT_OF(threads); i++)
        expect_ok(thread_start("rival", hold_and_remove, &r, &threads[i]));
    for (size_t i = 0; i < COUNT_OF(threads); i++)
        expect_ok(thread_join(threads[i]));
    assert_false(r.met);
}

static void a_descriptor_closes_at_the_end_of_its_scope_unless_taken(void **state)
{
    (void)state;
    int closed, kept;
    {
        CLEANUP(fd_close) int one = open("/dev/null", O_RDONLY | O_CLOEXEC);
        CLEANUP(fd_close) int two = open("/dev/null", O_RDONLY | O_CLOEXEC);

        closed = one;
        kept = FD_TAKE(two);
        assert_int_equal(two, -1);
    }
    assert_int_equal(fcntl(closed, F_GETFD), -1);
    assert_true(fcntl(kept, F_GETFD) >= 0);
    errno = EBADMSG;
    fd_close(&kept);
    assert_int_equal(errno, EBADMSG);
    assert_int_equal(kept, -1);
}

static void free_space_is_told_and_a_missing_place_is_named(void **state)
{
    uint64_t bytes = 0;

    expect_ok(disk_free_bytes(*state, &bytes));
    assert_true(bytes > 0);
    expect_error(disk_free_bytes(in(state, "missing"), &bytes), ERROR_CONFIG, "/missing\": No such file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_folder_is_made_with_its_parents_for_us_alone),
        TEST(a_folder_is_made_relative_to_the_working_folder),
        TEST(a_file_in_the_way_of_a_folder_is_named),
        TEST(a_folder_is_removed_with_everything_in_it),
        TEST(removing_follows_no_symbolic_link),
        TEST(only_plain_files_are_listed_and_in_order),
        TEST(a_missing_file_is_a_result),
        TEST(a_file_reads_back_byte_by_byte),
        TEST(replacing_leaves_the_new_content_and_nothing_else),
        TEST(what_a_crash_left_of_a_replacement_is_no_obstacle),
        TEST(a_replacement_that_fails_leaves_the_old_content),
        TEST(a_full_disk_passes_and_a_missing_right_does_not),
        TEST(a_lock_excludes_the_second_and_says_who_holds_it),
        TEST(reading_the_lock_file_does_not_give_the_lock_away),
        TEST(a_lock_ends_with_its_process),
        TEST(a_lock_file_that_was_removed_is_made_anew),
        TEST(removing_the_file_before_release_lets_no_two_in),
        TEST(a_descriptor_closes_at_the_end_of_its_scope_unless_taken),
        TEST(free_space_is_told_and_a_missing_place_is_named),
    };

    return cmocka_run_group_tests_name("sys/file", tests, NULL, NULL);
}

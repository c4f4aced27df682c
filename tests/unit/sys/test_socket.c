/* sys/socket: frames on local sockets, and what breaks them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "support/expect.h"
#include "support/folder.h"
#include "sys/deadline.h"
#include "sys/socket.h"
#include "sys/thread.h"

enum { LONG_MS = 30000, SHORT_MS = 30 };

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

/* Two ends of a connection, closed with the test's scope. */
struct ends {
    int server;
    int client;
};

static void ends_close_cleanup_(struct ends *e)
{
    fd_close(&e->server);
    fd_close(&e->client);
}

static struct ends connected(const char *folder, const char *name)
{
    CLEANUP(fd_close) int listener = -1;
    struct ends e = {-1, -1};

    expect_ok(socket_listen(folder, name, &listener));
    expect_ok(socket_connect(folder, name, &e.client));
    expect_ok(socket_accept(listener, &e.server));
    assert_true(e.client >= 0);
    assert_true(e.server >= 0);
    return e;
}

static void expect_frame(int fd, const char *bytes, size_t length)
{
    char *got = NULL;
    size_t got_length = 0;

    expect_ok(frame_read(fd, a, LONG_MS, &got, &got_length));
    assert_non_null(got);
    assert_int_equal(got_length, length);
    assert_memory_equal(got, bytes, length);
    assert_int_equal(got[length], '\0');
}

static void frames_arrive_whole_and_in_order(void **state)
{
    CLEANUP(ends_close) struct ends e = connected(*state, "control.sock");

    expect_ok(frame_write(e.client, "status", 6, LONG_MS));
    expect_ok(frame_write(e.client, "", 0, LONG_MS));
    expect_ok(frame_write(e.client, "a\0b", 3, LONG_MS));
    expect_frame(e.server, "status", 6);
    expect_frame(e.server, "", 0);
    expect_frame(e.server, "a\0b", 3);
    expect_ok(frame_write(e.server, "answer", 6, LONG_MS));
    expect_frame(e.client, "answer", 6);
}

static void the_end_between_frames_is_a_result(void **state)
{
    CLEANUP(ends_close) struct ends e = connected(*state, "s");
    char *bytes = (char[]){"untouched"};
    size_t length = 9;

    expect_ok(frame_write(e.client, "last", 4, LONG_MS));
    fd_close(&e.client);
    expect_frame(e.server, "last", 4);
    expect_ok(frame_read(e.server, a, LONG_MS, &bytes, &length));
    assert_null(bytes);
    assert_int_equal(length, 0);
}

static void the_end_inside_a_frame_is_an_error(void **state)
{
    static const char *const halves[] = {"\0", "\0\0\0", "\0\0\0\5", "\0\0\0\5abcd"};
    static const size_t lengths[] = {1, 3, 4, 8};

    for (size_t i = 0; i < COUNT_OF(halves); i++) {
        CLEANUP(ends_close) struct ends e = connected(*state, "s");
        char *bytes = NULL;
        size_t length = 0;

        assert_int_equal(write(e.client, halves[i], lengths[i]), lengths[i]);
        fd_close(&e.client);
        expect_error(frame_read(e.server, a, LONG_MS, &bytes, &length), ERROR_TRANSIENT, "ended inside a message");
    }
}

static void a_length_from_outside_is_limited(void **state)
{
    static const unsigned char lengths[][4] = {{1, 0, 0, 1}, {0xFF, 0xFF, 0xFF, 0xFF}, {'G', 'E', 'T', ' '}};

    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        CLEANUP(ends_close) struct ends e = connected(*state, "s");
        char *bytes = NULL;
        size_t length = 0;
        size_t used = arena_used(a);

        assert_int_equal(write(e.client, lengths[i], 4), 4);
        expect_error(frame_read(e.server, a, LONG_MS, &bytes, &length), ERROR_DATA, "the longest has 16777216");
        assert_int_equal(arena_used(a), used);
    }
}

static void what_is_too_long_is_not_sent(void **state)
{
    CLEANUP(ends_close) struct ends e = connected(*state, "s");

    expect_error(frame_write(e.client, "", FRAME_LENGTH_MAX + 1, LONG_MS), ERROR_DATA, "16777217 bytes");
    expect_error(frame_write(e.client, "", SIZE_MAX, LONG_MS), ERROR_DATA, "the longest has");
    expect_ok(frame_write(e.client, "next", 4, LONG_MS));
    expect_frame(e.server, "next", 4);
}

struct echo {
    int fd;
    size_t length;
};

static struct error *echo_once(void *self)
{
    const struct echo *echo = self;
    CLEANUP(arena_free) struct arena *own = arena_new(NULL, "echo");
    char *bytes = NULL;
    size_t length = 0;

    TRY(frame_read(echo->fd, own, LONG_MS, &bytes, &length));
    return frame_write(echo->fd, bytes, length, LONG_MS);
}

static void the_longest_frame_passes_through_small_buffers(void **state)
{
    CLEANUP(ends_close) struct ends e = connected(*state, "s");
    struct echo echo = {.fd = e.server};
    struct thread *t = NULL;
    char *bytes = arena_bytes(a, FRAME_LENGTH_MAX);

    for (size_t i = 0; i < FRAME_LENGTH_MAX; i++)
        bytes[i] = (char)(i % 251);
    expect_ok(thread_start("echo", echo_once, &echo, &t));
    expect_ok(frame_write(e.client, bytes, FRAME_LENGTH_MAX, LONG_MS));
    expect_frame(e.client, bytes, FRAME_LENGTH_MAX);
    expect_ok(thread_join(t));
}

static void a_silent_other_end_ends_the_wait_in_time(void **state)
{
    CLEANUP(ends_close) struct ends e = connected(*state, "s");
    char *bytes = NULL;
    size_t length = 0;
    int64_t begun_us = clock_now_us();

    expect_error(frame_read(e.server, a, SHORT_MS, &bytes, &length), ERROR_TRANSIENT, "in time");
    assert_true(clock_now_us() - begun_us >= SHORT_MS * 1000);

    /* Half a frame does not begin the time anew. */
    assert_int_equal(write(e.client, "\0\0\0\5ab", 6), 6);
    expect_error(frame_read(e.server, a, SHORT_MS, &bytes, &length), ERROR_TRANSIENT, "in time");
}

static void an_end_that_does_not_read_ends_the_wait_in_time(void **state)
{
    CLEANUP(ends_close) struct ends e = connected(*state, "s");

    expect_error(frame_write(e.client, arena_bytes(a, FRAME_LENGTH_MAX), FRAME_LENGTH_MAX, SHORT_MS), ERROR_TRANSIENT,
                 "could not write to a local connection in time");
}

static void writing_to_who_has_gone_is_an_error_and_no_signal(void **state)
{
    CLEANUP(ends_close) struct ends e = connected(*state, "s");

    fd_close(&e.server);
    expect_error(frame_write(e.client, "hello?", 6, LONG_MS), ERROR_TRANSIENT, "Broken pipe");
}

static void nobody_waits_and_nobody_listens_are_results(void **state)
{
    CLEANUP(fd_close) int listener = -1;
    int fd = 77;

    expect_ok(socket_connect(*state, "s", &fd));
    assert_int_equal(fd, -1);
    expect_ok(socket_connect(arena_printf(a, "%s/missing", (char *)*state), "s", &fd));
    assert_int_equal(fd, -1);

    expect_ok(socket_listen(*state, "s", &listener));
    fd = 77;
    expect_ok(socket_accept(listener, &fd));
    assert_int_equal(fd, -1);
    fd_close(&listener);
    fd = 77;
    expect_ok(socket_connect(*state, "s", &fd)); /* the file of a process that was killed is still there */
    assert_int_equal(fd, -1);
}

static void an_old_socket_in_the_way_is_replaced(void **state)
{
    CLEANUP(fd_close) int killed = -1;

    expect_ok(socket_listen(*state, "s", &killed));
    CLEANUP(ends_close) struct ends e = connected(*state, "s");
    expect_ok(frame_write(e.client, "x", 1, LONG_MS));
    expect_frame(e.server, "x", 1);
}

static void a_deep_folder_is_no_obstacle(void **state)
{
    CLEANUP(buffer_free) struct buffer *path = buffer_new();

    buffer_append_text(path, *state);
    while (path->length < 400) /* sun_path has 108 bytes */
        buffer_append_text(path, "/a-folder-with-a-long-name");
    expect_ok(folder_make(buffer_text(path)));
    CLEANUP(ends_close) struct ends e = connected(buffer_text(path), "control.sock");
    expect_ok(frame_write(e.client, "deep", 4, LONG_MS));
    expect_frame(e.server, "deep", 4);
}

static void the_socket_is_for_us_alone(void **state)
{
    CLEANUP(fd_close) int listener = -1;
    struct stat st;

    expect_ok(socket_listen(*state, "s", &listener));
    assert_int_equal(stat(arena_printf(a, "%s/s", (char *)*state), &st), 0);
    assert_int_equal(st.st_mode, S_IFSOCK | 0600);
    assert_true(fcntl(listener, F_GETFD) & FD_CLOEXEC);
    assert_true(fcntl(listener, F_GETFL) & O_NONBLOCK);
}

/* Only root can be somebody else, and only root gets past the socket's mode. */
static void a_stranger_is_refused(void **state)
{
    CLEANUP(fd_close) int listener = -1;
    CLEANUP(fd_close) int client = -1;
    int fd = 77;

    if (geteuid() != 0)
        skip();
    expect_ok(socket_listen(*state, "s", &listener));
    expect_ok(socket_connect(*state, "s", &client));
    assert_int_equal(seteuid(65534), 0);
    struct error *err = socket_accept(listener, &fd);
    assert_int_equal(seteuid(0), 0);
    expect_error(err, ERROR_CONFIG, "refused a local connection with user id 0: ours is 65534");
    assert_int_equal(fd, 77);
}

static void a_place_where_no_socket_can_be_is_named(void **state)
{
    char name[120];
    int fd = -1;

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    expect_error(socket_listen(arena_printf(a, "%s/missing", (char *)*state), "s", &fd), ERROR_CONFIG,
                 "/missing\": No such file");
    expect_error(socket_listen(*state, name, &fd), ERROR_BUG, "too long");
    expect_ok(folder_make(arena_printf(a, "%s/s", (char *)*state)));
    expect_error(socket_listen(*state, "s", &fd), ERROR_CONFIG, "could not remove old socket");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(frames_arrive_whole_and_in_order),
        TEST(the_end_between_frames_is_a_result),
        TEST(the_end_inside_a_frame_is_an_error),
        TEST(a_length_from_outside_is_limited),
        TEST(what_is_too_long_is_not_sent),
        TEST(the_longest_frame_passes_through_small_buffers),
        TEST(a_silent_other_end_ends_the_wait_in_time),
        TEST(an_end_that_does_not_read_ends_the_wait_in_time),
        TEST(writing_to_who_has_gone_is_an_error_and_no_signal),
        TEST(nobody_waits_and_nobody_listens_are_results),
        TEST(an_old_socket_in_the_way_is_replaced),
        TEST(a_deep_folder_is_no_obstacle),
        TEST(the_socket_is_for_us_alone),
        TEST(a_stranger_is_refused),
        TEST(a_place_where_no_socket_can_be_is_named),
    };

    return cmocka_run_group_tests_name("sys/socket", tests, NULL, NULL);
}

/* control/server and client over a real socket: answers, refusals, garbage, crowds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "control/client.h"
#include "control/json.h"
#include "control/server.h"
#include "support/expect.h"
#include "support/folder.h"
#include "sys/socket.h"

enum { TIMEOUT_MS = 5000 };

static _Atomic unsigned n_ticks;

static struct error *handle(void *self, const char *command, json_t *request, json_t **out_reply)
{
    (void)self;
    if (strcmp(command, "stop") == 0)
        return error_hint(
            error_new(ERROR_CONFIG, "cannot stop \"%s\"", json_string_value(json_object_get(request, "what"))),
            "Ask later.");
    if (strcmp(command, "status") != 0)
        return error_new(ERROR_USAGE, "there is no command \"%s\"", command);
    *out_reply = json_pack("{s:s}", "state", "full");
    return NULL;
}

static void tick(void *self)
{
    (void)self;
    n_ticks++;
}

static struct control_server *start(const char *folder)
{
    struct control_server *server = NULL;

    expect_ok(control_server_start(folder, (struct control_handler){.handle = handle, .tick = tick}, &server));
    return server;
}

static void expect_status(const char *folder)
{
    CLEANUP(control_close) struct control_client *client = NULL;
    CLEANUP(json_decref) json_t *reply = NULL;

    expect_ok(control_connect(folder, &client));
    assert_non_null(client);
    expect_ok(control_call(client, "status", NULL, TIMEOUT_MS, &reply));
    assert_string_equal(json_string_value(json_object_get(reply, "state")), "full");
}

static void nobody_answers_where_nothing_runs(void **state)
{
    struct control_client *client = NULL;

    expect_ok(control_connect(*state, &client));
    assert_null(client);
}

static void a_question_is_answered_many_times_over_one_connection(void **state)
{
    CLEANUP(control_server_stop) struct control_server *server = start(*state);
    CLEANUP(control_close) struct control_client *client = NULL;

    expect_ok(control_connect(*state, &client));
    for (int i = 0; i < 50; i++) {
        CLEANUP(json_decref) json_t *reply = NULL;

        expect_ok(control_call(client, "status", NULL, TIMEOUT_MS, &reply));
    }
}

static void a_refusal_keeps_its_kind_message_and_hint(void **state)
{
    CLEANUP(control_server_stop) struct control_server *server = start(*state);
    CLEANUP(control_close) struct control_client *client = NULL;
    CLEANUP(json_decref) json_t *arguments = json_pack("{s:s}", "what", "it");
    CLEANUP(json_decref) json_t *reply = NULL;

    expect_ok(control_connect(*state, &client));
    CLEANUP(error_free) struct error *err = control_call(client, "stop", arguments, TIMEOUT_MS, &reply);
    assert_non_null(err);
    assert_int_equal(error_kind(err), ERROR_CONFIG);
    assert_string_equal(error_message(err), "asking the running sync for \"stop\": cannot stop \"it\"");
    assert_string_equal(error_hint_text(err), "Ask later.");
    assert_null(reply);
    expect_error(control_call(client, "dance", NULL, TIMEOUT_MS, &reply), ERROR_USAGE, "no command \"dance\"");
    expect_ok(control_call(client, "status", NULL, TIMEOUT_MS, &reply)); /* the connection is as good as before */
}

static void expect_garbage_refused(const char *folder, const void *bytes, size_t length)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    CLEANUP(fd_close) int fd = -1;
    char *answer = NULL;
    size_t answer_length = 0;

    expect_ok(socket_connect(folder, "control.sock", &fd));
    assert_true(fd >= 0);
    expect_ok(frame_write(fd, bytes, length, TIMEOUT_MS));
    expect_ok(frame_read(fd, a, TIMEOUT_MS, &answer, &answer_length));
    assert_non_null(answer);
    assert_non_null(strstr(answer, "\"ok\":false"));
    expect_ok(frame_read(fd, a, TIMEOUT_MS, &answer, &answer_length));
    assert_null(answer); /* and it has hung up */
}

static void garbage_is_refused_and_the_next_one_is_served(void **state)
{
    static const char *const garbage[] = {"",
                                          "{",
                                          "[]",
                                          "{}",
                                          "null",
                                          "{\"command\":1}",
                                          "\"status\"",
                                          "{\"command\":\"status\",\"command\":\"stop\"}",
                                          "{\"command\":\"status\"} x",
                                          "\xff\xfe"};
    static char large[100 * 1024], deep[20 * 1024];
    CLEANUP(control_server_stop) struct control_server *server = start(*state);

    for (size_t i = 0; i < COUNT_OF(garbage); i++)
        expect_garbage_refused(*state, garbage[i], strlen(garbage[i]));
    expect_garbage_refused(*state, "{\"command\":\"status\"}\0", 22);
    memset(large, ' ', sizeof large);
    snprintf(large, sizeof large, "{\"command\":\"status\"");
    large[strlen(large)] = ' ';
    large[sizeof large - 1] = '}'; /* right in all but its size */
    expect_garbage_refused(*state, large, sizeof large);
    memset(deep, '[', sizeof deep);
    expect_garbage_refused(*state, deep, sizeof deep);
    expect_status(*state);
}

static void bytes_that_are_no_frame_end_only_their_connection(void **state)
{
    static const char *const raw[] = {"\xff\xff\xff\xff", "GET / HTTP/1.1\r\n\r\n", "\x00\x00", ""};
    static const size_t lengths[] = {4, 18, 2, 0};
    CLEANUP(control_server_stop) struct control_server *server = start(*state);

    for (size_t i = 0; i < COUNT_OF(raw); i++) {
        CLEANUP(fd_close) int fd = -1;

        expect_ok(socket_connect(*state, "control.sock", &fd));
        assert_int_equal(write(fd, raw[i], lengths[i]), (ssize_t)lengths[i]);
    }
    expect_status(*state);
}

/* Half a frame is waited for half a second, then others have their turn. */
static void a_slow_client_does_not_shut_out_others(void **state)
{
    CLEANUP(control_server_stop) struct control_server *server = start(*state);
    CLEANUP(fd_close) int slow = -1;
    int64_t began_us = clock_now_us();

    expect_ok(socket_connect(*state, "control.sock", &slow));
    assert_int_equal(write(slow, "\0\0\0\x10{", 5), 5);
    expect_status(*state);
    assert_true(clock_now_us() - began_us < 3 * 1000000);
}

static void silent_clients_make_room_for_the_next(void **state)
{
    enum { CROWD = 40 };
    int crowd[CROWD];
    CLEANUP(control_server_stop) struct control_server *server = start(*state);

    for (int i = 0; i < CROWD; i++) {
        expect_ok(socket_connect(*state, "control.sock", &crowd[i]));
        expect_status(*state);
    }
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    char *bytes = NULL;
    size_t length = 0;
    expect_ok(frame_read(crowd[0], a, TIMEOUT_MS, &bytes, &length));
    assert_null(bytes); /* the one that was silent longest has been hung up on */
    for (int i = 0; i < CROWD; i++)
        close(crowd[i]);
    expect_status(*state);
}

static void the_socket_goes_with_the_server(void **state)
{
    CLEANUP(control_close) struct control_client *client = NULL;
    struct control_server *server = start(*state);
    struct control_client *late = NULL;
    json_t *reply = NULL;

    expect_ok(control_connect(*state, &client));
    control_server_stop(server);
    expect_error(control_call(client, "status", NULL, TIMEOUT_MS, &reply), ERROR_TRANSIENT, "asking the running sync");
    expect_ok(control_connect(*state, &late));
    assert_null(late);
    server = start(*state); /* and comes with the next */
    expect_status(*state);
    control_server_stop(server);
}

static void the_server_ticks_also_when_nobody_asks(void **state)
{
    CLEANUP(control_server_stop) struct control_server *server = start(*state);
    int64_t until_us = clock_now_us() + 10 * 1000000;

    n_ticks = 0;
    while (n_ticks == 0 && clock_now_us() < until_us)
        usleep(10000);
    assert_true(n_ticks > 0);
}

static void numbers_that_json_cannot_carry_are_texts(void **state)
{
    CLEANUP(json_decref) json_t *small = json_count(UINT64_C(1) << 53);
    CLEANUP(json_decref) json_t *large = json_count((UINT64_C(1) << 53) + 1);
    CLEANUP(json_decref) json_t *lsn = json_lsn((struct lsn){UINT64_C(0x16B374D848)});
    CLEANUP(json_decref) json_t *none = json_lsn(LSN_NONE);
    CLEANUP(json_decref) json_t *moment = json_moment(INT64_C(1714564800123456));
    CLEANUP(json_decref) json_t *broken = json_text("a\xff\xc3\xa4\xe2\x82");

    (void)state;
    assert_true(json_is_integer(small));
    assert_string_equal(json_string_value(large), "9007199254740993");
    assert_string_equal(json_string_value(lsn), "16/B374D848");
    assert_true(json_is_null(none));
    assert_string_equal(json_string_value(moment), "2024-05-01T12:00:00.123Z");
    assert_string_equal(json_string_value(broken), "a\xef\xbf\xbd\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nobody_answers_where_nothing_runs, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_question_is_answered_many_times_over_one_connection, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_refusal_keeps_its_kind_message_and_hint, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(garbage_is_refused_and_the_next_one_is_served, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(bytes_that_are_no_frame_end_only_their_connection, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_slow_client_does_not_shut_out_others, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(silent_clients_make_room_for_the_next, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(the_socket_goes_with_the_server, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(the_server_ticks_also_when_nobody_asks, folder_setup, folder_teardown),
        cmocka_unit_test(numbers_that_json_cannot_carry_are_texts),
    };

    return cmocka_run_group_tests_name("control/control", tests, NULL, NULL);
}

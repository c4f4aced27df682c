/*
 * pg/conn against a server that is a thread of this test: it says the bytes it is told to, or nothing at all.
 * Protocol: "Frontend/Backend Protocol", ErrorResponse.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <cmocka.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/log.h"
#include "pg/conn.h"
#include "pg/error.h"
#include "support/expect.h"

struct server {
    int listener;
    int port;
    const char *refusal; /* fields of an ErrorResponse, "SFATAL" "C3D000" "M…"; NULL: never answers */
    size_t refusal_length;
    pthread_t thread;
};

static void refuse(int client, const struct server *s)
{
    char startup[4096];
    uint32_t length = htonl((uint32_t)(4 + s->refusal_length + 1));

    if (read(client, startup, sizeof startup) <= 0)
        return;
    (void)!write(client, "E", 1);
    (void)!write(client, &length, sizeof length);
    (void)!write(client, s->refusal, s->refusal_length);
    (void)!write(client, "", 1);
}

static void *serve(void *self)
{
    struct server *s = self;

    for (;;) {
        int client = accept(s->listener, NULL, NULL);

        if (client < 0)
            return NULL;
        if (s->refusal != NULL) {
            refuse(client, s);
            close(client);
        }
    }
}

static void start(struct server *s)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;

    s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(s->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(s->listener, 8), 0);
    assert_int_equal(getsockname(s->listener, (struct sockaddr *)&address, &size), 0);
    s->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void end(struct server *s)
{
    shutdown(s->listener, SHUT_RDWR);
    close(s->listener);
    pthread_join(s->thread, NULL);
}

static struct pg_endpoint *endpoint(struct arena *a, int port, const char *more)
{
    struct pg_endpoint *e;

    expect_ok(pg_endpoint_parse(
        a, "source",
        arena_printf(a, "host=127.0.0.1 port=%d user=u dbname=d sslmode=disable gssencmode=disable %s", port, more),
        &e));
    return e;
}

static const struct pg_connect_options plain = {.application_name = "pgtide test"};

#define REFUSAL(code, text)                                           \
    ("SFATAL\0C" code "\0M" text "\0Fpostinit.c\0L1\0RInitPostgres"), \
        sizeof("SFATAL\0C" code "\0M" text "\0Fpostinit.c\0L1\0RInitPostgres")

static void a_refusal_is_named_with_what_to_do(void **state)
{
    static const struct {
        const char *refusal;
        size_t length;
        enum error_kind kind;
        const char *words;
        const char *hint;
    } refusals[] = {
        {REFUSAL("28P01", "password authentication failed"), ERROR_CONFIG, "password authentication failed",
         "password"},
        {REFUSAL("28000", "no pg_hba.conf entry"), ERROR_CONFIG, "no pg_hba.conf entry", "pg_hba.conf"},
        {REFUSAL("3D000", "database \"d\" does not exist"), ERROR_CONFIG, "does not exist", "database"},
        {REFUSAL("57P03", "the database system is starting up"), ERROR_TRANSIENT, "starting up", "wait"},
        {REFUSAL("53300", "sorry, too many clients already"), ERROR_TRANSIENT, "too many", "max_connections"},
        {REFUSAL("42501", "permission denied for database"), ERROR_CONFIG, "permission denied", "CONNECT"},
        {REFUSAL("XX000", "x failed: y: 3D000: z"), ERROR_CONFIG, "XX000", NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(refusals); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
        struct server s = {.refusal = refusals[i].refusal, .refusal_length = refusals[i].length};
        struct pg_conn *c = NULL;

        start(&s);
        struct error *err = pg_connect(endpoint(a, s.port, ""), plain, &c);
        end(&s);
        assert_non_null(err);
        assert_null(strstr(error_message(err), "postinit.c")); /* the place in the server's sources helps nobody */
        if (refusals[i].hint != NULL)
            assert_non_null(strstr(error_hint_text(err), refusals[i].hint));
        expect_error(err, refusals[i].kind, refusals[i].words);
    }
}

static void a_missing_database_is_told_from_other_refusals(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    bool exists = true;
    const struct {
        const char *bytes;
        size_t length;
    } there_is_none = {REFUSAL("3D000", "database \"d\" does not exist")},
      denied = {REFUSAL("28P01", "it failed: y: 3D000: z")};
    struct server s = {.refusal = there_is_none.bytes, .refusal_length = there_is_none.length};
    start(&s);
    expect_ok(pg_database_exists(endpoint(a, s.port, ""), NULL, &exists));
    end(&s);
    assert_false(exists);

    s = (struct server){.refusal = denied.bytes, .refusal_length = denied.length};
    start(&s);
    expect_error(pg_database_exists(endpoint(a, s.port, ""), NULL, &exists), ERROR_CONFIG, "28P01: it failed");
    end(&s);
}

static void nobody_listening_is_worth_another_try(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct server s = {.refusal = NULL};
    struct pg_conn *c;

    start(&s);
    end(&s);
    expect_error(pg_connect(endpoint(a, s.port, ""), plain, &c), ERROR_TRANSIENT, "Connection refused");
}

static void a_silent_server_is_given_up(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct server s = {.refusal = NULL};
    struct pg_conn *c;

    start(&s);
    int64_t began_us = clock_now_us();
    expect_error(pg_connect(endpoint(a, s.port, "connect_timeout=1"), plain, &c), ERROR_TRANSIENT,
                 "timed out after 1 s");
    assert_true(clock_now_us() - began_us < 10000000);
    end(&s);
}

static void *request_stop(void *stop)
{
    usleep(100000); /* long enough for the other thread to be waiting; shorter would pass as well */
    stop_request(stop);
    return NULL;
}

static void a_request_to_stop_ends_connecting(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    CLEANUP(stop_free) struct stop *stop = NULL;
    struct server s = {.refusal = NULL};
    struct pg_conn *c;
    pthread_t thread;

    expect_ok(stop_new(&stop));
    start(&s);
    struct pg_connect_options options = {.application_name = "pgtide test", .stop = stop};
    assert_int_equal(pthread_create(&thread, NULL, request_stop, stop), 0);
    expect_error(pg_connect(endpoint(a, s.port, ""), options, &c), ERROR_CANCELLED, "stopped while connecting");
    pthread_join(thread, NULL);
    expect_error(pg_connect_patiently(endpoint(a, s.port, ""), options, &c), ERROR_CANCELLED, "stopped");
    end(&s);
}

static void kinds_follow_the_sqlstate(void **state)
{
    (void)state;
    assert_int_equal(pg_error_kind("40001"), ERROR_TRANSIENT);
    assert_int_equal(pg_error_kind("40P01"), ERROR_TRANSIENT);
    assert_int_equal(pg_error_kind("55P03"), ERROR_TRANSIENT);
    assert_int_equal(pg_error_kind("57P01"), ERROR_TRANSIENT);
    assert_int_equal(pg_error_kind("57P04"), ERROR_CONFIG);
    assert_int_equal(pg_error_kind("53100"), ERROR_TRANSIENT);
    assert_int_equal(pg_error_kind("53400"), ERROR_CONFIG);
    assert_int_equal(pg_error_kind("23505"), ERROR_DATA);
    assert_int_equal(pg_error_kind("42804"), ERROR_DATA);
    assert_int_equal(pg_error_kind("22P02"), ERROR_DATA);
    assert_int_equal(pg_error_kind("P0001"), ERROR_DATA);
    assert_int_equal(pg_error_kind("42P01"), ERROR_CONFIG);
    assert_int_equal(pg_error_kind("XX000"), ERROR_CONFIG);
}

static int be_silent(void **state)
{
    (void)state;
    log_set_stderr_level(LOG_LEVEL_COUNT);
    return 0;
}

static void it_is_known_what_stays_on_this_machine(void **state)
{
    static const struct {
        const char *host;
        const char *address;
        bool is_local;
    } cases[] = {
        {"/run/postgresql", NULL, true},
        {"/run/postgresql", "", true},
        {"@abstract", NULL, true},
        {"localhost", "127.0.0.1", true},
        {"old", "127.0.1.1", true},
        {"::1", "::1", true},
        {NULL, NULL, true},
        {"db", "10.0.0.127", false},
        {"127.evil.example", "192.0.2.1", false},
        {"db", "2001:db8::1", false},
        {"localhost", NULL, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(pg_address_is_local(cases[i].host, cases[i].address), cases[i].is_local);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_known_what_stays_on_this_machine),
        cmocka_unit_test(a_refusal_is_named_with_what_to_do),
        cmocka_unit_test(a_missing_database_is_told_from_other_refusals),
        cmocka_unit_test(nobody_listening_is_worth_another_try),
        cmocka_unit_test(a_silent_server_is_given_up),
        cmocka_unit_test(a_request_to_stop_ends_connecting),
        cmocka_unit_test(kinds_follow_the_sqlstate),
    };

    return cmocka_run_group_tests_name("pg/conn", tests, be_silent, NULL);
}

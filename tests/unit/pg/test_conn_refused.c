/*
 * What libpq says when it could not connect, and what we make of it. The messages are libpq's own, as PQERRORS_VERBOSE has them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg/conn_refused.h"
#include "support/expect.h"

#define AT(host) "connection to server at \"" host "\", port 5432 failed: "

static const struct {
    const char *message;
    enum error_kind kind;
    const char *sqlstate; /* NULL: no server refused last */
    const char *hint;     /* NULL: there is none */
} cases[] = {
    /* of libpq: the first words that fit, so what is special comes before what is general */
    {"could not translate host name \"db\" to address: Temporary failure in name resolution\n", ERROR_TRANSIENT, NULL,
     "name service of this machine did not answer"},
    {"could not translate host name \"db\" to address: Name or service not known\n", ERROR_CONFIG, NULL,
     "Check the host name"},
    {AT("a") "server certificate for \"b\" does not match host name \"a\"\n", ERROR_CONFIG, NULL, "for another name"},
    {AT("a") "SSL error: certificate verify failed\n", ERROR_CONFIG, NULL, "not signed by an authority"},
    {AT("a") "server does not support SSL, but SSL was required\n", ERROR_CONFIG, NULL, "Turn ssl on"},
    {AT("a") "session is read-only\n", ERROR_TRANSIENT, NULL, "target_session_attrs"},
    {AT("a") "no such words\n", ERROR_TRANSIENT, NULL, NULL},

    /* of the server: words that tell more, then its SQLSTATE, then the class */
    {AT("a") "FATAL:  28000: connection requires a valid client certificate\nLOCATION:  f, auth.c:1\n", ERROR_CONFIG,
     "28000", "sslcert="},
    {AT("a") "FATAL:  28P01: password authentication failed\n", ERROR_CONFIG, "28P01", "Check user and password"},
    {AT("a") "FATAL:  28000: no pg_hba.conf entry\n", ERROR_CONFIG, "28000", "pg_hba.conf"},
    {AT("a") "FATAL:  40001: no hint for this\n", ERROR_TRANSIENT, "40001", NULL},

    /* of several attempts: the one that is explained best */
    {AT("a") "FATAL:  28P01: wrong password\n" AT("a") "FATAL:  28000: no pg_hba.conf entry\n", ERROR_CONFIG, "28000",
     "Check user and password"},
    {AT("a") "FATAL:  57P03: starting up\n" AT("b") "Connection refused\n", ERROR_TRANSIENT, NULL,
     "Check that the server runs"},
};

static struct pg_endpoint *endpoint(struct arena *a)
{
    struct pg_endpoint *e;

    expect_ok(pg_endpoint_parse(a, "source", "host=db port=5432 user=u dbname=d", &e));
    return e;
}

static void each_refusal_has_its_kind_and_hint(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct error *err = conn_refused(endpoint(a), cases[i].message);
        const char *hint = error_hint_text(err);

        if (cases[i].hint == NULL)
            assert_null(hint);
        else
            assert_non_null(strstr(hint, cases[i].hint));
        assert_null(strstr(error_message(err), "LOCATION"));
        expect_error(err, cases[i].kind, "could not connect to the source \"db:5432/d\" as user \"u\": ");
    }
}

static void the_last_refusal_gives_the_sqlstate(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *found = conn_refused_sqlstate(cases[i].message);

        if (cases[i].sqlstate == NULL)
            assert_null(found);
        else
            assert_memory_equal(found, cases[i].sqlstate, SQLSTATE_LENGTH);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_refusal_has_its_kind_and_hint),
        cmocka_unit_test(the_last_refusal_gives_the_sqlstate),
    };

    return cmocka_run_group_tests_name("pg/conn_refused", tests, NULL, NULL);
}

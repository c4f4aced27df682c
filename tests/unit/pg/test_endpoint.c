/* pg/endpoint: what libpq takes, resolved once; and nothing of a password anywhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>
#include <libpq-fe.h>

#include "pg/endpoint.h"
#include "pg/endpoint_options.h"
#include "support/expect.h"
#include "support/folder.h"
#include "sys/file.h"

/* Nothing of the machine's own settings may decide. */
static int forget_environment(void **state)
{
    static const char *const names[] = {"PGHOST",        "PGHOSTADDR", "PGPORT",     "PGUSER",
                                        "PGDATABASE",    "PGPASSWORD", "PGPASSFILE", "PGSERVICE",
                                        "PGSERVICEFILE", "PGOPTIONS",  "PGSSLMODE"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(names); i++)
        unsetenv(names[i]);
    return 0;
}

static struct pg_endpoint *parse(struct arena *a, const char *conninfo)
{
    struct pg_endpoint *e;

    expect_ok(pg_endpoint_parse(a, "source", conninfo, &e));
    return e;
}

static void a_uri_and_pairs_name_the_same_server(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct pg_endpoint *uri = parse(a, "postgresql://al:secret@db1:5433/shop?sslmode=require");
    struct pg_endpoint *pairs = parse(a, "host=db1 port=5433 dbname=shop user=al password=secret");

    assert_string_equal(pg_endpoint_name(uri), "db1:5433/shop");
    assert_string_equal(pg_endpoint_key(uri), pg_endpoint_key(pairs));
    assert_string_equal(pg_endpoint_side(uri), "source");
    assert_string_equal(pg_endpoint_user(uri), "al");
    assert_string_equal(pg_endpoint_database(uri), "shop");
    assert_string_equal(pg_endpoint_option(uri, "sslmode"), "require");
    assert_string_equal(secret_reveal(pg_endpoint_password(uri)), "secret");
}

static void several_hosts_are_all_named(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    assert_string_equal(pg_endpoint_name(parse(a, "host=a,b port=1,2 dbname=d")), "a:1,b:2/d");
    assert_string_equal(pg_endpoint_name(parse(a, "host=a,b port=7 dbname=d")), "a:7,b:7/d");
    assert_string_equal(pg_endpoint_name(parse(a, "host=/run/pg user=u")), "/run/pg:5432/u");
}

static void the_password_is_in_no_option(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct pg_endpoint *e = parse(a, "postgresql://al:hidden@db1/shop");

    for (const struct pg_option *o = pg_endpoint_options(e); o->keyword != NULL; o++)
        assert_null(strstr(o->value, "hidden"));
    assert_null(strstr(pg_endpoint_name(e), "hidden"));
}

static void channel_binding_survives_the_way_of_resolving(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct pg_endpoint *e = parse(a, "host=h channel_binding=disable sslmode=verify-full");

    assert_string_equal(pg_endpoint_option(e, "channel_binding"), "disable");
    assert_string_equal(pg_endpoint_option(e, "sslmode"), "verify-full");
}

static void a_service_is_resolved(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    const char *path = arena_printf(a, "%s/services", (const char *)*state);
    static const char text[] = "[shop]\nhost=db9\nport=6000\ndbname=wares\nuser=eve\npassword=word\n";

    expect_ok(file_replace(path, text, strlen(text)));
    setenv("PGSERVICEFILE", path, 1);
    struct pg_endpoint *e = parse(a, "service=shop port=6001");
    unsetenv("PGSERVICEFILE");

    assert_string_equal(pg_endpoint_name(e), "db9:6001/wares");
    assert_string_equal(pg_endpoint_user(e), "eve");
    assert_string_equal(secret_reveal(pg_endpoint_password(e)), "word");
    assert_null(pg_endpoint_option(e, "service"));
}

static void what_cannot_be_read_is_refused_without_being_shown(void **state)
{
    static const char *const texts[] = {
        "mydb",
        "hidden@host/db",
        "postgresql://u:hid/den@h/db",
        "postgresql://u:hidden@h/db?zork=hidden",
        "postgresql://u:hidden@[::1/db",
        "host=h password='hidden",
        "host=h hidden",
        "host=h port=hidden",
        "host=h port=70000",
        "host=h sslmode=hidden",
        "service=hidden",
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
        struct pg_endpoint *e;
        struct error *err = pg_endpoint_parse(a, "target", texts[i], &e);

        if (err != NULL && strstr(error_message(err), "hid") != NULL)
            fail_msg("shown: %s", error_message(err));
        expect_error(err, ERROR_USAGE, "cannot read the connection string of the target");
    }
}

static void system_roots_need_a_newer_libpq(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct pg_endpoint *e;

    if (PQlibVersion() >= 160000)
        skip();
    expect_error(pg_endpoint_parse(a, "source", "host=h sslrootcert=system sslmode=verify-full", &e), ERROR_CONFIG,
                 "sslrootcert=system");
}

static void another_database_of_the_same_server(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct pg_endpoint *other = pg_endpoint_with_database(a, parse(a, "postgresql://al:pw@h:1/shop"), "post'gres");

    assert_string_equal(pg_endpoint_name(other), "h:1/post'gres");
    assert_string_equal(pg_endpoint_database(other), "post'gres");
    assert_string_equal(pg_endpoint_user(other), "al");
    assert_string_equal(secret_reveal(pg_endpoint_password(other)), "pw");
}

static void a_program_gets_passwords_by_files_only(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    const char *folder = *state;
    struct pg_program_login login;
    char *text;
    size_t length;

    struct pg_endpoint *e = parse(a, "host=h user='o\\'x' password='a:b\\\\c' dbname=d passfile=/elsewhere "
                                     "sslpassword='geheim wort'");
    expect_ok(pg_endpoint_for_program(a, e, folder, &login));
    assert_null(strstr(login.conninfo, "a:b"));
    assert_null(strstr(login.conninfo, "geheim"));
    assert_null(strstr(login.environment, "geheim"));
    assert_null(strstr(login.conninfo, "password"));
    expect_ok(file_read(a, login.files[0], &text, &length));
    assert_string_equal(text, "*:*:*:*:a\\:b\\\\c\n");
    expect_ok(file_read(a, login.files[1], &text, &length));
    assert_string_equal(text, "[pgtide]\nsslpassword=geheim wort\n");
    assert_string_equal(login.environment, arena_printf(a, "PGSERVICEFILE=%s", login.files[1]));

    e = parse(a, "host=h user='o\\'x' password='a:b\\\\c' dbname=d");
    expect_ok(pg_endpoint_for_program(a, e, folder, &login));
    assert_null(login.environment);
    struct pg_endpoint *again = parse(a, login.conninfo);
    assert_string_equal(pg_endpoint_user(again), "o'x");
    assert_string_equal(pg_endpoint_option(again, "passfile"), login.files[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uri_and_pairs_name_the_same_server),
        cmocka_unit_test(several_hosts_are_all_named),
        cmocka_unit_test(the_password_is_in_no_option),
        cmocka_unit_test(channel_binding_survives_the_way_of_resolving),
        cmocka_unit_test_setup_teardown(a_service_is_resolved, folder_setup, folder_teardown),
        cmocka_unit_test(what_cannot_be_read_is_refused_without_being_shown),
        cmocka_unit_test(system_roots_need_a_newer_libpq),
        cmocka_unit_test(another_database_of_the_same_server),
        cmocka_unit_test_setup_teardown(a_program_gets_passwords_by_files_only, folder_setup, folder_teardown),
    };

    return cmocka_run_group_tests_name("pg/endpoint", tests, forget_environment, NULL);
}

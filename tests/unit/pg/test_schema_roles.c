/* pg/schema_roles: which statements of a dump a target without all its roles can take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg/schema_roles.h"
#include "support/expect.h"

/* By name, bytewise. */
static const struct role roles[] = {{"Al, x", true}, {"bob", true}, {"postgres", false}};
static const struct role_list for_superuser = {.n = 3, .roles = roles, .user_is_superuser = true};
static const struct role_list for_user = {.n = 3, .roles = roles, .user_is_superuser = false};

struct example {
    const char *statement;
    const char *reason_for_superuser; /* NULL: runs */
    const char *reason_for_user;
};

static const char gone[] = "role \"carol\" does not exist on the target";

static const struct example examples[] = {
    {"ALTER TABLE public.t OWNER TO bob;", NULL, NULL},
    {"ALTER TABLE public.t OWNER TO carol;", gone, gone},
    {"ALTER TABLE public.t OWNER TO \"Al, x\";", NULL, NULL},
    {"ALTER TABLE public.t OWNER TO postgres;", NULL, "we may not give it to role \"postgres\" on the target"},
    {"ALTER TABLE public.owner ADD CONSTRAINT \"owner\" CHECK ((a = 'OWNER TO carol'::text));", NULL, NULL},
    {"ALTER FUNCTION public.f(\"to\" integer, carol text) OWNER TO bob;", NULL, NULL},
    {"GRANT SELECT ON TABLE public.t TO bob;", NULL, NULL},
    {"GRANT SELECT ON TABLE public.t TO PUBLIC;", NULL, NULL},
    {"GRANT SELECT ON TABLE public.t TO \"public\";", "role \"public\" does not exist on the target",
     "role \"public\" does not exist on the target"},
    {"GRANT ALL(\"to\") ON TABLE public.carol TO bob WITH GRANT OPTION;", NULL, NULL},
    {"GRANT ALL ON FUNCTION public.f(a text) TO bob, carol;", gone, gone},
    {"REVOKE ALL ON TABLE public.t FROM carol;", gone, gone},
    {"REVOKE ALL ON TABLE public.t FROM PUBLIC;", NULL, NULL},
    {"ALTER DEFAULT PRIVILEGES FOR ROLE carol GRANT SELECT ON TABLES  TO bob;", gone, gone},
    {"ALTER DEFAULT PRIVILEGES FOR ROLE bob IN SCHEMA s GRANT SELECT ON TABLES  TO carol;", gone, gone},
    {"ALTER DEFAULT PRIVILEGES FOR ROLE bob REVOKE ALL ON TABLES  FROM PUBLIC;", NULL, NULL},
    {"ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES  TO bob;", NULL,
     "we may not act for role \"postgres\" on the target"},
    {"CREATE POLICY p ON public.t FOR SELECT TO bob, carol USING ((a = 1));", gone, gone},
    {"CREATE POLICY p ON public.t USING ((a = 'to carol'::text));", NULL, NULL},
    {"CREATE POLICY p ON public.t TO bob USING ((a = ((b)::interval day to second)));", NULL, NULL},
    {"CREATE USER MAPPING FOR carol SERVER s OPTIONS (password 'x');", gone, gone},
    {"CREATE USER MAPPING FOR PUBLIC SERVER s;", NULL, NULL},
    {"COMMENT ON EXTENSION x IS 'y';", NULL, "comments on extensions need their owner"},
    {"COMMENT ON TABLE public.t IS 'OWNER TO carol;';", NULL, NULL},
    {"CREATE TABLE public.t (carol int);", NULL, NULL},
};

static void assert_reason(const struct role_list *list, const char *statement, const char *expected)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct role_filter filter = {.roles = list};
    const char *reason = role_filter_reason(&filter, a, statement);

    if (expected == NULL && reason != NULL)
        fail_msg("\"%s\" was left out: %s", statement, reason);
    if (expected != NULL && reason == NULL)
        fail_msg("\"%s\" was not left out", statement);
    if (expected != NULL)
        assert_string_equal(reason, expected);
}

static void statements_of_missing_roles_are_left_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(examples); i++) {
        assert_reason(&for_superuser, examples[i].statement, examples[i].reason_for_superuser);
        assert_reason(&for_user, examples[i].statement, examples[i].reason_for_user);
    }
}

static void what_a_missing_role_granted_is_left_out_to_its_end(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct role_filter filter = {.roles = &for_superuser};

    assert_non_null(role_filter_reason(&filter, a, "SET SESSION AUTHORIZATION carol;"));
    assert_non_null(role_filter_reason(&filter, a, "GRANT SELECT ON TABLE public.t TO bob;"));
    assert_non_null(role_filter_reason(&filter, a, "RESET SESSION AUTHORIZATION;"));
    assert_null(role_filter_reason(&filter, a, "GRANT SELECT ON TABLE public.t TO bob;"));
    assert_null(role_filter_reason(&filter, a, "SET SESSION AUTHORIZATION bob;"));
    assert_null(role_filter_reason(&filter, a, "RESET SESSION AUTHORIZATION;"));
}

static void who_is_no_superuser_grants_in_his_own_name(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct role_filter filter = {.roles = &for_user};

    assert_non_null(role_filter_reason(&filter, a, "SET SESSION AUTHORIZATION bob;"));
    assert_null(role_filter_reason(&filter, a, "GRANT SELECT ON TABLE public.t TO bob;"));
    assert_null(role_filter_reason(&filter, a, "RESET SESSION AUTHORIZATION;"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_of_missing_roles_are_left_out),
        cmocka_unit_test(what_a_missing_role_granted_is_left_out_to_its_end),
        cmocka_unit_test(who_is_no_superuser_grants_in_his_own_name),
    };

    return cmocka_run_group_tests_name("pg/schema_roles", tests, NULL, NULL);
}

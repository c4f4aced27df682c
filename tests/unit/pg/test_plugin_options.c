/* pg/plugin_options: what is asked of the output plugin, by version. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pg/plugin_options.h"

static void each_version_is_asked_for_what_it_knows(void **state)
{
    static const char *const names[] = {"plain", "with \"quotes\", and more"};
#define NAMES "publication_names=\"plain\",\"with \"\"quotes\"\", and more\" "
    static const struct {
        int version;
        struct plugin_options wanted;
        const char *asked;
    } cases[] = {
        {100023, {names, 2, .binary = true, .streams = true}, "proto_version=1 " NAMES},
        {130021, {names, 2, .binary = true, .streams = true}, "proto_version=1 " NAMES},
        {140018,
         {names, 2, .binary = true, .streams = true},
         "proto_version=2 " NAMES "messages=true streaming=on binary=true "},
        {150013, {names, 2, .streams = true}, "proto_version=3 " NAMES "messages=true streaming=on "},
        {180000, {names, 2, .binary = true}, "proto_version=4 " NAMES "messages=true binary=true "},
        {180000, {names, 2, .binary = true, .is_test_decoding = true}, "include-xids=on include-timestamp=on "},
    };
    struct arena *a = arena_new(NULL, "test");
    struct plugin_option options[PLUGIN_OPTIONS_MAX];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        unsigned n = plugin_options_list(a, &cases[i].wanted, cases[i].version, options);
        char *asked = arena_strdup(a, "");

        for (unsigned k = 0; k < n; k++)
            asked = arena_printf(a, "%s%s=%s ", asked, options[k].name, options[k].value);
        assert_string_equal(asked, cases[i].asked);
    }
    arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_version_is_asked_for_what_it_knows),
    };

    return cmocka_run_group_tests_name("pg/plugin_options", tests, NULL, NULL);
}

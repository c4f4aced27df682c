/* cli/parse: every command line of SPEC section 11 is understood or refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/parse.h"
#include "support/expect.h"

enum { ARGV_MAX = 24 };

static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    arena = arena_new(NULL, "test");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* Splits at spaces; '' is an empty argument. */
static struct error *parse(const char *text, struct command_line *out)
{
    const char *argv[ARGV_MAX + 1] = {NULL};
    char *rest = arena_strdup(arena, text), *save = NULL;
    int argc = 0;

    for (char *word = strtok_r(rest, " ", &save); word != NULL && argc < ARGV_MAX; word = strtok_r(NULL, " ", &save))
        argv[argc++] = strcmp(word, "''") == 0 ? "" : word;
    return command_line_parse(arena, argc, argv, out);
}

static void expect_refusal(const char *text, const char *message, const char *hint)
{
    struct command_line line;
    struct error *err = parse(text, &line);

    if (err == NULL) {
        print_error("\"%s\" was accepted\n", text);
        fail();
        return;
    }
    const char *its_hint = error_hint_text(err) == NULL ? "" : error_hint_text(err);
    if (error_kind(err) != ERROR_USAGE || strstr(error_message(err), message) == NULL ||
        strstr(its_hint, hint) == NULL) {
        print_error("\"%s\" was refused with %s: %s (hint: %s)\nexpected: %s (hint: %s)\n", text,
                    error_kind_name(error_kind(err)), error_message(err), its_hint, message, hint);
        error_free(err);
        fail();
        return;
    }
    error_free(err);
}

static void a_pair_alone_gets_the_defaults(void **state)
{
    struct command_line line;

    (void)state;
    expect_ok(parse("pgtide sync service=a postgresql://b/c", &line));
    assert_int_equal(line.command, COMMAND_SYNC);
    assert_string_equal(line.sync.source, "service=a");
    assert_string_equal(line.sync.target, "postgresql://b/c");
    assert_int_equal(line.sync.type, SYNC_FULL_INCREMENTAL);
    assert_int_equal(line.sync.until, UNTIL_FOREVER);
    assert_int_equal(line.sync.on_conflict, CONFLICT_ERROR);
    assert_int_equal(line.sync.if_not_empty, NOT_EMPTY_REFUSE);
    assert_int_equal(line.sync.ack, ACK_SPOOL);
    assert_int_equal(line.sync.jobs, 4);
    assert_int_equal(line.sync.lanes, 1);
    assert_true(line.sync.with_indexes);
    assert_null(line.sync.publication);
    assert_null(line.sync.state_dir);
    assert_null(line.sync.accept[0]);
    assert_null(line.sync.skip_checks[0]);
    assert_false(line.wants_json || line.is_quiet || line.wants_help);
}

static void every_option_of_sync_arrives_where_it_belongs(void **state)
{
    struct command_line line;

    (void)state;
    expect_ok(
        parse("pgtide sync --until 16/B374D848 a --jobs=8 b --lanes 1 --on-conflict overwrite --if-not-empty=merge "
              "--ack target --publication p --slot s --state-dir /var/x --no-indexes --type full+incremental --json",
              &line));
    assert_string_equal(line.sync.source, "a");
    assert_string_equal(line.sync.target, "b");
    assert_int_equal(line.sync.until, UNTIL_LSN);
    assert_true(line.sync.until_lsn.value == UINT64_C(0x16B374D848));
    assert_int_equal(line.sync.jobs, 8);
    assert_int_equal(line.sync.on_conflict, CONFLICT_OVERWRITE);
    assert_int_equal(line.sync.if_not_empty, NOT_EMPTY_MERGE);
    assert_int_equal(line.sync.ack, ACK_TARGET);
    assert_string_equal(line.sync.publication, "p");
    assert_string_equal(line.sync.slot, "s");
    assert_string_equal(line.sync.state_dir, "/var/x");
    assert_false(line.sync.with_indexes);
    assert_true(line.wants_json);

    expect_ok(parse("pgtide sync a b --until caught-up --quiet", &line));
    assert_int_equal(line.sync.until, UNTIL_CAUGHT_UP);
    assert_true(line.is_quiet);
}

static void lists_grow_by_repetition_and_by_commas(void **state)
{
    struct command_line line;

    (void)state;
    expect_ok(parse("pgtide sync a b --accept x,y --skip-check=w --accept z", &line));
    assert_string_equal(line.sync.accept[0], "x");
    assert_string_equal(line.sync.accept[1], "y");
    assert_string_equal(line.sync.accept[2], "z");
    assert_null(line.sync.accept[3]);
    assert_string_equal(line.sync.skip_checks[0], "w");
    assert_null(line.sync.skip_checks[1]);
}

static void rules_are_taken_as_they_are(void **state)
{
    struct command_line line;

    (void)state;
    expect_ok(parse(
        "pgtide compare a b --select x.*,!x.y --select-from=list.csv --select \"a,b\".c --with-dependencies", &line));
    assert_string_equal(line.sync.select[0],
                        "x.*,!x.y"); /* commas may be inside of quotes: model/selection parts them */
    assert_string_equal(line.sync.select[1], "\"a,b\".c");
    assert_null(line.sync.select[2]);
    assert_string_equal(line.sync.select_from, "list.csv");
    assert_true(line.sync.with_dependencies);
    expect_ok(parse("pgtide sync a b", &line));
    assert_null(line.sync.select);
    assert_null(line.sync.select_from);
}

static void a_set_is_a_list_of_known_words(void **state)
{
    struct command_line line;

    (void)state;
    expect_ok(parse("pgtide sync a b", &line));
    assert_int_equal(line.sync.dml, 0);
    expect_ok(parse("pgtide sync a b --dml insert", &line));
    assert_int_equal(line.sync.dml, DML_INSERT);
    expect_ok(parse("pgtide sync a b --dml delete,insert --dml truncate", &line));
    assert_int_equal(line.sync.dml, DML_INSERT | DML_DELETE | DML_TRUNCATE);
    expect_refusal("pgtide sync a b --dml insert,updates", "\"updates\" is none of insert, update, delete, truncate",
                   "Did you mean \"update\"?");
    expect_refusal("pgtide sync a b --dml insert,", "\"\" is none of", "");
    expect_refusal("pgtide resume a b --skip-change --skip-transaction", "different choices", "");
    expect_refusal("pgtide resume a b --overwrite --replace-with x", "different choices", "");
    expect_ok(parse("pgtide conflicts a b --table s.t", &line));
    assert_string_equal(line.table, "s.t");
}

static void the_other_commands_have_their_arguments(void **state)
{
    struct command_line line;

    (void)state;
    expect_ok(parse("pgtide wait a b --for caught-up --timeout 60", &line));
    assert_int_equal(line.wait_for, WAIT_CAUGHT_UP);
    assert_int_equal(line.timeout_s, 60);
    expect_ok(parse("pgtide sync a b --type incremental", &line));
    assert_int_equal(line.sync.type, SYNC_INCREMENTAL);
    expect_ok(parse("pgtide wait a b --for=incremental", &line));
    assert_int_equal(line.wait_for, WAIT_INCREMENTAL);
    assert_int_equal(line.timeout_s, 0);
    expect_ok(parse("pgtide stop a b --force", &line));
    assert_int_equal(line.command, COMMAND_STOP);
    assert_true(line.has_force);
    expect_ok(parse("pgtide status a b --json", &line));
    assert_int_equal(line.command, COMMAND_STATUS);
    expect_ok(parse("pgtide check a b --accept all", &line));
    assert_int_equal(line.command, COMMAND_CHECK);
    expect_ok(parse("pgtide slots gc service=a", &line));
    assert_int_equal(line.slots, SLOTS_GC);
    assert_string_equal(line.server, "service=a");
    expect_ok(parse("pgtide slots list service=a", &line));
    assert_int_equal(line.slots, SLOTS_LIST);
    expect_ok(parse("pgtide completion bash", &line));
    assert_int_equal(line.command, COMMAND_COMPLETION);
}

static void help_wins_over_whatever_else_is_wrong(void **state)
{
    static const char *const asks[] = {"pgtide --help",      "pgtide help",          "pgtide -h",
                                       "pgtide sync --help", "pgtide sync a --help", "pgtide wait -h",
                                       "pgtide help sync"};
    struct command_line line;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(asks); i++) {
        expect_ok(parse(asks[i], &line));
        assert_true(line.wants_help);
    }
    assert_int_equal(line.command, COMMAND_SYNC);
    expect_ok(parse("pgtide --version", &line));
    assert_true(line.wants_version);
}

static void after_two_dashes_nothing_is_an_option(void **state)
{
    struct command_line line;

    (void)state;
    expect_ok(parse("pgtide sync --json -- --odd -b", &line));
    assert_string_equal(line.sync.source, "--odd");
    assert_string_equal(line.sync.target, "-b");
}

static void what_is_wrong_is_named_with_what_was_probably_meant(void **state)
{
    static const struct {
        const char *text, *message, *hint;
    } cases[] = {
        {"pgtide", "a command is missing", "pgtide --help"},
        {"pgtide snyc a b", "no command \"snyc\"", "\"pgtide sync\""},
        {"pgtide xyzzy", "no command \"xyzzy\"", "pgtide --help"},
        {"pgtide help snyc", "no command \"snyc\"", "\"pgtide sync\""},
        {"pgtide --json sync a b", "\"--json\" stands before the command", "after the command"},
        {"pgtide sync", "needs SOURCE", "sync --help"},
        {"pgtide sync a", "needs TARGET", "sync --help"},
        {"pgtide sync a ''", "TARGET is empty", ""},
        {"pgtide sync a b c", "takes 2 arguments", ""},
        {"pgtide sync a b --untill caught-up", "no option \"--untill\"", "\"--until\""},
        {"pgtide sync a b --nonsense", "no option \"--nonsense\"", "sync --help"},
        {"pgtide sync a b -q", "no option \"-q\"", "sync --help"},
        {"pgtide sync a b --timeout 3", "no option \"--timeout\"", "pgtide wait"},
        {"pgtide sync a b --until", "\"--until\" needs a value: caught-up|LSN", ""},
        {"pgtide sync a b --until --json", "\"--until\" needs a value", ""},
        {"pgtide sync a b --until soon", "\"soon\" is neither caught-up nor a position", ""},
        {"pgtide sync a b --until 16/XYZ", "\"16/XYZ\" is not a position", ""},
        {"pgtide sync a b --until 0/0", "\"0/0\" is not a position", ""},
        {"pgtide sync a b --json=yes", "\"--json\" takes no value", ""},
        {"pgtide sync a b --jobs 0", "\"0\" is not a number from 1 to 64", ""},
        {"pgtide sync a b --jobs -1", "\"-1\" is not a number", ""},
        {"pgtide sync a b --jobs 65", "\"65\" is not a number from 1 to 64", ""},
        {"pgtide sync a b --jobs 8x", "\"8x\" is not a number", ""},
        {"pgtide sync a b --jobs 99999999999999999999999", "is not a number", ""},
        {"pgtide sync a b --jobs=", "\"\" is not a number", ""},
        {"pgtide sync a b --jobs 2 --jobs 3", "\"--jobs\" is given twice", ""},
        {"pgtide sync a b --slot=", "\"--slot\": its value is empty", ""},
        {"pgtide sync a b --accept a,,b", "\"a,,b\" has an empty word", ""},
        {"pgtide sync a b --on-conflict ignroe", "\"ignroe\" is none of error, ignore, overwrite", "\"ignore\""},
        {"pgtide wait a b", "needs \"--for incremental|caught-up\"", ""},
        {"pgtide slots gcc a", "\"gcc\" is none of list, gc", "\"gc\""},
        {"pgtide slots list", "needs URI", ""},
        {"pgtide completion fish", "\"fish\" is none of bash", ""},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        expect_refusal(cases[i].text, cases[i].message, cases[i].hint);
}

static void what_is_no_speed_limit_is_refused(void **state)
{
    (void)state;
    expect_refusal("pgtide sync a b --max-rate 0", "is no speed limit", "");
    expect_refusal("pgtide speed a b 20@25:00-26:00", "is no speed limit", "");
}

static void texts_are_copies_so_that_argv_may_be_wiped(void **state)
{
    char source[] = "password=secret";
    const char *argv[] = {"pgtide", "sync", source, "b", "--slot", source};
    struct command_line line;

    (void)state;
    expect_ok(command_line_parse(arena, COUNT_OF(argv), argv, &line));
    memset(source, 'x', sizeof source - 1);
    assert_string_equal(line.sync.source, "password=secret");
    assert_string_equal(line.sync.slot, "password=secret");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_pair_alone_gets_the_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(every_option_of_sync_arrives_where_it_belongs, setup, teardown),
        cmocka_unit_test_setup_teardown(lists_grow_by_repetition_and_by_commas, setup, teardown),
        cmocka_unit_test_setup_teardown(rules_are_taken_as_they_are, setup, teardown),
        cmocka_unit_test_setup_teardown(a_set_is_a_list_of_known_words, setup, teardown),
        cmocka_unit_test_setup_teardown(the_other_commands_have_their_arguments, setup, teardown),
        cmocka_unit_test_setup_teardown(help_wins_over_whatever_else_is_wrong, setup, teardown),
        cmocka_unit_test_setup_teardown(after_two_dashes_nothing_is_an_option, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_wrong_is_named_with_what_was_probably_meant, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_speed_limit_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(texts_are_copies_so_that_argv_may_be_wiped, setup, teardown),
    };

    return cmocka_run_group_tests_name("cli/parse", tests, NULL, NULL);
}

/* cli/run: commands call the worker with what was asked for, and end with the status of the contract. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <unistd.h>

#include "cli/parse.h"
#include "cli/run.h"
#include "control/json.h"
#include "support/expect.h"
#include "support/fake_worker.h"
#include "support/folder.h"
#include "sys/file.h"

enum { ARGV_MAX = 16 };

struct ran {
    int status;
    char *out, *errors;
};

static char *read_back(struct arena *a, const char *path)
{
    char *text = NULL;
    size_t length = 0;

    expect_ok(file_read(a, path, &text, &length));
    return text;
}

static int redirect(int fd, const char *path)
{
    int kept = dup(fd), file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    dup2(file, fd);
    close(file);
    return kept;
}

/* As main does, with standard output and error in files of `folder`. */
static struct ran run(struct arena *a, const char *folder, const char *text)
{
    const char *argv[ARGV_MAX + 1] = {NULL};
    const char *out = arena_printf(a, "%s/out", folder), *errors = arena_printf(a, "%s/errors", folder);
    char *save = NULL;
    int argc = 0;
    struct command_line line;
    CLEANUP(stop_free) struct stop *stop = NULL;
    struct ran ran = {0};

    for (char *word = strtok_r(arena_strdup(a, text), " ", &save); word != NULL; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    expect_ok(command_line_parse(a, argc, argv, &line));
    expect_ok(stop_new(&stop));
    fflush(stdout);
    int kept_out = redirect(STDOUT_FILENO, out), kept_errors = redirect(STDERR_FILENO, errors);
    ran.status = (int)command_run(&line, stop);
    fflush(stdout);
    dup2(kept_out, STDOUT_FILENO);
    dup2(kept_errors, STDERR_FILENO);
    close(kept_out);
    close(kept_errors);
    ran.out = read_back(a, out);
    ran.errors = read_back(a, errors);
    return ran;
}

static void expect_text(const char *text, const char *part)
{
    if (strstr(text, part) == NULL) {
        print_error("\"%s\" is not in:\n%s\n", part, text);
        fail();
    }
}

static void succeed(void)
{
    fake_worker = (struct fake_worker){.outcome = ERROR_KIND_COUNT};
}

static void fail_with(enum error_kind kind, const char *message)
{
    fake_worker = (struct fake_worker){.outcome = kind, .message = message};
}

static void sync_hands_over_its_options(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    succeed();
    struct ran ran = run(a, *state, "pgtide sync a b --jobs 7 --state-dir /s");
    assert_int_equal(ran.status, 0);
    assert_int_equal(fake_worker.n_calls, 1);
    assert_int_equal(fake_worker.options.jobs, 7);
    assert_string_equal(fake_worker.options.state_dir, "/s");
    expect_text(ran.out, "done in 0 s\n");
    assert_string_equal(ran.errors, "");
}

static void cutover_is_confirmed_and_hands_over_its_options(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    succeed();
    struct ran ran = run(a, *state, "pgtide cutover a b --json --state-dir /s");
    assert_int_equal(ran.status, 2);
    assert_int_equal(fake_worker.n_calls, 0);
    expect_text(ran.errors, "Give --yes.");
    ran = run(a, *state, "pgtide cutover a b --yes --freeze --refresh-matviews --max-downtime 9 --state-dir /s");
    assert_int_equal(ran.status, 0);
    assert_int_equal(fake_worker.n_calls, 1);
    assert_true(fake_worker.cutover.freeze && fake_worker.cutover.refresh_matviews && fake_worker.cutover.compares);
    assert_int_equal(fake_worker.cutover.downtime_s, 9);
    expect_text(ran.out, "cut over");
    ran = run(a, *state, "pgtide cutover a b --dry-run --compare none --state-dir /s");
    assert_int_equal(ran.status, 0);
    assert_true(fake_worker.cutover.is_dry_run && !fake_worker.cutover.compares && !fake_worker.cutover.freeze);
    fail_with(ERROR_DATA, "not equal");
    ran = run(a, *state, "pgtide cutover a b --undo --json --state-dir /s");
    assert_int_equal(ran.status, 1);
    expect_text(ran.out, "\"error\": \"not equal\"");
}

static void the_state_folder_is_where_the_environment_says(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    succeed();
    setenv("HOME", "/home/x", 1);
    unsetenv("XDG_STATE_HOME");
    unsetenv("PGTIDE_STATE_DIR");
    (void)run(a, *state, "pgtide status a b");
    assert_string_equal(fake_worker.options.state_dir, "/home/x/.local/state/pgtide");
    setenv("XDG_STATE_HOME", "/xdg", 1);
    (void)run(a, *state, "pgtide status a b");
    assert_string_equal(fake_worker.options.state_dir, "/xdg/pgtide");
    setenv("PGTIDE_STATE_DIR", "/ours", 1);
    (void)run(a, *state, "pgtide status a b");
    assert_string_equal(fake_worker.options.state_dir, "/ours");
}

static void a_failure_says_why_on_standard_error(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    fail_with(ERROR_DATA, "applying to table \"t\": it does not fit");
    struct ran ran = run(a, *state, "pgtide sync a b");
    assert_int_equal(ran.status, 1);
    expect_text(ran.errors, "pgtide: applying to table \"t\": it does not fit\n");
    ran = run(a, *state, "pgtide sync a b --quiet");
    assert_int_equal(ran.status, 1);
    assert_string_equal(ran.out, "");
    expect_text(ran.errors, "it does not fit");
}

static void be_interrupted(struct progress *progress, struct stop *stop)
{
    (void)progress;
    stop_request(stop);
}

static void an_interruption_is_130_and_no_error(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    fail_with(ERROR_CANCELLED, "stopped");
    fake_worker.work = be_interrupted;
    struct ran ran = run(a, *state, "pgtide sync a b");
    assert_int_equal(ran.status, 130);
    expect_text(ran.out, "the same command goes on from here");
    assert_null(strstr(ran.errors, "pgtide: stopped"));
}

static const struct check_item passed[] = {{.id = "versions", .result = CHECK_PASSED, .title = "versions fit"}};
static const struct check_item failed[] = {{.id = "versions", .result = CHECK_FAILED, .title = "versions fit"}};

static void a_refusal_is_3_and_shows_what_was_found(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    fail_with(ERROR_REFUSED, "the precheck refuses");
    fake_worker.items = failed;
    fake_worker.n_items = 1;
    struct ran ran = run(a, *state, "pgtide sync a b");
    assert_int_equal(ran.status, 3);
    expect_text(ran.out, "versions fit");
    ran = run(a, *state, "pgtide check a b");
    assert_int_equal(ran.status, 3);
    expect_text(ran.out, "1 failed");
    expect_text(ran.errors, "the precheck refuses");
    fake_worker.outcome = ERROR_KIND_COUNT; /* even if the worker forgets to refuse */
    assert_int_equal(run(a, *state, "pgtide check a b").status, 3);
}

static void check_without_findings_is_0_also_as_a_document(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    succeed();
    fake_worker.items = passed;
    fake_worker.n_items = 1;
    assert_int_equal(run(a, *state, "pgtide check a b").status, 0);
    assert_false(fake_worker.has_fix);
    struct check_repair repair = {.id = "replica-identity", .on_source = true, .sql = "ALTER TABLE a", .is_done = true};
    fake_worker.repairs = &repair;
    fake_worker.n_repairs = 1;
    struct ran ran = run(a, *state, "pgtide check a b --json --fix");
    CLEANUP(json_decref) json_t *document = json_loads(ran.out, JSON_REJECT_DUPLICATES, NULL);
    assert_int_equal(ran.status, 0);
    assert_true(fake_worker.has_fix);
    assert_int_equal(json_array_size(json_object_get(document, "fixes")), 1);
    assert_string_equal(json_string_value(json_object_get(document, "result")), "passed");
}

static void status_is_a_sentence_or_a_document(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    succeed();
    expect_text(run(a, *state, "pgtide status a b").out, "there is no sync of this pair");
    struct ran ran = run(a, *state, "pgtide status a b --json");
    CLEANUP(json_decref) json_t *document = json_loads(ran.out, JSON_REJECT_DUPLICATES, NULL);
    assert_string_equal(json_string_value(json_object_get(document, "state")), "none");
}

static void wait_and_stop_and_slots_say_what_they_want(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct leftover leftovers[] = {{.kind = "schema", .name = "pgtide", .problem = "permission denied"}};

    succeed();
    expect_text(run(a, *state, "pgtide wait a b --for caught-up --timeout 60").out, "caught up\n");
    assert_int_equal(fake_worker.wait_for, WAIT_CAUGHT_UP);
    assert_int_equal(fake_worker.timeout_ms, 60000);
    expect_text(run(a, *state, "pgtide wait a b --for incremental").out, "following\n");
    assert_int_equal(fake_worker.timeout_ms, -1);

    assert_int_equal(run(a, *state, "pgtide stop a b --force").status, 0);
    assert_true(fake_worker.has_force);

    assert_int_equal(run(a, *state, "pgtide slots list service=x").status, 0);
    assert_string_equal(fake_worker.server, "service=x");
    assert_false(fake_worker.is_gc);
    fake_worker.leftovers = leftovers;
    fake_worker.n_leftovers = 1;
    struct ran ran = run(a, *state, "pgtide slots gc service=x");
    assert_true(fake_worker.is_gc);
    assert_int_equal(ran.status, 1);
    expect_text(ran.out, "permission denied");
}

static void resume_hands_over_its_choice(void **state)
{
    static const struct {
        const char *words;
        enum resume_choice choice;
    } cases[] = {
        {"pgtide resume a b", RESUME_AS_IS},
        {"pgtide resume a b --skip-change", RESUME_SKIP_CHANGE},
        {"pgtide resume a b --skip-transaction --on-conflict ignore", RESUME_SKIP_TRANSACTION},
        {"pgtide resume a b --replace-with DROP", RESUME_REPLACE},
        {"pgtide resume a b --overwrite --until caught-up", RESUME_OVERWRITE},
    };
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    for (unsigned i = 0; i < COUNT_OF(cases); i++) {
        succeed();
        assert_int_equal(run(a, *state, cases[i].words).status, EXIT_DONE);
        assert_int_equal(fake_worker.choice, cases[i].choice);
        assert_string_equal(fake_worker.instead, cases[i].choice == RESUME_REPLACE ? "DROP" : "");
    }

    const char *file = arena_printf(a, "%s/fix.sql", (const char *)*state);
    assert_null(file_replace(file, "ALTER TABLE t ADD x int", 23));
    assert_int_equal(
        run(a, *state, arena_printf(a, "pgtide resume a b --replace-with %s --until caught-up", file)).status,
        EXIT_DONE);
    assert_string_equal(fake_worker.instead, "ALTER TABLE t ADD x int");
    assert_int_equal(fake_worker.options.until, UNTIL_CAUGHT_UP);
}

static void conflicts_are_shown_for_people_and_as_a_document(void **state)
{
    CLEANUP(json_decref)
    json_t *document =
        json_pack("{s:[{s:s, s:s, s:s, s:s, s:s, s:i, s:s, s:{s:s}, s:n, s:{s:s}}], s:{s:s, s:s, s:s, s:i, s:s}}",
                  "conflicts", "table", "public.t", "kind", "insert-duplicate", "policy", "ignore", "action", "skipped",
                  "at", "2024-05-01T12:00:00.123Z", "xid", 77, "lsn", "0/77", "key", "id", "5", "old", "new", "id", "5",
                  "stopped", "at", "2024-05-02T12:00:00.123Z", "statement", "INSERT of table", "cause",
                  "a row is in the way", "xid", 78, "lsn", "0/78");

    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    succeed();
    fake_worker.conflicts = document;
    struct ran ran = run(a, *state, "pgtide conflicts a b --table t");
    assert_string_equal(fake_worker.table, "t");
    static const char *const parts[] = {"public.t insert-duplicate: skipped (ignore)",
                                        "source transaction 77, 0/77",
                                        "key {\"id\":\"5\"}",
                                        "new {\"id\":\"5\"}",
                                        "stopped at 2024-05-02",
                                        "INSERT of table",
                                        "a row is in the way",
                                        "--skip-transaction"};
    for (unsigned i = 0; i < COUNT_OF(parts); i++)
        expect_text(ran.out, parts[i]);
    ran = run(a, *state, "pgtide conflicts a b --json");
    assert_null(fake_worker.table);
    expect_text(ran.out, "\"kind\": \"insert-duplicate\"");

    CLEANUP(json_decref) json_t *nothing = json_pack("{s:[], s:n}", "conflicts", "stopped");
    fake_worker.conflicts = nothing;
    assert_string_equal(run(a, *state, "pgtide conflicts a b").out, "no conflict is recorded\n");
}

static void help_and_completion_need_no_worker(void **state)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");

    succeed();
    expect_text(run(a, *state, "pgtide --help").out, "Commands:");
    expect_text(run(a, *state, "pgtide sync --help").out, "--until caught-up|LSN");
    expect_text(run(a, *state, "pgtide --version").out, "pgtide " PGTIDE_VERSION "\n");
    expect_text(run(a, *state, "pgtide completion bash").out, "complete -o default -F _pgtide pgtide");
    assert_int_equal(fake_worker.n_calls, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sync_hands_over_its_options, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(cutover_is_confirmed_and_hands_over_its_options, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(the_state_folder_is_where_the_environment_says, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_failure_says_why_on_standard_error, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(an_interruption_is_130_and_no_error, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_refusal_is_3_and_shows_what_was_found, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(check_without_findings_is_0_also_as_a_document, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(status_is_a_sentence_or_a_document, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(wait_and_stop_and_slots_say_what_they_want, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(resume_hands_over_its_choice, folder_setup, folder_teardown),
        cmocka_unit_test_setup_teardown(conflicts_are_shown_for_people_and_as_a_document, folder_setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(help_and_completion_need_no_worker, folder_setup, folder_teardown),
    };

    return cmocka_run_group_tests_name("cli/run", tests, NULL, NULL);
}

/* cli/frame, report, summary, status_view: what people see, letter by letter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/frame.h"
#include "cli/leftovers.h"
#include "cli/report.h"
#include "cli/status_view.h"
#include "cli/summary.h"
#include "control/json.h"
#include "control/status.h"

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

static void set_step(struct progress *p, enum meter_step step, uint64_t done, uint64_t total, int state)
{
    struct progress_step *s = meter_progress_step(p, step);

    s->done = done;
    s->total = total;
    s->entries_done = done;
    s->entries_total = total;
    s->state = state;
}

static struct frame_view copying(void)
{
    struct progress *p = progress_new(arena);
    struct progress_counters *c = progress_counters(p);

    progress_set_phase(p, PHASE_DATA);
    set_step(p, METER_STRUCTURE, 1204, 1204, STEP_DONE);
    set_step(p, METER_DATA, UINT64_C(13207024435), UINT64_C(22978025062), STEP_RUNNING);
    set_step(p, METER_INDEX, 120, 1000, STEP_RUNNING);
    set_step(p, METER_OBJECTS, 0, 321, STEP_WAITING);
    c->whole.done = 454;
    c->whole.total = 1000;
    c->whole.state = STEP_RUNNING;
    c->tables_done = 120;
    c->tables_total = 340;
    c->rows_copied = 12345678;
    c->bytes_copied = UINT64_C(13207024435);
    c->received_lsn = 1;
    c->spool_bytes = 12897484;
    progress_item_begin(p, 0, "public.orders", 2000);
    progress_item_add(p, 0, 1234567, 1220);
    progress_item_begin(p, 1, "größe.\"Bestellungen aller Art, mit einem langen Namen\"", 1000);
    progress_item_add(p, 1, 2000, 420);
    progress_item_begin(p, 2, "index public.orders_date", 0);
    return (struct frame_view){
        .progress = p,
        .elapsed_s = 192,
        .reading = {.has_rates = true,
                    .bytes_copied_per_s = 50541363,
                    .rows_copied_per_s = 52000,
                    .seconds_left = {-1, 184, 20, -1, -1},
                    .whole_seconds_left = 190},
    };
}

static struct frame_view following(void)
{
    struct frame_view v = copying();
    struct progress_counters *c = progress_counters(v.progress);

    progress_set_phase(v.progress, PHASE_INCREMENTAL);
    for (unsigned i = 0; i < 3; i++)
        progress_item_end(v.progress, i);
    c->tables_done = 340;
    c->delay_us = 230000;
    c->applied_lsn = UINT64_C(0x16B374D848);
    c->transactions_applied = 1234567;
    c->rows_applied = 5678901;
    c->conflicts = 3;
    c->slot_retained_bytes = 5 << 20;
    v.elapsed_s = 3780;
    v.reading = (struct meter_reading){.has_rates = true,
                                       .transactions_per_s = 1234,
                                       .rows_applied_per_s = 5678,
                                       .has_wal_behind = true,
                                       .whole_seconds_left = -1,
                                       .wal_behind = 20480,
                                       .seconds_left = {-1, -1, -1, -1, -1}};
    v.n_history = 4;
    for (unsigned i = 0; i < 4; i++)
        v.history[i] = i * 10;
    return v;
}

static void expect_frame(struct frame_view view, struct canvas_style style, const char *expected)
{
    struct canvas c = canvas_with(style);

    frame_draw(&c, &view);
    assert_string_equal(buffer_text(&c.text), expected);
    canvas_drop(&c);
}

static void a_copy_on_80_columns(void **state)
{
    (void)state;
    expect_frame(copying(), (struct canvas_style){.width = 80, .height = 24, .has_utf8 = true},
                 "\n"
                 " pgtide  copying rows                                                3 min 12 s\n"
                 "\n"
                 " ✓ structure  ━━━━━━━━━━━━━━━━━━━━ 100 %  1,204 entries\n"
                 " ⠋ data       ━━━━━━━━━━━─────────  57 %  12.2 GB of 21.3 GB · 3 min 04 s left\n"
                 " ⠋ indexes    ━━──────────────────  12 %  120 of 1,000 · 20 s left\n"
                 " · catch-up   waiting\n"
                 " · objects    ────────────────────   0 %  waiting\n"
                 "   in all     ━━━━━━━━━───────────  45 %  3 min 10 s left\n"
                 "\n"
                 "   tables     120 of 340 · 12,345,678 rows · 48.1 MB/s · 52,000 rows/s\n"
                 "   spool      12.2 MB on disk\n"
                 "   public.orders                       1.2 M rows   1.1 kB  ━━━━━━────  61 %\n"
                 "   größe.\"Bestellungen aller Art, …    2,000 rows    420 B  ━━━━──────  42 %\n"
                 "   index public.orders_date\n");
}

static void a_copy_on_40_columns(void **state)
{
    (void)state;
    expect_frame(copying(), (struct canvas_style){.width = 40, .height = 24, .has_utf8 = true},
                 "\n"
                 " pgtide  copying rows        3 min 12 s\n"
                 "\n"
                 " ✓ structure  ━━━━━━━━━━ 100 %  1,204 e…\n"
                 " ⠋ data       ━━━━━╸────  57 %  12.2 GB…\n"
                 " ⠋ indexes    ━─────────  12 %  120 of …\n"
                 " · catch-up   waiting\n"
                 " · objects    ──────────   0 %  waiting\n"
                 "   in all     ━━━━╸─────  45 %  3 min 1…\n"
                 "\n"
                 "   tables     120 of 340 · 12,345,678 r…\n"
                 "   spool      12.2 MB on disk\n"
                 "   public.orders     ━━━╸──  61 %\n"
                 "   größe.\"Bestellu…  ━━╸───  42 %\n"
                 "   index public.or…\n");
}

static void a_copy_on_200_columns_without_utf8(void **state)
{
    (void)state;
    expect_frame(copying(), (struct canvas_style){.width = 200, .height = 24},
                 "\n"
                 " pgtide  copying rows                                                                                "
                 "                                                                                        3 min 12 s\n"
                 "\n"
                 " + structure  ================================ 100 %  1,204 entries\n"
                 " | data       ==================--------------  57 %  12.2 GB of 21.3 GB, 3 min 04 s left\n"
                 " | indexes    ===>----------------------------  12 %  120 of 1,000, 20 s left\n"
                 " . catch-up   waiting\n"
                 " . objects    --------------------------------   0 %  waiting\n"
                 "   in all     ==============>-----------------  45 %  3 min 10 s left\n"
                 "\n"
                 "   tables     120 of 340, 12,345,678 rows, 48.1 MB/s, 52,000 rows/s\n"
                 "   spool      12.2 MB on disk\n"
                 "   public.orders                                   1.2 M rows   1.1 kB  ======----  61 %\n"
                 "   gr??e.\"Bestellungen aller Art, mit einem la~    2,000 rows    420 B  ====------  42 %\n"
                 "   index public.orders_date\n");
}

static void a_low_screen_says_how_many_tables_it_does_not_show(void **state)
{
    (void)state;
    expect_frame(copying(), (struct canvas_style){.width = 80, .height = 14},
                 "\n"
                 " pgtide  copying rows                                                3 min 12 s\n"
                 "\n"
                 " + structure  ==================== 100 %  1,204 entries\n"
                 " | data       ===========---------  57 %  12.2 GB of 21.3 GB, 3 min 04 s left\n"
                 " | indexes    ==------------------  12 %  120 of 1,000, 20 s left\n"
                 " . catch-up   waiting\n"
                 " . objects    --------------------   0 %  waiting\n"
                 "   in all     =========-----------  45 %  3 min 10 s left\n"
                 "\n"
                 "   tables     120 of 340, 12,345,678 rows, 48.1 MB/s, 52,000 rows/s\n"
                 "   spool      12.2 MB on disk\n"
                 "   and 3 more\n");
}

static void following_on_80_columns(void **state)
{
    (void)state;
    expect_frame(following(), (struct canvas_style){.width = 80, .height = 24, .has_utf8 = true},
                 "\n"
                 " pgtide  following                                                   1 h 03 min\n"
                 "\n"
                 " ✓ copied     340 tables · 12,345,678 rows · 12.2 GB\n"
                 "   delay      0.2 s\n"
                 "   rate       1,234 transactions/s · 5,678 rows/s  ▁▃▆█\n"
                 "   applied    1,234,567 transactions · 5,678,901 rows\n"
                 "   behind     20.0 kB of WAL · applied up to 16/B374D848\n"
                 "   spool      12.2 MB on disk · the source keeps 5.0 MB of WAL\n"
                 "   conflicts  3\n");
}

static void expect_plain(struct frame_view view, const char *expected)
{
    struct canvas c = canvas_with((struct canvas_style){0});

    frame_draw_plain(&c, &view);
    assert_string_equal(buffer_text(&c.text), expected);
    canvas_drop(&c);
}

static void plain_lines_have_the_same_numbers(void **state)
{
    (void)state;
    expect_plain(
        copying(),
        "data 57 %, 12.2 GB of 21.3 GB, 3 min 04 s left, 48.1 MB/s, 52,000 rows/s, in all 45 %, 3 min 10 s left\n");
    expect_plain(following(),
                 "following: delay 0.2 s, 1,234 transactions/s, 5,678 rows/s, 20.0 kB of WAL behind, 3 conflicts\n");
}

/* A source of all phases and sizes: nothing is ever wider or higher than the screen. */
static void no_frame_is_larger_than_its_screen(void **state)
{
    (void)state;
    for (enum phase phase = 0; phase < PHASE_COUNT; phase++) {
        for (unsigned width = 1; width < 130; width += 3) {
            struct frame_view v = copying();
            struct canvas_style style = {.width = width, .height = 1 + width % 25, .has_utf8 = width % 2 == 0};
            struct canvas c = canvas_with(style);

            progress_counters(v.progress)->applied_lsn = 77;
            progress_set_phase(v.progress, phase);
            frame_draw(&c, &v);
            assert_true(c.n_lines < style.height);
            char *rest = arena_strdup(arena, buffer_text(&c.text)), *save = NULL;
            for (char *line = strtok_r(rest, "\n", &save); line != NULL; line = strtok_r(NULL, "\n", &save))
                assert_true(text_columns(line, true) <= width);
            canvas_drop(&c);
        }
    }
}

static const char *const tables[] = {"public.audit", "public.\"Mixed\nCase\""};

static struct check_repair repairs_of_identity[] = {{.on_source = true, .sql = "ALTER TABLE a REPLICA IDENTITY FULL"},
                                                    {.on_source = true, .sql = "ALTER TABLE b REPLICA IDENTITY FULL"}};

static const struct check_item findings[] = {
    {.id = "target-empty",
     .group = CHECK_TARGET_STATE,
     .result = CHECK_FAILED,
     .title = "the target has no rows",
     .reason = "1 table has rows",
     .objects = tables,
     .n_objects = 1,
     .fix = "TRUNCATE public.audit;"},
    {.id = "source-wal-level", .group = CHECK_PARAMETER, .result = CHECK_PASSED, .title = "wal_level is logical"},
    {.id = "replica-identity",
     .group = CHECK_OBJECT_DEPENDENCY,
     .result = CHECK_ALARM,
     .title = "every table has a replica identity",
     .reason = "2 tables have none",
     .objects = tables,
     .n_objects = 2,
     .repairs = repairs_of_identity,
     .n_repairs = 2,
     .fix = "ALTER TABLE a REPLICA IDENTITY FULL;\nALTER TABLE b REPLICA IDENTITY FULL;"},
    {.id = "unlogged-tables",
     .group = CHECK_SOURCE_FACTS,
     .result = CHECK_ALARM,
     .is_accepted = true,
     .title = "no table is unlogged",
     .reason = "1 table is",
     .objects = tables,
     .n_objects = 1,
     .fix = "x"},
    {.id = "target-settings",
     .group = CHECK_PARAMETER,
     .result = CHECK_SKIPPED,
     .title = "the target has room",
     .reason = "the target could not be reached"},
};

static void the_report_is_grouped_and_says_how_to_mend(void **state)
{
    struct canvas c = canvas_with((struct canvas_style){.has_utf8 = true});

    (void)state;
    report_draw(&c, findings, COUNT_OF(findings), REPORT_ALL);
    assert_string_equal(buffer_text(&c.text),
                        "parameter\n"
                        "  ✓ source-wal-level         wal_level is logical\n"
                        "  · target-settings          the target could not be reached\n"
                        "target state\n"
                        "  ✗ target-empty             FAILED\n"
                        "object dependency\n"
                        "  ! replica-identity         ALARM\n"
                        "source facts\n"
                        "  ! unlogged-tables          ALARM, accepted\n"
                        "\n"
                        "  ✗ FAILED: the target has no rows  target-empty\n"
                        "    1 table has rows\n"
                        "      public.audit\n"
                        "    to mend it:\n"
                        "    TRUNCATE public.audit;\n"
                        "\n"
                        "  ! ALARM: every table has a replica identity  replica-identity\n"
                        "    2 tables have none\n"
                        "      public.audit\n"
                        "      public.\"Mixed?Case\"\n"
                        "    to mend it (or by pgtide check --fix):\n"
                        "    ALTER TABLE a REPLICA IDENTITY FULL;\n"
                        "    ALTER TABLE b REPLICA IDENTITY FULL;\n"
                        "    or accept it: --accept replica-identity\n"
                        "\n"
                        "  ! ALARM: no table is unlogged  unlogged-tables, accepted\n"
                        "    1 table is\n"
                        "      public.audit\n"
                        "\n"
                        "✗ precheck: 1 passed · 1 failed · 1 alarm · 1 alarm accepted · 1 not checked\n"
                        "  pgtide check --fix runs 2 statements that are safe, and checks again\n");
    canvas_clear(&c);
    report_draw(&c, findings, 2, REPORT_FINDINGS);
    assert_string_equal(buffer_text(&c.text), "  ✗ FAILED: the target has no rows  target-empty\n"
                                              "    1 table has rows\n"
                                              "      public.audit\n"
                                              "    to mend it:\n"
                                              "    TRUNCATE public.audit;\n"
                                              "\n"
                                              "✗ precheck: 1 passed · 1 failed\n");
    canvas_clear(&c);
    report_draw(&c, findings + 1, 2, REPORT_FINDINGS); /* only alarms are in the way */
    assert_non_null(strstr(buffer_text(&c.text), "  to begin in spite of the alarms: --accept replica-identity\n"));
    canvas_drop(&c);
}

static void the_report_says_what_was_mended(void **state)
{
    static const struct check_repair repairs[] = {
        {.id = "replica-identity", .on_source = true, .sql = "ALTER TABLE a REPLICA IDENTITY FULL", .is_done = true},
        {.id = "target-objects", .sql = "GRANT CREATE ON SCHEMA s TO u", .problem = "permission denied"},
    };
    struct canvas c = canvas_with((struct canvas_style){.has_utf8 = true});
    CLEANUP(json_decref) json_t *document = report_repairs_document(repairs, COUNT_OF(repairs));

    (void)state;
    report_draw_repairs(&c, repairs, COUNT_OF(repairs));
    assert_string_equal(buffer_text(&c.text), "done by --fix\n"
                                              "  ✓ on the source  ALTER TABLE a REPLICA IDENTITY FULL\n"
                                              "  ✗ on the target  GRANT CREATE ON SCHEMA s TO u\n"
                                              "    permission denied\n"
                                              "\n");
    canvas_drop(&c);
    assert_string_equal(json_string_value(json_object_get(json_array_get(document, 1), "problem")),
                        "permission denied");
    assert_true(json_is_true(json_object_get(json_array_get(document, 0), "done")));
}

static void the_report_for_programs_has_it_all(void **state)
{
    CLEANUP(json_decref) json_t *document = report_document(findings, COUNT_OF(findings));
    const json_t *items = json_object_get(document, "items");
    const json_t *alarm = json_array_get(items, 2);

    (void)state;
    assert_string_equal(json_string_value(json_object_get(document, "result")), "refused");
    assert_int_equal(json_array_size(items), COUNT_OF(findings));
    assert_string_equal(json_string_value(json_object_get(alarm, "id")), "replica-identity");
    assert_string_equal(json_string_value(json_object_get(alarm, "group")), "object dependency");
    assert_string_equal(json_string_value(json_object_get(alarm, "result")), "ALARM");
    assert_true(json_is_false(json_object_get(alarm, "accepted")));
    assert_int_equal(json_array_size(json_object_get(alarm, "objects")), 2);
    assert_true(json_is_null(json_object_get(json_array_get(items, 1), "fix")));
    const json_t *counts = json_object_get(document, "counts");
    assert_int_equal(json_integer_value(json_object_get(counts, "failed")), 1);
    assert_int_equal(json_integer_value(json_object_get(counts, "alarms")), 1);
    assert_int_equal(json_integer_value(json_object_get(counts, "accepted")), 1);
    assert_int_equal(json_integer_value(json_object_get(counts, "skipped")), 1);
}

static void expect_summary(enum exit_status status, const char *expected)
{
    struct frame_view v = following();
    struct canvas c = canvas_with((struct canvas_style){.has_utf8 = true});
    struct summary s = {.status = status, .progress = v.progress, .elapsed_us = INT64_C(723000000)};

    s.phase_us[PHASE_DATA] = INT64_C(310000000);
    s.phase_us[PHASE_INDEX] = INT64_C(125000000);
    summary_draw(&c, &s);
    assert_string_equal(buffer_text(&c.text), expected);
    canvas_drop(&c);
}

static void the_end_says_what_was_done_and_what_is_left(void **state)
{
    (void)state;
    expect_summary(EXIT_DONE, "✓ done in 12 min 03 s\n"
                              "  copied    340 of 340 tables · 12,345,678 rows · 12.2 GB\n"
                              "  time      data 5 min 10 s · index 2 min 05 s\n"
                              "  applied   1,234,567 transactions · 5,678,901 rows · up to 16/B374D848\n"
                              "  conflicts 3, recorded on the target in pgtide.conflict\n"
                              "  left      nothing of pgtide's on either server\n");
    expect_summary(EXIT_INTERRUPTED,
                   "! interrupted after 12 min 03 s; the same command goes on from here\n"
                   "  copied    340 of 340 tables · 12,345,678 rows · 12.2 GB\n"
                   "  time      data 5 min 10 s · index 2 min 05 s\n"
                   "  applied   1,234,567 transactions · 5,678,901 rows · up to 16/B374D848\n"
                   "  conflicts 3, recorded on the target in pgtide.conflict\n"
                   "  left      a slot and a publication on the source, which keeps WAL for them; the schema pgtide on "
                   "the target. \"pgtide stop\" with the same arguments removes them\n");
}

static void a_status_can_be_read(void **state)
{
    struct frame_view v = following();
    struct status_facts facts = {.state = STATUS_RUNNING,
                                 .pid = 4711,
                                 .source = "shop@old:5432",
                                 .target = "shop@new",
                                 .slot = "pgtide_0123456789ab",
                                 .state_folder = "/var/lib/x"};
    CLEANUP(json_decref) json_t *document = status_document(&facts, v.progress, &v.reading);
    struct canvas c = canvas_with((struct canvas_style){.has_utf8 = true});

    (void)state;
    status_draw(&c, document);
    assert_string_equal(buffer_text(&c.text),
                        "running: following (pid 4711)\n"
                        "  source      shop@old:5432\n"
                        "  target      shop@new\n"
                        "  structure   ━━━━━━━━━━━━━━━━━━━━ 100 %\n"
                        "  data        ━━━━━━━━━━━─────────  57 %\n"
                        "  index       ━━──────────────────  12 %\n"
                        "  objects     ────────────────────   0 %\n"
                        "  in all      ━━━━━━━━━───────────  45 %\n"
                        "  copied      340 of 340 tables · 12,345,678 rows · 12.2 GB\n"
                        "  delay       0.2 s · 20.0 kB of WAL behind\n"
                        "  rate        1,234 transactions/s · 5,678 rows/s\n"
                        "  applied     1,234,567 transactions · 5,678,901 rows · up to 16/B374D848\n"
                        "  spool       12.2 MB on disk · the source keeps 5.0 MB of WAL\n"
                        "  conflicts   3\n"
                        "  slot        pgtide_0123456789ab\n"
                        "  folder      /var/lib/x\n");
    canvas_drop(&c);
}

static void a_status_of_nothing_is_one_line(void **state)
{
    CLEANUP(json_decref) json_t *document = status_document(&(struct status_facts){.state = STATUS_NONE}, NULL, NULL);
    struct canvas c = canvas_with((struct canvas_style){0});

    (void)state;
    status_draw(&c, document);
    assert_string_equal(buffer_text(&c.text), "there is no sync of this pair\n");
    canvas_drop(&c);
}

static void leftovers_say_what_they_cost(void **state)
{
    static const struct leftover all[] = {
        {.kind = "replication slot", .database = "shop", .name = "pgtide_1", .detail = "inactive, keeps 1.2 GB of WAL"},
        {.kind = "publication", .database = "shop", .name = "pgtide_1", .removed = true},
        {.kind = "schema", .database = "x", .name = "pgtide", .problem = "permission denied"},
        {.kind = "replication slot", .name = "pgtide_2", .in_use = true},
    };
    struct canvas c = canvas_with((struct canvas_style){.has_utf8 = true});
    CLEANUP(json_decref) json_t *document = leftovers_document(all, COUNT_OF(all));

    (void)state;
    leftovers_draw(&c, all, COUNT_OF(all));
    assert_string_equal(
        buffer_text(&c.text),
        "! replication slot \"pgtide_1\" in database \"shop\": abandoned, inactive, keeps 1.2 GB of WAL\n"
        "✓ publication \"pgtide_1\" in database \"shop\": removed\n"
        "✗ schema \"pgtide\" in database \"x\": abandoned\n"
        "    could not be removed: permission denied\n"
        "✓ replication slot \"pgtide_2\": in use by a running sync\n");
    canvas_clear(&c);
    leftovers_draw(&c, NULL, 0);
    assert_string_equal(buffer_text(&c.text), "nothing of pgtide's is on this server\n");
    canvas_drop(&c);
    assert_int_equal(json_array_size(json_object_get(document, "leftovers")), 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_copy_on_80_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_on_40_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(a_copy_on_200_columns_without_utf8, setup, teardown),
        cmocka_unit_test_setup_teardown(a_low_screen_says_how_many_tables_it_does_not_show, setup, teardown),
        cmocka_unit_test_setup_teardown(following_on_80_columns, setup, teardown),
        cmocka_unit_test_setup_teardown(plain_lines_have_the_same_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(no_frame_is_larger_than_its_screen, setup, teardown),
        cmocka_unit_test(the_report_is_grouped_and_says_how_to_mend),
        cmocka_unit_test(the_report_says_what_was_mended),
        cmocka_unit_test(the_report_for_programs_has_it_all),
        cmocka_unit_test_setup_teardown(the_end_says_what_was_done_and_what_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(a_status_can_be_read, setup, teardown),
        cmocka_unit_test(a_status_of_nothing_is_one_line),
        cmocka_unit_test(leftovers_say_what_they_cost),
    };

    return cmocka_run_group_tests_name("cli/frame", tests, NULL, NULL);
}

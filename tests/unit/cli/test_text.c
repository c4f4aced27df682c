/* cli: numbers for people, near names, harmless and cut text, help and completion, hidden arguments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/canvas.h"
#include "cli/exit.h"
#include "cli/format.h"
#include "cli/help.h"
#include "cli/hide.h"
#include "cli/man.h"
#include "model/nearest.h"

static void counts_have_separators(void **state)
{
    (void)state;
    assert_string_equal(format_count(0).text, "0");
    assert_string_equal(format_count(999).text, "999");
    assert_string_equal(format_count(1000).text, "1,000");
    assert_string_equal(format_count(12345678).text, "12,345,678");
    assert_string_equal(format_count(UINT64_MAX).text, "18,446,744,073,709,551,615");
    assert_string_equal(format_count_short(9999).text, "9,999");
    assert_string_equal(format_count_short(12345678).text, "12.3 M");
    assert_string_equal(format_count_short(999999).text, "999 k");
}

static void bytes_use_the_units_of_postgresql(void **state)
{
    (void)state;
    assert_string_equal(format_bytes(0).text, "0 B");
    assert_string_equal(format_bytes(1023).text, "1023 B");
    assert_string_equal(format_bytes(1024).text, "1.0 kB");
    assert_string_equal(format_bytes(1024 * 1024 - 1).text, "1023 kB"); /* cut: not 1024 kB */
    assert_string_equal(format_bytes(UINT64_C(1288490188)).text, "1.1 GB");
    assert_string_equal(format_bytes(UINT64_MAX).text, "16383 PB");
}

static void durations_and_delays_are_short(void **state)
{
    (void)state;
    assert_string_equal(format_duration(0).text, "0 s");
    assert_string_equal(format_duration(59).text, "59 s");
    assert_string_equal(format_duration(125).text, "2 min 05 s");
    assert_string_equal(format_duration(4320).text, "1 h 12 min");
    assert_string_equal(format_duration(273600).text, "3 d 4 h");
    assert_string_equal(format_delay(0).text, "0 s");
    assert_string_equal(format_delay(0.0123).text, "0.012 s");
    assert_string_equal(format_delay(0.25).text, "0.3 s");
    assert_string_equal(format_delay(42).text, "42 s");
    assert_string_equal(format_rate(0).text, "0");
    assert_string_equal(format_rate(3.14).text, "3.1");
    assert_string_equal(format_rate(1234.4).text, "1,234");
    assert_string_equal(format_percent(99.9).text, " 99 %");
    assert_string_equal(format_percent(100).text, "100 %");
}

static void edits_are_counted(void **state)
{
    (void)state;
    assert_int_equal(edit_distance("sync", "sync"), 0);
    assert_int_equal(edit_distance("snyc", "sync"), 1);
    assert_int_equal(edit_distance("untill", "until"), 1);
    assert_int_equal(edit_distance("", "until"), 5);
    assert_int_equal(edit_distance("kitten", "sitting"), 3);

    struct nearest near = {0};
    nearest_try(&near, "acept", "ack");
    nearest_try(&near, "acept", "accept");
    nearest_try(&near, "acept", "slot");
    assert_string_equal(near.name, "accept");
    near = (struct nearest){0};
    nearest_try(&near, "zzz", "gc"); /* as far as can be: no help */
    assert_null(near.name);
}

static void text_from_outside_cannot_drive_the_terminal(void **state)
{
    struct canvas c = canvas_with((struct canvas_style){.has_utf8 = true});

    (void)state;
    canvas_put(&c, INK_PLAIN,
               "a\033[2Jb\rc\x7f\xc2\x9b"
               "d\xe2\x80\xae"
               "e\xff\xc3");
    assert_string_equal(buffer_text(&c.text), "a?[2Jb?c??d?e??");
    canvas_drop(&c);
}

static void text_is_cut_to_the_width_in_columns(void **state)
{
    struct canvas c = canvas_with((struct canvas_style){.width = 8, .has_utf8 = true});

    (void)state;
    canvas_put(&c, INK_PLAIN, "größe 中文字");
    assert_string_equal(buffer_text(&c.text), "größe …"); /* a wide one does not fit in half */
    canvas_clear(&c);
    canvas_put(&c, INK_PLAIN, "12345678");
    assert_string_equal(buffer_text(&c.text), "12345678");
    canvas_clear(&c);
    canvas_put_cell(&c, INK_PLAIN, "orders", 4);
    canvas_put(&c, INK_PLAIN, "|");
    assert_string_equal(buffer_text(&c.text), "ord…|");
    assert_int_equal(text_columns("e\xcc\x81中", true), 3);
    canvas_drop(&c);
}

static void prose_is_broken_between_words(void **state)
{
    struct canvas c = canvas_with((struct canvas_style){.wrap = 12});

    (void)state;
    canvas_put(&c, INK_PLAIN, "why ");
    canvas_put_wrapped(&c, INK_PLAIN, "it is so, and averylongword ends", 4);
    canvas_end_line(&c);
    assert_string_equal(buffer_text(&c.text), "why it is\n    so, and\n    averylongword\n    ends\n");
    canvas_clear(&c);
    c.style.wrap = 0;
    canvas_put_wrapped(&c, INK_PLAIN, "it is so, and averylongword ends", 4);
    assert_string_equal(buffer_text(&c.text), "it is so, and averylongword ends");
    canvas_drop(&c);
}

static void without_utf8_and_colours_only_ascii_is_written(void **state)
{
    struct canvas c = canvas_with((struct canvas_style){.width = 60});

    (void)state;
    canvas_mark(&c, MARK_DONE);
    canvas_bar(&c, INK_BUSY, 50, 9);
    canvas_put(&c, INK_BAD, "größe");
    canvas_separator(&c);
    canvas_sparkline(&c, INK_BUSY, (double[]){1, 2}, 2);
    canvas_spinner(&c, 1);
    assert_string_equal(buffer_text(&c.text), "+====>----gr??e, /");
    canvas_drop(&c);
}

static void colours_are_switched_off_after_each_piece(void **state)
{
    struct canvas c = canvas_with((struct canvas_style){.has_colors = true});

    (void)state;
    canvas_put(&c, INK_BAD, "no");
    canvas_put(&c, INK_PLAIN, " way");
    assert_string_equal(buffer_text(&c.text), "\033[31mno\033[0m way");
    canvas_drop(&c);
}

static void no_more_lines_than_the_screen_has_room_for(void **state)
{
    struct canvas c = canvas_with((struct canvas_style){.width = 10, .height = 3});

    (void)state;
    for (int i = 0; i < 5; i++) {
        canvas_printf(&c, INK_PLAIN, "%d", i);
        canvas_end_line(&c);
    }
    assert_string_equal(buffer_text(&c.text), "0\n1\n");
    assert_int_equal(c.n_lines, 2);
    canvas_drop(&c);
}

static void help_tells_of_every_command_and_option(void **state)
{
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    (void)state;
    help_overview(text);
    for (enum command c = 0; c < COMMAND_COUNT; c++)
        assert_non_null(strstr(buffer_text(text), command_spec(c)->name));
    assert_non_null(strstr(buffer_text(text), "130"));
    for (enum command c = 0; c < COMMAND_COUNT; c++) {
        buffer_clear(text);
        help_command(text, c);
        assert_non_null(strstr(buffer_text(text), command_spec(c)->name));
        for (size_t i = 0; i < n_option_specs; i++) {
            if (option_belongs_to(&option_specs[i], c))
                assert_non_null(strstr(buffer_text(text), option_specs[i].name));
        }
    }
}

/* man(7): every command and option, and no line that groff takes for a request but those of ours. */
static void the_manual_page_tells_all_of_it(void **state)
{
    static const char *const requests[] = {".TH ", ".SH ", ".SS ", ".TP\n", ".B ", ".I ", ".BR "};
    CLEANUP(buffer_free) struct buffer *text = buffer_new();
    char needle[128];

    (void)state;
    man_page(text);
    for (enum command c = 0; c < COMMAND_COUNT; c++) {
        snprintf(needle, sizeof needle, "\n.SS pgtide %s", command_spec(c)->name);
        assert_non_null(strstr(buffer_text(text), needle));
    }
    assert_non_null(strstr(buffer_text(text), "\\fB\\-\\-on\\-conflict\\fR \\fIerror|ignore|overwrite\\fR\n"));
    assert_non_null(strstr(buffer_text(text), "\n.B 130\n"));
    for (const char *at = strstr(buffer_text(text), "\n."); at != NULL; at = strstr(at + 1, "\n.")) {
        size_t i = 0;

        while (i < COUNT_OF(requests) && strncmp(at + 1, requests[i], strlen(requests[i])) != 0)
            i++;
        assert_true(i < COUNT_OF(requests));
    }
}

static void the_tables_make_sense(void **state)
{
    (void)state;
    for (size_t i = 0; i < n_option_specs; i++) {
        const struct option_spec *option = &option_specs[i];
        bool takes_value =
            option->kind != OPTION_FLAG && option->kind != OPTION_FLAG_OFF && option->kind != OPTION_HELP;

        assert_ptr_equal(option_find(option->name), option); /* no name twice */
        assert_int_equal(takes_value, option->value != NULL);
        assert_true(option->help != NULL && option->commands != 0);
        assert_true(option->offset != 0 || option->kind == OPTION_UNTIL);
        assert_true(option->kind != OPTION_WORD || option->words != NULL);
    }
}

static void exit_statuses_are_those_of_the_contract(void **state)
{
    static const struct {
        enum error_kind kind;
        int status;
    } cases[] = {
        {ERROR_BUG, 1},     {ERROR_CONFIG, 1}, {ERROR_TRANSIENT, 1}, {ERROR_DATA, 1},
        {ERROR_HISTORY, 1}, {ERROR_USAGE, 2},  {ERROR_REFUSED, 3},   {ERROR_CANCELLED, 130},
    };

    (void)state;
    assert_int_equal(exit_status(NULL), 0);
    assert_int_equal(COUNT_OF(cases), ERROR_KIND_COUNT);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        CLEANUP(error_free) struct error *err = error_new(cases[i].kind, "x");

        assert_int_equal(exit_status(err), cases[i].status);
    }
}

static void arguments_that_may_hold_a_password_are_hidden(void **state)
{
    static const char *const secret[] = {
        "postgresql://u:geheim@h/db", "postgres://h/db?password=geheim", "postgresql://h/db?%70assword=geheim",
        "host=h password = geheim",   "sslpassword=geheim service=a",    "postgresql://u:p:w@h",
    };
    static const char *const open[] = {"service=shop", "host=h dbname=d user=u", "postgresql://u@h/db",
                                       "postgresql://h:5432/db", "--jobs=4"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(secret); i++)
        assert_true(argument_may_hold_secret(secret[i]));
    for (size_t i = 0; i < COUNT_OF(open); i++)
        assert_false(argument_may_hold_secret(open[i]));

    char uri[] = "postgresql://u:geheim@h/db", plain[] = "service=a";
    char *argv[] = {(char[]){"pgtide"}, uri, plain, NULL};
    arguments_hide(3, argv);
    assert_string_equal(uri, "***");
    for (size_t i = 3; i < sizeof uri; i++)
        assert_int_equal(uri[i], 0);
    assert_string_equal(plain, "service=a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_have_separators),
        cmocka_unit_test(bytes_use_the_units_of_postgresql),
        cmocka_unit_test(durations_and_delays_are_short),
        cmocka_unit_test(edits_are_counted),
        cmocka_unit_test(text_from_outside_cannot_drive_the_terminal),
        cmocka_unit_test(text_is_cut_to_the_width_in_columns),
        cmocka_unit_test(prose_is_broken_between_words),
        cmocka_unit_test(without_utf8_and_colours_only_ascii_is_written),
        cmocka_unit_test(colours_are_switched_off_after_each_piece),
        cmocka_unit_test(no_more_lines_than_the_screen_has_room_for),
        cmocka_unit_test(help_tells_of_every_command_and_option),
        cmocka_unit_test(the_manual_page_tells_all_of_it),
        cmocka_unit_test(the_tables_make_sense),
        cmocka_unit_test(exit_statuses_are_those_of_the_contract),
        cmocka_unit_test(arguments_that_may_hold_a_password_are_hidden),
    };

    return cmocka_run_group_tests_name("cli/text", tests, NULL, NULL);
}

/* pg/test_decoding: its text becomes pgoutput's messages, which pgoutput's decoder reads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buffer.h"
#include "pg/pgoutput.h"
#include "pg/test_decoding.h"
#include "support/expect.h"

static const struct lsn at = {0x1947770};

struct fixture {
    struct arena *arena;
    struct test_decoding *translator;
    struct decoder decoder;
    struct described_relation book; /* of "t" in schema public; oid 0: the table is gone */
    unsigned asked;
    struct buffer seen; /* the events as text */
    struct translated what;
};

static struct described_column columns[] = {
    {.name = "id", .type = 23, .typmod = -1, .in_identity = true},
    {.name = "na me", .type = 25, .typmod = -1},
    {.name = "gen", .type = 23, .typmod = -1, .is_generated = true},
};

static struct error *describe(void *self, struct arena *a, const char *schema, const char *name, bool *out_exists,
                              struct described_relation *out)
{
    struct fixture *f = self;

    (void)a;
    f->asked++;
    *out_exists = f->book.oid != 0 && strcmp(schema, "public") == 0 && strcmp(name, "t") == 0;
    if (*out_exists)
        *out = f->book;
    return NULL;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);

    if (f == NULL)
        return -1;
    f->arena = arena_new(NULL, "test");
    f->translator = test_decoding_new(f->arena, (struct relation_book){.describe = describe, .self = f});
    f->decoder = pgoutput_decoder(f->arena);
    f->book = (struct described_relation){.oid = 4711,
                                          .is_carried = true,
                                          .identity = IDENTITY_DEFAULT,
                                          .n_columns = COUNT_OF(columns),
                                          .columns = columns};
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    test_decoding_end(f->translator);
    arena_free(f->arena);
    buffer_drop(&f->seen);
    free(f);
    return 0;
}

static void show_row(struct buffer *b, const char *name, const struct stream_relation *r, const struct value *row)
{
    if (row == NULL)
        return;
    buffer_printf(b, " %s(", name);
    for (unsigned i = 0; i < r->n_columns; i++)
        buffer_printf(b, "%s%s=%.*s", i == 0 ? "" : "|", r->columns[i].name,
                      value_has_bytes(&row[i]) ? (int)row[i].length : 1,
                      value_has_bytes(&row[i])          ? row[i].bytes
                      : row[i].state == VALUE_UNCHANGED ? "~"
                                                        : "-");
    buffer_append_text(b, ")");
}

static void show(struct buffer *b, const struct event *e)
{
    static const char letters[EVENT_KIND_COUNT] = {
        [EVENT_BEGIN] = 'B',  [EVENT_COMMIT] = 'C', [EVENT_RELATION] = 'R', [EVENT_INSERT] = 'I',
        [EVENT_UPDATE] = 'U', [EVENT_DELETE] = 'D', [EVENT_TRUNCATE] = 'T', [EVENT_MESSAGE] = 'M',
    };

    buffer_printf(b, "%s%c", b->length == 0 ? "" : "; ", letters[e->kind]);
    show_row(b, e->old_kind == OLD_FULL ? "full" : "key", e->relation, e->old_row);
    show_row(b, "new", e->relation, e->new_row);
    if (e->kind == EVENT_MESSAGE)
        buffer_printf(b, " %s:%.*s", e->prefix, (int)e->content_length, e->content);
    if (e->kind == EVENT_TRUNCATE)
        buffer_printf(b, " %u%s%s", e->n_truncated, e->cascade ? " cascade" : "",
                      e->restart_identity ? " restart" : "");
}

static struct error *see(void *self, const char *bytes, size_t length)
{
    struct fixture *f = self;
    struct event event;

    TRY(f->decoder.ops->decode(f->decoder.self, f->arena, bytes, length, &event));
    show(&f->seen, &event);
    return NULL;
}

static struct error *translate(struct fixture *f, const char *text)
{
    buffer_clear(&f->seen);
    return test_decoding_translate(f->translator, text, strlen(text), at,
                                   (struct translation_sink){.take = see, .self = f}, &f->what);
}

static void expect_events(struct fixture *f, const char *text, const char *events)
{
    expect_ok(translate(f, text));
    assert_string_equal(buffer_text(&f->seen), events);
}

#define ROW "id[integer]:1 \"na me\"[text]:'x' gen[integer]:2"

static void an_insert_brings_its_relation_once_and_no_generated_column(void **state)
{
    struct fixture *f = *state;

    expect_events(f, "table public.t: INSERT: " ROW, "R; I new(id=1|na me=x)");
    expect_events(f, "table public.t: INSERT: id[integer]:2 \"na me\"[text]:'it''s' gen[integer]:4",
                  "I new(id=2|na me=it's)");
    assert_int_equal(f->asked, 1);
}

static void values_are_text_null_or_unchanged(void **state)
{
    struct fixture *f = *state;

    expect_events(f, "table public.t: INSERT: id[bit varying]:B'101' \"na me\"[boolean]:true c[text[]]:'{\"a b\",''}'",
                  "R; I new(id=101|na me=t|c={\"a b\",'})");
    expect_events(
        f,
        "table public.t: INSERT: id[my.\"odd ]: \"\" t\"]:null \"na me\"[text]:'null' c[text[]]:unchanged-toast-datum",
        "R; I new(id=-|na me=null|c=~)");
    expect_events(f, "table public.t: INSERT: id[numeric]:NaN \"na me\"[text]:'' c[text]:' new-tuple: a[b]:c'",
                  "R; I new(id=NaN|na me=|c= new-tuple: a[b]:c)");
}

static void updates_and_deletes_name_the_row_as_it_was(void **state)
{
    struct fixture *f = *state;

    expect_events(f, "table public.t: DELETE: id[integer]:7", "R; D key(id=7|na me=-)");
    expect_events(f, "table public.t: UPDATE: " ROW, "R; U new(id=1|na me=x)");
    expect_events(f, "table public.t: UPDATE: old-key: id[integer]:3 new-tuple: " ROW,
                  "U key(id=3|na me=-) new(id=1|na me=x)");
}

static void a_full_identity_names_all_columns_but_nulls(void **state)
{
    struct fixture *f = *state;
    struct described_column all[] = {columns[0], columns[1]};

    all[1].in_identity = true;
    f->book = (struct described_relation){
        .oid = 5, .is_carried = true, .identity = IDENTITY_FULL, .n_columns = 2, .columns = all};
    expect_events(f, "table public.t: DELETE: \"na me\"[text]:'a'", "R; D full(id=-|na me=a)");
}

static void without_identity_only_inserts_are_carried(void **state)
{
    struct fixture *f = *state;
    struct described_column none[] = {columns[1]};

    f->book = (struct described_relation){
        .oid = 5, .is_carried = true, .identity = IDENTITY_NOTHING, .n_columns = 1, .columns = none};
    expect_events(f, "table public.t: INSERT: \"na me\"[text]:'a'", "R; I new(na me=a)");
    expect_events(f, "table public.t: UPDATE: \"na me\"[text]:'b'", "");
    expect_events(f, "table public.t: DELETE: (no-tuple-data)", "");
}

static void other_columns_than_before_are_asked_for_again(void **state)
{
    struct fixture *f = *state;

    expect_events(f, "table public.t: INSERT: " ROW, "R; I new(id=1|na me=x)");
    expect_events(f, "table public.t: INSERT: id[integer]:1 \"na me\"[character varying]:'x' gen[integer]:2",
                  "R; I new(id=1|na me=x)");
    expect_events(f, "table public.t: INSERT: id[integer]:1 added[text]:'y'", "R; I new(id=1|added=y)");
    assert_int_equal(f->asked, 3);
}

static void the_message_says_better_than_todays_catalog_what_identified_a_row(void **state)
{
    struct fixture *f = *state;

    expect_events(f, "table public.t: DELETE: \"na me\"[text]:'old key'", "R; D key(id=-|na me=old key)");
    expect_events(f, "table public.t: DELETE: gone[integer]:5", "R; D key(gone=5)");
}

static void tables_that_are_gone_or_not_carried_are_left_out(void **state)
{
    struct fixture *f = *state;

    f->book.is_carried = false;
    expect_events(f, "table public.t: INSERT: " ROW, "");
    expect_events(f, "table public.u: DELETE: id[integer]:1", "");
    assert_int_equal(f->asked, 2);
    expect_events(f, "table public.u: DELETE: id[integer]:1", "");
    assert_int_equal(f->asked, 2);
}

static void truncate_names_its_tables_and_flags(void **state)
{
    struct fixture *f = *state;

    expect_events(f, "table public.u, public.t: TRUNCATE: (no-flags)", "R; T 1");
    expect_events(f, "table public.t: TRUNCATE: restart_seqs cascade", "T 1 cascade restart");
    expect_events(f, "table public.u: TRUNCATE: cascade", "");
}

static void messages_of_ours_are_carried_and_others_dropped(void **state)
{
    struct fixture *f = *state;

    expect_events(f, "message: transactional: 1 prefix: pgtide, sz: 9 content:heartbeat", "M pgtide:heartbeat");
    assert_int_equal(f->what.kind, TRANSLATED_CHANGE);
    expect_events(f, "message: transactional: 0 prefix: pgtide, sz: 3 content:a\nb", "M pgtide:a\nb");
    assert_int_equal(f->what.kind, TRANSLATED_OUTSIDE);
    expect_events(f, "message: transactional: 1 prefix: pgtide, sz: 1, sz: 3 content:abc", "");
}

static void begin_and_commit_come_from_the_commit(void **state) /* P2 */
{
    struct fixture *f = *state;
    const struct lsn end = {0x19477A0};
    char frame[TRANSLATED_FRAME_BYTES];
    struct event begin, commit;

    expect_ok(translate(f, "BEGIN 693"));
    assert_int_equal(f->what.kind, TRANSLATED_BEGIN);
    expect_ok(translate(f, "COMMIT 693 (at 2024-02-29 23:59:59.5+00)"));
    assert_int_equal(f->what.kind, TRANSLATED_COMMIT);
    assert_int_equal(f->what.committed_us, INT64_C(1709251199500000));
    expect_ok(
        f->decoder.ops->decode(f->decoder.self, f->arena, frame, test_decoding_begin(&f->what, end, frame), &begin));
    assert_int_equal(begin.xid, 693);
    assert_int_equal(begin.committed_us, f->what.committed_us);
    expect_ok(
        f->decoder.ops->decode(f->decoder.self, f->arena, frame, test_decoding_commit(&f->what, end, frame), &commit));
    assert_true(lsn_equal(commit.end, end));
    assert_true(lsn_equal(begin.commit, commit.commit));
    assert_true(lsn_before(commit.commit, commit.end));
}

static void what_is_no_message_is_refused(void **state)
{
    static const char *const texts[] = {
        "",
        "BEGIN",
        "BEGIN x",
        "BEGIN 99999999999",
        "COMMIT 1",
        "COMMIT 1 (at yesterday)",
        "COMMIT 1 (at 2024-02-29 23:59:59+01)",
        "table ",
        "table public.t: ",
        "table public: INSERT: id[integer]:1",
        "table \"public.t: INSERT: id[integer]:1",
        "table public.t: INSERT: id[integer:1",
        "table public.t: INSERT: id[integer]:'1",
        "table public.t: INSERT: id[integer]:",
        "table public.t: INSERT: id",
        "table public.t, public.t: INSERT: id[integer]:1",
        "table public.t: UPDATE: old-key: id[integer]:1",
        "table public.t: TRUNCATE:",
        "message: transactional: 2",
        "opening a streamed block for transaction",
    };
    struct fixture *f = *state;

    for (size_t i = 0; i < COUNT_OF(texts); i++)
        expect_error(translate(f, texts[i]), ERROR_DATA, "was not understood");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(an_insert_brings_its_relation_once_and_no_generated_column),
        TEST(values_are_text_null_or_unchanged),
        TEST(updates_and_deletes_name_the_row_as_it_was),
        TEST(a_full_identity_names_all_columns_but_nulls),
        TEST(without_identity_only_inserts_are_carried),
        TEST(other_columns_than_before_are_asked_for_again),
        TEST(the_message_says_better_than_todays_catalog_what_identified_a_row),
        TEST(tables_that_are_gone_or_not_carried_are_left_out),
        TEST(truncate_names_its_tables_and_flags),
        TEST(messages_of_ours_are_carried_and_others_dropped),
        TEST(begin_and_commit_come_from_the_commit),
        TEST(what_is_no_message_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

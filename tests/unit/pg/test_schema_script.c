/* pg/schema_script and pg/sql_lexer: scripts of pg_restore --verbose, as they are and as an enemy would have them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buffer.h"
#include "base/log.h"
#include "base/macros.h"
#include "pg/publication.h"
#include "pg/schema.h"
#include "pg/schema_script.h"
#include "pg/schema_select.h"
#include "support/expect.h"

#define HEADER_7                                           \
    "--\n"                                                 \
    "-- TOC entry 7 (class 1259 OID 100)\n"                \
    "-- Dependencies: 3 12\n"                              \
    "-- Name: t; Type: TABLE; Schema: public; Owner: al\n" \
    "-- Data Pos: 0\n"                                     \
    "--\n\n"
#define HEADER_8 \
    "--\n-- TOC entry 8 (class 2606 OID 101)\n-- Name: t t_pkey; Type: CONSTRAINT; Schema: public; Owner: al\n--\n\n"
#define LIST_7 "7; 1259 100 TABLE public t al\n"
#define LIST_8 "8; 2606 101 CONSTRAINT public t t_pkey al\n"
#define SETTINGS                      \
    "SET statement_timeout = 0;\n"    \
    "SET transaction_timeout = 0;\n"  \
    "SET client_encoding = 'UTF8';\n" \
    "SELECT pg_catalog.set_config('search_path', '', false);\n\n"

static struct script parse(struct arena *a, const char *list, const char *text)
{
    struct script script;

    expect_ok(schema_script_parse(a, list, text, &script));
    return script;
}

static void assert_refused(const char *list, const char *text, const char *words)
{
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct script script;

    expect_error(schema_script_parse(a, list, text, &script), ERROR_DATA, words);
}

static void an_entry_has_what_its_header_says(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct script s = parse(a, ";\n; a comment\n" LIST_7,
                            SETTINGS HEADER_7 "CREATE TABLE public.t (a int);\n\n\n"
                                              "ALTER TABLE public.t OWNER TO al;\n");

    assert_int_equal(s.n_entries, 1);
    const struct entry *e = script_find(&s, 7);
    assert_ptr_equal(e, &s.entries[0]);
    assert_null(script_find(&s, 8));
    assert_int_equal(e->catalog, 1259);
    assert_int_equal(e->oid, 100);
    assert_int_equal(e->kind, ENTRY_TABLE);
    assert_string_equal(e->type, "TABLE");
    assert_string_equal(e->name, "t");
    assert_string_equal(e->schema, "public");
    assert_string_equal(e->owner, "al");
    assert_int_equal(e->n_dependencies, 2);
    assert_int_equal(e->dependencies[0], 3);
    assert_int_equal(e->dependencies[1], 12);
    assert_int_equal(e->n_statements, 2);
    assert_string_equal(e->statements[0], "CREATE TABLE public.t (a int);");
    assert_string_equal(e->statements[1], "ALTER TABLE public.t OWNER TO al;");
}

static void settings_are_carried_to_every_entry_but_timeouts(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct script s = parse(a, LIST_7 LIST_8,
                            SETTINGS "SET default_tablespace = '';\n" HEADER_7
                                     "CREATE TABLE public.t ();\nSET default_tablespace = fast;\n" HEADER_8
                                     "ALTER TABLE ONLY public.t ADD CONSTRAINT t_pkey PRIMARY KEY (a);\n");

    assert_string_equal(s.entries[0].prelude, "SET client_encoding = 'UTF8';\n"
                                              "SELECT pg_catalog.set_config('search_path', '', false);\n"
                                              "SET default_tablespace = '';\n");
    assert_string_equal(s.entries[1].prelude, "SET client_encoding = 'UTF8';\n"
                                              "SELECT pg_catalog.set_config('search_path', '', false);\n"
                                              "SET default_tablespace = fast;\n");
    assert_int_equal(s.entries[0].n_statements, 1);
}

static void the_script_has_its_own_order(void **state) /* ACLs come last */
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct script s = parse(
        a, "9; 0 0 ACL public TABLE t al\n" LIST_7,
        HEADER_7 "CREATE TABLE public.t ();\n--\n-- TOC entry 9 (class 0 OID 0)\n-- Dependencies: 7\n"
                 "-- Name: TABLE t; Type: ACL; Schema: public; Owner: al\n--\n\nGRANT ALL ON TABLE public.t TO bob;\n");

    assert_int_equal(s.entries[0].id, 7);
    assert_int_equal(s.entries[1].id, 9);
    assert_int_equal(s.entries[1].kind, ENTRY_ACL);
}

/* Each holds a whole header of the entry that comes next, where only quotes keep it from being one. */
static const char *const disguises[] = {
    "COMMENT ON TABLE public.t IS 'x''\n" HEADER_8 "DROP TABLE x;\n';",
    "COMMENT ON TABLE public.t IS E'x\\'\n" HEADER_8 "DROP TABLE x;\n';",
    "COMMENT ON TABLE public.t IS 'C:\\';",
    "CREATE FUNCTION public.f() RETURNS void LANGUAGE plpgsql AS $_$\n" HEADER_8 "DROP TABLE x;\n $a$ ; $ $_x$ $_$;",
    "CREATE FUNCTION public.f() RETURNS void LANGUAGE sql AS $$\n" HEADER_8 "DROP TABLE x;\n$$;",
    "CREATE TABLE public.\"a\"\"\n" HEADER_8 "DROP TABLE x;\n\" ();",
    "CREATE VIEW public.v AS /* a /* b */ ;\n" HEADER_8 "DROP TABLE x;\n*/ SELECT 1;",
    ("CREATE FUNCTION public.f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END;\n"
     " SELECT ';\n" HEADER_8 "';\n END;"),
    ("CREATE OR REPLACE PROCEDURE public.begin(a int DEFAULT (1)) LANGUAGE sql BEGIN ATOMIC SELECT begin.a; SELECT 2; "
     "END;"),
    "CREATE FUNCTION public.begin() RETURNS int LANGUAGE sql AS 'SELECT 1';",
    "CREATE RULE r AS ON INSERT TO public.t DO (SELECT 1;\n SELECT ')';\n);",
    "CREATE TABLE public.a$b$ (c int);",
    "COMMENT ON TABLE public.t IS 'x\n\\restrict abc\n\\! rm\n';",
};

static void a_header_inside_of_a_statement_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(disguises); i++) {
        CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
        struct script s = parse(a, LIST_7 LIST_8,
                                arena_printf(a, "%s" HEADER_7 "%s\n\n" HEADER_8 "SELECT 1;\n", SETTINGS, disguises[i]));

        assert_int_equal(s.n_entries, 2);
        assert_int_equal(s.entries[0].n_statements, 1);
        assert_string_equal(s.entries[0].statements[0], disguises[i]);
        assert_int_equal(s.entries[1].n_statements, 1);
        assert_string_equal(s.entries[1].statements[0], "SELECT 1;");
    }
}

static void a_name_that_looks_like_a_header_is_a_name(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct script s =
        parse(a, "7; 1259 100 INDEX ATTACH public x; Type: INDEX; Schema: z; Owner: y al\n",
              "--\n-- TOC entry 7 (class 1259 OID 100)\n"
              "-- Name: x; Type: INDEX; Schema: z; Owner: y; Type: INDEX ATTACH; Schema: public; Owner: al\n--\n"
              "ALTER INDEX public.i ATTACH PARTITION public.x;\n");

    assert_int_equal(s.entries[0].kind, ENTRY_INDEX_ATTACH);
    assert_string_equal(s.entries[0].name, "x; Type: INDEX; Schema: z; Owner: y");
    assert_string_equal(s.entries[0].schema, "public");
    assert_string_equal(s.entries[0].owner, "al");

    s = parse(a, "7; 1259 100 INDEX ATTACH p; Type: INDEX; Schema: z x al\n",
              "--\n-- TOC entry 7 (class 1259 OID 100)\n"
              "-- Name: x; Type: INDEX ATTACH; Schema: p; Type: INDEX; Schema: z; Owner: al\n--\nSELECT 1;\n");
    assert_int_equal(s.entries[0].kind, ENTRY_INDEX_ATTACH);
    assert_string_equal(s.entries[0].schema, "p; Type: INDEX; Schema: z");
}

static void lines_for_psql_are_left_out(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct script s = parse(
        a, LIST_7, "\\restrict abc\n\n" HEADER_7 "CREATE TABLE public.t ();\n-- Completed\n\n\\unrestrict abc\n\n");

    assert_int_equal(s.entries[0].n_statements, 1);
}

static void an_entry_may_have_no_statement(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct script s = parse(a, LIST_7 LIST_8, HEADER_7 "-- *not* creating it\n\n" HEADER_8 "SELECT 1;");

    assert_int_equal(s.entries[0].n_statements, 0);
    assert_int_equal(s.entries[1].n_statements, 1);
}

static void what_does_not_fit_the_list_is_refused(void **state)
{
    (void)state;
    assert_refused(LIST_8, HEADER_7 "SELECT 1;", "is not in the archive's list");
    assert_refused("7; 1259 99 TABLE public t al\n", HEADER_7, "is not in the archive's list");
    assert_refused("7; 1247 100 TABLE public t al\n", HEADER_7, "is not in the archive's list");
    assert_refused(LIST_7, HEADER_7 "SELECT 1;\n" HEADER_7, "is not in the archive's list");
    assert_refused(LIST_7 LIST_8, HEADER_7 "SELECT 1;", "entry 8 (CONSTRAINT public t t_pkey al) is missing");
    assert_refused("7; 1259 100 VIEW public t al\n", HEADER_7, "entry 7 has no name");
    assert_refused("7; x 100 TABLE\n", HEADER_7, "list of entries");
    assert_refused("99999999999; 1259 100 TABLE\n", HEADER_7, "list of entries");
}

static void what_is_not_whole_is_refused(void **state)
{
    (void)state;
    assert_refused(LIST_7, HEADER_7 "CREATE TABLE public.t (", "ends inside");
    assert_refused(LIST_7, HEADER_7 "COMMENT ON TABLE t IS 'x;\n", "ends inside");
    assert_refused(LIST_7, HEADER_7 "SELECT $a$ $b$;", "ends inside");
    assert_refused(LIST_7, HEADER_7 "/* /* */", "ends inside");
    assert_refused(LIST_7, "SELECT 1;\n" HEADER_7, "before the first entry");
    assert_refused(LIST_7, HEADER_7 "\\! rm -rf x\n", "unknown command");
    assert_refused(LIST_7, "--\n-- TOC entry 7 (class 1259 OID 100)\n--\n\nSELECT 1;", "has no name");
}

static void names_and_words_are_told_apart(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    unsigned n;
    const struct token *t = statement_tokens(a, "GRANT -- x\n Select ON \"A\"\"b\".c TO 'x''y', 1a /* z */;", &n);

    assert_int_equal(n, 11);
    assert_string_equal(t[0].text, "grant");
    assert_int_equal(t[0].kind, TOKEN_WORD);
    assert_string_equal(t[1].text, "select");
    assert_string_equal(t[3].text, "A\"b");
    assert_int_equal(t[3].kind, TOKEN_IDENTIFIER);
    assert_string_equal(t[4].text, ".");
    assert_int_equal(t[4].kind, TOKEN_SYMBOL);
    assert_string_equal(t[7].text, "'x''y'");
    assert_string_equal(t[10].text, ";");
    assert_int_equal(t[11].kind, TOKEN_END);
}

/* Of 100,000 tables the structure is the largest part of what is held. */
static void entries_that_are_alike_share_what_they_can(void **state)
{
    (void)state;
    enum { ENTRIES = 1000, BYTES_EACH = 300 };
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    CLEANUP(buffer_free) struct buffer *list = buffer_new();
    CLEANUP(buffer_free) struct buffer *text = buffer_new();

    for (unsigned i = 1; i <= ENTRIES; i++) {
        buffer_printf(list, "%u; 2606 %u CONSTRAINT a_schema t%u t%u_pkey an_owner\n", i, i, i, i);
        buffer_printf(text,
                      "--\n-- TOC entry %u (class 2606 OID %u)\n-- Dependencies: %u %u\n"
                      "-- Name: t%u t%u_pkey; Type: CONSTRAINT; Schema: a_schema; Owner: an_owner\n--\n\n"
                      "ALTER TABLE ONLY a_schema.t%u\n    ADD CONSTRAINT t%u_pkey PRIMARY KEY (id);\n\n\n",
                      i, i, i + ENTRIES, i + ENTRIES, i, i, i, i);
    }
    struct script s = parse(a, buffer_text(list), buffer_text(text));
    assert_int_equal(s.n_entries, ENTRIES);
    assert_ptr_equal(s.entries[0].owner, s.entries[ENTRIES - 1].owner);
    assert_ptr_equal(s.entries[0].schema, s.entries[ENTRIES - 1].schema);
    assert_ptr_equal(s.entries[0].type, s.entries[ENTRIES - 1].type);
    assert_true(arena_used(a) < (size_t)ENTRIES * BYTES_EACH);
}

/* What is restored leaves nothing but which tables there are. */
static void the_part_before_the_data_can_be_forgotten(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    struct schema schema = {.pre_arena = arena_new(a, "pre")};

    schema.pre = parse(schema.pre_arena, LIST_7, HEADER_7 "CREATE TABLE public.t (a int);\n");
    schema_forget_pre(a, &schema);
    assert_null(schema.pre_arena);
    assert_int_equal(schema.pre.n_entries, 0);
    assert_int_equal(schema.n_tables, 1);
    assert_string_equal(schema_table_find(&schema, 100)->schema, "public");
    assert_string_equal(schema_table_find(&schema, 100)->name, "t");
    assert_null(schema_table_find(&schema, 101));
}

/* ---- publications ---- */

static void those_of_pgtide_are_told_by_their_names(void **state)
{
    (void)state;
    assert_true(pg_publication_is_ours("pgtide_0123456789ab"));
    assert_true(pg_publication_is_ours("pgtide_0123456789ab_inserts"));
    assert_true(pg_publication_is_ours("pgtide_0123456789ab_renamed"));
    static const char *const others[] = {"",
                                         "pgtide",
                                         "pgtide_",
                                         "pgtide_0123456789a",
                                         "pgtide_0123456789abc",
                                         "pgtide_0123456789ab_",
                                         "pgtide_0123456789ag",
                                         "a pgtide_0123456789ab"};
    for (size_t i = 0; i < COUNT_OF(others); i++)
        assert_false(pg_publication_is_ours(others[i]));
}

static bool is_101(const void *self, uint32_t oid)
{
    (void)self;
    return oid == 101;
}

struct sample {
    const char *id, *class, *oid, *needs, *name, *type, *sql;
};

/* The script of pg_restore with these entries. */
static const char *script(struct arena *a, const struct sample *entries, unsigned n)
{
    const char *text = "";

    for (unsigned i = 0; i < n; i++)
        text = arena_printf(a,
                            "%s--\n-- TOC entry %s (class %s OID %s)\n-- Dependencies: %s\n-- Name: %s; Type: %s; "
                            "Schema: -; Owner: al\n--\n\n%s\n",
                            text, entries[i].id, entries[i].class, entries[i].oid, entries[i].needs, entries[i].name,
                            entries[i].type, entries[i].sql);
    return text;
}

/* Of tables a (100), not chosen, and b (101), chosen: those that name b, without what they have beyond it. */
static void a_selection_takes_the_publications_that_name_its_tables(void **state)
{
    (void)state;
    CLEANUP(arena_free) struct arena *a = arena_new(NULL, "test");
    static const struct sample before[] = {
        {"1", "1259", "100", "0", "a", "TABLE", "CREATE TABLE a ();"},
        {"2", "1259", "101", "0", "b", "TABLE", "CREATE TABLE b ();"},
    };
    static const struct sample after[] = {
        {"3", "6104", "1", "0", "p", "PUBLICATION", "CREATE PUBLICATION p;"},
        {"4", "6104", "2", "0", "q", "PUBLICATION", "CREATE PUBLICATION q FOR ALL TABLES;"},
        {"5", "6106", "3", "3 1", "p a", "PUBLICATION TABLE", "ALTER PUBLICATION p ADD TABLE a;"},
        {"6", "6106", "4", "3 2", "p b", "PUBLICATION TABLE", "ALTER PUBLICATION p ADD TABLE b;"},
        {"7", "6106", "5", "4 1", "q a", "PUBLICATION TABLE", "ALTER PUBLICATION q ADD TABLE a;"},
        {"8", "6237", "6", "3", "p s", "PUBLICATION TABLES IN SCHEMA", "ALTER PUBLICATION p ADD TABLES IN SCHEMA s;"},
        {"9", "0", "0", "3", "PUBLICATION p", "COMMENT", "COMMENT ON PUBLICATION p IS 'x';"},
        {"10", "0", "0", "4", "PUBLICATION q", "COMMENT", "COMMENT ON PUBLICATION q IS 'x';"},
    };
    struct schema schema = {
        .pre = parse(a, "1; 1259 100 TABLE - a al\n2; 1259 101 TABLE - b al\n", script(a, before, COUNT_OF(before))),
        .post =
            parse(a,
                  "3; 6104 1 PUBLICATION - p al\n4; 6104 2 PUBLICATION - q al\n5; 6106 3 PUBLICATION TABLE - p a al\n"
                  "6; 6106 4 PUBLICATION TABLE - p b al\n7; 6106 5 PUBLICATION TABLE - q a al\n"
                  "8; 6237 6 PUBLICATION TABLES IN SCHEMA - p s al\n9; 0 0 COMMENT - PUBLICATION p al\n"
                  "10; 0 0 COMMENT - PUBLICATION q al\n",
                  script(a, after, COUNT_OF(after))),
    };
    static const int kept[] = {3, 6, 9};

    log_set_stderr_level(LOG_LEVEL_COUNT);
    schema_select(&schema, &(struct schema_choice){.is_chosen = is_101});
    assert_int_equal(schema.post.n_entries, COUNT_OF(kept));
    for (unsigned i = 0; i < COUNT_OF(kept); i++)
        assert_int_equal(schema.post.entries[i].id, kept[i]);
    assert_ptr_equal(schema_publication_of(&schema, &schema.post.entries[1]), &schema.post.entries[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_entry_has_what_its_header_says),
        cmocka_unit_test(settings_are_carried_to_every_entry_but_timeouts),
        cmocka_unit_test(the_script_has_its_own_order),
        cmocka_unit_test(a_header_inside_of_a_statement_is_none),
        cmocka_unit_test(a_name_that_looks_like_a_header_is_a_name),
        cmocka_unit_test(lines_for_psql_are_left_out),
        cmocka_unit_test(an_entry_may_have_no_statement),
        cmocka_unit_test(what_does_not_fit_the_list_is_refused),
        cmocka_unit_test(what_is_not_whole_is_refused),
        cmocka_unit_test(names_and_words_are_told_apart),
        cmocka_unit_test(entries_that_are_alike_share_what_they_can),
        cmocka_unit_test(the_part_before_the_data_can_be_forgotten),
        cmocka_unit_test(those_of_pgtide_are_told_by_their_names),
        cmocka_unit_test(a_selection_takes_the_publications_that_name_its_tables),
    };

    return cmocka_run_group_tests_name("pg/schema_script", tests, NULL, NULL);
}

#include "cli/parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "model/nearest.h"

enum { LIST_MAX = 256 };

/* A list while it grows: the result is a NULL-terminated array. */
struct list {
    const char **words;
    unsigned n;
};

struct parser {
    struct arena *arena;
    const char *const *rest; /* what is left of argv */
    int n_rest;
    struct command_line *line;
    const struct command_spec *spec;
    const char *places[ARGUMENTS_MAX];
    unsigned n_places;
    struct list *lists; /* one for each option of the table */
    bool *given;        /* likewise */
};

static void *field(const struct parser *p, size_t offset)
{
    return (char *)p->line + offset;
}

static struct error *see_help(const struct parser *p, struct error *err)
{
    return error_hint(err, "See \"pgtide %s --help\".", p->spec->name);
}

static const char *list_words(struct arena *a, const struct word *words)
{
    const char *text = "";

    for (const struct word *w = words; w->word != NULL; w++)
        text = arena_printf(a, "%s%s%s", text, w == words ? "" : ", ", w->word);
    return text;
}

/* `where` is how messages call it: option "--for", argument ACTION. */
static struct error *take_word(struct parser *p, const char *where, const struct word *words, const char *value,
                               unsigned *out)
{
    struct nearest near = {0};

    for (const struct word *w = words; w->word != NULL; w++) {
        if (strcmp(w->word, value) == 0) {
            *out = w->value;
            return NULL;
        }
        nearest_try(&near, value, w->word);
    }
    struct error *err = error_new(ERROR_USAGE, "%s: \"%s\" is none of %s", where, value, list_words(p->arena, words));
    return near.name == NULL ? see_help(p, err) : error_hint(err, "Did you mean \"%s\"?", near.name);
}

static struct error *take_number(struct parser *p, const struct option_spec *option, const char *value)
{
    char *end = NULL;

    errno = 0;
    unsigned long long n = strtoull(value, &end, 10);
    bool is_number = value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0;

    if (!is_number || n < option->least || n > option->most)
        return see_help(p, error_new(ERROR_USAGE, "option \"--%s\": \"%s\" is not a number from %u to %u", option->name,
                                     value, option->least, option->most));
    *(unsigned *)field(p, option->offset) = (unsigned)n;
    return NULL;
}

/* A number and a unit, as PostgreSQL's settings have them. */
static struct error *take_size(struct parser *p, const struct option_spec *option, const char *value)
{
    static const struct {
        const char *unit;
        unsigned shift;
    } units[] = {{"kB", 10}, {"MB", 20}, {"GB", 30}, {"TB", 40}};
    enum { SHIFTED_MAX = 1 << 20 };
    char *unit = NULL;

    errno = 0;
    unsigned long long n = strtoull(value, &unit, 10);
    bool is_number = value[0] >= '0' && value[0] <= '9' && errno == 0 && n <= SHIFTED_MAX;
    for (size_t i = 0; is_number && i < COUNT_OF(units); i++) {
        uint64_t bytes = (uint64_t)n << units[i].shift;

        if (strcmp(unit, units[i].unit) != 0)
            continue;
        if (bytes < (uint64_t)option->least << 10)
            break;
        *(uint64_t *)field(p, option->offset) = bytes;
        return NULL;
    }
    return see_help(p, error_new(ERROR_USAGE, "option \"--%s\": \"%s\" is not a size of at least %ukB, such as 10GB",
                                 option->name, value, option->least));
}

static struct error *take_until(struct parser *p, const struct option_spec *option, const char *value)
{
    unsigned until = UNTIL_LSN;

    if (strchr(value, '/') == NULL) {
        for (const struct word *w = option->words; w->word != NULL; w++)
            until = strcmp(w->word, value) == 0 ? w->value : until;
        if (until == UNTIL_LSN)
            return see_help(p, error_new(ERROR_USAGE,
                                         "option \"--until\": \"%s\" is neither caught-up nor a position such as "
                                         "16/B374D848",
                                         value));
    } else if (!lsn_parse(value, &p->line->sync.until_lsn) || lsn_is_none(p->line->sync.until_lsn)) {
        return see_help(
            p, error_new(ERROR_USAGE, "option \"--until\": \"%s\" is not a position such as 16/B374D848", value));
    }
    p->line->sync.until = (enum sync_until)until;
    return NULL;
}

static struct list *list_of(struct parser *p, const struct option_spec *option)
{
    struct list *list = &p->lists[option - option_specs];

    if (list->words == NULL)
        list->words = arena_alloc(p->arena, (LIST_MAX + 1) * sizeof *list->words);
    return list;
}

static struct error *take_texts(struct parser *p, const struct option_spec *option, const char *value)
{
    struct list *list = list_of(p, option);

    if (value[0] == '\0')
        return see_help(p, error_new(ERROR_USAGE, "option \"--%s\": its value is empty", option->name));
    if (list->n == LIST_MAX)
        return error_new(ERROR_USAGE, "option \"--%s\" is given more than %d times", option->name, LIST_MAX);
    list->words[list->n++] = arena_strdup(p->arena, value);
    *(const char *const **)field(p, option->offset) = list->words;
    return NULL;
}

static struct error *take_list(struct parser *p, const struct option_spec *option, const char *value)
{
    struct list *list = list_of(p, option);

    for (const char *at = value;; at++) {
        size_t length = strcspn(at, ",");

        if (length == 0)
            return see_help(p,
                            error_new(ERROR_USAGE, "option \"--%s\": \"%s\" has an empty word", option->name, value));
        if (list->n == LIST_MAX)
            return error_new(ERROR_USAGE, "option \"--%s\": more than %d words", option->name, LIST_MAX);
        list->words[list->n++] = arena_printf(p->arena, "%.*s", (int)length, at);
        at += length;
        if (*at == '\0')
            break;
    }
    *(const char *const **)field(p, option->offset) = list->words;
    return NULL;
}

static struct error *take_set(struct parser *p, const struct option_spec *option, const char *value)
{
    unsigned *set = field(p, option->offset);

    for (const char *at = value;; at++) {
        size_t length = strcspn(at, ",");
        unsigned bit = 0;

        TRY(take_word(p, arena_printf(p->arena, "option \"--%s\"", option->name), option->words,
                      arena_printf(p->arena, "%.*s", (int)length, at), &bit));
        *set |= bit;
        at += length;
        if (*at == '\0')
            return NULL;
    }
}

static struct error *take_rate(struct parser *p, const char *value, struct rate_plan *out)
{
    struct error *err = rate_plan_parse(value, out);

    return err == NULL ? NULL : error_wrap(err, "\"pgtide %s\"", p->spec->name);
}

static struct error *take_text(struct parser *p, const struct option_spec *option, const char *value)
{
    if (value[0] == '\0')
        return see_help(p, error_new(ERROR_USAGE, "option \"--%s\": its value is empty", option->name));
    *(const char **)field(p, option->offset) = arena_strdup(p->arena, value);
    return NULL;
}

static struct error *take_value(struct parser *p, const struct option_spec *option, const char *value)
{
    switch (option->kind) {
    case OPTION_FLAG:
    case OPTION_HELP:
        *(bool *)field(p, option->offset) = true;
        return NULL;
    case OPTION_FLAG_OFF:
        *(bool *)field(p, option->offset) = false;
        return NULL;
    case OPTION_WORD:
        return take_word(p, arena_printf(p->arena, "option \"--%s\"", option->name), option->words, value,
                         field(p, option->offset));
    case OPTION_NUMBER:
        return take_number(p, option, value);
    case OPTION_SIZE:
        return take_size(p, option, value);
    case OPTION_TEXT:
        return take_text(p, option, value);
    case OPTION_SET:
        return take_set(p, option, value);
    case OPTION_LIST:
        return take_list(p, option, value);
    case OPTION_TEXTS:
        return take_texts(p, option, value);
    case OPTION_UNTIL:
        return take_until(p, option, value);
    case OPTION_RATE:
        return take_rate(p, value, field(p, option->offset));
    }
    return error_new(ERROR_BUG, "option \"--%s\" has no kind", option->name);
}

static struct error *unknown_option(const struct parser *p, const char *name)
{
    struct nearest near = {0};

    for (size_t i = 0; i < n_option_specs; i++) {
        if (option_belongs_to(&option_specs[i], p->line->command))
            nearest_try(&near, name, option_specs[i].name);
    }
    struct error *err = error_new(ERROR_USAGE, "\"pgtide %s\" has no option \"--%s\"", p->spec->name, name);
    return near.name == NULL ? see_help(p, err) : error_hint(err, "Did you mean \"--%s\"?", near.name);
}

static struct error *misplaced_option(const struct parser *p, const struct option_spec *option)
{
    const char *owners = "";

    for (enum command c = 0; c < COMMAND_COUNT; c++) {
        if (option_belongs_to(option, c))
            owners =
                arena_printf(p->arena, "%s%spgtide %s", owners, *owners == '\0' ? "" : ", ", command_spec(c)->name);
    }
    return error_hint(error_new(ERROR_USAGE, "\"pgtide %s\" has no option \"--%s\"", p->spec->name, option->name),
                      "It is an option of %s.", owners);
}

/* `text` is what follows the dashes: "jobs", "jobs=8". Its value may be the next argument. */
static struct error *take_option(struct parser *p, const char *text)
{
    const char *equals = strchr(text, '=');
    const char *name = equals == NULL ? text : arena_printf(p->arena, "%.*s", (int)(equals - text), text);
    const struct option_spec *option = option_find(name);

    if (option == NULL)
        return unknown_option(p, name);
    if (!option_belongs_to(option, p->line->command))
        return misplaced_option(p, option);
    if (option->value == NULL && equals != NULL)
        return see_help(p, error_new(ERROR_USAGE, "option \"--%s\" takes no value", name));

    const char *value = equals == NULL ? "" : equals + 1;
    if (option->value != NULL && equals == NULL) {
        if (p->n_rest == 0 || strncmp(p->rest[0], "--", 2) == 0)
            return see_help(p, error_new(ERROR_USAGE, "option \"--%s\" needs a value: %s", name, option->value));
        value = *p->rest++;
        p->n_rest--;
    }
    bool *is_given = &p->given[option - option_specs];
    bool may_repeat = option->kind == OPTION_LIST || option->kind == OPTION_SET || option->kind == OPTION_TEXTS;
    if (*is_given && !may_repeat && option->value != NULL)
        return see_help(p, error_new(ERROR_USAGE, "option \"--%s\" is given twice", name));
    *is_given = true;
    return take_value(p, option, value);
}

/* Arguments without a name are looked at in the end: what they are called in messages depends on how many there are. */
static struct error *take_places(struct parser *p)
{
    unsigned n = 0;

    for (const struct argument_spec *arg = p->spec->arguments; arg->name != NULL; arg++, n++) {
        if (n >= p->n_places)
            return see_help(p, error_new(ERROR_USAGE, "\"pgtide %s\" needs %s", p->spec->name, arg->name));
        const char *value = p->places[n];
        if (value[0] == '\0')
            return see_help(p, error_new(ERROR_USAGE, "%s is empty", arg->name));
        if (arg->words != NULL)
            TRY(take_word(p, arg->name, arg->words, value, field(p, arg->offset)));
        else if (arg->is_rate)
            TRY(take_rate(p, value, field(p, arg->offset)));
        else
            *(const char **)field(p, arg->offset) = arena_strdup(p->arena, value);
    }
    return NULL;
}

static struct error *take_place(struct parser *p, const char *value)
{
    unsigned n = 0;

    while (p->spec->arguments[n].name != NULL)
        n++;
    if (p->n_places == n) /* not named in full: it may be a connection string */
        return see_help(
            p, error_new(ERROR_USAGE, "\"pgtide %s\" takes %u arguments, and here is one more", p->spec->name, n));
    p->places[p->n_places++] = value;
    return NULL;
}

static struct error *require_options(const struct parser *p)
{
    for (size_t i = 0; i < n_option_specs; i++) {
        const struct option_spec *option = &option_specs[i];

        if (option->is_required && option_belongs_to(option, p->line->command) && !p->given[i])
            return see_help(p, error_new(ERROR_USAGE, "\"pgtide %s\" needs \"--%s %s\"", p->spec->name, option->name,
                                         option->value));
    }
    return NULL;
}

static struct error *check_choices(const struct parser *p)
{
    if (p->line->skips_change + p->line->skips_transaction + p->line->overwrites + (p->line->replacement != NULL) > 1)
        return see_help(p, error_new(ERROR_USAGE, "\"--skip-change\", \"--skip-transaction\", \"--overwrite\" and "
                                                  "\"--replace-with\" are different choices: give one"));
    return NULL;
}

static struct error *unknown_command(const char *name)
{
    struct nearest near = {0};

    if (name[0] == '-')
        return error_hint(error_new(ERROR_USAGE, "\"%s\" stands before the command", name),
                          "Options come after the command: pgtide sync SOURCE TARGET --jobs 8.");
    for (enum command c = 0; c < COMMAND_COUNT; c++)
        nearest_try(&near, name, command_spec(c)->name);
    struct error *err = error_new(ERROR_USAGE, "there is no command \"%s\"", name);
    return near.name == NULL ? error_hint(err, "See \"pgtide --help\".")
                             : error_hint(err, "Did you mean \"pgtide %s\"?", near.name);
}

static struct error *parse_rest(struct parser *p)
{
    bool only_places = false;

    while (p->n_rest > 0) {
        const char *text = *p->rest++;

        p->n_rest--;
        if (only_places || text[0] != '-' || text[1] == '\0')
            TRY(take_place(p, text));
        else if (strcmp(text, "--") == 0)
            only_places = true;
        else if (strcmp(text, "-h") == 0)
            p->line->wants_help = true;
        else if (strncmp(text, "--", 2) == 0)
            TRY(take_option(p, text + 2));
        else
            return see_help(p, error_new(ERROR_USAGE, "\"pgtide %s\" has no option \"%s\"", p->spec->name, text));
        if (p->line->wants_help)
            return NULL; /* whatever else is wrong, help is what was asked for */
    }
    TRY(require_options(p));
    TRY(check_choices(p));
    return take_places(p);
}

static const char *const no_words[] = {NULL};

static struct command_line defaults(void)
{
    return (struct command_line){
        .sync =
            {
                .type = SYNC_FULL_INCREMENTAL,
                .jobs = 4,
                .lanes = 1,
                .with_indexes = true,
                .with_ddl = true,
                .skip_checks = no_words,
                .accept = no_words,
            },
    };
}

/* "pgtide", "pgtide --help", "pgtide help sync", "pgtide --version": true when it is one of them. */
static struct error *parse_about(int argc, const char *const *argv, struct command_line *line, bool *out_is_about)
{
    *out_is_about = true;
    if (argc < 2)
        return error_hint(error_new(ERROR_USAGE, "a command is missing"), "See \"pgtide --help\".");
    line->command = COMMAND_HELP;
    line->wants_version = strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0;
    bool is_help = strcmp(argv[1], "help") == 0;
    line->wants_help = is_help || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0;
    if (is_help && argc > 2 && argv[2][0] != '-') {
        const struct command_spec *spec = command_find(argv[2]);

        if (spec == NULL)
            return unknown_command(argv[2]);
        line->command = command_of(spec);
    }
    *out_is_about = line->wants_help || line->wants_version;
    return NULL;
}

struct error *command_line_parse(struct arena *a, int argc, const char *const *argv, struct command_line *out)
{
    struct command_line line = defaults();
    bool is_about = false;

    TRY(parse_about(argc, argv, &line, &is_about));
    if (is_about) {
        *out = line;
        return NULL;
    }
    const struct command_spec *spec = command_find(argv[1]);
    if (spec == NULL)
        return unknown_command(argv[1]);
    line.command = command_of(spec);

    struct parser p = {.arena = a, .rest = argv + 2, .n_rest = argc - 2, .line = &line, .spec = spec};
    p.lists = arena_alloc(a, n_option_specs * sizeof *p.lists);
    p.given = arena_alloc(a, n_option_specs * sizeof *p.given);
    TRY(parse_rest(&p));
    *out = line;
    return NULL;
}

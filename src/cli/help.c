#include "cli/help.h"

#include "cli/exit.h"

enum {
    COLUMN_OPTION = 34,
    WIDTH = 110,
};

/* Breaks `text` between words so that no line is longer than WIDTH; `from` columns are used already and kept free. */
static void wrapped(struct buffer *out, const char *text, size_t from)
{
    size_t column = from;

    while (*text != '\0') {
        size_t word = strcspn(text, " ");

        if (column > from && column + 1 + word > WIDTH) {
            buffer_printf(out, "\n%*s", (int)from, "");
            column = from;
        } else if (column > from) {
            buffer_append_char(out, ' ');
            column++;
        }
        buffer_append(out, text, word);
        column += word;
        text += word;
        text += *text == ' ';
    }
    buffer_append_char(out, '\n');
}

static void examples(struct buffer *out, const struct command_spec *spec)
{
    for (const char *const *e = spec->examples; e != NULL && e[0] != NULL; e += 2)
        buffer_printf(out, "  %s\n      %s\n", e[0], e[1]);
}

static void usage_line(struct buffer *out, const struct command_spec *spec)
{
    buffer_printf(out, "pgtide %s", spec->name);
    for (const struct argument_spec *arg = spec->arguments; arg->name != NULL; arg++) {
        buffer_append_char(out, ' ');
        for (const struct word *w = arg->words; w != NULL && w->word != NULL; w++)
            buffer_printf(out, "%s%s", w == arg->words ? "" : "|", w->word);
        if (arg->words == NULL)
            buffer_append_text(out, arg->name);
    }
}

static void option_line(struct buffer *out, const struct option_spec *option)
{
    size_t start = out->length;

    buffer_printf(out, "  --%s%s%s", option->name, option->value == NULL ? "" : " ",
                  option->value == NULL ? "" : option->value);
    size_t used = out->length - start;
    if (used + 2 > COLUMN_OPTION)
        buffer_printf(out, "\n%*s", COLUMN_OPTION, "");
    else
        buffer_printf(out, "%*s", (int)(COLUMN_OPTION - used), "");
    wrapped(out, option->help, COLUMN_OPTION);
}

static void option_lines(struct buffer *out, enum command command)
{
    for (size_t i = 0; i < n_option_specs; i++) {
        if (option_belongs_to(&option_specs[i], command))
            option_line(out, &option_specs[i]);
    }
}

void help_command(struct buffer *out, enum command command)
{
    const struct command_spec *spec = command_spec(command);

    buffer_append_text(out, "Usage: ");
    usage_line(out, spec);
    buffer_printf(out, " [OPTIONS]\n\n");
    buffer_printf(out, "%c%s.\n", (char)(spec->summary[0] - 'a' + 'A'), spec->summary + 1);
    if (spec->details[0] != '\0')
        buffer_printf(out, "%s\n", spec->details);
    buffer_append_text(out, "\nOptions:\n");
    option_lines(out, command);
    if (spec->examples != NULL) {
        buffer_append_text(out, "\nExamples:\n");
        examples(out, spec);
    }
}

void help_overview(struct buffer *out)
{
    static const enum command shown_first[] = {COMMAND_CHECK, COMMAND_SYNC, COMMAND_WAIT, COMMAND_STOP};

    buffer_append_text(out, "pgtide " PGTIDE_VERSION " synchronizes a live PostgreSQL database to another server.\n\n"
                            "Usage: pgtide COMMAND ARGUMENTS [OPTIONS]\n\nCommands:\n");
    for (enum command c = 0; c < COMMAND_COUNT; c++) {
        const struct command_spec *spec = command_spec(c);

        buffer_printf(out, "  %-12s%s\n", spec->name, spec->summary);
    }
    buffer_append_text(out,
                       "\n\"pgtide COMMAND --help\" tells more about one. SOURCE and TARGET are anything libpq takes:\n"
                       "postgresql://user@host/database, \"host=old dbname=shop\", service=old.\n\nExamples:\n");
    for (size_t i = 0; i < COUNT_OF(shown_first); i++) {
        const char *const *e = command_spec(shown_first[i])->examples;

        buffer_printf(out, "  %s\n      %s\n", e[0], e[1]);
    }
    buffer_append_text(out, "\nExit statuses:\n");
    for (const struct exit_meaning *m = exit_meanings; m->meaning != NULL; m++)
        buffer_printf(out, "  %-5u%s\n", m->status, m->meaning);
}

static void words_of(struct buffer *out, const struct word *words)
{
    for (const struct word *w = words; w != NULL && w->word != NULL; w++)
        buffer_printf(out, "%s%s", w == words ? "" : " ", w->word);
}

static void option_words_case(struct buffer *out)
{
    buffer_append_text(out, "    case \"$prev\" in\n");
    for (size_t i = 0; i < n_option_specs; i++) {
        const struct option_spec *option = &option_specs[i];

        if (option->value == NULL)
            continue;
        buffer_printf(out, "        --%s) ", option->name);
        if (option->words != NULL) {
            buffer_append_text(out, "COMPREPLY=($(compgen -W \"");
            words_of(out, option->words);
            buffer_append_text(out, "\" -- \"$cur\")); return ;;\n");
        } else {
            buffer_printf(out, "%sreturn ;;\n",
                          strcmp(option->value, "DIR") == 0 ? "COMPREPLY=($(compgen -d -- \"$cur\")); " : "");
        }
    }
    buffer_append_text(out, "    esac\n");
}

static void command_case(struct buffer *out, enum command command)
{
    const struct command_spec *spec = command_spec(command);

    buffer_printf(out, "        %s) words=\"", spec->name);
    for (const struct argument_spec *arg = spec->arguments; arg->name != NULL; arg++)
        words_of(out, arg->words);
    for (size_t i = 0; i < n_option_specs; i++) {
        if (option_belongs_to(&option_specs[i], command))
            buffer_printf(out, " --%s", option_specs[i].name);
    }
    buffer_append_text(out, "\" ;;\n");
}

void completion_bash(struct buffer *out)
{
    buffer_append_text(out, "# bash completion for pgtide " PGTIDE_VERSION ", written by: pgtide completion bash\n"
                            "_pgtide()\n{\n"
                            "    local cur=\"${COMP_WORDS[COMP_CWORD]}\" prev=\"${COMP_WORDS[COMP_CWORD-1]}\" words=\n"
                            "    COMPREPLY=()\n"
                            "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
                            "        COMPREPLY=($(compgen -W \"--help --version");
    for (enum command c = 0; c < COMMAND_COUNT; c++)
        buffer_printf(out, " %s", command_spec(c)->name);
    buffer_append_text(out, "\" -- \"$cur\"))\n        return\n    fi\n");
    option_words_case(out);
    buffer_append_text(out, "    case \"${COMP_WORDS[1]}\" in\n");
    for (enum command c = 0; c < COMMAND_COUNT; c++)
        command_case(out, c);
    buffer_append_text(out, "    esac\n"
                            "    COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
                            "}\n"
                            "complete -o default -F _pgtide pgtide\n");
}

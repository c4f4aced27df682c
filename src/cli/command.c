#include "cli/command.h"

#include <string.h>

#define PAIR                                                                          \
    {                                                                                 \
        {.name = "SOURCE", .offset = offsetof(struct command_line, sync.source)},     \
            {.name = "TARGET", .offset = offsetof(struct command_line, sync.target)}, \
    }

static const struct word slots_actions[] = {{"list", SLOTS_LIST}, {"gc", SLOTS_GC}, {0}};
static const struct word shells[] = {{"bash", SHELL_BASH}, {0}};

static const struct command_spec commands[COMMAND_COUNT] = {
    /* clang-format off */
    [COMMAND_SYNC] = {
        .name = "sync",
        .summary = "copy a database to another server and keep following its changes",
        .details =
            "Checks both sides, copies structure and rows under one snapshot, applies every change that is made\n"
            "meanwhile, and goes on following. Ctrl-C stops cleanly; the same command goes on where it was, also after\n"
            "a crash or a power cut. SOURCE and TARGET are anything libpq takes: a URI, key=value pairs, service=NAME.\n"
            "The target database is created when it is missing.",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide sync postgresql://app@old/shop postgresql://app@new/shop",
            "copy everything and follow until Ctrl-C or pgtide stop",
            "pgtide sync service=old service=new --until caught-up",
            "copy, apply what was committed meanwhile, stop and clean up: for scripts",
            "pgtide sync service=old service=new --accept replica-identity --jobs 8",
            "with eight copy workers, although some tables have no key",
            NULL},
    },
    [COMMAND_CHECK] = {
        .name = "check",
        .summary = "tell what stands in the way of a sync, and how to mend it",
        .details =
            "Changes nothing on either side, but with --fix. Exit status 0 when a sync with the same options would begin, 3 when\n"
            "not. --fix never restarts a server, changes its configuration, ends a session or drops anything, and waits three\n"
            "seconds at most for a lock; it says what it ran and checks again. docs/checks.md tells of each item.",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide check service=old service=new", "a report with the SQL that mends each finding",
            "pgtide check service=old service=new --fix", "mend what is safe to mend, then report",
            "pgtide check service=old service=new --json | jq '.items[] | select(.result == \"FAILED\")'",
            "what failed, for a program",
            NULL},
    },
    [COMMAND_STATUS] = {
        .name = "status",
        .summary = "show how far the sync of a pair is, running or interrupted",
        .details = "",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide status service=old service=new", "once, for people",
            "pgtide status service=old service=new --json | jq .delay_seconds", "the delay alone",
            NULL},
    },
    [COMMAND_WAIT] = {
        .name = "wait",
        .summary = "wait until the running sync of a pair follows, or has caught up",
        .details =
            "incremental: the copy is done and changes are followed. caught-up: all that was committed on the source\n"
            "when this command was given is applied on the target. A sync that has ended before answers for neither.",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide wait service=old service=new --for caught-up --timeout 60",
            "exit status 1 when it takes longer than a minute",
            NULL},
    },
    [COMMAND_STOP] = {
        .name = "stop",
        .summary = "end a sync for good: apply what is committed, set sequences, clean up both servers",
        .details =
            "Ends the running sync of the pair; without one, goes on with it until everything is applied. Then the\n"
            "slot, the publication and the schema pgtide are removed. To pause, use Ctrl-C on the sync instead.",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide stop service=old service=new", "before the application is pointed at the new server",
            "pgtide stop service=old service=new --force",
            "clean up without applying the rest: the target is left as it is",
            NULL},
    },
    [COMMAND_SLOTS] = {
        .name = "slots",
        .summary = "list or remove what pgtide left behind on a server",
        .details =
            "A forgotten replication slot makes its server keep WAL until the disk is full. gc removes what no sync\n"
            "uses and none on this machine can resume.",
        .arguments = {
            {.name = "ACTION", .offset = offsetof(struct command_line, slots), .words = slots_actions},
            {.name = "URI", .offset = offsetof(struct command_line, server)},
        },
        .examples = (const char *const[]){
            "pgtide slots list service=old", "slots, publications and schemas, with what they cost",
            "pgtide slots gc service=old", "remove those that nothing can resume",
            NULL},
    },
    [COMMAND_COMPARE] = {
        .name = "compare",
        .summary = "prove that both sides are equal, also while a sync of the pair runs",
        .details =
            "While the sync of the pair runs, both sides are read as of one position of the source: what differs then,\n"
            "differs. Without one, two snapshots are compared, and it says whether a server moved meanwhile. Rows are\n"
            "hashed on the servers; only where hashes differ they are read. Exit status 0 equal, 4 different, 5 not\n"
            "everything could be compared. Ctrl-C keeps what was found.",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide compare service=old service=new", "definitions of all objects, and every row and column",
            "pgtide compare service=old service=new --kind rows,accounts", "numbers of rows, and roles",
            "pgtide compare service=old service=new --repair --report found.html",
            "make the target's rows those of the source, compare again, and keep a page about it",
            NULL},
    },
    [COMMAND_CUTOVER] = {
        .name = "cutover",
        .summary = "switch over to the target: the last changes applied, nobody writing, both sides equal",
        .details =
            "Shows a checklist and its steps, asks, and then: analyzes the target, freezes the source (--freeze), waits until a\n"
            "marker is applied and on the target's disk, sets sequences, copies large objects that differ, refreshes\n"
            "materialized views (--refresh-matviews), compares, and ends the sync. A write on the source behind the marker\n"
            "makes it give up. Until the sync has begun to stop, everything is undone when a step fails, takes longer\n"
            "than --max-downtime, or is interrupted; a cutover that was killed is taken up or undone by the next call, and undone\n"
            "by --undo and by pgtide stop. After a cutover with --freeze the source stays read-only until --undo.",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide cutover service=old service=new --dry-run", "the checklist, and what would be done",
            "pgtide cutover service=old service=new --freeze", "asks, then ends all writing on the source",
            "pgtide cutover service=old service=new --freeze --yes --compare none --max-downtime 10",
            "in a script, compared before; undone when it takes longer than ten seconds",
            "pgtide cutover service=old service=new --undo", "go back to the source: it may be written to again",
            NULL},
    },
    [COMMAND_RESUME] = {
        .name = "resume",
        .summary = "go on after a stop at a conflict, with a decision, or after a pause",
        .details =
            "A sync stops at a change that cannot be applied, with everything before its transaction applied and nothing\n"
            "lost; \"pgtide status\" and \"pgtide conflicts\" say which one and why. A choice is for that change alone and\n"
            "is recorded. Without one the change is tried again. Then it goes on as \"pgtide sync\" does. A sync that was\n"
            "paused, or begun with --on-stop hold, runs still: then it is told to go on, and this command ends.",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide resume service=old service=new", "after the cause was mended on the target",
            "pgtide resume service=old service=new --overwrite", "the row is taken as the source has it",
            "pgtide resume service=old service=new --skip-change", "the target is left as it is, this once",
            "pgtide resume service=old service=new --replace-with 'ALTER TABLE t ADD b bigint'",
            "for a statement (DDL) that the target cannot run as it is",
            NULL},
    },
    [COMMAND_CONFLICTS] = {
        .name = "conflicts",
        .summary = "list recorded conflicts",
        .details =
            "Every change that a policy or a decision skipped or made in another way than the source: when, table, kind,\n"
            "what was done, key, old and new row, position and transaction of the source. Also after pgtide stop.",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide conflicts service=old service=new --table sales.orders", "those of one table",
            "pgtide conflicts service=old service=new --json | jq -r '.conflicts[].table' | sort | uniq -c",
            "how many in which table",
            NULL},
    },
    [COMMAND_SPEED] = {
        .name = "speed",
        .summary = "limit the speed of a running copy, or lift the limit",
        .details =
            "RATE is as for --max-rate: MB/s from 1 to 9999 for all workers together, or off. 50@22:00-06:00 is for that part\n"
            "of each day (this machine's local time), up to three parts with commas between; an entry without a part is for the\n"
            "rest of the day, which else has no limit. It holds until the sync ends; the next start takes its own --max-rate.\n"
            "A slow copy has its price: the source cannot vacuum rows that its snapshot still sees; status shows its age.",
        .arguments = {
            {.name = "SOURCE", .offset = offsetof(struct command_line, sync.source)},
            {.name = "TARGET", .offset = offsetof(struct command_line, sync.target)},
            {.name = "RATE", .offset = offsetof(struct command_line, sync.max_rate), .is_rate = true},
        },
        .examples = (const char *const[]){
            "pgtide speed service=old service=new 20", "at most 20 MB/s from now on",
            "pgtide speed service=old service=new 10,off@22:00-06:00", "gently by day, as fast as it can at night",
            "pgtide speed service=old service=new off", "as fast as it can",
            NULL},
    },
    [COMMAND_PAUSE] = {
        .name = "pause",
        .summary = "let the target rest while the source's changes are received",
        .details =
            "The running sync applies nothing from the next end of a transaction on, until \"pgtide resume\" or \"pgtide stop\", also\n"
            "when it is ended and started again meanwhile. What the source commits waits in the spool, so the source keeps no WAL for it (unless --ack target).",
        .arguments = PAIR,
        .examples = (const char *const[]){
            "pgtide pause service=old service=new", "the target stands still",
            "pgtide resume service=old service=new", "and goes on",
            NULL},
    },
    [COMMAND_COMPLETION] = {
        .name = "completion",
        .summary = "print a script that completes pgtide's commands and options in a shell",
        .details = "",
        .arguments = {{.name = "SHELL", .offset = offsetof(struct command_line, shell), .words = shells}},
        .examples = (const char *const[]){
            "source <(pgtide completion bash)", "in this shell",
            "pgtide completion bash > /etc/bash_completion.d/pgtide", "for everybody",
            NULL},
    },
    [COMMAND_HELP] = {.name = "help", .summary = "show this, or the help of one command", .details = ""},
    /* clang-format on */
};

#define ON(command) (1U << (COMMAND_##command))
#define FIELD(name) .offset = offsetof(struct command_line, name)

enum {
    OF_PAIR = ON(SYNC) | ON(CHECK) | ON(STATUS) | ON(WAIT) | ON(STOP) | ON(COMPARE) | ON(CUTOVER) | ON(RESUME) |
              ON(PAUSE) | ON(CONFLICTS) | ON(SPEED),
    OF_RUN = ON(SYNC) | ON(RESUME), /* how it goes on */
    OF_TASK = ON(SYNC) | ON(CHECK), /* what the task is */
    OF_ALL = (1U << COMMAND_COUNT) - 1,
};

static const struct word sync_types[] = {
    {"full", SYNC_FULL},
    {"full+incremental", SYNC_FULL_INCREMENTAL},
    {"incremental", SYNC_INCREMENTAL},
    {0},
};
static const struct word until_words[] = {{"caught-up", UNTIL_CAUGHT_UP}, {0}};
static const struct word conflict_policies[] = {
    {"error", CONFLICT_ERROR}, {"ignore", CONFLICT_IGNORE}, {"overwrite", CONFLICT_OVERWRITE}, {0}};
static const struct word on_stop_words[] = {{"exit", ON_STOP_EXIT}, {"hold", ON_STOP_HOLD}, {0}};
static const struct word dml_kinds[] = {
    {"insert", DML_INSERT}, {"update", DML_UPDATE}, {"delete", DML_DELETE}, {"truncate", DML_TRUNCATE}, {0}};
static const struct word not_empty_policies[] = {
    {"refuse", NOT_EMPTY_REFUSE}, {"merge", NOT_EMPTY_MERGE}, {"truncate", NOT_EMPTY_TRUNCATE}, {0}};
static const struct word ack_modes[] = {{"spool", ACK_SPOOL}, {"target", ACK_TARGET}, {0}};
static const struct word read_backlogs[] = {
    {"auto", READ_BACKLOG_AUTO}, {"query", READ_BACKLOG_QUERY}, {"stream", READ_BACKLOG_STREAM}, {0}};
static const struct word slot_limit_actions[] = {
    {"alert", SLOT_LIMIT_ALERT}, {"spool", SLOT_LIMIT_SPOOL}, {"drop", SLOT_LIMIT_DROP}, {0}};
static const struct word wait_words[] = {{"incremental", WAIT_INCREMENTAL}, {"caught-up", WAIT_CAUGHT_UP}, {0}};

const struct option_spec option_specs[] = {
    /* clang-format off */
    /* how long */
    {.name = "until", .value = "caught-up|LSN", .commands = OF_RUN, .kind = OPTION_UNTIL, .words = until_words,
     .help = "stop and clean up when all that was committed at that moment, or up to LSN, is applied; default: follow"},
    {.name = "type", .value = "TYPE", .commands = OF_TASK, .kind = OPTION_WORD, FIELD(sync.type), .words = sync_types,
     .help = "full, full+incremental (default) or incremental: nothing is copied, changes are carried from now on, or from where an existing --slot is"},
    {.name = "for", .value = "incremental|caught-up", .commands = ON(WAIT), .kind = OPTION_WORD, FIELD(wait_for),
     .words = wait_words, .is_required = true, .help = "what to wait for"},
    {.name = "timeout", .value = "SECONDS", .commands = ON(WAIT), .kind = OPTION_NUMBER, FIELD(timeout_s), .least = 1,
     .most = 2000000, .help = "give up after this time, with exit status 1; default: never"},

    /* what */
    {.name = "select", .value = "RULE", .commands = OF_TASK | ON(COMPARE), .kind = OPTION_TEXTS, FIELD(sync.select),
     .help = "tables, views, sequences: 'sales.*', '!sales.tmp_*'; the last rule that matches decides; may be repeated"},
    {.name = "select-from", .value = "FILE", .commands = OF_TASK | ON(COMPARE), .kind = OPTION_TEXT, FIELD(sync.select_from),
     .help = "rules from a file, before those of --select: one a line, CSV (schema,table) or JSON"},
    {.name = "with-dependencies", .commands = OF_TASK | ON(COMPARE), .kind = OPTION_FLAG, FIELD(sync.with_dependencies),
     .help = "select what the selected objects need, too: parents of foreign keys, what views read, …"},
    {.name = "no-indexes", .commands = OF_TASK, .kind = OPTION_FLAG_OFF, FIELD(sync.with_indexes),
     .help = "leave out indexes that back no constraint and no replica identity"},
    {.name = "no-ddl", .commands = OF_TASK, .kind = OPTION_FLAG_OFF, FIELD(sync.with_ddl),
     .help = "do not carry DDL while following: install no event triggers on the source"},
    {.name = "populate-matviews", .commands = OF_TASK, .kind = OPTION_FLAG, FIELD(sync.populate_matviews),
     .help = "populate materialized views that are populated on the source, when the rows are in"},
    {.name = "accounts", .commands = OF_TASK, .kind = OPTION_FLAG, FIELD(sync.with_accounts),
     .help = "make the source's roles on the target, with passwords, memberships and settings; check shows which, and why not"},
    {.name = "with-publications", .commands = OF_TASK | ON(COMPARE), .kind = OPTION_FLAG, FIELD(sync.with_publications),
     .help = "carry the source's publications, too; check shows what of them does not come, and why"},
    {.name = "dml", .value = "LIST", .commands = OF_TASK, .kind = OPTION_SET, FIELD(sync.dml), .words = dml_kinds,
     .help = "kinds of changes to carry while following: insert, update, delete, truncate; default all"},

    /* decisions */
    {.name = "on-conflict", .value = "error|ignore|overwrite", .commands = OF_TASK | ON(RESUME), .kind = OPTION_WORD,
     FIELD(sync.on_conflict), .words = conflict_policies,
     .help = "when a change does not fit the row on the target; default error: stop, nothing lost"},
    {.name = "on-stop", .value = "exit|hold", .commands = OF_RUN, .kind = OPTION_WORD, FIELD(sync.on_stop),
     .words = on_stop_words,
     .help = "at a change that cannot be applied: end (default), or go on receiving until pgtide resume has a decision"},
    {.name = "if-not-empty", .value = "refuse|merge|truncate", .commands = OF_TASK, .kind = OPTION_WORD,
     FIELD(sync.if_not_empty), .words = not_empty_policies,
     .help = "when tables on the target have rows already; default refuse"},
    {.name = "accept", .value = "ITEM", .commands = OF_TASK, .kind = OPTION_LIST, FIELD(sync.accept),
     .help = "accept an alarm of the precheck, or all; may be repeated or a list with commas"},
    {.name = "skip-check", .value = "ITEM", .commands = OF_TASK, .kind = OPTION_LIST, FIELD(sync.skip_checks),
     .help = "leave out a precheck item; may be repeated or a list with commas"},
    {.name = "fix", .commands = ON(CHECK), .kind = OPTION_FLAG, FIELD(wants_fix),
     .help = "run what mends a finding and is safe: GRANT, REPLICA IDENTITY FULL, ALTER EXTENSION UPDATE; check again"},
    {.name = "skip-change", .commands = ON(RESUME), .kind = OPTION_FLAG, FIELD(skips_change),
     .help = "leave out the change at which it stopped"},
    {.name = "skip-transaction", .commands = ON(RESUME), .kind = OPTION_FLAG, FIELD(skips_transaction),
     .help = "leave out the whole transaction of that change"},
    {.name = "overwrite", .commands = ON(RESUME), .kind = OPTION_FLAG, FIELD(overwrites),
     .help = "take the source's row: delete what is in its way, insert what is missing"},
    {.name = "replace-with", .value = "FILE|SQL", .commands = ON(RESUME), .kind = OPTION_TEXT, FIELD(replacement),
     .help = "run this on the target in place of the statement (DDL) at which it stopped"},
    {.name = "table", .value = "NAME", .commands = ON(CONFLICTS), .kind = OPTION_TEXT, FIELD(table),
     .help = "only conflicts of this table: schema.table or table"},
    {.name = "freeze", .commands = ON(CUTOVER), .kind = OPTION_FLAG, FIELD(cutover.freeze),
     .help = "make the source read-only, end its sessions and lock its tables until the end"},
    {.name = "compare", .value = "all|none|RULE", .commands = ON(CUTOVER), .kind = OPTION_TEXTS, FIELD(cutover_compare),
     .help = "compare every row before the end (default all), of tables by rules as for sync's --select, or nothing; nobody "
             "writes meanwhile"},
    {.name = "refresh-matviews", .commands = ON(CUTOVER), .kind = OPTION_FLAG, FIELD(cutover.refresh_matviews),
     .help = "refresh materialized views on the target, when everything is applied"},
    {.name = "max-downtime", .value = "SECONDS", .commands = ON(CUTOVER), .kind = OPTION_NUMBER,
     FIELD(cutover.downtime_s), .least = 1, .most = 2000000,
     .help = "give up and undo when nobody could write for longer; default: no limit"},
    {.name = "dry-run", .commands = ON(CUTOVER), .kind = OPTION_FLAG, FIELD(cutover.is_dry_run),
     .help = "show the checklist and what would be done, change nothing"},
    {.name = "undo", .commands = ON(CUTOVER), .kind = OPTION_FLAG, FIELD(cutover.undo),
     .help = "only undo the freeze of an earlier cutover, also of one that came to its end"},
    {.name = "yes", .commands = ON(CUTOVER), .kind = OPTION_FLAG, FIELD(says_yes), .help = "do not ask"},
    {.name = "force", .commands = ON(STOP) | ON(SLOTS), .kind = OPTION_FLAG, FIELD(has_force),
     .help = "stop: remove everything without applying the rest; slots gc: also what could be resumed"},

    {.name = "kind", .value = "KIND", .commands = ON(COMPARE), .kind = OPTION_LIST, FIELD(compare_kinds),
     .help = "object, rows, values or accounts; may be repeated or a list with commas; default object,values"},
    {.name = "repair", .commands = ON(COMPARE), .kind = OPTION_FLAG, FIELD(compare.repair),
     .help = "make the target's rows those of the source, a table a transaction, and compare again"},
    {.name = "report", .value = "FILE", .commands = ON(COMPARE), .kind = OPTION_TEXT, FIELD(report),
     .help = "write a report: .html, .json, .csv (every difference) or .sql (every repair)"},

    /* how */
    {.name = "jobs", .value = "N", .commands = OF_RUN | ON(COMPARE), .kind = OPTION_NUMBER, FIELD(sync.jobs), .least = 1,
     .most = 64,
     .help = "workers that copy tables and build indexes, or compare tables; default 4"},
    {.name = "index-memory", .value = "SIZE", .commands = OF_RUN, .kind = OPTION_SIZE, FIELD(sync.index_memory),
     .least = 1024,
     .help = "memory of the target for building indexes, all workers together; default 1GB"},
    {.name = "lanes", .value = "N", .commands = OF_RUN, .kind = OPTION_NUMBER, FIELD(sync.lanes), .least = 1,
     .most = 64,
     .help = "sessions that apply changes at the same time, by key; default 1"},
    {.name = "max-rate", .value = "MB/S", .commands = OF_RUN | ON(COMPARE), .kind = OPTION_RATE, FIELD(sync.max_rate),
     .help = "limit of the speed at which tables are copied or compared, all workers together; 20,50@22:00-06:00: by time "
             "of day (see pgtide speed)"},
    {.name = "ack", .value = "spool|target", .commands = OF_RUN, .kind = OPTION_WORD, FIELD(sync.ack),
     .words = ack_modes,
     .help = "when the source may forget WAL: it is on our disk (default), or applied on the target"},
    {.name = "read-backlog", .value = "auto|query|stream", .commands = OF_RUN, .kind = OPTION_WORD,
     FIELD(sync.read_backlog), .words = read_backlogs,
     .help = "how changes that wait on the source at a start are read: by query where that costs it less (default), however few, or never"},
    {.name = "max-spool", .value = "SIZE", .commands = OF_RUN, .kind = OPTION_SIZE, FIELD(sync.max_spool), .least = 1024,
     .help = "let no more than this wait on our disk, such as 20GB: then the source keeps its WAL; default: no limit"},
    {.name = "max-slot-wal", .value = "SIZE", .commands = OF_RUN, .kind = OPTION_SIZE, FIELD(sync.max_slot_wal), .least = 1024,
     .help = "how much WAL the source may keep for us, such as 10GB; default: as much as it takes"},
    {.name = "on-slot-limit", .value = "alert|spool|drop", .commands = OF_RUN, .kind = OPTION_WORD,
     FIELD(sync.on_slot_limit), .words = slot_limit_actions,
     .help = "when it keeps more: say so (default), acknowledge what is in the spool, or drop the slot and begin anew later"},
    {.name = "decoding-work-mem", .value = "SIZE", .commands = OF_RUN, .kind = OPTION_SIZE, FIELD(sync.decoding_work_mem),
     .least = 64,
     .help = "memory of the source for decoding before a large transaction is sent in pieces; default 256MB"},
    {.name = "publication", .value = "NAME", .commands = OF_TASK, .kind = OPTION_TEXT, FIELD(sync.publication),
     .help = "use this publication, which somebody made and which stays; default: one of our own"},
    {.name = "slot", .value = "NAME", .commands = OF_TASK, .kind = OPTION_TEXT, FIELD(sync.slot),
     .help = "make the replication slot under this name; default: pgtide_ and the task's id; with --type incremental one that exists is read from where it is, and stays"},
    {.name = "state-dir", .value = "DIR", .commands = OF_PAIR | ON(SLOTS), .kind = OPTION_TEXT, FIELD(sync.state_dir),
     .help = "where the state of syncs is kept; default $PGTIDE_STATE_DIR, else ~/.local/state/pgtide"},

    /* output */
    {.name = "json", .commands = OF_PAIR | ON(SLOTS), .kind = OPTION_FLAG, FIELD(wants_json),
     .help = "output for programs: one document, for sync and stop one event a line (docs/json.md)"},
    {.name = "quiet", .commands = OF_RUN | ON(STOP) | ON(WAIT) | ON(COMPARE), .kind = OPTION_FLAG, FIELD(is_quiet),
     .help = "say nothing but errors"},
    {.name = "help", .commands = OF_ALL, .kind = OPTION_HELP, FIELD(wants_help), .help = "show this"},
    /* clang-format on */
};

const size_t n_option_specs = COUNT_OF(option_specs);

const struct command_spec *command_spec(enum command command)
{
    return &commands[command];
}

const struct command_spec *command_find(const char *name)
{
    for (size_t i = 0; i < COUNT_OF(commands); i++) {
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    }
    return NULL;
}

enum command command_of(const struct command_spec *spec)
{
    return (enum command)(spec - commands);
}

const struct option_spec *option_find(const char *name)
{
    for (size_t i = 0; i < n_option_specs; i++) {
        if (strcmp(option_specs[i].name, name) == 0)
            return &option_specs[i];
    }
    return NULL;
}

bool option_belongs_to(const struct option_spec *option, enum command command)
{
    return (option->commands & 1U << command) != 0;
}

#include "worker/packer.h"

#include "base/log.h"
#include "sys/thread.h"
#include "worker/spool_folder.h"

enum { EVERY_MS = 1000 };

/* All that there is to pack now. */
MUST_USE static struct error *pack(const struct task *t)
{
    bool goes_on = true;

    while (goes_on && !stop_requested(t->stream_stop))
        TRY(spool_folder_pack(t->spool_store, &goes_on));
    return NULL;
}

struct error *packer_run(void *self)
{
    struct task *t = self;
    bool is_failing = false;

    thread_be_modest(); /* room on a disk can wait, applying cannot */
    while (!stop_wait_ms(t->stream_stop, EVERY_MS)) {
        CLEANUP(error_free) struct error *err = pack(t);

        if (err != NULL && !is_failing)
            log_warn("what waits in the spool is not packed, trying again: %s", error_message(err));
        is_failing = err != NULL;
    }
    return NULL;
}

#include "children.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon.h"
#include "log.h"

#define PULSES_MISSED_MAX 2 /* of 5 s each */

int daemon_start_recursor(struct daemon *daemon, bool force)
{
	size_t len;
	char *text = config_text(daemon->config, config_print_recursion, &len);

	if (text == NULL)
		return -ENOMEM;
	bool same = daemon->recursion_text != NULL && strcmp(text, daemon->recursion_text) == 0;
	int ret = same && !force ? 0 : keeper_recursor(daemon->keeper, text, len);
	if (ret < 0 || same) {
		free(text);
		return ret;
	}
	daemon->flush_all = daemon->recursion_text != NULL;
	free(daemon->recursion_text);
	daemon->recursion_text = text;
	return 0;
}

int daemon_start_tellers(struct daemon *daemon)
{
	size_t len;
	char *text = config_text(daemon->config, config_print, &len);

	if (text == NULL)
		return -ENOMEM;
	bool same = daemon->reader_text != NULL && strcmp(text, daemon->reader_text) == 0;
	int ret = same ? 0 : keeper_reader(daemon->keeper, text, len, daemon->log_fd);
	if (ret == 0 && !same)
		ret = keeper_alerter(daemon->keeper, text, len, daemon->alerts_fd);
	if (ret < 0 || same) {
		free(text);
		return ret;
	}
	free(daemon->reader_text);
	daemon->reader_text = text;
	return 0;
}

int daemon_flush(struct daemon *daemon, const struct name *name, unsigned *flushed)
{
	*flushed = cache_flush(daemon->cache, name, true);
	daemon->flush_name = *name;
	/* Questions wait for the new recursor: the old one would bring the old answer. */
	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_set_recursor(daemon->workers[i], -1);
	return daemon_start_recursor(daemon, true);
}

/* The workers have left the old recursor by now: what its last answers put into the cache goes too. */
void daemon_flush_again(struct daemon *daemon)
{
	static const struct name root = { .len = 1 };

	if (daemon->flush_turns == 0 || --daemon->flush_turns > 0)
		return;
	if (daemon->flush_all)
		cache_flush(daemon->cache, &root, true);
	else if (daemon->flush_name.len > 0)
		cache_flush(daemon->cache, &daemon->flush_name, true);
	daemon->flush_all = false;
	daemon->flush_name.len = 0;
}

static void recursor_started(void *arg, const int *fds, unsigned count)
{
	struct daemon *daemon = arg;

	daemon->recursor_runs = true;
	daemon->flush_turns = 2;
	for (unsigned i = 0; i < count; i++) {
		if (i < daemon->worker_count)
			worker_set_recursor(daemon->workers[i], fds[i]);
		else
			close(fds[i]);
	}
}

static void recursor_ended(void *arg)
{
	struct daemon *daemon = arg;

	daemon->recursor_runs = false;
	log_warn("recursor: ended unexpectedly, it is being started again");
	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_set_recursor(daemon->workers[i], -1);
}

void daemon_check_recursor(struct daemon *daemon)
{
	if (!daemon->recursor_runs || atomic_load(&daemon->workers[0]->pulses_missed) < PULSES_MISSED_MAX)
		return;
	atomic_store(&daemon->workers[0]->pulses_missed, 0);
	log_error("recursor: it does not answer any more and is replaced");
	if (daemon_start_recursor(daemon, true) < 0)
		log_error("recursor: another one could not be started");
}

static void keeper_ended(void *arg)
{
	struct daemon *daemon = arg;

	if (daemon->stopping)
		return;
	log_error("keeper: ended unexpectedly; usherd stops too, so that it can be started as a whole");
	daemon->exit_code = 1;
	event_base_loopbreak(daemon->base);
}

int daemon_attach_children(struct daemon *daemon)
{
	struct keeper_events keeper = { recursor_started, recursor_ended, daemon, keeper_ended };
	int ret = keeper_attach(daemon->keeper, daemon->base, &keeper);

	if (ret == 0)
		ret = daemon_start_recursor(daemon, false);
	return ret < 0 ? ret : daemon_start_tellers(daemon);
}

/*
 * A reload: the configuration is read and checked whole before anything of it is in effect, so that a bad one
 * changes nothing. Some keys wait for a restart, and are named.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "children.h"
#include "daemon.h"
#include "log.h"
#include "publish.h"
#include "recursor.h"

/* Keys that are read once, at start. */
static void reload_note(const struct config *old, const struct config *new, char note[256])
{
	const struct {
		const char *key;
		bool changed;
	} keys[] = {
		{ "workers", old->workers != new->workers },
		{ "user", strcmp(old->user, new->user) != 0 },
		{ "recursor-user", strcmp(old->recursor_user, new->recursor_user) != 0 },
		{ "stats-listen",
		        old->stats_listen.socket_len != new->stats_listen.socket_len ||
		                (new->stats_listen.socket_len > 0 &&
		                        strcmp(old->stats_listen.text, new->stats_listen.text) != 0) },
		{ "access", old->access_count == 0 && new->access_count > 0 }, /* log.sock: start.c */
		{ "cache.size", old->cache_size != new->cache_size },
		{ "limits.in-flight", old->limits.in_flight != new->limits.in_flight },
		{ "log", old->log_max_size != new->log_max_size || old->log_ring != new->log_ring },
		{ "names", old->names.enabled != new->names.enabled || old->names.days != new->names.days },
	};
	bool listen_changed = old->listen_count != new->listen_count;
	size_t at = 0;

	for (size_t i = 0; !listen_changed && i < new->listen_count; i++)
		listen_changed = strcmp(old->listen[i].text, new->listen[i].text) != 0;
	note[0] = '\0';
	if (listen_changed)
		at += (size_t)snprintf(note, 256, "listen");
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (keys[i].changed)
			at += (size_t)snprintf(note + at, 256 - at, "%s%s", at > 0 ? ", " : "", keys[i].key);
	if (at > 0)
		snprintf(note + at, 256 - at, ": in effect after a restart of usherd");
}

/* The folders hold our lock, our log and our sockets: they cannot move under a running usherd. */
static int reload_keeps_folders(const struct config *old, const struct config *new, char why[CONFIG_WHY_MAX])
{
	bool state = strcmp(old->state_dir, new->state_dir) != 0;

	if (!state && strcmp(old->run_dir, new->run_dir) == 0)
		return 0;
	snprintf(why, CONFIG_WHY_MAX,
	        "%s: %s: found '%s', expected '%s' as long as usherd runs: restart it to move", new->file,
	        state ? "state-dir" : "run-dir", state ? new->state_dir : new->run_dir,
	        state ? old->state_dir : old->run_dir);
	return -EINVAL;
}

/* Puts a checked configuration and its lists into effect. */
static int reload_apply(
        struct daemon *daemon, struct config *config, struct lists *lists, char why[CONFIG_WHY_MAX])
{
	struct config *config_before = daemon->config;
	struct block_keep keeps[CONFIG_PROFILES_MAX];
	struct lists *lists_before = daemon->lists;

	daemon->config = config;
	daemon->lists = lists;
	daemon_read_engines(daemon);
	int ret = daemon_publish(daemon);
	if (ret < 0) {
		daemon->config = config_before;
		daemon->lists = lists_before;
		daemon_read_engines(daemon);
		snprintf(why, CONFIG_WHY_MAX, "out of memory");
		return ret;
	}
	config_free(config_before);
	lists_free(lists_before);
	if (device_watch_configure(daemon->devices, config) < 0)
		log_error("reload: no memory for the lease files; those of before are followed");
	names_configure(daemon->names, config);
	if (block_log_set_keeps(daemon->log, keeps, daemon_keeps(config, keeps)) < 0)
		log_error("reload: out of memory: the log is kept as before");
	if (daemon_start_recursor(daemon, false) < 0 || daemon_start_tellers(daemon) < 0)
		log_error("reload: a child process could not be started anew; it goes on as it was");
	daemon_say_warnings(config);
	return 0;
}

/* Keeps where the first mistake is, not what stands there: that may be a secret, or somebody's device, and
 * goes into mails. */
static void reload_note_trouble(struct daemon *daemon, const char *why)
{
	char *end;

	snprintf(daemon->reload_trouble, sizeof daemon->reload_trouble, "%s", why);
	daemon->reload_trouble[strcspn(daemon->reload_trouble, "\n")] = '\0';
	end = strstr(daemon->reload_trouble, ": found");
	if (end != NULL)
		*end = '\0';
}

int daemon_reload(
        struct daemon *daemon, const struct daemon_asker *asker, char why[CONFIG_WHY_MAX], char note[256])
{
	struct config *config = NULL;
	struct lists *lists = NULL;
	int ret = config_read(&config, daemon->config_file, why);

	if (ret == 0)
		ret = recursor_check(config, why);
	if (ret == 0)
		ret = reload_keeps_folders(daemon->config, config, why);
	if (ret == 0)
		ret = daemon_lists_for(daemon, config, &lists, why);
	if (ret == 0) {
		reload_note(daemon->config, config, note);
		ret = reload_apply(daemon, config, lists, why);
	}
	if (ret == 0)
		daemon_note_state(daemon, asker, "reload");
	if (ret < 0) {
		reload_note_trouble(daemon, why);
		config_free(config);
		lists_free(lists);
	} else {
		daemon->reload_trouble[0] = '\0';
	}
	return ret;
}

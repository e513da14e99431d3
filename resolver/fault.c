#include "fault.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "blocklists/member.h"
#include "cases.h"
#include "daemon.h"
#include "rules_control.h"

#define RESTARTS 3     /* of the recursor … */
#define RESTARTS_S 600 /* … within this time */
#define GONE_S 3       /* a start takes less */
#define LOST_S 3600    /* so long lost events are a trouble */
#define STREAK 20      /* so many questions came back without an answer … */
#define STREAK_S 10    /* … for so long */
#define DISK_LEFT (64 << 20)
#define DISK_SHARE 20 /* of a small disk a twentieth */
#define INODES_LEFT 100
#define MEMORY_SHARE 20

const struct fault_row fault_rows[FAULT_COUNT] = {
#define X(name, key, state, well) { key, state, well },
	FAULTS(X)
#undef X
};

__attribute__((format(printf, 2, 3))) static void tell(char text[FAULT_TEXT_MAX], const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(text, FAULT_TEXT_MAX, format, args);
	va_end(args);
}

/* ---- lists and rules ---- */

static void look_at_lists(struct faults *faults, const struct daemon *daemon)
{
	if (daemon->lists == NULL)
		tell(faults->text[FAULT_LISTS], "the lists cannot be read: %s", daemon->lists_trouble);
	else if (daemon->lists_trouble[0] != '\0')
		tell(faults->text[FAULT_LISTS_DAMAGED],
		        "a generation of the lists was refused, the one before goes on: %s",
		        daemon->lists_trouble);
}

/* The oldest of the sources that were confirmed at some time. */
static void look_at_ages(struct faults *faults, struct daemon *daemon)
{
	int64_t oldest_s = INT64_MAX, now_s = time(NULL);
	const char *source = "";
	json_t *account;
	size_t i;

	json_array_foreach(
	        source_watch_read(&daemon->source_watch, daemon->config, daemon->lists), i, account)
	{
		int64_t at_s = member_number(account, "fetched_at");
		if (at_s == 0 || at_s >= oldest_s || strcmp(member_text(account, "name"), "starter") == 0)
			continue;
		oldest_s = at_s;
		source = member_text(account, "name");
	}
	if (oldest_s != INT64_MAX && now_s - oldest_s > SOURCE_OLD_S)
		tell(faults->text[FAULT_LISTS_OLD], "the list %s was last confirmed %lld days ago", source,
		        (long long)(now_s - oldest_s) / 86400);
}

static void look_at_rules(struct faults *faults, const struct daemon *daemon)
{
	char trouble[1024];

	rules_control_trouble(daemon, trouble);
	if (trouble[0] != '\0')
		tell(faults->text[FAULT_RULES], "the school's own rules: %.500s", trouble);
}

/* ---- what is written ---- */

static void look_at_log(struct faults *faults, const struct daemon *daemon, int64_t steady_s)
{
	const char *sentence = block_log_trouble(daemon->log);
	uint64_t lost = block_log_lost(daemon->log);

	if (*sentence != '\0')
		tell(faults->text[FAULT_LOG], "the block log: %s", sentence);
	for (unsigned i = 0; i < daemon->worker_count; i++)
		lost += atomic_load_explicit(
		        &daemon->workers[i]->stats.counter[STATS_LOG_LOST], memory_order_relaxed);
	if (lost > faults->lost)
		faults->lost_at_s = steady_s;
	faults->lost = lost;
	if (faults->lost_at_s != 0 && steady_s - faults->lost_at_s < LOST_S)
		tell(faults->text[FAULT_LOG_LOST], "%llu events of the block log were lost",
		        (unsigned long long)lost);
}

static void look_at_cases(struct faults *faults, const struct config *config)
{
	char log[PATH_MAX], why[CASES_TROUBLE_MAX];

	snprintf(log, sizeof log, "%.4000s/log", config->state_dir);
	if (cases_trouble(log, why))
		tell(faults->text[FAULT_CASES],
		        "a case cannot take the rows that came since, so rows of the log that are too old "
		        "stay: %s",
		        *why != '\0' ? why : "see the journal");
}

static void look_at_folder(char text[FAULT_TEXT_MAX], const char *folder)
{
	struct statvfs disk;

	if (text[0] != '\0')
		return;
	if (statvfs(folder, &disk) < 0) {
		tell(text, "%.400s: %s", folder, strerror(errno));
		return;
	}
	uint64_t left = (uint64_t)disk.f_bavail * disk.f_frsize,
	         share = disk.f_blocks * disk.f_frsize / DISK_SHARE;
	if ((disk.f_flag & ST_RDONLY) != 0)
		tell(text, "%.400s is on a disk that can only be read", folder);
	else if (left < (share < DISK_LEFT ? share : DISK_LEFT))
		tell(text, "the disk of %.400s is full: %llu MiB are left", folder,
		        (unsigned long long)left >> 20);
	else if (disk.f_files > 0 && disk.f_favail < INODES_LEFT)
		tell(text, "the disk of %.400s has no room for more files", folder);
}

static void look_at_disk(struct faults *faults, const struct config *config)
{
	char log[PATH_MAX];

	look_at_folder(faults->text[FAULT_DISK], config->state_dir);
	snprintf(log, sizeof log, "%.4000s/log", config->state_dir);
	look_at_folder(faults->text[FAULT_DISK], log);
}

/* ---- the way to the internet ---- */

static void look_at_recursor(struct faults *faults, const struct daemon *daemon, int64_t steady_s)
{
	unsigned restarts = keeper_recursor_restarts(daemon->keeper);

	if (steady_s - faults->restarts_since_s > RESTARTS_S) {
		faults->restarts = restarts;
		faults->restarts_since_s = steady_s;
	}
	if (daemon->recursor_runs)
		faults->recursor_gone_s = 0;
	else if (faults->recursor_gone_s == 0)
		faults->recursor_gone_s = steady_s;
	if (restarts - faults->restarts >= RESTARTS)
		tell(faults->text[FAULT_RECURSOR],
		        "the recursor keeps dying: it was started again %u times in ten minutes",
		        restarts - faults->restarts);
	else if (!daemon->recursor_runs && steady_s - faults->recursor_gone_s >= GONE_S)
		tell(faults->text[FAULT_RECURSOR], "the recursor does not run; it is being started again");
	else if (atomic_load(&daemon->workers[0]->pulses_missed) > 0)
		tell(faults->text[FAULT_RECURSOR],
		        "the recursor does not answer any more; it is going to be replaced");
}

void fault_of_streak(struct fault_streak *streak, const struct fault_streak *now,
        char upstream[FAULT_TEXT_MAX], char anchor[FAULT_TEXT_MAX])
{
	uint64_t failed = now->failed - streak->failed, bogus = now->bogus - streak->bogus;

	if (now->answered != streak->answered || failed + bogus == 0) {
		*streak = *now;
		return;
	}
	if (failed + bogus < STREAK || now->since_s - streak->since_s < STREAK_S)
		return;
	if (bogus > failed)
		tell(anchor,
		        "the last %llu answers all failed DNSSEC validation: is the trust anchor out of "
		        "date, or the clock "
		        "wrong?",
		        (unsigned long long)bogus);
	else
		tell(upstream,
		        "the last %llu questions got no answer: is the way to the internet, or the "
		        "forwarder, "
		        "down?",
		        (unsigned long long)(failed + bogus));
}

static void look_at_upstream(struct faults *faults, const struct daemon *daemon, int64_t steady_s)
{
	struct fault_streak now = { .since_s = steady_s };

	for (unsigned i = 0; i < daemon->worker_count; i++) {
		_Atomic uint64_t *counter = daemon->workers[i]->stats.counter;
		now.answered += atomic_load_explicit(&counter[STATS_UPSTREAM_ANSWERED], memory_order_relaxed);
		now.bogus += atomic_load_explicit(&counter[STATS_UPSTREAM_BOGUS], memory_order_relaxed);
		now.failed += atomic_load_explicit(&counter[STATS_UPSTREAM_FAILED], memory_order_relaxed) +
		              atomic_load_explicit(&counter[STATS_UPSTREAM_TIMEOUTS], memory_order_relaxed);
	}
	fault_of_streak(
	        &faults->streak, &now, faults->text[FAULT_UPSTREAM], faults->text[FAULT_TRUST_ANCHOR]);
}

static void look_at_anchor(struct faults *faults, const struct config *config)
{
	if (config->recursion.dnssec && access(config->recursion.trust_anchor, R_OK) < 0)
		tell(faults->text[FAULT_TRUST_ANCHOR],
		        "%.400s: %s: DNSSEC goes on as it was, but the recursor could not be started again",
		        config->recursion.trust_anchor, strerror(errno));
}

/* ---- the machine ---- */

static void look_at_clock(struct faults *faults, const struct daemon *daemon)
{
	struct timespec wall, steady;
	char text[CLOCK_TEXT_MAX];

	clock_gettime(CLOCK_REALTIME, &wall);
	clock_gettime(CLOCK_BOOTTIME, &steady);
	struct clock_reading reading = { wall.tv_sec, steady.tv_sec, faults->past_s };
	if (daemon->lists != NULL && lists_info(daemon->lists)->published_at > reading.past_s)
		reading.past_s = lists_info(daemon->lists)->published_at;
	clock_watch_look(&faults->clock, &reading, text);
	if (text[0] != '\0')
		tell(faults->text[FAULT_CLOCK], "the clock: %s", text);
}

static uint64_t meminfo_kib(const char *meminfo, const char *key)
{
	const char *line = strstr(meminfo, key);

	return line != NULL ? strtoull(line + strlen(key), NULL, 10) : 0;
}

void fault_of_memory(const char *meminfo, char text[FAULT_TEXT_MAX])
{
	uint64_t total = meminfo_kib(meminfo, "MemTotal:");
	uint64_t available = meminfo_kib(meminfo, "MemAvailable:");

	if (strstr(meminfo, "MemAvailable:") != NULL && available < total / MEMORY_SHARE)
		tell(text, "%llu MiB of %llu MiB of memory are left on this machine",
		        (unsigned long long)available >> 10, (unsigned long long)total >> 10);
}

static void look_at_memory(struct faults *faults)
{
	char meminfo[1024];
	int fd = open("/proc/meminfo", O_RDONLY | O_CLOEXEC);
	ssize_t len = fd >= 0 ? read(fd, meminfo, sizeof meminfo - 1) : -1;

	if (fd >= 0)
		close(fd);
	if (len <= 0)
		return;
	meminfo[len] = '\0';
	fault_of_memory(meminfo, faults->text[FAULT_MEMORY]);
}

/* ---- all of it ---- */

static int64_t steady_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void past_take(struct faults *faults, int dir, const char *file)
{
	struct stat status;

	if (fstatat(dir, file, &status, 0) == 0 && status.st_mtime > faults->past_s)
		faults->past_s = status.st_mtime;
}

void faults_start(struct faults *faults, const char *state_dir)
{
	char path[PATH_MAX];
	struct dirent *entry;

	faults->restarts_since_s = faults->streak.since_s = steady_seconds();
	past_take(faults, AT_FDCWD, "/proc/self/exe");
	snprintf(path, sizeof path, "%.4000s/log", state_dir);
	DIR *dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.')
			past_take(faults, dirfd(dir), entry->d_name);
	if (dir != NULL)
		closedir(dir);
}

void faults_look(struct faults *faults, struct daemon *daemon)
{
	int64_t steady_s = steady_seconds();

	for (unsigned i = 0; i < FAULT_COUNT; i++)
		faults->text[i][0] = '\0';
	look_at_lists(faults, daemon);
	look_at_ages(faults, daemon);
	look_at_rules(faults, daemon);
	look_at_log(faults, daemon, steady_s);
	look_at_cases(faults, daemon->config);
	look_at_disk(faults, daemon->config);
	look_at_recursor(faults, daemon, steady_s);
	look_at_upstream(faults, daemon, steady_s);
	look_at_anchor(faults, daemon->config);
	look_at_clock(faults, daemon);
	look_at_memory(faults);
	if (daemon->ledger_trouble[0] != '\0')
		tell(faults->text[FAULT_LEDGER], "the ledger: %s", daemon->ledger_trouble);
	if (daemon->reload_trouble[0] != '\0')
		tell(faults->text[FAULT_RELOAD],
		        "the configuration of before stays in effect (%s): see `usherd -n`",
		        daemon->reload_trouble);
	if (daemon_worker_hangs(daemon))
		tell(faults->text[FAULT_WORKER],
		        "one has not turned its loop for some seconds; clients that it serves wait");
}

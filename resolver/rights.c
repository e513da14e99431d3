/*
 * Each change is in the ledger before it is made; a case, with its number, when it is, or it is undone. An
 * erasure's entry says who, why, when and how many rows, not which: the ledger would keep what the log shall
 * forget.
 */
#include "rights.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "block_item.h"
#include "cases.h"
#include "device_spans.h"
#include "erasure.h"
#include "ledger.h"
#include "log_query.h"
#include "report_files.h"
#include "retention.h"
#include "shipped.h"

#define WAIT_MS 30000 /* for the writer to end an erasure; a client waits a minute */
#define LOOK_MS 20

const char *const rights_hold_parameters[] = { "client", "profile", "name", "since", "until", "reason",
	"device", NULL };
const char *const rights_forget_parameters[] = { "client", "device", "profile", "name", "since", "until",
	"reason", NULL };
const char *const rights_release_parameters[] = { "case", "reason", NULL };
const char *const rights_no_parameters[] = { NULL };

static const char *value_of(const struct reader_ask *ask, const char *name)
{
	const char *value = ask->parameter(ask->arg, name);
	return value && *value ? value : NULL;
}

static int failed(int ret, const char *what, char why[JOB_WHY_MAX])
{
	if (ret == -EBUSY) {
		snprintf(why, JOB_WHY_MAX, "rows are being held or erased at the moment: try again soon");
		return 409;
	}
	snprintf(why, JOB_WHY_MAX, "%s: %s", what, strerror(-ret));
	return 503;
}

static int64_t now_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* The rows that are asked for, up to now (*until_us: until when, 0 open), of what the person reads in full.
 * Returns 0 or a status. */
static int read_rows(
        const struct reader_ask *ask, struct log_query *query, int64_t *until_us, char why[JOB_WHY_MAX])
{
	struct block_filter *filter = &query->filter;

	if (log_query_read(query, ask->config, ask->parameter, ask->arg, why) < 0)
		return 400;
	if (!value_of(ask, "reason") || (!filter->has_client && query->device[0] == '\0')) {
		snprintf(why, JOB_WHY_MAX, "%s: expected, but not given",
		        value_of(ask, "reason") ? "client or device" : "reason");
		return 400;
	}
	filter->limit = 0;
	*until_us = filter->until_us;
	if (!filter->until_us || filter->until_us > now_us())
		filter->until_us = now_us();
	scope_apply(ask->scope, filter, false);
	return 0;
}

static int record(const struct reader_ask *ask, const char *what, json_t *detail)
{
	return ledger_append(ask->ledger_dir, ask->uid, what, detail);
}

/* ---- cases ---- */

static json_t *case_detail(const struct reader_ask *ask)
{
	json_t *detail = json_object();

	json_object_set_new(detail, "uid", json_integer((json_int_t)ask->uid));
	for (size_t i = 0; detail && rights_hold_parameters[i]; i++) {
		const char *value = value_of(ask, rights_hold_parameters[i]);
		json_object_set_new(
		        detail, rights_hold_parameters[i], value ? json_string(value) : json_null());
	}
	return detail;
}

/* Not where the device was, nor, of an address alone, which devices had it: the ledger would keep that for
 * good. */
static int record_hold(const struct reader_ask *ask, const json_t *detail)
{
	json_t *entry = json_copy((json_t *)(uintptr_t)detail);

	if (json_is_null(json_object_get(entry, "device")))
		json_object_del(entry, "macs");
	json_object_del(entry, "addresses");
	json_object_del(entry, "growth");
	int ret = entry ? record(ask, "case.hold", entry) : -ENOMEM;
	json_decref(entry);
	return ret;
}

static int hold(
        const struct reader_ask *ask, const struct cases_asked *asked, FILE *out, char why[JOB_WHY_MAX])
{
	json_t *detail = case_detail(ask);
	int64_t number = detail ? cases_hold(ask->log_dir, asked, detail) : -ENOMEM;
	int recorded = number > 0 ? record_hold(ask, detail) : 0;

	if (recorded < 0) {
		cases_release(ask->log_dir, (uint32_t)number);
		number = recorded;
	}
	json_object_del(detail, "growth");
	if (number > 0)
		json_dumpf(detail, out, JSON_COMPACT);
	json_decref(detail);
	if (number < 0)
		return failed((int)number, "nothing is held", why);
	if (number == 0) {
		snprintf(why, JOB_WHY_MAX, "nothing is held: there are no such rows");
		return 404;
	}
	putc('\n', out);
	return 0;
}

int rights_hold(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX])
{
	struct log_query query;
	int64_t until_us;
	int lock;

	if (!value_of(ask, "since")) {
		snprintf(why, JOB_WHY_MAX, "since: expected, but not given");
		return 400;
	}
	int status = read_rows(ask, &query, &until_us, why);
	if (status != 0)
		return status;
	int ret = cases_lock(ask->log_dir, &lock);
	if (ret < 0)
		return failed(ret, "nothing is held", why);
	struct cases_asked asked = { &query.filter, query.device, until_us };
	status = hold(ask, &asked, out, why);
	cases_unlock(lock);
	return status;
}

int rights_release(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX])
{
	const char *number = value_of(ask, "case"), *reason = value_of(ask, "reason");
	int lock;
	unsigned id;
	char end;

	if (!number || !reason || sscanf(number, "%u%c", &id, &end) != 1 || id == 0) {
		snprintf(why, JOB_WHY_MAX, "expected the number of a case, and a reason");
		return 400;
	}
	int ret = cases_lock(ask->log_dir, &lock);
	if (ret < 0)
		return failed(ret, "the case is not released", why);
	json_t *detail = json_pack("{s:i, s:s}", "case", (int)id, "reason", reason);
	ret = !detail ? -ENOMEM : !cases_has(ask->log_dir, id) ? -ENOENT : 0;
	if (ret == 0)
		ret = record(ask, "case.release", detail);
	if (ret == 0)
		ret = cases_release(ask->log_dir, id);
	cases_unlock(lock);
	if (ret == 0)
		json_dumpf(detail, out, JSON_COMPACT);
	json_decref(detail);
	if (ret == -ENOENT) {
		snprintf(why, JOB_WHY_MAX, "there is no case %u", id);
		return 404;
	}
	if (ret < 0)
		return failed(ret, "the case is not released", why);
	putc('\n', out);
	return 0;
}

int rights_cases(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX])
{
	json_t *list = cases_list(ask->log_dir), *one;
	size_t i;

	if (!list)
		return failed(-ENOMEM, "cases", why);
	json_array_foreach(list, i, one)
	{
		json_dumpf(one, out, JSON_COMPACT);
		putc('\n', out);
	}
	json_decref(list);
	return 0;
}

int rights_grow(const char *log_dir, char why[JOB_WHY_MAX])
{
	char before[CASES_TROUBLE_MAX];
	int lock;
	int ret = cases_lock(log_dir, &lock);

	if (ret == 0) {
		ret = cases_grow(log_dir, false);
		cases_unlock(lock);
	}
	if (ret == -EBUSY)
		return 0;
	bool was = cases_trouble(log_dir, before);
	const char *now = ret < 0 ? strerror(-ret) : "";
	if (was == (ret < 0) && strcmp(before, now) == 0)
		return 0;
	cases_tell_trouble(log_dir, now);
	return ret < 0 ? failed(ret, "cases do not go on", why) : 0;
}

/* ---- erasure ---- */

static bool count_row(void *arg, const struct block_item *item)
{
	(*(uint64_t *)arg)++;
	return true;
}

/* Returns the rows that are held, or negative errno. */
static int64_t held_rows(const char *dir, const struct erasure *erasure, uint32_t *number)
{
	struct block_filter filter = erasure->filter;
	int64_t held = 0;

	if (*erasure->device == '\0')
		return cases_held(dir, &filter, number);
	for (size_t i = 0; i < erasure->span_count && held >= 0; i++) {
		const struct erasure_span *span = &erasure->spans[i];
		filter.has_client = true;
		filter.client.length = 128;
		memcpy(filter.client.address, span->client, sizeof span->client);
		filter.since_us = span->since_us;
		filter.until_us = span->until_us;
		int64_t more = cases_held(dir, &filter, number);
		held = more < 0 ? more : held + more;
	}
	return held;
}

/* Nothing that is held is erased. */
static int check_held(const struct reader_ask *ask, const struct erasure *erasure, char why[JOB_WHY_MAX])
{
	uint32_t number = 0;
	int64_t held = cases_grow(ask->log_dir, true); /* what a case is still to take is held too */

	if (held == 0)
		held = held_rows(ask->log_dir, erasure, &number);

	if (held < 0)
		return failed((int)held, "nothing is erased", why);
	if (held == 0)
		return 0;
	snprintf(why, JOB_WHY_MAX,
	        "nothing is erased: %" PRId64 " of these rows are held for case %" PRIu32
	        "; see `usher case list`, and `usher case release`",
	        held, number);
	return 409;
}

static bool await_end(const char *dir)
{
	for (int ms = 0; ms < WAIT_MS && erasure_is_pending(dir); ms += LOOK_MS)
		nanosleep(&(struct timespec){ .tv_nsec = LOOK_MS * 1000000 }, NULL);
	return !erasure_is_pending(dir);
}

/* Returns how many rows go, or negative errno. */
static int64_t find_rows(const struct reader_ask *ask, struct erasure *erasure)
{
	uint64_t rows = 0;

	if (*erasure->device)
		return device_spans_find(erasure, ask->log_dir);
	int64_t ret = block_scan_items(ask->log_dir, &erasure->filter, true, count_row, &rows);
	return ret < 0 ? ret : (int64_t)rows;
}

/* What else tells of the rows: reports in files, and whom they were shipped to. */
struct reach {
	json_t *reports, *unnamed, *left, *shipped;
	char unread[NAME_MAX + 1]; /* a report that nobody can look into; "": none */
};

static void reach_clear(struct reach *reach)
{
	json_decref(reach->reports);
	json_decref(reach->unnamed);
	json_decref(reach->left);
	json_decref(reach->shipped);
}

static int reach_find(struct reach *reach, const struct reader_ask *ask, const struct erasure *erasure)
{
	*reach = (struct reach){ .shipped = shipped_rows(ask->config, erasure) };
	int ret = report_files_find(
	        &reach->reports, ask->config->report_dir, erasure, ask->log_dir, reach->unread);
	if (ret < 0)
		return ret;
	reach->unnamed = report_files_unnamed(reach->reports, erasure, ask->log_dir);
	return reach->unnamed && reach->shipped ? 0 : -ENOMEM;
}

static int record_erasure(const struct reader_ask *ask, int64_t rows, const struct reach *reach)
{
	json_t *detail = json_pack("{s:I, s:s}", "rows", (json_int_t)rows, "reason", value_of(ask, "reason"));

	if (json_array_size(reach->unnamed) > 0)
		json_object_set(detail, "reports", reach->unnamed);
	if (json_array_size(reach->shipped) > 0)
		json_object_set_new(detail, "shipped", shipped_places(reach->shipped));
	int ret = detail ? record(ask, "log.forget", detail) : -ENOMEM;
	json_decref(detail);
	return ret;
}

static int erase_answer(int64_t rows, bool finished, const struct reach *reach, FILE *out)
{
	json_t *answer = json_pack("{s:I, s:b, s:O, s:O, s:O}", "rows", (json_int_t)rows, "finished",
	        finished, "reports", reach->reports, "reports_left", reach->left, "shipped", reach->shipped);

	if (!answer)
		return -ENOMEM;
	json_dumpf(answer, out, JSON_COMPACT);
	putc('\n', out);
	json_decref(answer);
	return 0;
}

static int erase(const struct reader_ask *ask, struct erasure *erasure, FILE *out, char why[JOB_WHY_MAX])
{
	if (erasure_is_pending(ask->log_dir))
		return failed(-EBUSY, "", why);
	int64_t rows = find_rows(ask, erasure);
	if (rows == -E2BIG) {
		snprintf(why, JOB_WHY_MAX,
		        "nothing is erased: the device had too many addresses: choose a "
		        "shorter time by since and until");
		return 400;
	}
	int status = rows < 0 ? failed((int)rows, "nothing is erased", why) : check_held(ask, erasure, why);
	if (status != 0)
		return status;
	struct reach reach;
	int ret = reach_find(&reach, ask, erasure);
	if (ret == 0)
		ret = record_erasure(ask, rows, &reach);
	if (ret == 0) {
		reach.left = report_files_remove(ask->config->report_dir, reach.reports);
		ret = erasure_begin(ask->log_dir, erasure);
	}
	if (ret == 0)
		ret = erase_answer(rows, await_end(ask->log_dir), &reach, out);
	if (ret < 0 && *reach.unread) {
		snprintf(why, JOB_WHY_MAX,
		        "nothing is erased: whether the report %s/%s names the device is not known: %s: make "
		        "it "
		        "readable for user %s, or take it away",
		        ask->config->report_dir, reach.unread, strerror(-ret), ask->config->user);
		reach_clear(&reach);
		return 409;
	}
	const char *what = json_array_size(reach.reports) > 0 && reach.left
	                           ? "reports are removed, but no row is erased: ask again"
	                           : "nothing is erased";
	reach_clear(&reach);
	return ret < 0 ? failed(ret, what, why) : 0;
}

/* Of one name, or one profile's rows, the device's history and alerts tell nothing. */
static int forget(
        const struct reader_ask *ask, const struct log_query *query, FILE *out, char why[JOB_WHY_MAX])
{
	struct erasure *erasure = calloc(1, sizeof *erasure);

	if (!erasure)
		return failed(-ENOMEM, "nothing is erased", why);
	erasure->filter = query->filter;
	erasure->rows_only = value_of(ask, "name") || value_of(ask, "profile");
	snprintf(erasure->device, sizeof erasure->device, "%s", query->device);
	int status = erase(ask, erasure, out, why);
	erasure_free(erasure);
	return status;
}

int rights_forget(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX])
{
	struct log_query query;
	int64_t until_us;
	int lock;
	int status = read_rows(ask, &query, &until_us, why);

	if (status != 0)
		return status;
	int ret = cases_lock(ask->log_dir, &lock);
	if (ret < 0)
		return failed(ret, "nothing is erased", why);
	status = forget(ask, &query, out, why);
	cases_unlock(lock);
	return status;
}

/* ---- retention ---- */

int rights_retention(const struct reader_ask *ask, FILE *out, char why[JOB_WHY_MAX])
{
	int64_t ret = retention_verify(ask->config, ask->log_dir, out);

	return ret < 0 ? failed((int)ret, "the log cannot be read", why) : 0;
}

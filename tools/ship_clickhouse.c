/*
 * ClickHouse over its HTTP interface: one INSERT a batch, one JSON object a row (JSONEachRow). The table is
 * that of conf/clickhouse.sql: it keeps one row of those with the same id.
 */
#include "ship.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/member.h"
#include "commands.h"

#define CONNECT_TIMEOUT_S 10L
#define SEND_TIMEOUT_S 60L
#define REPLY_MAX 400
#define PASSWORD_MAX 256

static const char *clickhouse_lacks(const struct config *config)
{
	return config->ship.clickhouse_url[0] == '\0' ? "ship.clickhouse.url" : NULL;
}

/* ---- rows ---- */

/* Seconds since 1970 and the microseconds behind: a DateTime takes no fraction before version 20. */
static void time_split(const char *text, json_int_t *s, json_int_t *us)
{
	struct tm tm = { 0 };
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);

	*s = rest ? (json_int_t)timegm(&tm) : 0;
	*us = rest && *rest == '.' ? strtol(rest + 1, NULL, 10) : 0;
}

static json_t *row_of(const struct config *config, const json_t *record)
{
	/* In the order of the table. */
	static const char *const texts[] = { "client", "device", "profile", "name", "type", "category",
		"severity", "rule", "source", "matched", "action", "mac", "confidence", "identity" };
	json_int_t s, us;

	time_split(member_text(record, "time"), &s, &us);
	json_t *row = json_pack("{s:s, s:I, s:I, s:I}", "site", config->ship.site, "id",
	        json_integer_value(json_object_get(record, "id")), "time", s, "microsecond", us);
	for (size_t i = 0; row && i < sizeof texts / sizeof *texts; i++)
		json_object_set_new(row, texts[i], json_string(member_text(record, texts[i])));
	if (row)
		json_object_set_new(row, "generation",
		        json_integer(json_integer_value(json_object_get(record, "generation"))));
	return row;
}

/* malloc()ed, NULL without memory. */
static char *rows_of(const struct config *config, const json_t *records)
{
	char *text = NULL;
	size_t len, i;
	FILE *out = open_memstream(&text, &len);
	const json_t *record;

	if (!out)
		return NULL;
	json_array_foreach(records, i, record)
	{
		json_t *row = row_of(config, record);
		int ret = row ? json_dumpf(row, out, JSON_COMPACT) : -1;
		json_decref(row);
		if (ret < 0 || fputc('\n', out) == EOF) {
			fclose(out);
			free(text);
			return NULL;
		}
	}
	if (fclose(out) != 0) {
		free(text);
		return NULL;
	}
	return text;
}

/* ---- the request ---- */

struct reply {
	char text[REPLY_MAX + sizeof "…"];
	size_t len;
};

static size_t reply_arrived(char *data, size_t size, size_t count, void *arg)
{
	struct reply *reply = arg;
	size_t len = size * count, room = REPLY_MAX - reply->len;

	memcpy(reply->text + reply->len, data, len < room ? len : room);
	reply->len += len < room ? len : room;
	return len;
}

/* Rows go into a table without some of the columns too. */
#define SETTINGS "input_format_skip_unknown_fields=1&query="

/* What tables of before devices had an identity lack. ADD COLUMN IF NOT EXISTS is not known to 18.16. */
static const char *const added_columns[] = { "mac", "confidence", "identity" };
#define ADDED_COLUMNS (sizeof added_columns / sizeof *added_columns)
#define ASK_COLUMNS                                                                                          \
	"SELECT name FROM system.columns WHERE name IN ('mac', 'confidence', 'identity') AND "               \
	"(concat(database, '.', table) = '%s' OR (database = currentDatabase() AND table = '%s'))"

/* The first line of the file. Returns 0 or negative errno. */
static int password_read(const char *path, char password[PASSWORD_MAX])
{
	FILE *file = fopen(path, "re");

	if (!file)
		return -errno;
	bool got = fgets(password, PASSWORD_MAX, file) != NULL;
	fclose(file);
	password[got ? strcspn(password, "\r\n") : 0] = '\0';
	return 0;
}

/* What goes into a statement is a name and nothing more. */
static bool is_table(const char *table)
{
	for (const char *p = table; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.')
			return false;
	return table[0] != '\0';
}

static int url_make(CURL *curl, const struct config *config, const char *statement, char url[4096])
{
	const char *base = config->ship.clickhouse_url;
	char *query = curl_easy_escape(curl, statement, 0);
	int len =
	        query ? snprintf(url, 4096, "%s%c%s%s", base, strchr(base, '?') ? '&' : '?', SETTINGS, query)
	              : -1;
	curl_free(query);
	return len < 0 ? -ENOMEM : len >= 4096 ? -ENAMETOOLONG : 0;
}

/* A parser quotes the row it stumbled over: what somebody looked up is not for the service's journal. */
static void reply_cut(char *text)
{
	static const char *const quotes[] = { "before:", "Row ", "row ", "text:", "(while", "{", "\"" };

	for (size_t i = 0; i < sizeof quotes / sizeof *quotes; i++) {
		char *quote = strstr(text, quotes[i]);
		if (quote)
			strcpy(quote, "…");
	}
}

static int perform(CURL *curl, struct reply *reply, char why[SHIP_WHY_MAX])
{
	char error[CURL_ERROR_SIZE] = "";
	long status = 0;

	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	CURLcode code = curl_easy_perform(curl);
	if (code != CURLE_OK) {
		snprintf(why, SHIP_WHY_MAX, "%s", error[0] != '\0' ? error : curl_easy_strerror(code));
		return -EIO;
	}
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	reply->text[reply->len] = '\0';
	if (status == 200)
		return 0;
	reply_cut(reply->text);
	char *safe = command_safe_text(reply->text);
	snprintf(why, SHIP_WHY_MAX, "status %ld: %.380s", status, safe);
	free(safe);
	return -EPROTO;
}

static int post(CURL *curl, const struct config *config, const char *statement, const char *rows,
        struct reply *reply, char why[SHIP_WHY_MAX])
{
	char url[4096], password[PASSWORD_MAX] = "";
	const char *file = config->ship.clickhouse_password_file;

	int ret = file[0] != '\0' ? password_read(file, password) : 0;
	if (ret < 0) {
		snprintf(why, SHIP_WHY_MAX, "%.400s: %s", file, strerror(-ret));
		return ret;
	}
	ret = url_make(curl, config, statement, url);
	if (ret < 0)
		return ret;
	/* Credentials and rows cross no redirect: the server that is named gets them, or nobody. */
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, SEND_TIMEOUT_S);
	curl_easy_setopt(curl, CURLOPT_USERNAME, config->ship.clickhouse_user);
	curl_easy_setopt(curl, CURLOPT_PASSWORD, password);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, rows);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(rows));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, reply_arrived);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
	return perform(curl, reply, why);
}

/* Whether a line of the text is that word. */
static bool has_line(const char *text, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = text; (at = strstr(at, word)) != NULL; at += len)
		if ((at == text || at[-1] == '\n') && (at[len] == '\n' || at[len] == '\0'))
			return true;
	return false;
}

/* Returns 0 when the table has all columns. */
static int table_add_columns(CURL *curl, const struct config *config, char why[SHIP_WHY_MAX])
{
	const char *table = config->ship.clickhouse_table;
	char statement[1024];
	struct reply reply = { .len = 0 };

	snprintf(statement, sizeof statement, ASK_COLUMNS, table, table);
	int ret = post(curl, config, statement, "", &reply, why);
	for (size_t i = 0; i < ADDED_COLUMNS && ret == 0; i++) {
		struct reply ignored = { .len = 0 };
		if (has_line(reply.text, added_columns[i]))
			continue;
		snprintf(statement, sizeof statement, "ALTER TABLE %s ADD COLUMN %s String", table,
		        added_columns[i]);
		ret = post(curl, config, statement, "", &ignored, why);
	}
	return ret;
}

/* The columns are looked at once a run; where that could not be, with the next batch. */
static int insert(CURL *curl, const struct config *config, const char *rows, char why[SHIP_WHY_MAX])
{
	static bool has_columns, is_told;
	char statement[512], lacking[SHIP_WHY_MAX] = "";
	struct reply reply = { .len = 0 };

	if (!has_columns)
		has_columns = table_add_columns(curl, config, lacking) == 0;
	snprintf(statement, sizeof statement, "INSERT INTO %s FORMAT JSONEachRow",
	        config->ship.clickhouse_table);
	int ret = post(curl, config, statement, rows, &reply, why);
	if (ret == 0 && !has_columns && !is_told) {
		fprintf(stderr,
		        "usher: clickhouse: %s has no columns mac, confidence and identity, and rows go "
		        "without "
		        "them: %s; `usher ship clickhouse --schema` says how somebody who may adds them\n",
		        config->ship.clickhouse_table, lacking);
		is_told = true;
	}
	return ret;
}

static int clickhouse_send(const struct config *config, const json_t *records, char why[SHIP_WHY_MAX])
{
	if (!is_table(config->ship.clickhouse_table)) {
		snprintf(why, SHIP_WHY_MAX,
		        "ship.clickhouse.table: found '%.200s', expected database.table of letters, digits "
		        "and _",
		        config->ship.clickhouse_table);
		return -EBADMSG;
	}
	char *rows = rows_of(config, records);
	CURL *curl = curl_easy_init();
	int ret = rows && curl ? insert(curl, config, rows, why) : -ENOMEM;

	if (ret == -ENOMEM)
		snprintf(why, SHIP_WHY_MAX, "out of memory");
	curl_easy_cleanup(curl);
	free(rows);
	return ret;
}

const struct ship_target ship_clickhouse = { "clickhouse", clickhouse_lacks, clickhouse_send };

#include "log_follow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* How long usherd may be away (a restart) before a follow gives up. */
#define AWAY_MS 15000
#define AWAY_LOOK_MS 50
#define LINE_MAX_LEN (1 << 20)

struct log_following {
	struct log_ask *ask;
	void (*each)(void *arg, const char *line, const json_t *record);
	bool (*told)(void *arg, json_int_t last_id);
	void *arg;
	char *rest; /* a line that has not come whole */
	size_t len;
	json_int_t last_id; /* of what was told; where the next stream begins */
	bool came;          /* a line, on this stream */
	bool stopped;       /* by told */
};

/* A line of an id alone is a position: all that passes was told up to there. */
static void line_came(void *arg, const char *line, const json_t *record)
{
	struct log_following *following = arg;

	following->came = true;
	following->last_id = json_integer_value(json_object_get(record, "id"));
	if (json_object_get(record, "time"))
		following->each(following->arg, line, record);
}

static bool piece_came(void *arg, const char *data, size_t len)
{
	struct log_following *following = arg;
	char *text = realloc(following->rest, following->len + len + 1);

	if (!text)
		return false;
	memcpy(text + following->len, data, len);
	following->rest = text;
	following->len += len;
	text[following->len] = 0;
	const char *last = memrchr(text, '\n', following->len);
	if (!last)
		return following->len < LINE_MAX_LEN;
	size_t whole = (size_t)(last + 1 - text);
	log_each_line(text, line_came, following);
	memmove(text, text + whole, following->len - whole + 1);
	following->len -= whole;
	following->stopped = !following->told(following->arg, following->last_id);
	return !following->stopped;
}

/* Waits for usherd to be back. *away_ms: how long it has been away since the last line came. */
static void await_usherd(const struct config *config, int *away_ms)
{
	do {
		nanosleep(&(struct timespec){ .tv_nsec = AWAY_LOOK_MS * 1000000 }, NULL);
		*away_ms += AWAY_LOOK_MS;
	} while (*away_ms < AWAY_MS && !log_ask_is_served(config));
}

/* Streams until one ends for good: each begins where the one before ended. Returns the last one's status. */
static int follow_streams(struct log_following *following)
{
	struct log_ask *ask = following->ask;
	char path[LOG_ASK_PATH_LEN], after[32];
	int away_ms = 0;

	for (;;) {
		int ret = log_ask_path(ask, "/v1/log/follow", path);
		if (ret != COMMAND_OK)
			return -EINVAL;
		ret = command_http_stream(ask->config, "log.sock", path, piece_came, following);
		away_ms = following->came ? 0 : away_ms;
		if ((ret != 200 && ret != -EPIPE) || following->stopped || away_ms >= AWAY_MS)
			return ret;
		following->came = false;
		following->len = 0;
		snprintf(after, sizeof after, "%" JSON_INTEGER_FORMAT, following->last_id);
		if (following->last_id)
			log_ask_set(ask, "after", after);
		await_usherd(ask->config, &away_ms);
	}
}

int log_follow(struct log_ask *ask, void (*each)(void *arg, const char *line, const json_t *record),
        bool (*told)(void *arg, json_int_t last_id), void *arg)
{
	struct log_following following = { .ask = ask, .each = each, .told = told, .arg = arg };

	log_ask_set(ask, "ids", "yes");
	int status = follow_streams(&following);
	if (status == -EPIPE)
		fprintf(stderr, "usher: usherd has broken off and does not come back\n");
	free(following.rest);
	return following.stopped ? COMMAND_OK : COMMAND_FAILED;
}

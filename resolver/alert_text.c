#include "alert_text.h"

#include <openssl/evp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "blocklists/member.h"
#include "character.h"
#include "identity.h"
#include "utc.h"

#define SHOWN_MAX 50     /* alerts that a mail tells one by one */
#define WORD_MAX 47      /* octets of UTF-8 in an encoded word of 75: RFC 2047 2 */
#define LINE_MAX_LEN 900 /* below the 998 of RFC 5322 2.1.1 */

/* ---- values ---- */

static bool is_operations(const json_t *alert)
{
	return strcmp(member_text(alert, "kind"), "operations") == 0;
}

/* Text into a line: controls, and what nobody sees, become ?, and it has an end. */
static void put_safe(FILE *out, const char *text)
{
	for (size_t i = 0; text[i] && i < LINE_MAX_LEN;) {
		uint32_t c;
		unsigned len = character_read(text + i, &c);
		if (len > 0 && !character_is_unsafe(c))
			fwrite(text + i, 1, len, out);
		else
			putc('?', out);
		i += len > 0 ? len : 1;
	}
}

static void put_field(FILE *out, const char *name, const char *text)
{
	if (*text == '\0')
		return;
	fprintf(out, "  %-9s ", name);
	put_safe(out, text);
	putc('\n', out);
}

/* UTC as it is stored, local as people want it. */
static void put_time(FILE *out, const char *name, const char *utc)
{
	struct tm tm;
	char text[64];
	int64_t s;

	if (!utc_read(utc, &s))
		return;
	time_t at = (time_t)s;
	if (localtime_r(&at, &tm) && strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S %z", &tm) > 0)
		put_field(out, name, text);
}

/* ---- the body ---- */

static void put_evidence(FILE *out, const json_t *alert)
{
	const json_t *evidence = json_object_get(alert, "evidence");
	long long more = json_integer_value(json_object_get(alert, "more"));
	const char *client = member_text(alert, "client");

	for (size_t i = 0; i < json_array_size(evidence); i++) {
		const json_t *item = json_array_get(evidence, i);
		long long count = json_integer_value(json_object_get(item, "count"));
		const char *step = member_text(item, "step");
		fprintf(out, "  %-9s ", i == 0 ? "names" : "");
		put_safe(out, member_text(item, "name"));
		if (*step)
			fprintf(out, " (%s)", step);
		if (*client == '\0' && *member_text(item, "client"))
			fprintf(out, " by %s", member_text(item, "client"));
		if (count > 1)
			fprintf(out, ", %lld times", count);
		putc('\n', out);
	}
	if (more > 0)
		fprintf(out, "  %-9s and %lld lookups of other names\n", "", more);
}

/* With how sure it is: another may be the one that is meant. */
static void put_mac(FILE *out, const json_t *alert)
{
	char text[80];

	snprintf(text, sizeof text, "%s (%s%s)", member_text(alert, "mac"), member_text(alert, "confidence"),
	        json_is_true(json_object_get(alert, "randomised")) ? ", randomised" : "");
	if (*member_text(alert, "mac"))
		put_field(out, "mac", text);
}

static void put_alert(FILE *out, const json_t *alert, enum config_alert_detail detail)
{
	put_safe(out, member_text(alert, "rule"));
	fputs(": ", out);
	put_safe(out, member_text(alert, "text"));
	putc('\n', out);
	put_field(out, "severity", member_text(alert, "severity"));
	if (detail != ALERT_COUNTS || is_operations(alert))
		put_time(out, "from", member_text(alert, "first"));
	if (detail != ALERT_COUNTS)
		put_time(out, "to", member_text(alert, "last"));
	if (detail != ALERT_COUNTS)
		put_field(out, "profile", member_text(alert, "profile"));
	if (detail == ALERT_FULL && !is_operations(alert)) {
		put_field(out, "device", member_text(alert, "device"));
		put_mac(out, alert);
		put_field(out, "client", member_text(alert, "client"));
		put_field(out, "category", member_text(alert, "category"));
		put_evidence(out, alert);
	}
	if (detail == ALERT_LINK && !is_operations(alert)) {
		fputs("  see       usher signals --since '", out);
		put_safe(out, member_text(alert, "first"));
		fputs("' --profile ", out);
		put_safe(out, member_text(alert, "profile"));
		putc('\n', out);
	}
	put_field(out, "id", member_text(alert, "id"));
	putc('\n', out);
}

static void put_body(FILE *out, const struct alert_letter *letter)
{
	size_t count = json_array_size(letter->alerts);

	for (size_t i = 0; i < count && i < SHOWN_MAX; i++)
		put_alert(out, json_array_get(letter->alerts, i), letter->detail);
	if (count > SHOWN_MAX)
		fprintf(out, "and %zu more: `usher signals` shows them.\n\n", count - SHOWN_MAX);
	fprintf(out,
	        "usher on %s. A lookup is what a device asked for; it does not say who held it, nor why.\n",
	        letter->host);
}

/* ---- the header ---- */

/* RFC 2047 4.1: in words of base64, cut between characters. */
static void put_encoded(FILE *out, const char *text)
{
	unsigned char word[4 * ((WORD_MAX + 2) / 3) + 4];

	while (*text) {
		size_t len = strlen(text);
		if (len > WORD_MAX)
			for (len = WORD_MAX; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
				;
		if (len == 0)
			return;
		EVP_EncodeBlock(word, (const unsigned char *)text, (int)len);
		fprintf(out, "=?utf-8?B?%s?=", (const char *)word);
		text += len;
		if (*text)
			fputs("\n ", out);
	}
}

static void put_subject(FILE *out, const char *text)
{
	char *subject = NULL;
	size_t len;
	bool plain = true;
	FILE *safe = open_memstream(&subject, &len);

	if (!safe)
		return;
	put_safe(safe, text);
	if (fclose(safe) != 0) {
		free(subject);
		return;
	}
	for (const char *at = subject; *at; at++)
		plain &= (unsigned char)*at >= 0x20 && (unsigned char)*at < 0x7f;
	fputs("Subject: ", out);
	if (plain)
		fputs(subject, out);
	else
		put_encoded(out, subject);
	putc('\n', out);
	free(subject);
}

static void subject_text(const struct alert_letter *letter, char *text, size_t size)
{
	const json_t *first = json_array_get(letter->alerts, 0);
	size_t count = json_array_size(letter->alerts);
	const char *severity = member_text(first, "severity");

	if (count == 1)
		snprintf(text, size, "usher: %.60s: %.120s", member_text(first, "rule"),
		        member_text(first, "text"));
	else
		snprintf(text, size, "usher: %zu alerts: %.60s%s%s", count, member_text(first, "rule"),
		        *severity ? ", " : "", severity);
}

char *alert_mail(const struct alert_letter *letter)
{
	char *text = NULL, subject[250], date[64];
	time_t now = (time_t)letter->now_s;
	size_t len;
	struct tm tm;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	subject_text(letter, subject, sizeof subject);
	strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S +0000", gmtime_r(&now, &tm));
	fprintf(out, "From: %s\nTo: %s\n", letter->from, letter->to);
	put_subject(out, subject);
	fprintf(out,
	        "Date: %s\nMessage-ID: <%s@%s>\nAuto-Submitted: auto-generated\nX-Usher-Id: %s\n"
	        "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
	        "8bit\n\n",
	        date, letter->id, letter->host, letter->id);
	put_body(out, letter);
	return fclose(out) == 0 ? text : NULL;
}

/* ---- the others ---- */

/* What `detail` leaves of an alert. */
static json_t *alert_cut(const json_t *alert, enum config_alert_detail detail)
{
	static const char *const personal[] = { "client", "category", "evidence" };
	static const char *const dated[] = { "first", "last", "profile" };
	json_t *cut = json_copy((json_t *)alert);

	for (size_t i = 0; detail != ALERT_FULL && i < sizeof personal / sizeof *personal; i++)
		json_object_del(cut, personal[i]);
	for (size_t i = 0; detail != ALERT_FULL && identity_keys[i]; i++)
		json_object_del(cut, identity_keys[i]);
	for (size_t i = 0; detail == ALERT_COUNTS && i < sizeof dated / sizeof *dated; i++)
		json_object_del(cut, dated[i]);
	return cut;
}

char *alert_post(const struct alert_letter *letter)
{
	json_t *alerts = json_array();
	char time_text[UTC_TEXT_LEN];

	for (size_t i = 0; i < json_array_size(letter->alerts); i++)
		json_array_append_new(alerts, alert_cut(json_array_get(letter->alerts, i), letter->detail));
	json_t *post = json_pack("{s:s, s:s, s:s, s:o}", "id", letter->id, "host", letter->host, "time",
	        utc_text(letter->now_s, time_text), "alerts", alerts);
	char *text = post ? json_dumps(post, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(post);
	return text;
}

char *alert_line(const struct alert_letter *letter)
{
	const json_t *first = json_array_get(letter->alerts, 0);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return NULL;
	fprintf(out, "alert %s: ", letter->id);
	put_safe(out, member_text(first, "rule"));
	fprintf(out, " (%s", member_text(first, "kind"));
	if (*member_text(first, "severity"))
		fprintf(out, ", %s", member_text(first, "severity"));
	fputs(")", out);
	if (is_operations(first)) {
		fputs(": ", out);
		put_safe(out, member_text(first, "text"));
	}
	if (json_array_size(letter->alerts) > 1)
		fprintf(out, " and %zu more", json_array_size(letter->alerts) - 1);
	return fclose(out) == 0 ? text : NULL;
}

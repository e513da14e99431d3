/*
 * The statement repeats the erasure's filter in the columns of conf/clickhouse.sql, whose times are whole
 * seconds: of the seconds at both ends all rows go. Functions on addresses get none of the other family,
 * which newer releases refuse.
 */
#include "shipped.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "address.h"

#define SECOND_US INT64_C(1000000)

/* ---- ClickHouse ---- */

static void put_text(FILE *out, const char *text)
{
	putc('\'', out);
	for (; *text; text++) {
		if (*text == '\'' || *text == '\\')
			putc('\\', out);
		putc(*text, out);
	}
	putc('\'', out);
}

static void put_client(FILE *out, const uint8_t client[16])
{
	char text[INET6_ADDRSTRLEN];

	address_text(client, text);
	fprintf(out, "client = '%s'", text);
}

static void put_network(FILE *out, const struct config_network *network)
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };
	uint8_t last[16];

	if (network->length == 128) {
		put_client(out, network->address);
		return;
	}
	memcpy(last, network->address, sizeof last);
	for (unsigned bit = network->length; bit < 128; bit++)
		last[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	if (network->length >= 96 && memcmp(network->address, mapped, sizeof mapped) == 0) {
		char first_text[INET6_ADDRSTRLEN], last_text[INET6_ADDRSTRLEN];
		address_text(network->address, first_text);
		address_text(last, last_text);
		fprintf(out,
		        "position(client, '.') > 0 AND IPv4StringToNum(if(position(client, '.') > 0, client, "
		        "'0.0.0.0')) BETWEEN IPv4StringToNum('%s') AND IPv4StringToNum('%s')",
		        first_text, last_text);
		return;
	}
	fputs("position(client, ':') > 0 AND hex(IPv6StringToNum(if(position(client, ':') > 0, client, "
	      "'::'))) "
	      "BETWEEN '",
	        out);
	for (int i = 0; i < 16; i++)
		fprintf(out, "%02X", network->address[i]);
	fputs("' AND '", out);
	for (int i = 0; i < 16; i++)
		fprintf(out, "%02X", last[i]);
	putc('\'', out);
}

static void put_period(FILE *out, int64_t since_us, int64_t until_us)
{
	if (since_us > 0)
		fprintf(out, " AND time >= toDateTime(%" PRId64 ")", since_us / SECOND_US);
	if (until_us > 0)
		fprintf(out, " AND time <= toDateTime(%" PRId64 ")", until_us / SECOND_US);
}

/* The device's column says whose the row was when it was shipped; the spans, whose it is by what is known
 * now. */
static void put_device(FILE *out, const struct erasure *erasure)
{
	uint8_t mac[6];

	fputs("(lower(device) = lower(", out);
	put_text(out, erasure->device);
	putc(')', out);
	if (lease_mac_parse(mac, erasure->device) == 0) {
		fputs(" OR mac = ", out);
		put_text(out, erasure->device);
	}
	for (size_t i = 0; i < erasure->span_count; i++) {
		fputs(" OR (", out);
		put_client(out, erasure->spans[i].client);
		put_period(out, erasure->spans[i].since_us, erasure->spans[i].until_us);
		putc(')', out);
	}
	putc(')', out);
}

static void put_name(FILE *out, const char *name)
{
	char below[NAME_TEXT_MAX + 1];

	snprintf(below, sizeof below, ".%s", name);
	fputs(" AND (name = ", out);
	put_text(out, name);
	fputs(" OR endsWith(name, ", out);
	put_text(out, below);
	fputs(") OR matched = ", out);
	put_text(out, name);
	fputs(" OR endsWith(matched, ", out);
	put_text(out, below);
	fputs("))", out);
}

static void put_profiles(FILE *out, const struct block_filter *filter)
{
	const char *const *profiles = filter->profile ? &filter->profile : filter->profiles;
	size_t count = filter->profile ? 1 : filter->profile_count;

	for (size_t i = 0; profiles && i < count; i++) {
		fputs(i == 0 ? " AND profile IN (" : ", ", out);
		put_text(out, profiles[i]);
	}
	if (profiles && count > 0)
		putc(')', out);
}

static void put_statement(FILE *out, const struct config *config, const struct erasure *erasure)
{
	const struct block_filter *filter = &erasure->filter;
	char name[NAME_TEXT_MAX];

	fprintf(out, "ALTER TABLE %s DELETE WHERE site = ", config->ship.clickhouse_table);
	put_text(out, config->ship.site);
	if (*erasure->device) {
		fputs(" AND ", out);
		put_device(out, erasure);
	}
	if (filter->has_client) {
		fputs(" AND ", out);
		put_network(out, &filter->client);
	}
	put_period(out, filter->since_us, filter->until_us);
	if (filter->name.len) {
		name_to_text(&filter->name, name);
		name[strlen(name) > 1 && name[strlen(name) - 1] == '.' ? strlen(name) - 1 : strlen(name)] =
		        '\0';
		put_name(out, name);
	}
	put_profiles(out, filter);
}

/* ---- syslog ---- */

static void put_sentence(FILE *out, const struct config *config, const struct erasure *erasure)
{
	const struct block_filter *filter = &erasure->filter;
	char client[INET6_ADDRSTRLEN];

	fprintf(out,
	        "the messages of host %s and application usher from %" PRId64 " to %" PRId64
	        " (seconds since 1970) whose structured data has",
	        config->ship.site, filter->since_us / SECOND_US, filter->until_us / SECOND_US);
	if (*erasure->device)
		fprintf(out, " device=\"%s\"", erasure->device);
	for (size_t i = 0; i < erasure->span_count; i++) {
		address_text(erasure->spans[i].client, client);
		fprintf(out, " or, from %" PRId64 " to %" PRId64 ", client=\"%s\"",
		        erasure->spans[i].since_us / SECOND_US, erasure->spans[i].until_us / SECOND_US,
		        client);
	}
	if (filter->has_client) {
		address_text(filter->client.address, client);
		fprintf(out, "%s client=\"%s\"", *erasure->device ? " and" : "", client);
		if (filter->client.length < 128)
			fprintf(out, " or another of its network of %u bits", filter->client.length);
	}
}

/* ---- both ---- */

static bool was_shipped(const struct config *config, const char *target)
{
	char path[4096];

	snprintf(path, sizeof path, "%.4000s/ship/%s.json", config->state_dir, target);
	return access(path, F_OK) == 0;
}

static void place_add(json_t *rows, const struct config *config, const struct erasure *erasure,
        const char *target, const char *where,
        void (*put)(FILE *out, const struct config *config, const struct erasure *erasure))
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	if (out)
		put(out, config, erasure);
	if (out && fclose(out) == 0)
		json_array_append_new(
		        rows, json_pack("{s:s, s:s, s:s}", "target", target, "where", where, "delete", text));
	free(text);
}

json_t *shipped_rows(const struct config *config, const struct erasure *erasure)
{
	const struct config_ship *ship = &config->ship;
	json_t *rows = json_array();

	if (*ship->clickhouse_url || was_shipped(config, "clickhouse"))
		place_add(rows, config, erasure, "clickhouse", ship->clickhouse_table, put_statement);
	if (ship->syslog_to.socket_len || was_shipped(config, "syslog"))
		place_add(rows, config, erasure, "syslog",
		        ship->syslog_to.socket_len ? ship->syslog_to.text : "", put_sentence);
	return rows;
}

json_t *shipped_places(const json_t *rows)
{
	json_t *places = json_array(), *row;
	size_t i;

	json_array_foreach(rows, i, row) json_array_append_new(
	        places, json_pack("{s:O, s:O}", "target", json_object_get(row, "target"), "where",
	                        json_object_get(row, "where")));
	return places;
}

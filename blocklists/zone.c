#include "zone.h"

#include <errno.h>
#include <inttypes.h>
#include <ldns/ldns.h>
#include <openssl/rand.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "zone_changes.h"
#include "zone_link.h"

#define QUERY_MAX 2048
#define SERIAL_TAG "serial "

/* Where the records of a transfer are. */
enum stage {
	STAGE_FIRST,  /* the SOA that begins it comes next */
	STAGE_SECOND, /* what it is shows: a record of the whole zone, or the SOA the changes begin at */
	STAGE_WHOLE,
	STAGE_REMOVED, /* of one step of changes */
	STAGE_ADDED,
	STAGE_DONE
};

/* One fetch. */
struct zone {
	const struct zone_options *options;
	struct fetch *fetch;
	struct zone_link link;
	struct name name;
	uint16_t id;
	struct tsig tsig;
	bool is_signed;
	bool has_held;
	uint32_t held, serial; /* of the content held, and of what is fetched */
	uint32_t step;         /* the serial that the step of changes leads to */
	enum stage stage;
	bool incremental; /* asked for changes */
	char *soa;        /* the first record, as text */
	char *old_soa;    /* that the changes begin at */
	struct zone_changes *changes;
	FILE *to;
	uint8_t message[ZONE_LINK_MESSAGE_MAX];
};

/* Why a fetch ends: told in words, -EIO. */
static int failed(struct zone *zone, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int failed(struct zone *zone, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(zone->fetch->why, sizeof zone->fetch->why, format, arguments);
	va_end(arguments);
	return -EIO;
}

/* ---- URLs ---- */

bool zone_is_url(const char *url)
{
	return strncasecmp(url, ZONE_SCHEME, strlen(ZONE_SCHEME)) == 0;
}

static bool url_read(const char *url, char host[256], char port[8], struct name *name)
{
	const char *begin = url + strlen(ZONE_SCHEME), *slash = strchr(begin, '/');

	if (!zone_is_url(url) || slash == NULL)
		return false;
	const char *at = memchr(begin, '@', (size_t)(slash - begin)), *end = at != NULL ? at : slash;
	size_t port_len = at != NULL ? (size_t)(slash - at) - 1 : 0;
	if (end == begin || end - begin > 255 || port_len > 5 || (at != NULL && port_len == 0) ||
	        strspn(end + 1, "0123456789") < port_len)
		return false;
	snprintf(host, 256, "%.*s", (int)(end - begin), begin);
	snprintf(port, 8, "%.*s", (int)port_len, end + 1);
	if (port_len == 0)
		strcpy(port, "53");
	return atoi(port) > 0 && atoi(port) <= 65535 && slash[1] != '\0' &&
	       name_from_text(name, slash + 1, strlen(slash + 1)) == 0 && name->labels > 0;
}

const char *zone_url_wrong(const char *url)
{
	char host[256], port[8];
	struct name name;

	return url_read(url, host, port, &name) ? NULL : "axfr://HOST[@PORT]/ZONE";
}

/* ---- messages ---- */

static void put16(uint8_t *to, unsigned value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

/* RFC 1995 3: the SOA that is held, of which nothing but the serial matters, in the authority section. */
static size_t put_held_soa(const struct zone *zone, uint8_t *to)
{
	static const uint8_t begin[] = { 0xc0, 12, 0, LDNS_RR_TYPE_SOA, 0, 1, 0, 0, 0, 0, 0, 22, 0, 0 };

	memcpy(to, begin, sizeof begin);
	put16(to + sizeof begin, zone->held >> 16);
	put16(to + sizeof begin + 2, zone->held & 0xffff);
	memset(to + sizeof begin + 4, 0, 16);
	return sizeof begin + 20;
}

/* Asks for the zone's SOA, AXFR or IXFR. */
static int zone_ask(struct zone *zone, ldns_rr_type type)
{
	uint8_t query[2 + QUERY_MAX] = { 0 }, *message = query + 2;
	size_t len = LDNS_HEADER_SIZE;

	if (RAND_bytes(message, 2) != 1)
		return failed(zone, "no random numbers");
	zone->id = (uint16_t)(message[0] << 8 | message[1]);
	put16(message + 4, 1);
	memcpy(message + len, zone->name.wire, zone->name.len);
	len += zone->name.len;
	put16(message + len, type);
	put16(message + len + 2, LDNS_RR_CLASS_IN);
	len += 4;
	if (type == LDNS_RR_TYPE_IXFR) {
		put16(message + 8, 1);
		len += put_held_soa(zone, message + len);
	}
	if (zone->is_signed) {
		tsig_clear(&zone->tsig);
		tsig_init(&zone->tsig, &zone->options->key);
		len = tsig_sign(&zone->tsig, message, len, QUERY_MAX, time(NULL));
		if (len == 0)
			return failed(zone, "the query cannot be signed");
	}
	return zone_link_send(&zone->link, query, len);
}

static int zone_refused(struct zone *zone, unsigned rcode, size_t len)
{
	static const char *const errors[] = { [16] = "does not take the signature: another secret (BADSIG)",
		[17] = "does not know the key (BADKEY)",
		[18] = "has another time than we: BADTIME",
		[22] = "does not take a signature so short (BADTRUNC)" };
	unsigned error = tsig_error(zone->message, len);
	char text[32];

	if (zone->is_signed && error < sizeof errors / sizeof errors[0] && errors[error] != NULL)
		return failed(zone, "%s %s", zone->link.host, errors[error]);
	ldns_lookup_table *known = ldns_lookup_by_id(ldns_rcodes, (int)rcode);
	snprintf(text, sizeof text, "rcode %u", rcode);
	return failed(
	        zone, "%s answers %s for this zone", zone->link.host, known != NULL ? known->name : text);
}

/* The next message of the answer, verified. *packet is the caller's to free. Returns 0, -EIO, or
 * -EOPNOTSUPP if the primary says no (`why` is filled). */
static int zone_next(struct zone *zone, ldns_pkt **packet)
{
	long got = zone_link_receive(&zone->link, zone->message);
	size_t len = (size_t)got;

	if (got < 0)
		return (int)got;
	if (len < LDNS_HEADER_SIZE || (zone->message[0] << 8 | zone->message[1]) != zone->id ||
	        (zone->message[2] & 0xf8) != 0x80)
		return failed(zone, "%s sends what is no answer", zone->link.host);
	if ((zone->message[3] & 0xf) != 0) {
		zone_refused(zone, zone->message[3] & 0xf, len);
		return -EOPNOTSUPP;
	}
	if (zone->is_signed && tsig_verify(&zone->tsig, zone->message, len, time(NULL), zone->fetch->why) < 0)
		return -EIO;
	if (ldns_wire2pkt(packet, zone->message, len) != LDNS_STATUS_OK)
		return failed(zone, "%s sends a malformed message", zone->link.host);
	return 0;
}

/* ---- records ---- */

static bool is_soa(const ldns_rr *rr)
{
	return ldns_rr_get_type(rr) == LDNS_RR_TYPE_SOA && ldns_rr_rd_count(rr) == 7;
}

static uint32_t soa_serial(const ldns_rr *rr)
{
	return ldns_rdf2native_int32(ldns_rr_rdf(rr, 2));
}

/* RFC 1982 */
static bool serial_is_before(uint32_t a, uint32_t b)
{
	return a != b && (int32_t)(a - b) < 0;
}

/* True if the record is in the zone; a SOA, if it is the zone's own. */
static bool is_of_zone(const struct zone *zone, const ldns_rr *rr)
{
	struct name owner;

	return name_from_wire(&owner, ldns_rdf_data(ldns_rr_owner(rr)), ldns_rdf_size(ldns_rr_owner(rr))) >=
	               0 &&
	       (is_soa(rr) ? name_equal(&owner, &zone->name) : name_is_below(&owner, &zone->name));
}

static int written(struct zone *zone, const char *line)
{
	long at = fprintf(zone->to, "%s\n", line) < 0 ? -1 : ftell(zone->to);

	if (at < 0)
		return failed(zone, "%s: %s", zone->fetch->path, strerror(errno));
	if ((uint64_t)at > zone->options->size_max)
		return failed(zone, "larger than %" PRIu64 " MiB", zone->options->size_max >> 20);
	return 0;
}

/* A step of changes: -ESTALE says that the whole zone is needed instead. */
static int changed(struct zone *zone, const char *line)
{
	int ret = zone->stage == STAGE_REMOVED ? zone_changes_remove(zone->changes, line)
	                                       : zone_changes_add(zone->changes, line);

	return ret == -EBADMSG || ret == -E2BIG ? -ESTALE : ret;
}

/* The SOA between steps, or at the end. */
static int step_taken(struct zone *zone, uint32_t serial)
{
	if (zone->stage == STAGE_REMOVED) {
		zone->step = serial;
		zone->stage = STAGE_ADDED;
	} else if (serial != zone->step) {
		return -ESTALE;
	} else {
		zone->stage = serial == zone->serial ? STAGE_DONE : STAGE_REMOVED;
	}
	return 0;
}

static int second_taken(struct zone *zone, const ldns_rr *rr, const char *line)
{
	if (zone->incremental && is_soa(rr) && soa_serial(rr) == zone->held) {
		zone->stage = STAGE_REMOVED;
		zone->old_soa = strdup(line);
		return zone->old_soa != NULL ? 0 : -ENOMEM;
	}
	if (is_soa(rr)) /* changes since another serial, or a zone of its SOA alone */
		return zone->incremental ? -ESTALE : failed(zone, "the zone is empty");
	zone->stage = STAGE_WHOLE;
	int ret = written(zone, zone->soa);
	return ret < 0 ? ret : written(zone, line);
}

static int first_taken(struct zone *zone, const ldns_rr *rr, const char *line)
{
	if (!is_soa(rr))
		return failed(zone, "the transfer does not begin with a SOA");
	zone->serial = soa_serial(rr);
	if (zone->has_held && serial_is_before(zone->serial, zone->held))
		return failed(zone, "the transfer is of serial %" PRIu32 ", before the one held, %" PRIu32,
		        zone->serial, zone->held);
	zone->soa = strdup(line);
	zone->stage = zone->incremental && zone->serial == zone->held ? STAGE_DONE : STAGE_SECOND;
	return zone->soa != NULL ? 0 : -ENOMEM;
}

static int record_taken(struct zone *zone, const ldns_rr *rr, const char *line)
{
	switch (zone->stage) {
	case STAGE_FIRST:
		return first_taken(zone, rr, line);
	case STAGE_SECOND:
		return second_taken(zone, rr, line);
	case STAGE_WHOLE:
		if (!is_soa(rr))
			return written(zone, line);
		zone->stage = STAGE_DONE;
		return soa_serial(rr) == zone->serial ? 0 : failed(zone, "the zone changed on its way");
	case STAGE_REMOVED:
	case STAGE_ADDED:
		return is_soa(rr) ? step_taken(zone, soa_serial(rr)) : changed(zone, line);
	case STAGE_DONE:
		break;
	}
	return failed(zone, "records after the end of the transfer");
}

static int records_taken(struct zone *zone, const ldns_pkt *packet)
{
	const ldns_rr_list *answer = ldns_pkt_answer(packet);
	int ret = 0;

	for (size_t i = 0; ret == 0 && i < ldns_rr_list_rr_count(answer); i++) {
		const ldns_rr *rr = ldns_rr_list_rr(answer, i);
		if (!is_of_zone(zone, rr))
			return failed(zone, "a record that is not of the zone");
		char *line = ldns_rr2str(rr);
		if (line == NULL)
			return -ENOMEM;
		line[strcspn(line, "\n")] = '\0';
		ret = record_taken(zone, rr, line);
		free(line);
	}
	return ret;
}

/* ---- transfers ---- */

/* Asks for the type and takes all of the answer in. */
static int zone_transfer(struct zone *zone, ldns_rr_type type)
{
	int ret = zone_ask(zone, type);

	zone->stage = STAGE_FIRST;
	zone->incremental = type == LDNS_RR_TYPE_IXFR;
	while (ret == 0 && zone->stage != STAGE_DONE) {
		ldns_pkt *packet = NULL;
		ret = zone_next(zone, &packet);
		if (ret == 0 && ldns_pkt_ancount(packet) == 0)
			ret = failed(zone, "%s sends a message without records", zone->link.host);
		if (ret == 0)
			ret = records_taken(zone, packet);
		ldns_pkt_free(packet);
	}
	if (ret == 0 && zone->is_signed && !tsig_is_complete(&zone->tsig))
		return failed(zone, "the end of the transfer is not signed");
	return ret;
}

static int changes_applied(struct zone *zone)
{
	FILE *held = fopen(zone->options->held, "re");
	int ret = held != NULL ? zone_changes_apply(zone->changes, held, zone->old_soa, zone->soa, zone->to)
	                       : -errno;

	if (held != NULL)
		fclose(held);
	return ret == -EBADMSG ? -ESTALE : ret;
}

/* From the changes since the serial held. Returns -ESTALE where only the whole zone will do. */
static int zone_incremental(struct zone *zone)
{
	zone->changes = zone_changes_new();
	int ret = zone->changes != NULL ? zone_transfer(zone, LDNS_RR_TYPE_IXFR) : -ENOMEM;
	if (ret == -EOPNOTSUPP)
		ret = -ESTALE;
	/* A primary without the history answers with the whole zone, which is in the file by now. */
	if (ret == 0 && ftell(zone->to) == 0)
		ret = changes_applied(zone);
	zone_changes_free(zone->changes);
	zone->changes = NULL;
	return ret;
}

static int zone_whole(struct zone *zone)
{
	free(zone->soa);
	zone->soa = NULL;
	rewind(zone->to);
	if (ftruncate(fileno(zone->to), 0) != 0)
		return failed(zone, "%s: %s", zone->fetch->path, strerror(errno));
	int ret = zone_link_connect(&zone->link);
	return ret < 0 ? ret : zone_transfer(zone, LDNS_RR_TYPE_AXFR);
}

/* The serial that the primary has now. */
static int zone_ask_serial(struct zone *zone)
{
	ldns_pkt *packet = NULL;
	int ret = zone_ask(zone, LDNS_RR_TYPE_SOA);

	if (ret == 0)
		ret = zone_next(zone, &packet);
	if (ret < 0)
		return ret;
	const ldns_rr *rr = ldns_pkt_ancount(packet) > 0 ? ldns_rr_list_rr(ldns_pkt_answer(packet), 0) : NULL;
	if (rr == NULL || !is_soa(rr) || !is_of_zone(zone, rr))
		ret = failed(zone, "%s has no SOA of this zone", zone->link.host);
	else
		zone->serial = soa_serial(rr);
	ldns_pkt_free(packet);
	return ret;
}

static int zone_run(struct zone *zone)
{
	int ret = zone_link_connect(&zone->link);

	if (ret == 0)
		ret = zone_ask_serial(zone);
	if (ret < 0)
		return ret;
	if (zone->has_held && zone->serial == zone->held) {
		zone->fetch->result.unchanged = true;
		return 0;
	}
	if (zone->has_held && serial_is_before(zone->serial, zone->held))
		return failed(
		        zone, "its serial went back from %" PRIu32 " to %" PRIu32, zone->held, zone->serial);
	zone->to = fopen(zone->fetch->path, "we");
	if (zone->to == NULL)
		return failed(zone, "%s: %s", zone->fetch->path, strerror(errno));
	ret = zone->has_held ? zone_incremental(zone) : -ESTALE;
	return ret == -ESTALE ? zone_whole(zone) : ret;
}

static int zone_finish(struct zone *zone, int ret)
{
	struct fetch *fetch = zone->fetch;

	if (zone->to != NULL) {
		if (ret == 0 && (fflush(zone->to) != 0 || fsync(fileno(zone->to)) != 0))
			ret = failed(zone, "%s: %s", fetch->path, strerror(errno));
		fetch->result.size = ret == 0 ? (uint64_t)ftell(zone->to) : 0;
		fclose(zone->to);
	}
	if (ret == 0 && zone->to != NULL)
		ret = fetch_sha256_file(fetch->path, fetch->result.sha256);
	if (ret < 0 && zone->to != NULL)
		unlink(fetch->path);
	snprintf(fetch->result.etag, sizeof fetch->result.etag, SERIAL_TAG "%" PRIu32, zone->serial);
	return ret;
}

void zone_fetch(const struct zone_options *options, struct fetch *fetch)
{
	struct zone_options filled = *options;
	struct zone *zone = calloc(1, sizeof *zone);

	memset(&fetch->result, 0, sizeof fetch->result);
	fetch->why[0] = '\0';
	fetch->status = -EIO;
	if (zone == NULL)
		return;
	if (filled.size_max == 0)
		filled.size_max = FETCH_SIZE_MAX;
	if (filled.seconds_max == 0)
		filled.seconds_max = FETCH_SECONDS_MAX;
	*zone = (struct zone){ .options = &filled, .fetch = fetch };
	zone->link.seconds_max = filled.seconds_max;
	zone->link.size_max = filled.size_max;
	zone->link.why = fetch->why;
	zone_link_init(&zone->link);
	zone->is_signed = filled.key.name != NULL && filled.key.name[0] != '\0';
	zone->has_held = filled.held != NULL && sscanf(fetch->etag, SERIAL_TAG "%" SCNu32, &zone->held) == 1;
	int ret = url_read(fetch->url, zone->link.host, zone->link.port, &zone->name)
	                  ? zone_run(zone)
	                  : failed(zone, "no URL of a zone: %s", zone_url_wrong(fetch->url));
	ret = zone_finish(zone, ret);
	if (ret < 0 && fetch->why[0] == '\0')
		failed(zone, "%s", strerror(-ret));
	fetch->status = ret < 0 ? -EIO : 0;
	zone_link_close(&zone->link);
	tsig_clear(&zone->tsig);
	free(zone->soa);
	free(zone->old_soa);
	free(zone);
}

/* What the recursor sends: brought into normal form, inspected, edited, and sent to a client. */
#include <stdlib.h>

#include "resolver/answer.h"
#include "resolver/inspect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool judge(void *arg, const struct name *hop)
{
	return hop->len == 0;
}

/* The places of the TTLs must be those of the records: a hit writes there without looking. */
static void check(const struct answer_stored *stored)
{
	struct message_walk walk;
	struct message_record record;
	unsigned i = 0;

	if (message_walk_start(&walk, stored->wire, stored->len) < 0)
		abort();
	while (message_walk_next(&walk, &record) > 0)
		if (i == stored->ttl_count || stored->ttl_at[i++] != record.ttl_at)
			abort();
	if (i != stored->ttl_count || walk.pos != stored->len)
		abort();
}

static void send_to_client(const struct answer_stored *stored)
{
	static uint8_t out[MESSAGE_MAX], query_wire[MESSAGE_HEADER_LEN + NAME_WIRE_MAX + 4];
	struct name name;
	struct message query;
	struct answer_writer writer;

	int name_len =
	        name_from_wire(&name, stored->wire + MESSAGE_HEADER_LEN, stored->len - MESSAGE_HEADER_LEN);
	if (name_len < 0)
		abort();
	size_t len = MESSAGE_HEADER_LEN + (size_t)name_len + 4;
	for (size_t i = MESSAGE_HEADER_LEN; i < len; i++)
		query_wire[i] = stored->wire[i];
	query_wire[5] = 1;
	if (message_read(&query, query_wire, len) != 0)
		abort();
	if (answer_from_stored(out, MESSAGE_UDP_MIN, &query, stored, 7, 3600, false, NULL) > MESSAGE_UDP_MIN)
		abort();
	answer_from_stored(out, sizeof out, &query, stored, 7, 3600, true, NULL);
	answer_begin(&writer, out, MESSAGE_UDP_MAX, &query, RCODE_NOERROR);
	answer_copy(&writer, stored, 7, 3600);
	if (answer_finish(&writer, NULL) > MESSAGE_UDP_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct answer_room room, edit_room;
	const struct answer_edit how = { .drop_private = true, .strip_ech = true };
	struct answer_stored stored, edited;

	for (int dnssec_ok = 0; dnssec_ok < 2; dnssec_ok++) {
		if (answer_normalise(&stored, &room, data, size, dnssec_ok) < 0)
			continue;
		check(&stored);
		if (inspect_hops(&stored, judge, NULL) < 0)
			abort();
		send_to_client(&stored);
		if (answer_edit(&edited, &edit_room, &stored, &how) <= 0)
			continue;
		check(&edited);
		if (edited.flags & (ANSWER_HAS_PRIVATE | ANSWER_HAS_ECH))
			abort();
		send_to_client(&edited);
	}
	return 0;
}

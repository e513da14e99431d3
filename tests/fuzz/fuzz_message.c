/* A client's packet, and the shortest reply to it. */
#include <stdlib.h>

#include "resolver/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t out[MESSAGE_UDP_MIN];
	const struct answer_edns edns = { .ede = EDE_BLOCKED, .ede_text = "games" };
	struct message message;
	struct answer_writer writer;

	int ret = message_read(&message, data, size);
	if (ret < 0)
		return 0;
	answer_begin(&writer, out, sizeof out, &message, (uint8_t)ret);
	if (message.question != NULL)
		answer_soa(&writer, &message.name, 30);
	if (answer_finish(&writer, &edns) > sizeof out)
		abort();
	return 0;
}

#include "inspect.h"

#include <errno.h>

#include "svcb.h"

/* Reads the name that a record leads to. Returns 1, 0 if it leads nowhere else, -EBADMSG. */
static int record_hop(const struct message_walk *walk, const struct message_record *record, struct name *hop)
{
	struct svcb_walk svcb;
	int ret;

	switch (record->type) {
	case TYPE_CNAME:
	case TYPE_DNAME:
		ret = message_rdata_name(walk, record, 0, hop);
		return ret < 0 ? ret : 1;
	case TYPE_SVCB:
	case TYPE_HTTPS:
		ret = svcb_walk_start(&svcb, walk->wire + record->rdata, record->rdata_len);
		if (ret < 0 || svcb.target_is_owner)
			return ret;
		ret = message_rdata_name(walk, record, SVCB_TARGET, hop);
		return ret < 0 ? ret : 1;
	default:
		return 0;
	}
}

int inspect_hops(
        const struct answer_stored *stored, bool (*judge)(void *arg, const struct name *hop), void *arg)
{
	struct message_walk walk;
	struct message_record record;
	struct name hop;

	int ret = message_walk_start(&walk, stored->wire, stored->len);
	if (ret < 0)
		return ret;
	while ((ret = message_walk_next(&walk, &record)) > 0) {
		ret = record_hop(&walk, &record, &hop);
		if (ret < 0)
			return ret;
		if (ret > 0 && judge(arg, &hop))
			return 1;
	}
	return ret;
}

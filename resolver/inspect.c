#include "inspect.h"

#include <errno.h>

#include "answer_builder.h"
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

typedef bool address_judge(void *arg, const uint8_t address[16]);

static bool judge_octets(address_judge *judge, void *arg, const uint8_t *octets, size_t len)
{
	uint8_t address[16];

	answer_address_map(address, octets, len);
	return judge(arg, address);
}

static int judge_hints(address_judge *judge, void *arg, const uint8_t *rdata, size_t len)
{
	struct svcb_walk walk;
	struct svcb_param param;

	int ret = svcb_walk_start(&walk, rdata, len);
	if (ret < 0)
		return ret;
	while ((ret = svcb_walk_next(&walk, &param)) > 0) {
		size_t unit = svcb_hint_size(param.key);
		for (size_t at = 0; unit > 0 && at < param.len; at += unit)
			if (judge_octets(judge, arg, param.value + at, unit))
				return 1;
	}
	return ret;
}

int inspect_addresses(const struct answer_stored *stored, address_judge *judge, void *arg)
{
	struct message_walk walk;
	struct message_record record;

	int ret = message_walk_start(&walk, stored->wire, stored->len);
	if (ret < 0)
		return ret;
	while ((ret = message_walk_next(&walk, &record)) > 0) {
		const uint8_t *rdata = stored->wire + record.rdata;
		if (record.type == TYPE_SVCB || record.type == TYPE_HTTPS)
			ret = judge_hints(judge, arg, rdata, record.rdata_len);
		else if ((record.type == TYPE_A && record.rdata_len == 4) ||
		         (record.type == TYPE_AAAA && record.rdata_len == 16))
			ret = judge_octets(judge, arg, rdata, record.rdata_len);
		else
			ret = 0;
		if (ret != 0)
			return ret;
	}
	return ret;
}

#include "snapshot.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "message.h"
#include "stats.h"

static int owner_compare(const struct name *a, const struct name *b)
{
	if (a->len != b->len)
		return a->len < b->len ? -1 : 1;
	return memcmp(a->wire, b->wire, a->len);
}

static int record_compare(const void *a, const void *b)
{
	const struct config_record *left = ((const struct snapshot_record *)a)->record;
	const struct config_record *right = ((const struct snapshot_record *)b)->record;
	int order = owner_compare(&left->owner, &right->owner);

	if (order != 0)
		return order;
	if (left->type != right->type)
		return left->type < right->type ? -1 : 1;
	return left < right ? -1 : left > right; /* as the administrator ordered them */
}

static bool records_index(struct snapshot *snapshot)
{
	const struct config *config = snapshot->config;

	snapshot->records = calloc(config->record_count + 1, sizeof *snapshot->records);
	if (snapshot->records == NULL)
		return false;
	for (size_t i = 0; i < config->record_count; i++) {
		const struct config_record *record = &config->records[i];
		snapshot->records[i].record = record;
		if (record->type != TYPE_CNAME)
			continue;
		struct name *cname = malloc(sizeof *cname);
		if (cname == NULL)
			return false;
		snapshot->records[i].cname = cname;
		if (name_from_wire(cname, record->rdata, record->rdata_len) < 0)
			return false;
	}
	qsort(snapshot->records, config->record_count, sizeof *snapshot->records, record_compare);
	return true;
}

static bool slots_take(struct snapshot *snapshot)
{
	const struct config *config = snapshot->config;

	snapshot->engine_slot = calloc(config->engine_count + 1, sizeof *snapshot->engine_slot);
	snapshot->profile_slot = calloc(config->profile_count + 1, sizeof *snapshot->profile_slot);
	snapshot->profile_blocked_slot =
	        calloc(config->profile_count + 1, sizeof *snapshot->profile_blocked_slot);
	snapshot->profile_engine_slot = calloc(
	        config->profile_count * config->engine_count + 1, sizeof *snapshot->profile_engine_slot);
	if (!snapshot->engine_slot || !snapshot->profile_slot || !snapshot->profile_blocked_slot ||
	        !snapshot->profile_engine_slot)
		return false;
	for (size_t i = 0; i < config->category_count; i++)
		snapshot->category_slot[i] = stats_slot(STATS_BLOCKED_CATEGORY, config->categories[i].name);
	for (size_t i = 0; i < config->engine_count; i++)
		snapshot->engine_slot[i] = stats_slot(STATS_REWRITTEN_ENGINE, config->engines[i].name);
	for (size_t i = 0; i < config->profile_count; i++) {
		snapshot->profile_slot[i] = stats_slot(STATS_PROFILE_QUERIES, config->profiles[i].name);
		snapshot->profile_blocked_slot[i] =
		        stats_slot(STATS_PROFILE_BLOCKED, config->profiles[i].name);
	}
	for (size_t i = 0; i < config->profile_count * config->engine_count; i++)
		snapshot->profile_engine_slot[i] = stats_slot_pair(STATS_PROFILE_REWRITTEN,
		        config->profiles[i / config->engine_count].name,
		        config->engines[i % config->engine_count].name);
	return true;
}

struct snapshot *snapshot_new(struct config *config, struct lists *lists, struct rules *rules)
{
	static _Atomic uint32_t last_stamp;
	struct snapshot *snapshot = calloc(1, sizeof *snapshot);
	uint64_t seed = 0;

	if (snapshot == NULL) {
		config_free(config);
		lists_free(lists);
		rules_free(rules);
		return NULL;
	}
	snapshot->references = 1;
	snapshot->stamp = atomic_fetch_add(&last_stamp, 1) + 1;
	snapshot->config = config;
	snapshot->lists = lists;
	snapshot->rules = rules;
	if (lists != NULL)
		seed = lists_seed(lists);
	else if (getrandom(&seed, sizeof seed, 0) != sizeof seed)
		goto fail;
	snapshot->table = facts_table_new(config, rules, seed);
	snapshot->clients = clients_new(config);
	snapshot->macs = macs_new(config);
	snapshot->networks = networks_new(config);
	snapshot->bypass_category = config_category(config, "bypass");
	if (!snapshot->table || !snapshot->clients || !snapshot->macs || !records_index(snapshot) ||
	        !slots_take(snapshot) || !snapshot->networks)
		goto fail;
	return snapshot;
fail:
	snapshot_free(snapshot);
	return NULL;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
	atomic_fetch_add_explicit(&snapshot->references, 1, memory_order_relaxed);
	return snapshot;
}

void snapshot_free(struct snapshot *snapshot)
{
	if (snapshot == NULL || atomic_fetch_sub_explicit(&snapshot->references, 1, memory_order_acq_rel) > 1)
		return;
	networks_free(snapshot->networks);
	free(snapshot->engine_slot);
	free(snapshot->profile_slot);
	free(snapshot->profile_blocked_slot);
	free(snapshot->profile_engine_slot);
	for (size_t i = 0; snapshot->records != NULL && i < snapshot->config->record_count; i++)
		free(snapshot->records[i].cname);
	free(snapshot->records);
	clients_free(snapshot->clients);
	macs_free(snapshot->macs);
	facts_table_free(snapshot->table);
	lists_free(snapshot->lists);
	rules_free(snapshot->rules);
	config_free(snapshot->config);
	free(snapshot);
}

const struct snapshot_record *snapshot_records(
        const struct snapshot *snapshot, const struct name *owner, size_t *count)
{
	size_t low = 0, high = snapshot->config->record_count, end;

	while (low < high) {
		size_t middle = (low + high) / 2;
		if (owner_compare(&snapshot->records[middle].record->owner, owner) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (end = low; end < snapshot->config->record_count; end++)
		if (!name_equal(&snapshot->records[end].record->owner, owner))
			break;
	*count = end - low;
	return end > low ? &snapshot->records[low] : NULL;
}
